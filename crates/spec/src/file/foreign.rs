//! Keys of other tools, and keys in the wrong table: what the thing is called here, or why it is not supported.

use super::decode::Keys;
use super::raw::{ComponentFile, HealthFile, PermissionsFile, ServiceFile};

/// A table of the file, for advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Service,
    Component,
    Health,
    Other,
}

/// What to do about a key that its table does not know; nothing where the key says nothing.
pub(crate) fn advice(table: &str, key: &str) -> Option<String> {
    let table = match table {
        "ServiceFile" => Table::Service,
        "ComponentFile" => Table::Component,
        "HealthFile" => Table::Health,
        _ => Table::Other,
    };
    let list: &[(&str, &str)] = match table {
        Table::Service => &SERVICE,
        Table::Component => &COMPONENT,
        Table::Health => &HEALTH,
        Table::Other => &[],
    };
    let named = list.iter().find(|(known, _)| *known == key).map(|(_, advice)| (*advice).to_owned());
    named.or_else(|| misplaced(table, key))
}

/// Keys that another table knows.
fn misplaced(table: Table, key: &str) -> Option<String> {
    let is_key_of = |keys: &[&str]| keys.contains(&key);
    if table == Table::Component && is_key_of(PermissionsFile::KEYS) {
        Some(format!("`{key}` is a key of `permissions`: `permissions = {{ profile = \"standard\", {key} = … }}`"))
    } else if table == Table::Component && is_key_of(HealthFile::KEYS) {
        Some(format!("`{key}` is a key of `[components.health]`"))
    } else if table == Table::Service && is_key_of(ComponentFile::KEYS) {
        Some(format!("`{key}` is a key of a component: put it below `[[components]]`"))
    } else if table == Table::Component && is_key_of(ServiceFile::KEYS) {
        Some(format!("`{key}` is a key of the service: put it above the first `[[components]]`"))
    } else {
        None
    }
}

const SERVICE: [(&str, &str); 10] = [
    ("services", "a service has components: write one `[[components]]` table for each container"),
    ("component", "write `[[components]]`"),
    ("containers", "write `[[components]]`"),
    ("version", "remove it: the format has no versions"),
    ("volumes", "volumes are named where they are mounted: `volumes = [\"data:/data\"]` in a component"),
    ("networks", "components of a service share a network; other ones are named by `network` in a component"),
    ("configs", "mount the file: `volumes = [\"./app.conf:/etc/app.conf:ro\"]` in a component"),
    ("include", "not supported, because one file is one service; deploy several files at once"),
    ("environment", "write `env` in a component"),
    ("profiles", "not supported, because a service is deployed as a whole; write another file"),
];

const HEALTH: [(&str, &str); 5] = [
    ("test", "write `exec`, `http` or `tcp`"),
    ("cmd", "write `exec`"),
    ("command", "write `exec`"),
    ("url", "write `http = \":8080/path\"`"),
    ("disable", "write `health = \"none\"` in the component for no check"),
];

