//! One `[[components]]` table.

use super::super::decode::{At, table};
use super::super::shapes::{Map, Or, Scalar};
use super::{OneOrMany, PermissionsFile, TableOrList, Words};
use crate::{ConfigChange, OnFailure, PullPolicy, RuntimeKind};

table! {
    /// One container- or VM-sized part of the service.
    pub struct ComponentFile requires [name, image] {
        /// DNS label, unique in the service.
        pub name: String,
        /// Image reference: `[host[:port]/]path[:tag][@digest]`.
        pub image: String,
        /// When the image is fetched: `missing` (default), `always`, `never`, or `digest`: as `missing`, for a pinned image.
        #[schemars(with = "Option<PullPolicy>")]
        pub pull_policy: String,
        /// Replaces the image's command; a string is split as a shell splits it.
        pub command: Words,
        /// The same as `command`.
        pub cmd: Words,
        /// Replaces the image's entrypoint; a string is split as a shell splits it, an empty one removes the entrypoint.
        pub entrypoint: Words,
        /// Environment, as a table or a list of `KEY=VALUE`; `KEY` alone is taken from the caller's environment.
        pub env: TableOrList<Scalar>,
        /// Environment files in dotenv form; later ones win, `env` wins over all.
        pub env_file: OneOrMany<Or<String, EnvFileTable>>,
        /// Published ports: `[[host_ip:]host_port:]port[/protocol]`, ranges allowed.
        pub ports: Vec<At<Scalar>>,
        /// Volumes and host paths: `source:/target[:options]`, or tables.
        pub volumes: Vec<At<Or<String, MountTable>>>,
        /// Temporary memory: `/path[:size=64m,mode=1777]`.
        pub tmpfs: Words,
        /// A deploy that finds another content in a mounted file (not a directory): `restart` (default), `ignore`, or
        /// `signal:HUP` with any signal, which the main process is sent.
        #[schemars(with = "Option<ConfigChange>")]
        pub on_config_change: String,
        /// Secrets mounted as files: names, which appear at `/run/secrets/NAME`, or tables.
        pub secrets: Vec<At<Or<String, SecretTable>>>,
        /// `name|uid[:group|gid]`; absent: the image's.
        pub user: Scalar,
        /// Absolute working directory; absent: the image's.
        pub workdir: String,
        /// Host name; absent: the component's name.
        pub hostname: String,
        /// `service` (default), `none`, `host`, or existing networks by name.
        pub network: Words,
        /// Name servers in place of the engine's.
        pub dns: Words,
        /// Lines for the hosts file: `name:address`, or a table; the address may be `host-gateway`.
        pub extra_hosts: TableOrList<String>,
        /// Domains in which single names are searched, in place of the engine's; `.` alone: none.
        pub dns_search: Words,
        /// Options of the resolver, in place of the engine's: `ndots:2`.
        pub dns_options: Words,
        /// Further groups of its processes: names of the image's `/etc/group`, or numbers.
        pub group_add: Vec<At<Scalar>>,
        /// Kernel parameters of its own namespaces, as a table or a list of `NAME=VALUE`.
        pub sysctls: TableOrList<Scalar>,
        /// Devices of the host: `path[:target][:rwm]`, or names of CDI devices.
        pub devices: Vec<At<String>>,
        /// How much of its log is kept. Default: as the runtime is configured.
        pub logs: LogsTable,
        /// The kind of machine that its image is for: `linux/arm64`. Default: the host's.
        pub platform: String,
        /// `no`, `on-failure[:n]`, `always` or `unless-stopped` (default).
        pub restart: String,
        /// Signal that asks it to stop; absent: the image's, else TERM.
        pub stop_signal: Scalar,
        /// Time between that signal and KILL. Default: `10s`.
        pub stop_grace: Scalar,
        /// Runtime; absent: the service's.
        #[schemars(with = "Option<RuntimeKind>")]
        pub runtime: String,
        /// Memory limit in bytes or with a unit (`64m`), at least 6 MiB.
        pub memory: Scalar,
        /// Memory limit in MiB; the same as `memory`.
        pub memory_mb: i64,
        /// Cores: `0.5`, `2`, `"1500m"`.
        pub cpus: Scalar,
        /// The same as `cpus`.
        pub vcpus: Scalar,
        /// Most processes and threads.
        pub pids: i64,
        /// Process limits by name: `soft[:hard]`, a number, or a table with `soft` and `hard`.
        pub ulimits: Map<Or<Scalar, LimitTable>>,
        /// Size of `/dev/shm`.
        pub shm_size: Scalar,
        /// The root file system cannot be written to. Default: false.
        pub read_only: bool,
        /// A minimal init is process 1. Default: false.
        pub init: bool,
        /// The main process gets a terminal. Default: false.
        pub tty: bool,
        /// Standard input stays open. Default: false.
        pub stdin: bool,
        /// Labels put on its instances, as a table or a list of `KEY=VALUE`.
        pub labels: TableOrList<Scalar>,
        /// Components that come first: a list, or a table to `started` (default), `healthy` or `completed`, or to a table.
        pub depends_on: Or<Map<Or<String, DependencyTable>>, Vec<At<String>>>,
        /// How it is probed: a table, or `none`. Default: by the `HEALTHCHECK` of its image, where that has one.
        pub health: Or<String, HealthFile>,
        /// What it may do: `standard` (default), `none`, `network`, a profile file, or a table.
        pub permissions: Or<String, PermissionsFile>,
    }
}

