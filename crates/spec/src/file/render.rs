//! A service as the text of a file that reads back as that service.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use toml::Value;

use crate::{
    Build, ByteSize, Component, Dependency, Drift, Health, HttpProbe, LogLimits, Mount, MountSource, Network,
    OnFailure, Permissions, Probe, Resources, Seccomp, Secret, Service, Tls, TmpfsOptions,
};

/// The text of a service file; what the defaults say is left out. Reading it gives the same service, except for what no file can
/// say: a permission profile is written in place, under its name.
pub fn render(service: &Service, builds: &[Build]) -> String {
    let mut text = Lines::default();
    text.set("name", string(&service.name));
    if !service.active {
        text.set("active", Value::Boolean(false));
    }
    if service.drift == Drift::Heal {
        text.set("drift", string("heal"));
    }
    text.table("labels", &service.labels);
    if !builds.is_empty() {
        text.head("[build.images]");
    }
    for Build { image, context, dockerfile } in builds {
        let how = [("context", string(context)), ("dockerfile", string(dockerfile))];
        text.set(&string(image).to_string(), inline(how));
    }
    for component in &service.components {
        text.head("[[components]]");
        self::component(component, &mut text);
    }
    text.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn head(&mut self, head: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "\n{head}");
    }

    fn set(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn some<T: Display>(&mut self, key: &str, value: Option<T>) {
        if let Some(value) = value {
            self.set(key, string(value));
        }
    }

    fn words(&mut self, key: &str, words: Option<&Vec<String>>) {
        if let Some(words) = words {
            self.set(key, list(words));
        }
    }

    fn lines<T: Display>(&mut self, key: &str, items: &[T]) {
        if !items.is_empty() {
            self.set(key, list(items));
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.set(key, Value::Boolean(true));
        }
    }

    fn table(&mut self, key: &str, pairs: &BTreeMap<String, String>) {
        if !pairs.is_empty() {
            self.set(key, inline(pairs.iter().map(|(key, value)| (key.as_str(), string(value)))));
        }
    }
}

fn string(value: impl Display) -> Value {
    Value::String(value.to_string())
}

fn list<T: Display>(items: &[T]) -> Value {
    Value::Array(items.iter().map(string).collect())
}

fn number(value: impl TryInto<i64>) -> Value {
    Value::Integer(value.try_into().unwrap_or(i64::MAX))
}

fn inline<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn component(component: &Component, text: &mut Lines) {
    let Component {
        name,
        runtime,
        image,
        pull_policy,
        entrypoint,
        command,
        env,
        ports,
        mounts,
        on_config_change,
        // The digests are the agent's to find out.
        file_digests: _,
        secrets,
        user,
        workdir,
        hostname,
        network,
        dns,
        extra_hosts,
        dns_search,
        dns_options,
        group_add,
        sysctls,
        devices,
        logs,
        platform,
        restart,
        stop_signal,
        stop_grace,
        resources,
        read_only,
        init,
        tty,
        stdin,
        labels,
        depends_on,
        health,
        no_health,
        permissions,
    } = component;
    text.set("name", string(name));
    text.some("runtime", runtime.as_ref());
    text.set("image", string(image));
    if *pull_policy != Default::default() {
        text.set("pull_policy", string(pull_policy.as_str()));
    }
    text.some("platform", platform.as_ref());
    text.words("entrypoint", entrypoint.as_ref());
    text.words("command", command.as_ref());
    text.table("env", env);
    text.lines("ports", ports);
    let (memory, named): (Vec<&Mount>, Vec<&Mount>) =
        mounts.iter().partition(|mount| matches!(mount.source, MountSource::Tmpfs { .. }) && is_short(&mount.target));
    if !named.is_empty() {
        text.set("volumes", Value::Array(named.into_iter().map(volume).collect()));
    }
    text.lines("tmpfs", &memory.into_iter().map(tmpfs).collect::<Vec<_>>());
    if *on_config_change != Default::default() {
        text.set("on_config_change", string(on_config_change.to_string()));
    }
    if !secrets.is_empty() {
        text.set("secrets", Value::Array(secrets.iter().map(secret).collect()));
    }
    text.some("user", user.as_ref());
    text.some("workdir", workdir.as_ref());
    text.some("hostname", hostname.as_ref());
    if permissions.opens_network() && *network != Network::Service {
        text.set("network", self::network(network));
    }
    text.lines("dns", dns);
    text.lines("extra_hosts", extra_hosts);
    text.lines("dns_search", dns_search);
    text.lines("dns_options", dns_options);
    text.lines("group_add", group_add);
    text.table("sysctls", sysctls);
    text.lines("devices", devices);
    if let Some(limits) = logs {
        text.set("logs", self::logs(*limits));
    }
    if *restart != Default::default() {
        text.set("restart", string(restart));
    }
    text.some("stop_signal", stop_signal.as_ref());
    if *stop_grace != Component::DEFAULT_STOP_GRACE {
        text.set("stop_grace", string(stop_grace));
    }
    limits(resources, text);
    text.flag("read_only", *read_only);
    text.flag("init", *init);
    text.flag("tty", *tty);
    text.flag("stdin", *stdin);
    text.table("labels", labels);
    if !depends_on.is_empty() {
        let pairs = depends_on.iter().map(|(name, dependency)| (name.as_str(), self::dependency(dependency)));
        text.set("depends_on", inline(pairs));
    }
    if let Some(health) = health {
        text.set("health", self::health(health));
    } else if *no_health {
        text.set("health", string("none"));
    }
    if *permissions != Permissions::standard() {
        text.set("permissions", self::permissions(permissions));
    }
}

