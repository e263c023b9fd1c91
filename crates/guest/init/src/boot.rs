//! From the first instruction to the main process.

use std::fs;
use std::os::fd::OwnedFd;

use crate::control::Control;
use crate::outbox::Outbox;
use crate::ports::Ports;
use crate::process::{Child, Sinks};
use crate::protocol::{self, Config, Event, MAIN};
use crate::spawn::{self, NotStarted};
use crate::supervisor::Supervisor;
use crate::{cgroup, context, files, modules, mounts, network, power, signals};

/// Exit code where a guest cannot be set up, as container engines have it.
const SETUP_FAILED: i32 = 125;

/// Sets the guest up and starts the main process. Whatever fails is reported to the host, as an error and an exit.
///
/// # Panics
/// Where the host cannot even be spoken to; the console has the reason then.
pub(crate) fn boot() -> Supervisor {
    mounts::basics().unwrap_or_else(|why| panic!("{why}"));
    modules::load("boot").unwrap_or_else(|why| panic!("{why}"));
    let ports = Ports::open().unwrap_or_else(|why| panic!("{why}"));
    let signals = signals::open().unwrap_or_else(|error| panic!("signals: {error}"));
    let mut control = Control::new(ports.control);
    control.greet(None);
    let logs = [Outbox::new(ports.stdout), Outbox::new(ports.stderr)];
    let config = match set_up() {
        Ok(config) => config,
        Err(message) => return failed(NotStarted { code: SETUP_FAILED, message }, control, logs, signals),
    };
    match start(&config) {
        Ok(child) => {
            control.send(&Event::Started { pid: child.pid() });
            Supervisor::new(config, control, logs, signals, child)
        }
        Err(reason) => failed(reason, control, logs, signals),
    }
}

fn failed(reason: NotStarted, mut control: Control, logs: [Outbox; 2], signals: OwnedFd) -> Supervisor {
    control.send(&Event::Error { message: reason.message });
    Supervisor::ended(control, logs, signals, reason.code)
}

fn start(config: &Config) -> Result<Child, NotStarted> {
    let mut process = config.process.clone();
    let has_host = process.env.iter().any(|variable| variable.starts_with("HOSTNAME="));
    if let Some(hostname) = config.hostname.as_ref().filter(|_| !has_host) {
        process.env.push(format!("HOSTNAME={hostname}"));
    }
    spawn::spawn(MAIN, &process, config.stdin, Sinks::Ports)
}

fn set_up() -> Result<Config, String> {
    let config = read_config()?;
    power::watch();
    let groups = [
        ("network", !config.network.is_empty()),
        ("virtiofs", mounts::uses_virtiofs(&config)),
        ("9p", mounts::uses_9p(&config)),
    ];
    for (group, _) in groups.iter().filter(|(_, used)| *used) {
        modules::load(group)?;
    }
    network::set_up(&config.network)?;
    if let Some(hostname) = &config.hostname {
        rustix::system::sethostname(hostname.as_bytes()).map_err(context("hostname"))?;
    }
    let generated = files::write(&config)?;
    mounts::enter_root()?;
    files::put(generated)?;
    for (name, value) in &config.sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).map_err(context(format!("kernel parameter `{name}`")))?;
    }
    mounts::mount_all(&config)?;
    cgroup::make(&config.limits)?;
    Ok(config)
}

fn read_config() -> Result<Config, String> {
    let path = format!("/sys/firmware/qemu_fw_cfg/by_name/{}/raw", protocol::CONFIG);
    let bytes = fs::read(&path).map_err(context("the configuration"))?;
    let found: serde_json::Value = serde_json::from_slice(&bytes).map_err(context("the configuration"))?;
    let version = found.get("version").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(protocol::VERSION)) {
        let shown = version.map_or("no version".to_owned(), |version| format!("version {version}"));
        return Err(format!("the configuration has {shown}, and this init speaks version {}", protocol::VERSION));
    }
    serde_json::from_value(found).map_err(context("the configuration"))
}
