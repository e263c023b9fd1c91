//! A plan as podman's arguments. Pure: the same plan always gives the same call.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hythe_runtime::plan::{MASK, is_secret};
use hythe_runtime::{Attachment, Error, ErrorKind, Plan, PlanNetwork, Result, Security};
use hythe_spec::{
    ByteSize, ExtraHost, HostAddress, ImageRef, Mount, MountSource, Port, Resources, Seccomp, Signal, Ulimit,
};

use crate::client::Invocation;

/// What of the configured podman the arguments depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Size at which a log starts anew.
    pub(crate) log_max_size: ByteSize,
    /// Address under which an instance reaches the host.
    pub(crate) host: Option<IpAddr>,
    /// Limits that podman would raise beyond what this host allows, unless it is told a value.
    pub(crate) ceilings: Vec<Ulimit>,
    /// Capabilities that podman gives where it is told nothing, without `CAP_`; empty: not known.
    pub(crate) default_capabilities: Vec<String>,
}

/// Which of podman's two verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Make it.
    Create,
    /// Make it and start it.
    Run,
}

/// Names that podman, its helpers or their language runtimes may act upon: their values stay out of podman's own environment.
const RESERVED: [&str; 30] = [
    "_",
    "BASH",
    "BUILDAH",
    "CNI",
    "CONTAINER",
    "DBUS",
    "DOCKER",
    "ENV",
    "FUSE",
    "GCONV",
    "GLIBC",
    "GO",
    "HOME",
    "HOST",
    "IFS",
    "LANG",
    "LC_",
    "LD_",
    "LISTEN_",
    "LOG",
    "MALLOC_",
    "NETAVARK",
    "NOTIFY_",
    "PATH",
    "PODMAN",
    "REGISTRY",
    "RUST_",
    "SSL_",
    "STORAGE_",
    "SYSTEMD",
];
const RESERVED_TOO: [&str; 12] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "OPENSSL",
    "PS4",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_",
    "SUDO_",
];

/// The call that makes (and starts) an instance.
///
/// # Errors
/// `Unsupported` where the plan needs the host's address and this host has none.
pub(crate) fn invocation(verb: Verb, plan: &Plan, settings: &Settings) -> Result<Invocation> {
    let Plan {
        identity: _,
        image,
        entrypoint,
        command,
        env,
        labels: _,
        ports,
        mounts,
        user,
        workdir,
        hostname,
        network,
        dns,
        extra_hosts,
        stop_signal,
        stop_grace,
        resources,
        read_only,
        init,
        tty,
        stdin,
        security,
        outbound: _,
        inbound: _,
    } = plan;
    let mut args = Args::new(verb, &plan.name());
    args.stopping(*stop_signal, stop_grace.seconds());
    args.log(settings.log_max_size);
    args.labels(&plan.all_labels());
    args.network(network, hostname, ports, dns);
    args.hosts(extra_hosts, settings.host)?;
    args.mounts(mounts);
    args.flag("--read-only", *read_only);
    args.flag("--read-only-tmpfs=false", *read_only);
    args.option("--user", user.as_deref());
    args.option("--workdir", workdir.as_deref());
    args.resources(resources, &settings.ceilings);
    args.flag("--init", *init);
    args.flag("--tty", *tty);
    args.flag("--interactive", *stdin);
    args.security(security, &settings.default_capabilities);
    env_args(env, &mut args.0);
    args.command(image, entrypoint.as_deref(), command.as_deref());
    Ok(args.0)
}

struct Args(Invocation);

impl Args {
    /// What is the same for every plan: nothing is pulled, restarted, probed or inherited by podman itself.
    fn new(verb: Verb, name: &str) -> Self {
        let verb: &[&str] = match verb {
            Verb::Create => &["create"],
            Verb::Run => &["run", "--detach"],
        };
        let always = [
            "--pull=never",
            "--restart=no",
            "--no-healthcheck",
            "--http-proxy=false",
            "--sdnotify=ignore",
            "--systemd=false",
        ];
        let mut args = Self(Invocation::default());
        verb.iter().chain(&always).for_each(|word| args.word(*word));
        args.pair("--name", name);
        args
    }

    fn word(&mut self, word: impl Into<String>) {
        self.0.args.push(word.into());
    }

    /// `--option=value` is one word, so that no value can be taken for an option.
    fn pair(&mut self, option: &str, value: impl AsRef<str>) {
        self.word(format!("{option}={}", value.as_ref()));
    }

    fn flag(&mut self, flag: &str, set: bool) {
        if set {
            self.word(flag);
        }
    }

