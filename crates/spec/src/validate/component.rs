//! Rules within one component.

use std::collections::HashSet;

use super::{Problem, mounts, names, permissions};
use crate::health::{unfit, unfit_header};
use crate::mount::kernel_directory;
use crate::units::{MAX_MILLICORES, MAX_MILLIS, MAX_PIDS, MAX_SIZE};
use crate::{Component, Health, HttpProbe, Millis, Probe, PullPolicy, Ulimit};

/// The least that container engines accept.
const MIN_MEMORY: u64 = 6 << 20;
/// The shortest processor quota of the kernel: 1 ms in 100 ms.
const MIN_MILLICORES: u64 = 10;
/// The last user or group id that every engine takes.
pub(super) const MAX_ID: u32 = i32::MAX as u32;
/// What the kernel would take for "no limit" must say so.
pub(super) const TOO_LARGE: &str = "larger than 1 EiB, which would be no limit";
pub(super) const NO_LIMIT: &str = "leave the key out for no limit";

pub(super) fn check(path: &str, component: &Component) -> Vec<Problem> {
    let mut problems = Vec::new();
    environment(path, component, &mut problems);
    strings(path, component, &mut problems);
    process(path, component, &mut problems);
    pinned(path, component, &mut problems);
    resources(path, component, &mut problems);
    problems.extend(mounts::check(path, component));
    problems.extend(permissions::check(path, component));
    problems.extend(names::labels(&format!("{path}.labels"), &component.labels));
    if component.no_health && component.health.is_some() {
        problems.push(Problem::new(format!("{path}.no_health"), "it has a health check, and is not to be probed"));
    }
    problems.extend(component.health.iter().filter_map(|check| health(&format!("{path}.health"), check)));
    problems.extend(durations(path, component));
    problems
}

/// The longest `NAME=value` or argument, and the most of all of them, that the kernel hands to a process with the usual stack.
pub(crate) const MAX_STRING: usize = (128 << 10) - 1;
const MAX_STRINGS: usize = 2 << 20;
/// What the kernel never exceeds, however large the stack.
const MOST_STRINGS: i64 = 6 << 20;

/// What the kernel gives a process at its start: each string, and all of them.
fn strings(path: &str, component: &Component, problems: &mut Vec<Problem>) {
    let mut total = 0;
    for (name, value) in &component.env {
        let length = name.len() + 1 + value.len();
        total += length + 1;
        if length > MAX_STRING {
            let message = format!("the variable `{}` has {length} bytes; the kernel takes {MAX_STRING}", short(name));
            problems.push(Problem::new(format!("{path}.env.{name}"), message).hint(IN_A_FILE));
        }
    }
    for (key, words) in [("command", &component.command), ("entrypoint", &component.entrypoint)] {
        let lengths = words.iter().flatten().map(String::len);
        total += lengths.clone().map(|length| length + 1).sum::<usize>();
        if let Some(length) = lengths.max().filter(|length| *length > MAX_STRING) {
            let message = format!("an argument has {length} bytes; the kernel takes {MAX_STRING}");
            problems.push(Problem::new(format!("{path}.{key}"), message).hint(IN_A_FILE));
        }
    }
    let stack = component.resources.ulimits.iter().find(|limit| limit.name == "stack").map(|limit| limit.soft);
    let most = stack.map_or(MAX_STRINGS, |stack| {
        let most = if stack == -1 { MOST_STRINGS } else { (stack / 4).clamp(128 << 10, MOST_STRINGS) };
        usize::try_from(most).unwrap_or(MAX_STRINGS)
    });
    if total > most {
        let message = format!("environment and command have {total} bytes together; the kernel takes {most}");
        problems.push(Problem::new(format!("{path}.env"), message).hint(IN_A_FILE));
    }
}

/// A policy of the image's digest needs one.
fn pinned(path: &str, component: &Component, problems: &mut Vec<Problem>) {
    if component.pull_policy == PullPolicy::Digest && component.image.digest.is_none() {
        let message = format!("`pull_policy = \"digest\"` needs a digest, and `{}` has none", component.image);
        let problem = Problem::new(format!("{path}.pull_policy"), message).hint("write the image as `name@sha256:…`");
        problems.push(problem.related(format!("{path}.image"), "this image"));
    }
}