table! {
    /// A mount in full.
    pub struct MountTable requires [target] {
        /// `volume`, `bind` or `tmpfs`. Default: `bind` for a path as source, else `volume`.
        pub r#type: String,
        /// Volume name or host path.
        pub source: String,
        /// Absolute path in the workload.
        pub target: String,
        /// The workload may not write to it. Default: false.
        pub read_only: bool,
        /// Mount propagation of a bind. Default: `rprivate`.
        pub propagation: String,
        /// SELinux relabelling of a bind: `z` or `Z`.
        pub selinux: String,
        /// The volume belongs to somebody else: used under its own name, never created or removed. Default: false.
        pub external: bool,
        /// Size limit of a tmpfs, in bytes or as a share of the host's memory: `"64m"`, `"50%"`.
        pub size: Scalar,
        /// Permission bits of a tmpfs in octal, as a string: `"1777"`.
        pub mode: String,
        /// Owner of a tmpfs, as a number.
        pub uid: Scalar,
        /// Group of a tmpfs, as a number.
        pub gid: Scalar,
        /// How many files and directories a tmpfs holds at most.
        pub nr_inodes: Scalar,
        /// Programs on a tmpfs can be executed. Default: false.
        pub exec: bool,
        /// Programs on a tmpfs can gain the rights of their owner. Default: false.
        pub suid: bool,
        /// Device nodes on a tmpfs can be opened. Default: false.
        pub dev: bool,
    }
}

table! {
    /// A secret in full.
    pub struct SecretTable requires [source] {
        /// Its name in `[secrets]`, or in the agent's store.
        pub source: String,
        /// Name below `/run/secrets`, or an absolute path. Default: `source`.
        pub target: String,
        /// Permission bits in octal, as a string. Default: `"0444"`.
        pub mode: String,
        /// Owner, as a number. Default: root.
        pub uid: Scalar,
        /// Group, as a number. Default: root's.
        pub gid: Scalar,
    }
}

table! {
    /// An environment file.
    pub struct EnvFileTable requires [path] {
        /// Path of the file.
        pub path: String,
        /// `dotenv` (default), or `raw` for docker's plain form.
        pub format: String,
        /// Whether a missing file is an error. Default: true.
        pub required: bool,
    }
}

table! {
    /// How much of a log is kept.
    pub struct LogsTable requires [] {
        /// Size at which another file is begun, at least 16 KiB.
        pub max_size: Scalar,
        /// Files kept, the one that is written to included.
        pub max_files: i64,
    }
}

table! {
    /// A dependency in full.
    pub struct DependencyTable requires [] {
        /// `started` (default), `healthy` or `completed`.
        pub condition: String,
        /// Restart this component after a request restarted or replaced the other one. Default: false.
        pub restart: bool,
        /// Must be true: a component never starts without what it depends on.
        pub required: bool,
    }
}

table! {
    /// A process limit.
    pub struct LimitTable requires [soft] {
        /// Soft limit; -1 is unlimited.
        pub soft: i64,
        /// Hard limit. Default: the soft one.
        pub hard: i64,
    }
}

table! {
    /// How a component is probed: exactly one of `http`, `tcp`, `grpc` and `exec`.
    pub struct HealthFile requires [] {
        /// Must answer with status 200 to 399: `:8080/healthz`, `https://localhost:8443/healthz`, a port, or a table.
        pub http: Or<Scalar, HttpTable>,
        /// Port that must accept a connection.
        pub tcp: i64,
        /// Port that must answer `SERVING` by the gRPC health checking protocol, without TLS; or a table with `port` and `service`.
        pub grpc: Or<i64, GrpcTable>,
        /// Command that must exit with 0; a string with shell operators or variables is run by `/bin/sh -c`, any other is split into words.
        pub exec: Words,
        /// Time between tries. Default: `10s`.
        pub interval: Scalar,
        /// Time after which a try has failed. Default: `5s`.
        pub timeout: Scalar,
        /// Failures in a row that make it unhealthy. Default: 3.
        pub retries: i64,
        /// Time after start in which failures do not count. Default: 0.
        pub start_period: Scalar,
        /// Time between tries in `start_period` until one succeeds. Default: `interval`, but 250 ms at most.
        pub start_interval: Scalar,
        /// `none` (default) or `restart`.
        #[schemars(with = "Option<OnFailure>")]
        pub on_failure: String,
    }
}

table! {
    /// An HTTP probe.
    pub struct HttpTable requires [port] {
        /// Port in the workload.
        pub port: i64,
        /// Path with its leading slash. Default: `/`.
        pub path: String,
        /// `true` asks by TLS and verifies the certificate against the authorities that the host trusts, `"insecure"` does not verify it.
        /// Default: false.
        pub tls: Or<bool, String>,
        /// Name that the certificate must be for, also sent as `Host`. Default: the component's name.
        pub server_name: String,
        /// Headers to send.
        pub headers: Map<Scalar>,
        /// Statuses that are a success: `200`, `"200-299"`, or a list of these. Default: `"200-399"`; redirects are not followed.
        pub status: OneOrMany<Scalar>,
        /// Text that must be within the first 64 KiB of the body.
        pub body: String,
    }
}

table! {
    /// A probe by the gRPC health checking protocol.
    pub struct GrpcTable requires [port] {
        /// Port in the workload.
        pub port: i64,
        /// Service to ask for. Default: the server as a whole.
        pub service: String,
    }
}
