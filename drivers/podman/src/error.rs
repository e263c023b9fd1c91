//! Podman's exit codes and words in the vocabulary of the seam, translated here and nowhere else.
//!
//! Podman ends with 125 for nearly everything, so its words decide; the table is read from top to bottom.

use hythe_runtime::{Error, ErrorKind};

use crate::client::About;

/// Words of podman (any of them), what they mean, and the user's next step where there is one.
struct Row(&'static [&'static str], ErrorKind, Option<&'static str>);

const TABLE: &[Row] = &[
    Row(
        &["cgroups in hybrid mode not supported"],
        ErrorKind::Unavailable,
        Some("set `runtime = \"runc\"` and `cgroup_manager = \"cgroupfs\"` under `[engine]` in containers.conf"),
    ),
    Row(
        &[
            "database is locked",
            "database is closed",
            "opening database",
            "invalid database",
            "file is not a database",
            "database disk image is malformed",
            "validating existing container db",
            "database configuration mismatch",
            "database static dir",
            "database graph root",
            "database run root",
        ],
        ErrorKind::Unavailable,
        None,
    ),
    Row(
        &[
            "no space left on device",
            "disk quota exceeded",
            "cannot allocate memory",
            "resource temporarily unavailable",
            "too many open files",
            "could not find free subnet",
            "failed to find free ip",
            "no free ip addresses",
            "exceeded num_locks",
        ],
        ErrorKind::Exhausted,
        None,
    ),
    Row(
        &[
            "configure storage",
            "could not get runtime",
            "creating runtime static files",
            "creating tmpdir",
            "cannot connect to podman",
            "unable to connect to podman",
            "cannot set up namespace",
            "cannot re-exec process",
            "cannot clone",
            "invalid internal status",
            "could not find any oci runtime",
            "could not find a working conmon",
        ],
        ErrorKind::Unavailable,
        None,
    ),
    Row(
        &["slirp4netns failed", "slirp4netns sync pipe", "pasta failed"],
        ErrorKind::Unavailable,
        Some("rootless networks need `/dev/net/tun`: let this user open it"),
    ),
    Row(&["no such container", "no container with name or id", "already been removed"], ErrorKind::NotFound, None),
    Row(&["that name is already in use", "is already in use by"], ErrorKind::AlreadyExists, None),
    Row(
        &["rootlessport cannot expose privileged port"],
        ErrorKind::Invalid,
        Some("publish a port above 1023, or lower `net.ipv4.ip_unprivileged_port_start`"),
    ),
    Row(&["cannot assign requested address"], ErrorKind::Invalid, Some("publish on an address this host has")),
    Row(
        &["address already in use", "port is already allocated"],
        ErrorKind::Conflict,
        Some("free the host port, or leave its choice to the engine"),
    ),
    // A bridge of somebody else's went while podman looked for a free name.
    Row(&["no such network interface"], ErrorKind::Unavailable, None),
    Row(&["network not found", "no such network"], ErrorKind::NotFound, None),
    Row(&["no such volume"], ErrorKind::NotFound, None),
    Row(&["network already exists", "volume already exists"], ErrorKind::AlreadyExists, None),
    Row(&["image not known", "no such image", "no image with"], ErrorKind::NotFound, None),
    Row(
        // The latter is runc's since 1.3.
        &["/proc/sys/", "failed to write sysctl"],
        ErrorKind::Invalid,
        Some("`sysctl -a` on the host lists the kernel parameters with valid values"),
    ),
    Row(
        &[
            "invalid reference format",
            "invalid argument",
            "invalid mount option",
            "invalid ip address",
            "invalid signal",
            "valid signals are",
            "unknown capability",
            "unknown flag",
            "opening seccomp profile failed",
            "decoding seccomp profile failed",
        ],
        ErrorKind::Invalid,
        None,
    ),
    Row(
        &["unable to find user", "unable to find group", "no matching entries in"],
        ErrorKind::Invalid,
        Some("name a user the image knows, or a number"),
    ),
    Row(
        &["attempted to invoke a command that was not found", "executable file not found"],
        ErrorKind::Invalid,
        Some("check the command and entrypoint against the files of the image"),
    ),
    Row(&["stat /dev/"], ErrorKind::Invalid, Some("check the path against what the host has in `/dev`")),
    Row(
        &["unresolvable cdi devices"],
        ErrorKind::Invalid,
        Some("check the name against `/etc/cdi` and `/var/run/cdi` of the host"),
    ),
    Row(&["unable to set memory limit", "minimum memory limit"], ErrorKind::Invalid, Some("set a larger `memory`")),
    Row(
        &["is being used", "is in use by", "image is in use", "image used by", "has associated containers"],
        ErrorKind::Conflict,
        None,
    ),
    Row(
        &[
            "container state improper",
            "can only attach to running",
            "as it is running",
            "as it is paused",
            "is not running",
        ],
        ErrorKind::Conflict,
        None,
    ),
    Row(
        &[
            "unauthorized",
            "authentication required",
            "not authorized",
            "invalid username/password",
            "requested access to the resource is denied",
        ],
        ErrorKind::Unauthorized,
        Some("log in with `podman login`"),
    ),
    Row(&["manifest unknown", "name unknown", "repository name not known"], ErrorKind::NotFound, None),
    Row(
        &[
            "pinging container registry",
            "connection refused",
            "no such host",
            "i/o timeout",
            "tls handshake timeout",
            "connection reset",
            "server gave http response",
            "certificate",
        ],
        ErrorKind::Unavailable,
        None,
    ),
];

