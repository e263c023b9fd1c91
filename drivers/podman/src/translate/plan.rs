//! A plan as podman's arguments: the same plan always gives the same call.

use std::net::{IpAddr, SocketAddr};

use hythe_runtime::{Attachment, Error, ErrorKind, Plan, PlanNetwork, Result, Security};
use hythe_spec::{ByteSize, ExtraHost, HostAddress, ImageRef, Mount, Port, Resources, Seccomp, Signal, Ulimit};

use super::mounts::{SHM, mounted, opened_tmpfs, writable_shm};
use super::{Settings, Verb, native_image};
use crate::client::Invocation;
use crate::private;

/// The word that names the variables that podman read from a file.
pub(super) const FILE_NAMES: &str = "--annotation=hythe.env=";

/// The call that makes (and starts) an instance.
///
/// # Errors
/// `Unsupported` where the plan needs the host's address and this host has none, and for what podman has no private way for.
pub(crate) fn invocation(verb: Verb, plan: &Plan, settings: &Settings) -> Result<Invocation> {
    let Plan {
        identity: _,
        image,
        entrypoint,
        command,
        env,
        annotations: _,
        ports,
        mounts: _,
        secrets: _,
        user,
        workdir,
        hostname,
        network,
        dns,
        extra_hosts,
        dns_search,
        dns_options,
        group_add,
        sysctls: _,
        devices,
        logs,
        // The name means the image that was fetched for it.
        platform: _,
        // The agent probes.
        health: _,
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
    // The number of files is refused by capability.
    args.log(logs.and_then(|logs| logs.max_size).unwrap_or(settings.log_max_size));
    let operation = if verb == Verb::Run { "run" } else { "create" };
    private::pass_labels(&plan.labels_and_annotations(), operation, &mut args.0)?;
    args.network(network, hostname, ports, dns);
    args.hosts(extra_hosts, settings.host)?;
    args.resolver(network, dns_search, dns_options);
    group_add.iter().for_each(|group| args.pair("--group-add", group));
    plan.all_sysctls(settings.rootless)
        .iter()
        .for_each(|(name, value)| args.pair("--sysctl", format!("{name}={value}")));
    devices.iter().for_each(|device| args.pair("--device", device.to_string()));
    args.mounts(&plan.all_mounts())?;
    args.flag("--read-only", *read_only);
    args.flag("--read-only-tmpfs=false", *read_only);
    if *read_only && settings.read_only_shm && !plan.all_mounts().iter().any(|mount| mount.target == SHM) {
        args.pair("--mount", writable_shm(resources.shm_size));
    }
    args.option("--user", user.as_deref());
    args.option("--workdir", workdir.as_deref());
    args.resources(resources, &settings.rlimits);
    args.flag("--init", *init);
    args.flag("--tty", *tty);
    args.flag("--interactive", *stdin);
    args.security(security, &settings.default_capabilities);
    private::pass_env(env, operation, &mut args.0)?;
    args.names_of_file();
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

    /// Podman remembers its command line, which tells later who asked for which variable; a file tells no names.
    fn names_of_file(&mut self) {
        let names: Vec<&str> = self.0.env_file.keys().map(String::as_str).collect();
        if !names.is_empty() {
            let word = format!("{FILE_NAMES}{}", names.join(":"));
            self.word(word);
        }
    }

    fn network(&mut self, network: &PlanNetwork, hostname: &str, ports: &[Port], dns: &[IpAddr]) {
        match network {
            PlanNetwork::None => self.pair("--network", "none"),
            PlanNetwork::Host => self.pair("--network", "host"),
            PlanNetwork::Networks { attachments } => {
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

    fn resolver(&mut self, network: &PlanNetwork, search: &[String], options: &[String]) {
        // Podman refuses them where there is no network.
        if *network != PlanNetwork::None {
            search.iter().for_each(|domain| self.pair("--dns-search", domain));
            options.iter().for_each(|option| self.pair("--dns-option", option));
        }
    }

    fn mounts(&mut self, mounts: &[Mount]) -> Result<()> {
        for mount in mounts {
            match opened_tmpfs(mount)? {
                Some(opened) => self.pair("--tmpfs", opened),
                None => self.pair("--mount", mounted(mount)),
            }
        }
        Ok(())
    }

    fn resources(&mut self, resources: &Resources, rlimits: &[Ulimit]) {
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
        let left_out = |rlimit: &&Ulimit| !ulimits.is_empty() && ulimits.iter().all(|limit| limit.name != rlimit.name);
        for limit in ulimits.iter().chain(rlimits.iter().filter(left_out)) {
            self.pair("--ulimit", format!("{}={}:{}", limit.name, limit.soft, limit.hard));
        }
    }

    /// Exactly these. Told as the difference to podman's own set: what is added by name becomes effective for
    /// an unprivileged user too, while the default set only bounds it, as on every other engine.
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

fn no_host_address() -> Error {
    Error::new(ErrorKind::Unsupported, "translate", "`host-gateway`: this host has no address an instance could reach")
        .hint("name an address in `extra_hosts`")
}

fn joined(attachment: &Attachment) -> String {
    let Attachment { network, aliases } = attachment;
    let aliases: Vec<String> = aliases.iter().map(|alias| format!("alias={alias}")).collect();
    if aliases.is_empty() { network.clone() } else { format!("{network}:{}", aliases.join(",")) }
}

/// `[ip:][host]:container/protocol`.
fn published(port: &Port) -> String {
    let Port { host_ip, host_port, container_port, protocol } = port;
    let host = match (host_ip, host_port) {
        (Some(ip), Some(port)) => format!("{}:", SocketAddr::new(*ip, *port)),
        (Some(IpAddr::V4(ip)), None) => format!("{ip}::"),
        (Some(IpAddr::V6(ip)), None) => format!("[{ip}]::"),
        (None, Some(port)) => format!("{port}:"),
        (None, None) => String::new(),
    };
    format!("{host}{container_port}/{protocol}")
}
