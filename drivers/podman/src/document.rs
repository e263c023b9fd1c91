//! Podman's JSON documents, as far as we read them, and what they say in the seam's words. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hythe_runtime::{
    Exit, Identity, InstanceId, Listed, Observed, ObservedMount, ObservedNetwork, State,
};
use hythe_spec::{ByteSize, Millicores, Port, Protocol, Resources, Ulimit};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// Podman writes `null` where a list or map is empty.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// One element of `podman container inspect`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    path: String,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<String>,
    pub(crate) state: ContainerState,
    #[serde(default)]
    image: String,
    #[serde(default)]
    image_name: String,
    #[serde(default)]
    restart_count: u32,
    #[serde(default)]
    conmon_pid_file: String,
    #[serde(default, deserialize_with = "nullable")]
    mounts: Vec<MountDocument>,
    #[serde(default)]
    network_settings: NetworkSettings,
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
}

/// `State`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerState {
    pub(crate) status: String,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) conmon_pid: u32,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    error: String,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    finished_at: Option<String>,
    #[serde(default)]
    pub(crate) cgroup_path: String,
}

/// `Config`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerConfig {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    pub(crate) tty: bool,
    #[serde(default)]
    pub(crate) open_stdin: bool,
    #[serde(default, deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    cmd: Vec<String>,
    #[serde(default)]
    working_dir: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    /// A number, or from podman 5 on a name.
    #[serde(default)]
    pub(crate) stop_signal: serde_json::Value,
}

/// `HostConfig`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    #[serde(default)]
    pub(crate) log_config: LogConfig,
    #[serde(default, deserialize_with = "nullable")]
    tmpfs: BTreeMap<String, String>,
    #[serde(default)]
    readonly_rootfs: bool,
    #[serde(default)]
    shm_size: u64,
    #[serde(default)]
    memory: i64,
    #[serde(default)]
    nano_cpus: i64,
    #[serde(default)]
    cpu_period: i64,
    #[serde(default)]
    cpu_quota: i64,
    #[serde(default)]
    pids_limit: i64,
    #[serde(default, deserialize_with = "nullable")]
    ulimits: Vec<UlimitDocument>,
}

/// Where the log is.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LogConfig {
    #[serde(default, rename = "Type")]
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UlimitDocument {
    name: String,
    soft: i64,
    hard: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountDocument {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    source: String,
    destination: String,
    #[serde(default, deserialize_with = "nullable")]
    options: Vec<String>,
    #[serde(default, rename = "RW")]
    writable: bool,
    #[serde(default)]
    propagation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default, deserialize_with = "nullable")]
    ports: BTreeMap<String, Option<Vec<Binding>>>,
    #[serde(default, deserialize_with = "nullable")]
    networks: BTreeMap<String, Connection>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

#[derive(Debug, Default, Deserialize)]
struct Connection {
    #[serde(default, rename = "IPAddress")]
    v4: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    v6: String,
    #[serde(default, rename = "Aliases", deserialize_with = "nullable")]
    aliases: Vec<String>,
}

/// One element of `podman ps --format json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Row {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    exited: bool,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    created: i64,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<RowPort>,
    #[serde(default, deserialize_with = "nullable")]
    networks: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RowPort {
    #[serde(default)]
    host_ip: String,
    container_port: u16,
    #[serde(default)]
    host_port: u16,
    #[serde(default)]
    range: u16,
    #[serde(default)]
    protocol: String,
}

impl Container {
    pub(crate) fn state(&self) -> State {
        state(&self.state.status)
    }

    pub(crate) fn instance(&self) -> InstanceId {
        InstanceId(self.id.clone())
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::from_labels(&self.config.labels)
    }

    /// When its main process was last started; `None`: never.
    pub(crate) fn started(&self) -> Option<Timestamp> {
        time(self.state.started_at.as_deref())
    }