/// What podman adds to the words of its OCI runtime where these speak of the command.
const OF_COMMAND: [&str; 2] = ["OCI permission denied", "OCI runtime attempted to invoke a command that was not found"];

const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// The error of a call that ended with another code than 0.
pub(crate) fn translate(about: About<'_>, code: i32, stderr: &str) -> Error {
    let words = words(stderr);
    let (kind, hint) = classify(&words).unwrap_or((unknown(code), None));
    let mut error = Error::new(kind, about.operation, format!("`{}`: {words}", about.subject)).with("exit", code);
    if stderr.trim().lines().count() > 1 {
        error = error.with("stderr", stderr.trim());
    }
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The error of a request that the API refused, by its words; where nobody knows them, by the status.
pub(crate) fn refused(about: About<'_>, status: u16, words: &str) -> Error {
    let words = words.trim().trim_end_matches('.');
    let words = if words.is_empty() { "podman refused without a message" } else { words };
    let (kind, hint) = classify(words).unwrap_or((of_status(status, words), None));
    let error = Error::new(kind, about.operation, format!("`{}`: {words}", about.subject)).with("status", status);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Podman answers with 500 to nearly everything: a podman that broke, unless its OCI runtime speaks of the command.
fn of_status(status: u16, words: &str) -> ErrorKind {
    match status {
        400 => ErrorKind::Invalid,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        _ if OF_COMMAND.iter().any(|known| words.contains(known)) => ErrorKind::Internal,
        _ => ErrorKind::Unavailable,
    }
}

/// What podman says went wrong: its `Error:` line, else the end of what it printed.
pub(crate) fn words(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().rev().find_map(|line| line.strip_prefix("Error: "));
    match error.or_else(|| lines().next_back()) {
        Some(line) => line.trim_end_matches('.').to_owned(),
        None => "podman failed without a message".to_owned(),
    }
}

/// Whether these are words of podman that the table has, so that their kind can be relied upon.
pub(crate) fn is_known(stderr: &str) -> bool {
    classify(&words(stderr)).is_some()
}

fn classify(words: &str) -> Option<(ErrorKind, Option<String>)> {
    let lower = words.to_lowercase();
    if let Some(hint) = rlimit_hint(&lower) {
        return Some((ErrorKind::Invalid, Some(hint)));
    }
    if let Some(hint) = file_hint(&lower) {
        return Some((ErrorKind::Invalid, Some(hint.to_owned())));
    }
    let row = TABLE.iter().find(|Row(needles, ..)| needles.iter().any(|needle| lower.contains(needle)));
    row.map(|Row(_, kind, hint)| (*kind, hint.map(str::to_owned)))
}

/// What words that nobody knows mean: 126 and 127 speak of the command, all else of a podman that broke while answering.
fn unknown(code: i32) -> ErrorKind {
    if matches!(code, 126 | 127) { ErrorKind::Internal } else { ErrorKind::Unavailable }
}

/// `error setting rlimit type 7: operation not permitted`: say which limit and what to do.
fn rlimit_hint(lower: &str) -> Option<String> {
    let at = lower.find("setting rlimit")?;
    let number = lower[at..].split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    let name = number.and_then(|digits| digits.parse::<usize>().ok()).and_then(|number| RLIMITS.get(number).copied());
    let name = name.unwrap_or("nofile");
    Some(format!(
        "the hard limit `{name}` of this host is lower than requested: request less in `ulimits`, or set `default_ulimits = [\"{name}=…\"]` under `[containers]` in containers.conf"
    ))
}

/// Files that the plan names and the host or image lacks.
fn file_hint(lower: &str) -> Option<&'static str> {
    if lower.starts_with("statfs ") && lower.contains("no such file or directory") {
        return Some("create the host path first; it is never made as a side effect");
    }
    if lower.contains("to rootfs at") && lower.contains("not a directory") {
        return Some(
            "the image has a file where a directory is mounted, or a directory where a file is: mount it elsewhere",
        );
    }
    is_not_executable(lower).then_some("the command is not an executable file")
}

/// Whether lower-case words of podman or of its OCI runtime say that the command is there, but no executable file.
/// `exec: "/etc": is a directory` is runc's since 1.1.15; what names a path is crun's.
pub(crate) fn is_not_executable(lower: &str) -> bool {
    let of_runc =
        lower.contains("exec: \"") && ["permission denied", "is a directory"].iter().any(|w| lower.contains(w));
    let of_crun = ["` is not a regular file", "` exists but it is not executable"].iter().any(|w| lower.contains(w));
    of_runc || (lower.contains("the path `") && of_crun)
}

/// Whether a start failed because the image lacks the working directory.
pub(crate) fn lacks_workdir(stderr: &str) -> bool {
    let words = words(stderr);
    words.contains("workdir \"") && words.contains("does not exist on container")
}

/// Whether the OCI runtime refused a start without a word: "`/usr/bin/runc start ID` failed: exit status 1".
pub(crate) fn refused_start(words: &str) -> bool {
    words.contains(" start ") && words.contains("` failed: exit status")
}

/// Host port of `listen tcp4 :18099: bind: address already in use`.
pub(crate) fn taken_port(stderr: &str) -> Option<u16> {
    let words = words(stderr);
    let (before, _) = words.split_once(": bind: address already in use")?;
    before.rsplit(':').next()?.parse().ok()
}

/// What a registry that was asked directly said.
pub(crate) fn of_registry(about: About<'_>, error: hythe_oci::Error) -> Error {
    let seam = Error::new(error.kind().into(), about.operation, error.to_string()).temporary(error.is_temporary());
    match error.next_step() {
        Some(hint) => seam.hint(hint),
        None => seam,
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