fn network(network: &Network) -> Value {
    match network {
        Network::Named { names } => list(names),
        keyword => string(keyword),
    }
}

/// A table says all that the short form cannot.
fn volume(mount: &Mount) -> Value {
    let mut pairs = vec![("target", string(&mount.target))];
    match &mount.source {
        MountSource::Volume { name, external } => {
            pairs.extend([("type", string("volume")), ("source", string(name))]);
            pairs.extend(external.then_some(("external", Value::Boolean(true))));
        }
        MountSource::Bind { path, propagation, selinux } => {
            pairs.extend([("type", string("bind")), ("source", string(path))]);
            pairs.extend(propagation.as_ref().map(|word| ("propagation", string(word))));
            pairs.extend(selinux.map(|letter| ("selinux", string(letter))));
        }
        MountSource::Tmpfs { size, mode, options } => {
            pairs.push(("type", string("tmpfs")));
            pairs.extend(memory(*size, *mode, options));
        }
    }
    pairs.extend(mount.read_only.then_some(("read_only", Value::Boolean(true))));
    inline(pairs)
}

/// A path that is read back from the short form, where `:` ends it.
fn is_short(target: &str) -> bool {
    !target.contains([':', ','])
}

fn memory(size: Option<ByteSize>, mode: Option<u32>, options: &TmpfsOptions) -> Vec<(&'static str, Value)> {
    let TmpfsOptions { percent, uid, gid, inodes, exec, suid, dev } = options;
    let share = percent.map(|percent| string(format!("{percent}%")));
    let mut pairs: Vec<(&str, Value)> = size.map(string).or(share).map(|size| ("size", size)).into_iter().collect();
    pairs.extend(mode.map(|mode| ("mode", string(format!("{mode:04o}")))));
    pairs.extend(uid.map(|uid| ("uid", number(uid))));
    pairs.extend(gid.map(|gid| ("gid", number(gid))));
    pairs.extend(inodes.map(|inodes| ("nr_inodes", string(inodes))));
    let opened = [("exec", *exec), ("suid", *suid), ("dev", *dev)];
    pairs.extend(opened.into_iter().filter(|(_, is_open)| *is_open).map(|(word, _)| (word, Value::Boolean(true))));
    pairs
}

/// The digest is the agent's to find out.
fn secret(secret: &Secret) -> Value {
    let Secret { target, source, mode, uid, gid, digest: _ } = secret;
    let mut pairs = vec![("source", string(source)), ("target", string(target))];
    pairs.push(("mode", string(format!("{mode:04o}"))));
    pairs.extend(uid.map(|uid| ("uid", number(uid))));
    pairs.extend(gid.map(|gid| ("gid", number(gid))));
    inline(pairs)
}

fn tmpfs(mount: &Mount) -> String {
    let mut options = Vec::new();
    if let MountSource::Tmpfs { size, mode, options: more } = &mount.source {
        options.extend(size.map(|size| format!("size={}", size.0)));
        options.extend(mode.map(|mode| format!("mode={mode:04o}")));
        options.extend(more.words());
    }
    options.extend(mount.read_only.then(|| "ro".to_owned()));
    if options.is_empty() { mount.target.clone() } else { format!("{}:{}", mount.target, options.join(",")) }
}

fn limits(resources: &Resources, text: &mut Lines) {
    let Resources { memory, cpus, pids, shm_size, ulimits } = resources;
    text.some("memory", memory.as_ref());
    text.some("cpus", cpus.as_ref());
    if let Some(pids) = pids {
        text.set("pids", number(*pids));
    }
    text.some("shm_size", shm_size.as_ref());
    if !ulimits.is_empty() {
        let limit = |limit: &crate::Ulimit| {
            let values = [("soft", Value::Integer(limit.soft)), ("hard", Value::Integer(limit.hard))];
            (limit.name.clone(), inline(values))
        };
        text.set("ulimits", Value::Table(ulimits.iter().map(limit).collect()));
    }
}

fn logs(limits: LogLimits) -> Value {
    let LogLimits { max_size, max_files } = limits;
    let size = max_size.map(|size| ("max_size", string(size)));
    inline(size.into_iter().chain(max_files.map(|files| ("max_files", number(files)))))
}

