//! The rows of the table: their order of tightness, and what must hold on every runtime.

use std::collections::BTreeSet;

use super::Facts;
use super::order::Order;

/// One fact.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) order: Order,
}

const REFUSED: Order = Order::OneOf(&["refused", "absent"]);

/// By the beginning of a name; the first that fits counts. The order is that of the table.
const ORDERS: [(&str, Order); 20] = [
    ("Cap", Order::FewerBits),
    ("NoNewPrivs", Order::Larger),
    ("Seccomp_filters", Order::Shown),
    ("Seccomp", Order::Larger),
    ("Sig", Order::FewerBits),
    ("uid_map", Order::Shown),
    ("gid_map", Order::Shown),
    ("namespace", Order::OneOf(&["own"])),
    ("security label", Order::NoneOf(&["unconfined", "none"])),
    ("oom_score_adj", Order::Larger),
    ("limit core", Order::Smaller),
    ("pids.max", Order::Smaller),
    ("open descriptors", Order::FewerWords),
    ("device nodes", Order::FewerWords),
    ("mount", Order::MoreWords),
    ("read", Order::OneOf(&["masked"])),
    ("write", REFUSED),
    ("new group in", REFUSED),
    ("mknod", Order::OneOf(&["refused", "useless"])),
    ("attempt", REFUSED),
];

/// Rows of which any of these has a value.
pub(crate) fn all<'a>(facts: impl Iterator<Item = &'a Facts>) -> Vec<Row> {
    let names: BTreeSet<&String> = facts.flat_map(|facts| facts.0.keys()).collect();
    let of = |(prefix, order): &(&str, Order)| {
        let rows = names
            .iter()
            .filter(|name| ORDERS.iter().find(|(one, _)| name.starts_with(one)).map(|(one, _)| one) == Some(prefix));
        rows.map(|name| Row { name: (*name).clone(), order: *order }).collect::<Vec<_>>()
    };
    ORDERS.iter().flat_map(of).collect()
}

/// Attempts that must fail in every workload.
const FORBIDDEN: [&str; 19] = [
    "mount of a tmpfs",
    "mount of a proc",
    "remount of /",
    "remount of /proc/sys",
    "unmount of a mask",
    "new mount namespace",
    "pivot_root",
    "setns",
    "open_by_handle_at",
    "bpf",
    "perf_event_open",
    "init_module",
    "reboot",
    "kexec_load",
    "swapon",
    "acct",
    "iopl",
    "packet socket",
    "abstract socket of the host",
];

/// What does not hold and must.
pub(crate) fn required(facts: &Facts) -> Vec<String> {
    let mut wanted: Vec<(String, &[&str])> = vec![("NoNewPrivs".to_owned(), &["1"]), ("Seccomp".to_owned(), &["2"])];
    wanted.extend(["mnt", "pid", "net", "ipc", "uts"].map(|kind| (format!("namespace {kind}"), &["own"][..])));
    wanted.extend(FORBIDDEN.map(|name| (format!("attempt {name}"), &["refused", "absent"][..])));
    wanted.extend(["disk", "mem", "kmsg"].map(|name| (format!("mknod {name}"), &["refused", "useless"][..])));
    let read_only =
        ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/bus"];
    wanted.extend(read_only.map(|path| (format!("write {path}"), &["refused", "absent"][..])));
    wanted.extend(["/proc/kcore", "/proc/keys", "/sys/firmware"].map(|path| (format!("read {path}"), &["masked"][..])));
    let wrong = |(name, values): (String, &[&str])| {
        let value = facts.get(&name).unwrap_or("absent");
        (!values.contains(&value)).then(|| format!("{name} is `{value}`, not `{}`", values.join("` or `")))
    };
    wanted.into_iter().filter_map(wrong).collect()
}
