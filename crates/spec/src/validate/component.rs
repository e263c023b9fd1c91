//! Rules within one component.

use super::{Problem, mounts, names, permissions};
use crate::{Component, Health, Probe, Ulimit};

/// The least that container engines accept.
const MIN_MEMORY: u64 = 6 << 20;
/// The shortest processor quota of the kernel: 1 ms in 100 ms.
const MIN_MILLICORES: u64 = 10;

pub(super) fn check(path: &str, component: &Component) -> Vec<Problem> {
    let mut problems = Vec::new();
    environment(path, component, &mut problems);
    process(path, component, &mut problems);
    resources(path, component, &mut problems);
    problems.extend(mounts::check(path, component));
    problems.extend(permissions::check(path, component));
    problems.extend(names::labels(&format!("{path}.labels"), &component.labels));
    problems.extend(component.health.iter().filter_map(|check| health(&format!("{path}.health"), check)));
    problems
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
        problems.push(problem.hint("write `name` or `uid`, with `:group` or `:gid` where needed"));
    }
    if let Some(workdir) =
        component.workdir.as_deref().filter(|workdir| !workdir.starts_with('/') || workdir.contains('\0'))
    {
        problems.push(Problem::new(format!("{path}.workdir"), format!("`{workdir}` is not an absolute path")));
    }
    if let Some(hostname) = component.hostname.as_deref().filter(|hostname| !names::is_hostname(hostname)) {
        problems.push(Problem::new(format!("{path}.hostname"), format!("`{hostname}` is not a host name")));
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
        !part.is_empty() && if number { part.parse().is_ok_and(|id: u32| id < u32::MAX) } else { name }
    };
    match text.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(text),
    }
}

fn resources(path: &str, component: &Component, problems: &mut Vec<Problem>) {
    let path = format!("{path}.resources");
    let resources = &component.resources;
    if resources.memory.is_some_and(|memory| memory.0 < MIN_MEMORY) {
        problems.push(
            Problem::new(format!("{path}.memory"), "less memory than any engine gives").hint("give at least `6m`"),
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
    for (index, limit) in resources.ulimits.iter().enumerate() {
        let again = resources.ulimits[..index].iter().any(|other| other.name == limit.name);
        let wrong = Ulimit::parse(&limit.name, &format!("{}:{}", limit.soft, limit.hard)).err();
        let message = wrong
            .map(|error| error.message)
            .or_else(|| again.then(|| format!("ulimit `{}` is given twice", limit.name)));
        problems.extend(message.map(|message| Problem::new(format!("{path}.ulimits"), message)));
    }
}

fn health(path: &str, health: &Health) -> Option<Problem> {
    let probe = match &health.probe {
        Probe::Http { port, .. } | Probe::Tcp { port } if *port == 0 => Some("a port is between 1 and 65535"),
        Probe::Http { path, .. } if !path.starts_with('/') => Some("the path of an http check starts with `/`"),
        Probe::Exec { command } if command.is_empty() => Some("the command of a health check is empty"),
        Probe::Http { .. } | Probe::Tcp { .. } | Probe::Exec { .. } => None,
    };
    let number = match health {
        Health { interval, .. } if interval.0 == 0 => Some("the interval of a health check cannot be 0"),
        Health { timeout, .. } if timeout.0 == 0 => Some("the timeout of a health check cannot be 0"),
        Health { retries: 0, .. } => Some("a health check needs at least one try"),
        Health { .. } => None,
    };
    probe.or(number).map(|message| Problem::new(path, message))
}