    fn option(&mut self, option: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(option, value);
        }
    }

    fn stopping(&mut self, signal: Option<Signal>, grace_seconds: u64) {
        if let Some(signal) = signal {
            self.pair("--stop-signal", signal.0.to_string());
        }
        self.pair("--stop-timeout", grace_seconds.to_string());
    }

    fn log(&mut self, max_size: ByteSize) {
        self.pair("--log-driver", "k8s-file");
        self.pair("--log-opt", format!("max-size={}b", max_size.0));
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            self.pair("--label", format!("{key}={value}"));
        }
    }

    fn network(&mut self, network: &PlanNetwork, hostname: &str, ports: &[Port], dns: &[IpAddr]) {
        match network {
            PlanNetwork::None => self.pair("--network", "none"),
            PlanNetwork::Host => self.pair("--network", "host"),
            PlanNetwork::Bridged { attachments } => {
                attachments.iter().for_each(|attachment| self.pair("--network", joined(attachment)));
                ports.iter().for_each(|port| self.pair("--publish", published(port)));
            }
        }
        if *network != PlanNetwork::Host {
            self.pair("--hostname", hostname);
        }
        if *network != PlanNetwork::None {
            dns.iter().for_each(|server| self.pair("--dns", server.to_string()));
        }
    }

    fn hosts(&mut self, hosts: &[ExtraHost], host: Option<IpAddr>) -> Result<()> {
        for ExtraHost { name, address } in hosts {
            let address = match address {
                HostAddress::Ip(address) => *address,
                HostAddress::HostGateway => host.ok_or_else(no_host_address)?,
            };
            self.pair("--add-host", format!("{name}:{address}"));
        }
        Ok(())
    }

    fn mounts(&mut self, mounts: &[Mount]) {
        mounts.iter().for_each(|mount| self.pair("--mount", mounted(mount)));
    }

    fn resources(&mut self, resources: &Resources, ceilings: &[Ulimit]) {
        let Resources { memory, cpus, pids, shm_size, ulimits } = resources;
        if let Some(memory) = memory {
            self.pair("--memory", format!("{}b", memory.0));
            self.pair("--memory-swap", format!("{}b", memory.0));
        }
        if let Some(cpus) = cpus {
            self.pair("--cpus", cpus.to_string());
        }
        if let Some(pids) = pids {
            self.pair("--pids-limit", pids.to_string());
        }
        if let Some(size) = shm_size {
            self.pair("--shm-size", format!("{}b", size.0));
        }
        let left_out =
            |ceiling: &&Ulimit| !ulimits.is_empty() && ulimits.iter().all(|limit| limit.name != ceiling.name);
        for limit in ulimits.iter().chain(ceilings.iter().filter(left_out)) {
            self.pair("--ulimit", format!("{}={}:{}", limit.name, limit.soft, limit.hard));
        }
    }

    /// Exactly these. Told as the difference to podman's own set: what is added by name becomes effective for
    /// an ordinary user too, while the default set only bounds it, as on every other engine.
    fn capabilities(&mut self, wanted: &[String], defaults: &[String]) {
        if wanted.is_empty() || defaults.is_empty() {
            self.pair("--cap-drop", "ALL");
        } else {
            let dropped = defaults.iter().filter(|name| !wanted.contains(name));
            dropped.for_each(|name| self.pair("--cap-drop", name));
        }
        let added = wanted.iter().filter(|name| !defaults.contains(name));
        added.for_each(|name| self.pair("--cap-add", name));
    }

    fn security(&mut self, security: &Security, defaults: &[String]) {
        let Security { capabilities, seccomp, no_new_privileges, privileged } = security;
        if *privileged {
            self.word("--privileged");
        } else {
            self.capabilities(capabilities, defaults);
        }
        match seccomp {
            Seccomp::Default => {}
            Seccomp::Unconfined => self.pair("--security-opt", "seccomp=unconfined"),
            Seccomp::File(path) => self.pair("--security-opt", format!("seccomp={path}")),
        }
        self.flag("--security-opt=no-new-privileges", *no_new_privileges);
    }

    fn command(&mut self, image: &ImageRef, entrypoint: Option<&[String]>, command: Option<&[String]>) {
        if let Some(entrypoint) = entrypoint {
            // `[]` would let podman fall back to the image's command; `[""]` is "none at all".
            let none = [String::new()];
            let entrypoint = if entrypoint.is_empty() { &none } else { entrypoint };
            self.pair("--entrypoint", serde_json::Value::from(entrypoint).to_string());
        }
        self.word(native_image(image));
        command.unwrap_or_default().iter().for_each(|word| self.word(word));
    }
}