const IN_A_FILE: &str = "put it into a file and mount that: `volumes = [\"./file:/file:ro\"]`";

/// The start of a name that may be of any length.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

fn environment(path: &str, component: &Component, problems: &mut Vec<Problem>) {
    for (name, value) in &component.env {
        let path = format!("{path}.env.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("`{}` is not a variable name", name.escape_default());
            problems.push(Problem::new(path, message).hint("a name is not empty and has no `=`"));
        } else if value.contains('\0') {
            problems.push(Problem::new(path, format!("the value of `{name}` contains a NUL byte")));
        }
    }
}

fn process(path: &str, component: &Component, problems: &mut Vec<Problem>) {
    if let Some(user) = component.user.as_deref().filter(|user| !is_user(user)) {
        let problem = Problem::new(format!("{path}.user"), format!("`{user}` is not a user"));
        problems.push(
            problem.hint("write `name` or `uid`, with `:group` or `:gid` where needed; numbers end at 2147483647"),
        );
    }
    if let Some(workdir) =
        component.workdir.as_deref().filter(|workdir| !workdir.starts_with('/') || workdir.contains('\0'))
    {
        problems.push(Problem::new(format!("{path}.workdir"), format!("`{workdir}` is not an absolute path")));
    } else if let Some(workdir) = component.workdir.as_deref().filter(|path| kernel_directory(path).is_some()) {
        let message = format!("no process starts in `{workdir}`: it belongs to the kernel");
        let problem = Problem::new(format!("{path}.workdir"), message);
        problems.push(problem.hint("start in a directory of the image, and name files there by their full path"));
    }
    if let Some(hostname) = component.hostname.as_deref().filter(|hostname| !names::is_hostname(hostname)) {
        let problem = Problem::new(format!("{path}.hostname"), format!("`{hostname}` is not a host name"));
        let likely = hostname.replace(['_', ' '], "-");
        problems.push(match names::is_hostname(&likely) {
            true => problem.hint(format!("write `{likely}`: a host name has letters, digits and `-`, joined by dots")),
            false => problem.hint("a host name has at most 64 letters, digits and `-`, joined by dots"),
        });
    }
    if component.stop_signal.is_some_and(|signal| !(1..=64).contains(&signal.0)) {
        problems.push(Problem::new(format!("{path}.stop_signal"), "a signal number is between 1 and 64"));
    }
    let words = [("command", &component.command), ("entrypoint", &component.entrypoint)];
    for (key, _) in words.into_iter().filter(|(_, words)| words.iter().flatten().any(|word| word.contains('\0'))) {
        problems.push(Problem::new(format!("{path}.{key}"), "an argument contains a NUL byte"));
    }
}

/// `name|uid[:group|gid]`.
fn is_user(text: &str) -> bool {
    let part = |part: &str| {
        let number = part.bytes().all(|b| b.is_ascii_digit());
        let name = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-$".contains(&b)) && !part.starts_with('-');
        !part.is_empty() && if number { part.parse().is_ok_and(|id: u32| id <= MAX_ID) } else { name }
    };
    match text.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(text),
    }
}

