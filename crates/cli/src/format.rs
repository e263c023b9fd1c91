//! Values as people read them in a table or a line.

use hythe_api::{DriftCause, Exit, HealthSource, HealthState, OpenEnum, PortBinding, Workload, WorkloadState};
use hythe_spec::{ImageRef, Protocol};
use jiff::Timestamp;
use serde::Serialize;

const KIB: u64 = 1024;
const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;
const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "-";

/// The word that stands for an enum's value on the wire.
pub(crate) fn of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// The two largest units: `3d4h`, `5m2s`, `9s`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let parts = [
        (seconds / YEAR, 'y'),
        (seconds % YEAR / DAY, 'd'),
        (seconds % DAY / 3600, 'h'),
        (seconds % 3600 / 60, 'm'),
        (seconds % 60, 's'),
    ];
    let first = parts.iter().position(|(amount, _)| *amount > 0).unwrap_or(parts.len() - 1);
    let shown = parts[first..].iter().take(2).enumerate();
    shown
        .filter(|(place, (amount, _))| *place == 0 || *amount > 0)
        .map(|(_, (amount, unit))| format!("{amount}{unit}"))
        .collect()
}

/// `1.5 GiB`, `900 B`.
pub(crate) fn bytes(amount: u64) -> String {
    if amount < KIB {
        return format!("{amount} B");
    }
    let power = (amount.ilog2() / 10).min(UNITS.len() as u32);
    let tenths = u128::from(amount) * 10 / (1u128 << (10 * power));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}

/// An image as a user of Docker writes it; the digest only where there is no tag.
pub(crate) fn image(text: &str) -> String {
    let Ok(image) = text.parse::<ImageRef>() else {
        return text.to_owned();
    };
    match (image.version(), &image.digest) {
        (Some(tag), _) => format!("{}:{tag}", image.familiar_name()),
        (None, Some(digest)) => format!("{}@{}", image.familiar_name(), short(digest)),
        (None, None) => image.familiar_name(),
    }
}

/// The algorithm and twelve digits of a digest.
pub(crate) fn short(digest: &str) -> &str {
    let start = digest.find(':').map_or(0, |colon| colon + 1);
    digest.get(..start + 12).unwrap_or(digest)
}

/// Ports as a file says them: the two bindings of "every address" are one, and ports in a row are a range.
pub(crate) fn ports(bindings: &[PortBinding]) -> String {
    let mut all: Vec<Bound> = bindings.iter().map(bound).collect();
    all.sort();
    all.dedup();
    let mut ranges: Vec<(Bound, u16)> = Vec::new();
    for one in all {
        match ranges.last_mut() {
            Some((first, length)) if one.follows(first, *length) => *length += 1,
            _ => ranges.push((one, 1)),
        }
    }
    let words: Vec<String> = ranges.iter().map(|(first, length)| first.to_words(*length)).collect();
    if words.is_empty() { NOTHING.to_owned() } else { words.join(", ") }
}

/// A published port; the address ends with a colon where there is one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Bound {
    address: String,
    protocol: String,
    host: u16,
    container: u16,
}

fn bound(binding: &PortBinding) -> Bound {
    let address = match binding.host_ip.as_str() {
        "" | "0.0.0.0" | "::" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:"),
        ip => format!("{ip}:"),
    };
    let protocol = match binding.protocol {
        Protocol::Tcp => String::new(),
        _ => format!("/{}", of(&binding.protocol)),
    };
    Bound { address, protocol, host: binding.host_port, container: binding.container_port }
}

impl Bound {
    /// Whether it comes right after a range of that length.
    fn follows(&self, first: &Self, length: u16) -> bool {
        let next = |port: u16| port.checked_add(length);
        (&self.address, &self.protocol) == (&first.address, &first.protocol)
            && next(first.host) == Some(self.host)
            && next(first.container) == Some(self.container)
    }

    fn to_words(&self, length: u16) -> String {
        let Self { address, protocol, host, container } = self;
        let last = |port: &u16| if length > 1 { format!("-{}", port + (length - 1)) } else { String::new() };
        format!("{address}{host}{}:{container}{}{protocol}", last(host), last(container))
    }
}

/// How long its process has been running.
pub(crate) fn uptime(workload: &Workload, now: Timestamp) -> String {
    let started = workload.instance.as_ref().and_then(|instance| instance.started);
    match (workload.state, started) {
        (WorkloadState::Running | WorkloadState::Paused, Some(started)) => age(started, now),
        _ => NOTHING.to_owned(),
    }
}

/// Its state, and how it ended where that explains the state.
pub(crate) fn state(workload: &Workload) -> String {
    let state = of(&workload.state);
    match (workload.state, &workload.exit) {
        (WorkloadState::Failed | WorkloadState::Restarting, Some(exit)) => {
            format!("{state} ({})", end(exit))
        }
        _ => state,
    }
}