/// Values travel in the child's environment, which other users cannot read, unless podman itself would act upon them.
pub(crate) fn env_args(env: &BTreeMap<String, String>, invocation: &mut Invocation) {
    for (key, value) in env {
        // Podman takes an empty variable of its own for an absent one.
        if value.is_empty() || is_reserved(key) {
            invocation.args.push(format!("--env={key}={value}"));
        } else {
            invocation.args.push(format!("--env={key}"));
            invocation.env.insert(key.clone(), value.clone());
        }
    }
}

/// A reference as podman takes it: never with both a tag and a digest; the digest decides.
pub(crate) fn native_image(image: &ImageRef) -> String {
    match &image.digest {
        Some(digest) => format!("{}@{digest}", image.repository()),
        None => image.to_string(),
    }
}

fn no_host_address() -> Error {
    Error::new(ErrorKind::Unsupported, "translate", "`host-gateway`: this host has no address an instance could reach")
        .hint("name an address in `extra_hosts`")
}

/// Only plain upper-case names that nothing on podman's side knows may be set beside podman.
fn is_reserved(key: &str) -> bool {
    let plain = key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    !plain || RESERVED.iter().chain(&RESERVED_TOO).any(|prefix| key.starts_with(prefix))
}

fn joined(attachment: &Attachment) -> String {
    let Attachment { network, aliases } = attachment;
    let aliases: Vec<String> = aliases.iter().map(|alias| format!("alias={alias}")).collect();
    if aliases.is_empty() { network.clone() } else { format!("{network}:{}", aliases.join(",")) }
}

/// `[ip:][host]:container/protocol`.
fn published(port: &Port) -> String {
    let Port { host_ip, host_port, container_port, protocol } = port;
    let protocol = format!("{protocol:?}").to_lowercase();
    let host = match (host_ip, host_port) {
        (Some(ip), Some(port)) => format!("{}:", SocketAddr::new(*ip, *port)),
        (Some(IpAddr::V4(ip)), None) => format!("{ip}::"),
        (Some(IpAddr::V6(ip)), None) => format!("[{ip}]::"),
        (None, Some(port)) => format!("{port}:"),
        (None, None) => String::new(),
    };
    format!("{host}{container_port}/{protocol}")
}

/// Podman reads a mount as one line of CSV.
fn mounted(mount: &Mount) -> String {
    let Mount { target, source, read_only } = mount;
    let mut fields: Vec<String> = match source {
        MountSource::Volume { name, external: _ } => {
            vec!["type=volume".to_owned(), format!("src={name}")]
        }
        MountSource::Bind { path, propagation, selinux } => bind_fields(path, propagation.as_deref(), *selinux),
        MountSource::Tmpfs { size, mode } => tmpfs_fields(*size, *mode),
    };
    fields.push(format!("dst={target}"));
    if *read_only {
        fields.push("ro".to_owned());
    }
    fields.iter().map(|field| csv(field)).collect::<Vec<_>>().join(",")
}

fn bind_fields(path: &str, propagation: Option<&str>, selinux: Option<char>) -> Vec<String> {
    let relabel = match selinux {
        Some('z') => Some("relabel=shared".to_owned()),
        Some('Z') => Some("relabel=private".to_owned()),
        _ => None,
    };
    let propagation = format!("bind-propagation={}", propagation.unwrap_or("rprivate"));
    ["type=bind".to_owned(), format!("src={path}"), propagation].into_iter().chain(relabel).collect()
}

fn tmpfs_fields(size: Option<ByteSize>, mode: Option<u32>) -> Vec<String> {
    let mut fields = vec!["type=tmpfs".to_owned(), "noexec".to_owned(), "notmpcopyup".to_owned()];
    fields.push(format!("tmpfs-mode={:04o}", mode.unwrap_or(0o1777)));
    fields.extend(size.map(|size| format!("tmpfs-size={}", size.0)));
    fields
}

fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// The call as it may be shown: the full argument vector, with values of the child's environment, secrets masked.
pub(crate) fn explained(program: &str, invocation: &Invocation) -> serde_json::Value {
    let Invocation { args, env } = invocation;
    let argv: Vec<String> =
        std::iter::once(program.to_owned()).chain(args.iter().map(|word| masked_word(word))).collect();
    let env: BTreeMap<&String, &str> = env.iter().map(|(key, value)| (key, masked(key, value))).collect();
    serde_json::json!({ "argv": argv, "env": env })
}

fn masked<'a>(key: &str, value: &'a str) -> &'a str {
    if is_secret(key) { MASK } else { value }
}

fn masked_word(word: &str) -> String {
    let pair = word.strip_prefix("--env=").and_then(|pair| pair.split_once('='));
    match pair {
        Some((key, value)) => format!("--env={key}={}", masked(key, value)),
        None => word.to_owned(),
    }
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