    /// File in which the OCI runtime says why a start failed.
    pub(crate) fn runtime_log(&self) -> Option<std::path::PathBuf> {
        let pid_file = std::path::Path::new(&self.conmon_pid_file);
        pid_file
            .parent()
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("oci-log"))
    }

    /// How it ended, as podman says it.
    pub(crate) fn exit(&self) -> Option<Exit> {
        (self.state() == State::Exited).then(|| Exit {
            oom: self.state.oom_killed,
            error: Some(self.state.error.clone()).filter(|error| !error.is_empty()),
            ..Exit::from_code(self.state.exit_code)
        })
    }

    /// Everything it says, with how it ended as found out by the caller.
    pub(crate) fn observed(self, exit: Option<Exit>) -> Observed {
        let state = self.state();
        let mut networks: Vec<ObservedNetwork> = self
            .network_settings
            .networks
            .into_iter()
            .map(connected)
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Observed {
            identity: Identity::from_labels(&self.config.labels),
            state,
            pid: Some(self.state.pid).filter(|pid| *pid != 0),
            created: time(self.created.as_deref()),
            started: time(self.state.started_at.as_deref()),
            finished: time(self.state.finished_at.as_deref()),
            restarts: self.restart_count,
            exit,
            networks,
            ports: bound(self.network_settings.ports),
            mounts: mounts(self.mounts, &self.host_config.tmpfs),
            entrypoint: entrypoint(self.path, self.args, &self.config.cmd),
            command: self.config.cmd,
            env: self
                .config
                .env
                .iter()
                .map(|pair| split_pair(pair))
                .collect(),
            user: filled(self.config.user),
            workdir: filled(self.config.working_dir),
            hostname: filled(self.config.hostname),
            resources: resources(&self.host_config),
            read_only: self.host_config.readonly_rootfs,
            image_id: filled(self.image).map(|id| digest(&id)),
            image: self.image_name,
            labels: self.config.labels,
            id: InstanceId(self.id),
            name: self.name,
        }
    }
}

impl Row {
    pub(crate) fn listed(self) -> Listed {
        let mut ports: Vec<Port> = self.ports.iter().flat_map(RowPort::spread).collect();
        ports.sort();
        let mut networks = self.networks;
        networks.sort();
        Listed {
            id: InstanceId(self.id),
            name: self.names.into_iter().next().unwrap_or_default(),
            identity: Identity::from_labels(&self.labels),
            labels: self.labels,
            image: self.image,
            state: state(&self.state),
            exit_code: self.exited.then_some(self.exit_code),
            created: Timestamp::from_second(self.created)
                .ok()
                .filter(|time| time.as_second() > 0),
            ports,
            networks,
        }
    }
}

impl RowPort {
    fn spread(&self) -> impl Iterator<Item = Port> {
        let protocols = self
            .protocol
            .split(',')
            .filter_map(|protocol| protocol.parse::<Protocol>().ok());
        protocols.flat_map(move |protocol| {
            (0..self.range.max(1)).map(move |step| Port {
                host_ip: address(&self.host_ip),
                host_port: self.host_port.checked_add(step).filter(|port| *port != 0),
                container_port: self.container_port.saturating_add(step),
                protocol,
            })
        })
    }
}

fn state(word: &str) -> State {
    match word {
        "created" | "configured" | "initialized" => State::Created,
        "running" => State::Running,
        "paused" => State::Paused,
        "stopping" => State::Stopping,
        "stopped" | "exited" => State::Exited,
        "removing" => State::Removing,
        _ => State::Unknown,
    }
}

/// Podman writes the year 1 for "never".
pub(crate) fn time(text: Option<&str>) -> Option<Timestamp> {
    text?
        .parse::<Timestamp>()
        .ok()
        .filter(|time| time.as_second() > 0)
}

/// An id with its algorithm.
pub(crate) fn digest(id: &str) -> String {
    if id.contains(':') {
        id.to_owned()
    } else {
        format!("sha256:{id}")
    }
}

/// Every address of the host is no address.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .filter(|ip| *ip != IpAddr::from([0, 0, 0, 0]))
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn split_pair(pair: &str) -> (String, String) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    (key.to_owned(), value.to_owned())
}