/// How it ended.
fn end(exit: &Exit) -> String {
    match (&exit.signal, exit.oom) {
        (_, true) => "OOM-killed".to_owned(),
        (Some(signal), false) => signal.clone(),
        (None, false) => exit.code.map_or_else(|| exit.cause.to_string(), |code| format!("exit {code}")),
    }
}

/// Its health, and whose check says so where that is not the component's own; nothing where it is not probed.
pub(crate) fn health(health: HealthState, source: HealthSource) -> String {
    match (health, source) {
        (HealthState::None, _) => NOTHING.to_owned(),
        (_, HealthSource::Image) => format!("{} (image)", of(&health)),
        (_, HealthSource::None | HealthSource::Component) => of(&health),
    }
}

/// Why desired and observed differ, as text; `--json` has the code.
pub(crate) fn drift_cause(cause: &OpenEnum<DriftCause>) -> &str {
    let Some(known) = cause.known() else { return cause.as_str() };
    match known {
        DriftCause::Modified => "changed out of band",
        DriftCause::ImageMoved => "image moved",
        DriftCause::Missing => "missing",
        DriftCause::Stopped => "stopped",
        DriftCause::Paused => "paused",
        DriftCause::Renamed => "renamed",
        DriftCause::Unexpected => "unexpected",
        DriftCause::RolledBack => "rolled back",
        DriftCause::Pending => "pending",
        DriftCause::Unreachable => "engine unreachable",
    }
}

/// The first line of a message; below it stand details.
pub(crate) fn first_line(message: &str) -> &str {
    message.trim_end().lines().next().unwrap_or_default().trim_end()
}

/// A JSON value on one line; texts without quotes.
pub(crate) fn value(value: &serde_json::Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_show_two_units() {
        let shown = [0, 9, 60, 302, 3600, 273_600, 63_072_000].map(|seconds| {
            let start = Timestamp::UNIX_EPOCH;
            age(start, start + jiff::SignedDuration::from_secs(seconds))
        });
        assert_eq!(shown, ["0s", "9s", "1m", "5m2s", "1h", "3d4h", "2y"]);
    }

    #[test]
    fn a_failure_shows_how_the_process_ended() {
        let shown = |state, code, signal: Option<&str>, oom| {
            let exit = Exit {
                code: Some(code),
                signal: signal.map(str::to_owned),
                oom,
                error: None,
                at: None,
                cause: hythe_api::ExitCause::Exited.into(),
            };
            super::state(&Workload { state, exit: Some(exit), ..crate::sample::workload("a", "b") })
        };
        assert_eq!(shown(WorkloadState::Failed, 3, None, false), "failed (exit 3)");
        assert_eq!(shown(WorkloadState::Restarting, 137, Some("KILL"), false), "restarting (KILL)");
        assert_eq!(shown(WorkloadState::Failed, 137, Some("KILL"), true), "failed (OOM-killed)");
        assert_eq!(shown(WorkloadState::Running, 3, None, false), "running");
    }

    #[test]
    fn sizes_use_powers_of_1024() {
        let shown = [0, 1023, 1024, 1536 * 1024, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "16383.9 PiB"]);
    }

    #[test]
    fn images_are_familiar_and_a_digest_never_stands_for_a_version() {
        let digest = format!("docker.io/library/alpine@sha256:{}", "a".repeat(64));
        assert_eq!(image(&digest), "alpine@sha256:aaaaaaaaaaaa");
        assert_eq!(image("docker.io/library/alpine:3"), "alpine:3");
        assert_eq!(image("127.0.0.1:5000/shop:1"), "127.0.0.1:5000/shop:1");
    }

    #[test]
    fn a_port_on_both_families_is_one() {
        let binding = |host_ip: &str, protocol| PortBinding {
            host_ip: host_ip.into(),
            host_port: 8080,
            container_port: 80,
            protocol,
        };
        let both =
            [binding("0.0.0.0", Protocol::Tcp), binding("::", Protocol::Tcp), binding("127.0.0.1", Protocol::Udp)];
        assert_eq!(ports(&both), "8080:80, 127.0.0.1:8080:80/udp");
    }

    #[test]
    fn ports_in_a_row_are_one_range() {
        let binding = |ip: &str, host: u16, container: u16, protocol| PortBinding {
            host_ip: ip.into(),
            host_port: host,
            container_port: container,
            protocol,
        };
        let mut all: Vec<PortBinding> =
            (0..=100).map(|at| binding("0.0.0.0", 8000 + at, 9000 + at, Protocol::Tcp)).collect();
        all.extend((0..=100).map(|at| binding("::", 8000 + at, 9000 + at, Protocol::Tcp)));
        assert_eq!(ports(&all), "8000-8100:9000-9100");
        all.push(binding("127.0.0.1", 8101, 9101, Protocol::Tcp));
        all.push(binding("", 8101, 9103, Protocol::Tcp));
        all.push(binding("", 65534, 1, Protocol::Udp));
        all.push(binding("", 65535, 2, Protocol::Udp));
        assert_eq!(ports(&all), "8000-8100:9000-9100, 8101:9103, 65534-65535:1-2/udp, 127.0.0.1:8101:9101");
    }
}