const COMPONENT: [(&str, &str); 72] = [
    ("annotations", "write `labels`"),
    ("blkio_config", "not supported, because not every runtime limits input and output"),
    ("build", "write `[build.images]` for the service: `\"localhost/web:1\" = \"Dockerfile\"`"),
    ("cgroup", "not supported, because every instance has a cgroup of its own"),
    ("cgroup_parent", "not supported, because the agent places its instances itself"),
    ("configs", "mount the file: `volumes = [\"./app.conf:/etc/app.conf:ro\"]`"),
    ("container_name", "write `name`: an instance is found by the names of its service and component"),
    ("cpu_count", "write `cpus`"),
    ("cpu_limit", "write `cpus`"),
    ("cpu_percent", "write `cpus`"),
    ("cpu_period", "write `cpus`"),
    ("cpu_quota", "write `cpus`"),
    ("cpu_shares", "not supported, because a share means another amount on every host; write `cpus`"),
    ("cpuset", "not supported, because processors have other numbers on every host; write `cpus`"),
    ("credential_spec", "not supported, because workloads are Linux"),
    ("cwd", "write `workdir`"),
    ("deploy", "limits are keys of the component: `memory`, `cpus`, `pids`"),
    ("device", "write `devices = [\"/dev/kvm\"]`"),
    ("dns_opt", "write `dns_options`"),
    ("device_cgroup_rules", "write `devices`: what is granted there may be opened, and nothing else"),
    ("dns_option", "write `dns_options`"),
    ("domainname", "write the full name as `hostname`"),
    ("environment", "write `env`"),
    ("expose", "leave it out: components of a service reach every port of each other"),
    ("extends", "not supported, because every component is complete in itself"),
    ("external_links", "write `network` with the name of an existing network"),
    ("gpus", "write `devices` with a CDI name, such as `nvidia.com/gpu=all`, or the paths of the device"),
    ("groups", "write `group_add`"),
    ("healthcheck", "write `[components.health]`"),
    ("ipc", "not supported, because every instance has an ipc namespace of its own"),
    ("isolation", "not supported, because workloads are Linux; `runtime = \"vm\"` isolates by a virtual machine"),
    ("keep_groups", "not supported, because they would be other groups on every runtime; write `group_add`"),
    ("links", "leave it out: components of a service reach each other by name; `depends_on` gives an order"),
    ("log_opt", "write `logs = { max_size = \"10m\", max_files = 3 }`"),
    (
        "log_driver",
        "not supported, because `hythe logs` reads the output on every runtime; `logs` says how much is kept",
    ),
    (
        "logging",
        "write `logs = { max_size = \"10m\", max_files = 3 }`; drivers are not supported, because `hythe logs` reads the output on every runtime",
    ),
    ("mac_address", "not supported, because not every runtime can choose it"),
    ("mem", "write `memory`"),
    ("mem_limit", "write `memory`"),
    ("mem_reservation", "not supported, because nothing is reserved on one host; `memory` is the limit"),
    ("mem_swappiness", "not supported, because not every kernel has it for each container"),
    ("memory_limit", "write `memory`"),
    ("memswap_limit", "leave it out: a component with `memory` has no swap on top"),
    ("mounts", "write `volumes`"),
    ("network_mode", "write `network`"),
    ("networks", "write `network`"),
    ("oom_kill_disable", "not supported, because a container that cannot be ended can stop the host"),
    ("oom_score_adj", "not supported, because not every runtime has it"),
    ("pid", "not supported, because every instance has a pid namespace of its own; `pids` limits processes"),
    ("pids_limit", "write `pids`"),
    ("port", "write `ports = [\"8080:80\"]`"),
    ("publish", "write `ports`"),
    ("pull_policy", "not supported here; `hythe pull` and `hythe deploy --force` fetch and use a newer image"),
    ("replicas", "not supported, because a component is one instance; write more components"),
    ("restart_policy", "write `restart`"),
    ("runtime_class", "write `runtime`"),
    ("scale", "not supported, because a component is one instance; write more components"),
    ("security_opt", "write `permissions` with `seccomp` or `no_new_privileges`"),
    ("stdin_open", "write `stdin`"),
    ("stop_grace_period", "write `stop_grace`"),
    ("stop_timeout", "write `stop_grace`"),
    ("storage_opt", "not supported, because not every runtime limits the size of a root file system"),
    ("sysctl", "write `sysctls = { \"net.core.somaxconn\" = \"1024\" }`"),
    ("terminal", "write `tty`"),
    ("timeout", "write `stop_grace`, or `timeout` in `[components.health]`"),
    ("ulimit", "write `ulimits`"),
    ("userns_mode", "not supported, because the agent chooses the user namespace"),
    ("uts", "not supported, because every instance has a host name of its own; write `hostname`"),
    ("volume", "write `volumes`"),
    ("volumes_from", "name the same volume in both components: `volumes = [\"data:/data\"]`"),
    ("working_dir", "write `workdir`"),
    ("readonly", "write `read_only`"),
];