fn dependency(dependency: &Dependency) -> Value {
    let Dependency { condition, restart } = dependency;
    let condition = string(condition.as_str());
    if *restart { inline([("condition", condition), ("restart", Value::Boolean(true))]) } else { condition }
}

fn health(health: &Health) -> Value {
    let Health { probe, interval, timeout, retries, start_period, start_interval, on_failure } = health;
    let mut pairs = vec![match probe {
        Probe::Http(http) => ("http", self::http(http)),
        Probe::Grpc { port, service: None } => ("grpc", number(*port)),
        Probe::Grpc { port, service: Some(service) } => {
            ("grpc", inline([("port", number(*port)), ("service", string(service))]))
        }
        Probe::Tcp { port } => ("tcp", number(*port)),
        Probe::Exec { command } => ("exec", list(command)),
    }];
    pairs.extend([
        ("interval", string(interval)),
        ("timeout", string(timeout)),
        ("retries", number(*retries)),
        ("start_period", string(start_period)),
    ]);
    pairs.extend(start_interval.map(|time| ("start_interval", string(time))));
    pairs.extend((*on_failure == OnFailure::Restart).then_some(("on_failure", string("restart"))));
    inline(pairs)
}

fn http(probe: &HttpProbe) -> Value {
    let HttpProbe { port, path, tls, server_name, headers, status, body } = probe;
    let mut pairs = vec![("port", number(*port)), ("path", string(path))];
    pairs.extend(tls.map(|tls| match tls {
        Tls::Verified => ("tls", Value::Boolean(true)),
        Tls::Insecure => ("tls", string("insecure")),
    }));
    pairs.extend(server_name.as_ref().map(|name| ("server_name", string(name))));
    if !headers.is_empty() {
        pairs.push(("headers", inline(headers.iter().map(|(name, value)| (name.as_str(), string(value))))));
    }
    pairs.extend((!status.is_empty()).then(|| ("status", list(status))));
    pairs.extend(body.as_ref().map(|text| ("body", string(text))));
    inline(pairs)
}

/// A profile in place that starts from nothing, or from `standard` where connections are not restricted.
fn permissions(permissions: &Permissions) -> Value {
    let Permissions { profile, capabilities, mounts, outbound, inbound, seccomp, no_new_privileges, privileged } =
        permissions;
    if Permissions::built_in(profile).as_ref() == Some(permissions) {
        return string(profile);
    }
    let base = if outbound.is_none() { Permissions::standard().capabilities } else { Vec::new() };
    let beyond = |names: &[String], known: &[String]| -> Vec<String> {
        names.iter().filter(|name| !known.contains(name)).cloned().collect()
    };
    let changes = [("cap_add", beyond(capabilities, &base)), ("cap_drop", beyond(&base, capabilities))];
    let mut pairs: Vec<(&str, Value)> =
        changes.into_iter().filter(|(_, names)| !names.is_empty()).map(|(key, names)| (key, list(&names))).collect();
    pairs.extend((profile != "inline").then(|| ("name", string(profile))));
    pairs.extend(outbound.is_none().then(|| ("profile", string("standard"))));
    let paths = |read_only: bool| -> Vec<String> {
        mounts.iter().filter(|mount| mount.read_only == read_only).map(granted).collect()
    };
    let lists = [("read", paths(true)), ("write", paths(false))];
    pairs.extend(lists.into_iter().filter(|(_, paths)| !paths.is_empty()).map(|(key, paths)| (key, list(&paths))));
    let mut network = Vec::new();
    if let Some(outbound) = outbound {
        let ports = outbound.allow_port.iter().map(|port| number(*port)).collect();
        let mut opened = vec![("allow_host", list(&outbound.allow_host)), ("allow_port", Value::Array(ports))];
        opened.extend(outbound.insecure_allow_all.then_some(("insecure_allow_all", Value::Boolean(true))));
        network.push(("outbound", inline(opened)));
    }
    if !inbound.allow_host.is_empty() {
        network.push(("inbound", inline([("allow_host", list(&inbound.allow_host))])));
    }
    pairs.extend((!network.is_empty()).then(|| ("network", inline(network))));
    match seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => pairs.push(("seccomp", string("unconfined"))),
        Seccomp::File(path) => pairs.push(("seccomp", string(path))),
    }
    pairs.extend((!no_new_privileges).then_some(("no_new_privileges", Value::Boolean(false))));
    pairs.extend(privileged.then_some(("privileged", Value::Boolean(true))));
    inline(pairs)
}

fn granted(mount: &Mount) -> String {
    match &mount.source {
        MountSource::Volume { name, .. } => format!("volume://{name}:{}", mount.target),
        MountSource::Bind { path, .. } => format!("{path}:{}", mount.target),
        // A profile cannot ask for one.
        MountSource::Tmpfs { .. } => mount.target.clone(),
    }
}