fn resources(path: &str, component: &Component, problems: &mut Vec<Problem>) {
    let path = format!("{path}.resources");
    let resources = &component.resources;
    let sizes = [("memory", resources.memory), ("shm_size", resources.shm_size)];
    for (key, _) in sizes.into_iter().filter(|(_, size)| size.is_some_and(|size| size.0 > MAX_SIZE)) {
        problems.push(Problem::new(format!("{path}.{key}"), TOO_LARGE).hint(NO_LIMIT));
    }
    if resources.cpus.is_some_and(|cpus| cpus.0 > MAX_MILLICORES) {
        problems.push(Problem::new(format!("{path}.cpus"), "more cores than Linux has, 8192").hint(NO_LIMIT));
    }
    if resources.pids.is_some_and(|pids| pids > MAX_PIDS) {
        problems.push(
            Problem::new(format!("{path}.pids"), format!("more processes than Linux allows, {MAX_PIDS}"))
                .hint(NO_LIMIT),
        );
    }
    if resources.memory.is_some_and(|memory| memory.0 < MIN_MEMORY) {
        problems.push(
            Problem::new(format!("{path}.memory"), "less memory than any engine accepts").hint("give at least `6m`"),
        );
    }
    if resources.cpus.is_some_and(|cpus| cpus.0 < MIN_MILLICORES) {
        problems.push(
            Problem::new(format!("{path}.cpus"), "less than the kernel can measure").hint("give at least `0.01`"),
        );
    }
    if resources.pids == Some(0) {
        problems.push(Problem::new(format!("{path}.pids"), "a component needs at least one process"));
    }
    if resources.shm_size.is_some_and(|size| size.0 == 0) {
        problems.push(Problem::new(format!("{path}.shm_size"), "`/dev/shm` cannot have no size"));
    }
    let mut seen = HashSet::new();
    for limit in &resources.ulimits {
        let again = !seen.insert(&limit.name);
        let wrong = Ulimit::parse(&limit.name, &format!("{}:{}", limit.soft, limit.hard)).err();
        let message = wrong
            .map(|error| error.message)
            .or_else(|| again.then(|| format!("ulimit `{}` is given twice", limit.name)));
        problems.extend(message.map(|message| Problem::new(format!("{path}.ulimits"), message)));
    }
}

/// Durations that clocks and engines cannot add to the present.
fn durations(path: &str, component: &Component) -> Vec<Problem> {
    let mut given: Vec<(&str, Millis)> = vec![("stop_grace", component.stop_grace)];
    if let Some(Health { interval, timeout, start_period, start_interval, .. }) = component.health {
        given.extend([
            ("health.interval", interval),
            ("health.timeout", timeout),
            ("health.start_period", start_period),
        ]);
        given.extend(start_interval.map(|time| ("health.start_interval", time)));
    }
    let too_long = given.into_iter().filter(|(_, time)| time.0 > MAX_MILLIS);
    too_long.map(|(key, _)| Problem::new(format!("{path}.{key}"), "longer than ten years")).collect()
}

fn health(path: &str, health: &Health) -> Option<Problem> {
    let probe = match &health.probe {
        Probe::Http(HttpProbe { port, .. }) | Probe::Tcp { port } | Probe::Grpc { port, .. } if *port == 0 => {
            Some("a port is between 1 and 65535")
        }
        Probe::Http(http) => unfit_http(http),
        Probe::Exec { command } if command.is_empty() => Some("the command of a health check is empty"),
        Probe::Tcp { .. } | Probe::Grpc { .. } | Probe::Exec { .. } => None,
    };
    let number = match health {
        Health { interval, .. } if interval.0 == 0 => Some("the interval of a health check cannot be 0"),
        Health { start_interval: Some(Millis(0)), .. } => Some("the start interval of a health check cannot be 0"),
        Health { timeout, .. } if timeout.0 == 0 => Some("the timeout of a health check cannot be 0"),
        Health { retries: 0, .. } => Some("a health check needs at least one try"),
        Health { .. } => None,
    };
    probe.or(number).map(|message| Problem::new(path, message))
}

fn unfit_http(http: &HttpProbe) -> Option<&'static str> {
    if !http.path.starts_with('/') {
        return Some("the path of an http check starts with `/`");
    }
    if unfit(&http.path).is_some() {
        return Some("the path of an http check has a character that no URL has");
    }
    if http.headers.iter().any(|(name, value)| unfit_header(name, value).is_some()) {
        return Some("an http check has a header that cannot be sent");
    }
    http.server_name.as_ref().filter(|name| !is_host_name(name)).map(|_| "the server name of an http check is not one")
}

/// A name or an address, as a certificate can have it.
pub(crate) fn is_host_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    name.parse::<std::net::IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(part))
}