fn connected((name, connection): (String, Connection)) -> ObservedNetwork {
    let Connection {
        v4,
        v6,
        mut aliases,
    } = connection;
    let mut addresses: Vec<IpAddr> = [v4, v6]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    addresses.sort();
    aliases.sort();
    ObservedNetwork {
        name,
        addresses,
        aliases,
    }
}

fn bound(ports: BTreeMap<String, Option<Vec<Binding>>>) -> Vec<Port> {
    let mut all = Vec::new();
    for (key, bindings) in ports {
        let (number, protocol) = key.split_once('/').unwrap_or((&key, "tcp"));
        let (Ok(container_port), Ok(protocol)) = (number.parse(), protocol.parse()) else {
            continue;
        };
        let spread = bindings
            .unwrap_or_default()
            .into_iter()
            .map(|binding| Port {
                host_ip: address(&binding.host_ip),
                host_port: binding.host_port.parse().ok(),
                container_port,
                protocol,
            });
        all.extend(spread);
    }
    all.sort();
    all
}

fn mounts(mounts: Vec<MountDocument>, tmpfs: &BTreeMap<String, String>) -> Vec<ObservedMount> {
    let tmpfs = tmpfs
        .iter()
        .map(|(target, options)| tmpfs_mount(target, options));
    let mut all: Vec<ObservedMount> = mounts
        .into_iter()
        .map(MountDocument::observed)
        .chain(tmpfs)
        .collect();
    all.sort_by(|a, b| a.target.cmp(&b.target));
    all
}

impl MountDocument {
    fn observed(self) -> ObservedMount {
        let mut options = self.options;
        options.extend(filled(self.propagation));
        options.sort();
        options.dedup();
        let source = if self.kind == "volume" {
            self.name
        } else {
            self.source
        };
        ObservedMount {
            target: self.destination,
            kind: self.kind,
            source,
            read_only: !self.writable,
            options,
        }
    }
}

fn tmpfs_mount(target: &str, options: &str) -> ObservedMount {
    let mut options: Vec<String> = options
        .split(',')
        .filter(|option| !option.is_empty())
        .map(str::to_owned)
        .collect();
    let read_only = options.iter().any(|option| option == "ro");
    options.retain(|option| option != "ro" && option != "rw");
    options.sort();
    ObservedMount {
        target: target.to_owned(),
        kind: "tmpfs".to_owned(),
        source: String::new(),
        read_only,
        options,
    }
}

/// Podman 4 joins the entrypoint with spaces; what is run, less the init and the command, keeps its words apart.
fn entrypoint(path: String, args: Vec<String>, command: &[String]) -> Vec<String> {
    let mut words: Vec<String> = std::iter::once(path)
        .chain(args)
        .filter(|word| !word.is_empty())
        .collect();
    let init = words
        .first()
        .is_some_and(|word| word.ends_with("/podman-init") || word.ends_with("/catatonit"));
    if init && words.get(1).is_some_and(|word| word == "--") {
        words.drain(..2);
    }
    if words.ends_with(command) {
        words.truncate(words.len() - command.len());
    }
    words
}

fn resources(host: &HostConfig) -> Resources {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let quota = || {
        positive(host.cpu_quota)
            .zip(positive(host.cpu_period))
            .map(|(quota, period)| quota * 1000 / period)
    };
    let cpus = positive(host.nano_cpus)
        .map(|nanos| nanos / 1_000_000)
        .or_else(quota);
    let mut ulimits: Vec<Ulimit> = host.ulimits.iter().map(UlimitDocument::limit).collect();
    ulimits.sort();
    Resources {
        memory: positive(host.memory).map(ByteSize),
        cpus: cpus.map(Millicores),
        pids: positive(host.pids_limit).and_then(|pids| u32::try_from(pids).ok()),
        shm_size: Some(ByteSize(host.shm_size)).filter(|size| size.0 > 0),
        ulimits,
    }
}

impl UlimitDocument {
    fn limit(&self) -> Ulimit {
        let name = self.name.trim_start_matches("RLIMIT_").to_lowercase();
        Ulimit {
            name,
            soft: self.soft,
            hard: self.hard,
        }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
