//! A service as the text of a file that reads back as that service.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use toml::Value;

use crate::{
    Build, Component, Condition, Drift, Health, Mount, MountSource, Network, OnFailure, Permissions, Probe, Resources,
    Seccomp, Service,
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
        entrypoint,
        command,
        env,
        ports,
        mounts,
        user,
        workdir,
        hostname,
        network,
        dns,
        extra_hosts,
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
        permissions,
    } = component;
    text.set("name", string(name));
    text.some("runtime", runtime.as_ref());
    text.set("image", string(image));
    text.words("entrypoint", entrypoint.as_ref());
    text.words("command", command.as_ref());
    text.table("env", env);
    text.lines("ports", ports);
    let (memory, named): (Vec<&Mount>, Vec<&Mount>) =
        mounts.iter().partition(|mount| matches!(mount.source, MountSource::Tmpfs { .. }));
    if !named.is_empty() {
        text.set("volumes", Value::Array(named.into_iter().map(volume).collect()));
    }
    text.lines("tmpfs", &memory.into_iter().map(tmpfs).collect::<Vec<_>>());
    text.some("user", user.as_ref());
    text.some("workdir", workdir.as_ref());
    text.some("hostname", hostname.as_ref());
    if permissions.opens_network() && *network != Network::Service {
        text.set("network", self::network(network));
    }
    text.lines("dns", dns);
    text.lines("extra_hosts", extra_hosts);
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
        let conditions = depends_on.iter().map(|(name, condition)| (name.as_str(), string(condition_word(*condition))));
        text.set("depends_on", inline(conditions));
    }
    if let Some(health) = health {
        text.set("health", self::health(health));
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
        MountSource::Tmpfs { .. } => pairs.push(("type", string("tmpfs"))),
    }
    pairs.extend(mount.read_only.then_some(("read_only", Value::Boolean(true))));
    inline(pairs)
}

fn tmpfs(mount: &Mount) -> String {
    let mut options = Vec::new();
    if let MountSource::Tmpfs { size, mode } = &mount.source {
        options.extend(size.map(|size| format!("size={}", size.0)));
        options.extend(mode.map(|mode| format!("mode={mode:04o}")));
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

const fn condition_word(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Healthy => "healthy",
        Condition::Completed => "completed",
    }
}

fn health(health: &Health) -> Value {
    let Health { probe, interval, timeout, retries, start_period, on_failure } = health;
    let mut pairs = vec![match probe {
        Probe::Http { port, path } => ("http", inline([("port", number(*port)), ("path", string(path))])),
        Probe::Tcp { port } => ("tcp", number(*port)),
        Probe::Exec { command } => ("exec", list(command)),
    }];
    pairs.extend([
        ("interval", string(interval)),
        ("timeout", string(timeout)),
        ("retries", number(*retries)),
        ("start_period", string(start_period)),
    ]);
    pairs.extend((*on_failure == OnFailure::Restart).then_some(("on_failure", string("restart"))));
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
