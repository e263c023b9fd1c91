//! Pure translation: a plan into QEMU's command line and what the guest boots with, records into what was observed. No I/O here.

mod guest;
mod observed;
mod qemu;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::path::PathBuf;

use hythe_guest::protocol;
use hythe_oci_spec::Command;
use hythe_runtime::{Plan, PlanNetwork};
use hythe_shim::record::{Config, LogBounds, Process};
use hythe_spec::LogLimits;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use observed::observed;
pub(crate) use qemu::{NETDEV, PORTS};

const LOG_SEGMENTS: u64 = 5;

/// What a supervisor of a virtual machine is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// What every supervisor is given.
    #[serde(flatten)]
    pub(crate) shim: Config,
    pub(crate) machine: Machine,
}

/// What QEMU and the guest are given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// QEMU.
    pub(crate) program: PathBuf,
    /// Its arguments, without the sockets that the supervisor adds.
    pub(crate) arguments: Vec<String>,
    /// What the guest boots with, without what only the start knows.
    pub(crate) guest: protocol::Config,
    /// The hosts file whose entries the guest gets.
    pub(crate) hosts: PathBuf,
    /// Seconds that the guest has to start its main process.
    pub(crate) start_timeout: u64,
}

/// What a translation needs to know of the host and of this runtime.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) kvm: bool,
    /// Bytes of memory where a plan does not say.
    pub(crate) memory: u64,
    /// Bytes of a log segment where a plan does not say.
    pub(crate) log_segment: u64,
    pub(crate) start_timeout: u64,
}

/// The instance that a plan is translated for.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    /// Reported with every event.
    pub(crate) metadata: Value,
    pub(crate) directory: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) journal: PathBuf,
    pub(crate) volumes: PathBuf,
    pub(crate) networks: PathBuf,
    /// The hosts file that its networks keep, or its own.
    pub(crate) hosts: PathBuf,
    /// Ports that the image says it listens on.
    pub(crate) exposed: Vec<protocol::Port>,
}

/// What the supervisor is given.
pub(crate) fn launch(plan: &Plan, command: &Command, stop_signal: i32, instance: &Instance, host: &Host) -> Launch {
    let network = matches!(plan.network, PlanNetwork::Networks { .. });
    let guest = guest::config(plan, command, stop_signal, instance);
    let machine = Machine {
        program: host.qemu.clone(),
        arguments: qemu::arguments(plan, instance, host),
        guest,
        hosts: instance.hosts.clone(),
        start_timeout: host.start_timeout,
    };
    Launch {
        shim: Config {
            id: instance.id.clone(),
            metadata: instance.metadata.clone(),
            layers: Vec::new(),
            rootfs: Vec::new(),
            spec: Value::Null,
            process: Process::default(),
            copy_up: Vec::new(),
            devices: Vec::new(),
            own_network: network,
            user_namespace: None,
            network: if network { json!(guest::wanted(plan, instance)) } else { Value::Null },
            logs: bounds(plan.logs.unwrap_or_default(), host),
            journal: instance.journal.clone(),
        },
        machine,
    }
}

fn bounds(logs: LogLimits, host: &Host) -> LogBounds {
    LogBounds {
        segment: logs.max_size.map_or(host.log_segment, |size| size.0),
        segments: logs.max_files.map_or(LOG_SEGMENTS, u64::from),
    }
}

/// Serial number of the disk of a volume, by the place of its mount: a disk has 20 characters for it.
pub(crate) fn serial(at: usize) -> String {
    format!("volume{at}")
}
