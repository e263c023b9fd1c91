//! From the engine's errors to the seam's: one table, the engine's words kept.

use bollard::errors::Error as Native;
use hythe_runtime::{Error, ErrorKind};

/// What a phrase in an engine's message means; the first match counts.
struct Phrase {
    words: &'static str,
    /// Further words that must be there.
    also: &'static str,
    kind: ErrorKind,
    /// Exit code that the instance is left with.
    exit: Option<i32>,
    hint: Option<&'static str>,
}

const fn phrase(words: &'static str, kind: ErrorKind) -> Phrase {
    Phrase { words, also: "", kind, exit: None, hint: None }
}

impl Phrase {
    const fn also(mut self, words: &'static str) -> Self {
        self.also = words;
        self
    }

    const fn exit(mut self, code: i32) -> Self {
        self.exit = Some(code);
        self
    }

    const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

const EXIT_CODE: &str = "exit_code";
const SYSCTLS: &str = "`sysctl -a` on the host lists the kernel parameters with valid values";
const RLIMIT: &str =
    "the hard limit asked for is above the engine's own; lower it in `ulimits`, or in the engine's `default-ulimits`";

/// Messages of dockerd, Podman's API, containerd and runc, in lower case; the more specific first.
const PHRASES: &[Phrase] = &[
    phrase("is already in use by", ErrorKind::AlreadyExists).also("name"),
    phrase("that name is already in use", ErrorKind::AlreadyExists),
    phrase("no space left on device", ErrorKind::Exhausted).hint("free space in the engine's data directory"),
    phrase("cannot allocate memory", ErrorKind::Exhausted),
    phrase("too many open files", ErrorKind::Exhausted),
    phrase("resource temporarily unavailable", ErrorKind::Exhausted),
    phrase("available, non-overlapping", ErrorKind::Exhausted).hint("remove networks that are not used"),
    phrase("no available ipv4", ErrorKind::Exhausted),
    phrase("port is already allocated", ErrorKind::Conflict)
        .hint("stop what listens there, or publish another host port"),
    phrase("address already in use", ErrorKind::Conflict).hint("stop what listens there, or publish another host port"),
    phrase("cannot assign requested address", ErrorKind::Invalid).hint("publish on an address that this host has"),
    phrase("ports are not available", ErrorKind::Conflict),
    phrase("error setting rlimit", ErrorKind::Invalid).hint(RLIMIT),
    phrase("no command specified", ErrorKind::Invalid).hint("the image has none: set `command`"),
    phrase("unable to find user", ErrorKind::Invalid),
    phrase("unable to find group", ErrorKind::Invalid),
    phrase("no matching entries in", ErrorKind::Invalid),
    phrase("/proc/sys/", ErrorKind::Invalid).hint(SYSCTLS),
    // Of runc since 1.3.
    phrase("failed to write sysctl", ErrorKind::Invalid).hint(SYSCTLS),
    phrase("not a directory", ErrorKind::Invalid)
        .also("to rootfs at")
        .hint("the image has a file where a directory is mounted, or a directory where a file is: mount it elsewhere"),
    phrase("no such file or directory", ErrorKind::Invalid).also("exec: ").exit(127),
    phrase("not found", ErrorKind::Invalid).also("executable file").exit(127),
    // crun's.
    phrase("` is not a regular file", ErrorKind::Invalid).also("the path `").exit(126),
    phrase("` exists but it is not executable", ErrorKind::Invalid).also("the path `").exit(126),
    phrase("permission denied", ErrorKind::Invalid).also("exec: ").exit(126),
    phrase("is a directory", ErrorKind::Invalid).also("exec: ").exit(126),
    phrase("exec format error", ErrorKind::Invalid).exit(126).hint("the image is for another processor"),
    phrase("operation not permitted", ErrorKind::Invalid).also("apply caps").exit(126),
    phrase("adding custom device", ErrorKind::Invalid).hint("check the path against what the host has in `/dev`"),
    phrase("no such file or directory", ErrorKind::Invalid)
        .also("stat /dev/")
        .hint("check the path against what the host has in `/dev`"),
    phrase("unresolvable cdi devices", ErrorKind::Invalid)
        .hint("check the name against `/etc/cdi` and `/var/run/cdi` of the host"),
    phrase("bind source path does not exist", ErrorKind::Invalid),
    phrase("no such file or directory", ErrorKind::Invalid).also("statfs"),
    phrase("invalid mount", ErrorKind::Invalid),
    phrase("not a shared mount", ErrorKind::Invalid),
    phrase("invalid reference format", ErrorKind::Invalid),
    phrase("unknown capability", ErrorKind::Invalid),
    phrase("invalid cap", ErrorKind::Invalid),
    phrase("seccomp", ErrorKind::Invalid).also("profile"),
    phrase("no such container", ErrorKind::NotFound),
    phrase("no container with name or id", ErrorKind::NotFound),
    phrase("no such image", ErrorKind::NotFound).hint("pull it first"),
    phrase("image not known", ErrorKind::NotFound).hint("pull it first"),
    phrase("no such network", ErrorKind::NotFound),
    phrase("unable to find network", ErrorKind::NotFound),
    phrase("network not found", ErrorKind::NotFound),
    phrase("no such volume", ErrorKind::NotFound),
    phrase("no volume with name", ErrorKind::NotFound),
    phrase("no such exec", ErrorKind::NotFound),
    phrase("manifest unknown", ErrorKind::NotFound),
    phrase("name unknown", ErrorKind::NotFound),
    phrase("unauthorized", ErrorKind::Unauthorized).hint("log in to the registry: `docker login`, or `podman login`"),
    phrase("no basic auth credentials", ErrorKind::Unauthorized)
        .hint("log in to the registry: `docker login`, or `podman login`"),
    phrase("authentication required", ErrorKind::Unauthorized)
        .hint("log in to the registry: `docker login`, or `podman login`"),
    phrase("incorrect username or password", ErrorKind::Unauthorized),
    phrase("access to the resource is denied", ErrorKind::Unauthorized),
    phrase("pull access denied", ErrorKind::NotFound).hint("it does not exist, or needs a login"),
    phrase("is paused", ErrorKind::Conflict),
    phrase("is not running", ErrorKind::Conflict),
    phrase("container state improper", ErrorKind::Conflict),
    phrase("can only", ErrorKind::Conflict).also("running container"),
    phrase("cannot remove a running container", ErrorKind::Conflict),
    phrase("removal of container", ErrorKind::Conflict),
    phrase("volume is in use", ErrorKind::Conflict),
    phrase("is being used by", ErrorKind::Conflict),
    phrase("image is in use", ErrorKind::Conflict),
    phrase("is using its referenced image", ErrorKind::Conflict),
    phrase("image is being used", ErrorKind::Conflict),
    phrase("does not exist locally", ErrorKind::NotFound),
    phrase("has active endpoints", ErrorKind::Conflict),
    phrase("network is being used", ErrorKind::Conflict),
    phrase("is already connected", ErrorKind::Conflict),
    phrase("already exists in network", ErrorKind::Conflict),
    phrase("already exists", ErrorKind::AlreadyExists),
    phrase("no such process", ErrorKind::Unavailable).also("/proc/"),
    // Podman's API commits while another podman changes the store.
    phrase("layer not known", ErrorKind::Unavailable),
    phrase("certificate signed by unknown authority", ErrorKind::Unavailable)
        .hint("put the certificate of its CA at `/etc/docker/certs.d/<registry>/ca.crt` of the engine's host"),
    phrase("connection refused", ErrorKind::Unavailable),
    phrase("no such host", ErrorKind::Unavailable),
    phrase("i/o timeout", ErrorKind::Unavailable),
    phrase("tls handshake", ErrorKind::Unavailable),
    phrase("server misbehaving", ErrorKind::Unavailable),
    phrase("network is unreachable", ErrorKind::Unavailable),
    phrase("temporary failure in name resolution", ErrorKind::Unavailable),
    phrase("toomanyrequests", ErrorKind::Unavailable),
];

/// The seam's error for an engine's; `subject` is the thing in question, as the caller named it.
pub(crate) fn translate(operation: &'static str, subject: &str, native: Native) -> Error {
    match native {
        Native::DockerResponseServerError { status_code, message } => {
            said(operation, subject, &message, Some(status_code)).with("status", status_code)
        }
        Native::DockerStreamError { error } => said(operation, subject, &error, None),
        other => broken(operation, &other.to_string()).source(other),
    }
}

/// The error of a list.
pub(crate) fn listing(operation: &'static str, native: Native) -> Error {
    translate(operation, "", native).of_listing()
}

/// The seam's error for an engine's words, with the HTTP status where there was one.
pub(crate) fn said(operation: &'static str, subject: &str, words: &str, status: Option<u16>) -> Error {
    let lower = words.to_lowercase();
    let found = PHRASES.iter().find(|phrase| lower.contains(phrase.words) && lower.contains(phrase.also));
    let kind = found.map_or_else(|| by_status(status), |phrase| phrase.kind);
    let message =
        if subject.is_empty() || words.contains(subject) { words.to_owned() } else { format!("`{subject}`: {words}") };
    let mut error = Error::new(kind, operation, message);
    if let Some(hint) = found.and_then(|phrase| phrase.hint) {
        error = error.hint(hint);
    }
    if let Some(code) = found.and_then(|phrase| phrase.exit) {
        error = error.with(EXIT_CODE, code);
    }
    error
}

/// The exit code that goes with an error of starting.
pub(crate) fn exit_code(error: &Error) -> Option<i32> {
    error.context().iter().find(|(key, _)| *key == EXIT_CODE)?.1.parse().ok()
}

fn by_status(status: Option<u16>) -> ErrorKind {
    match status {
        Some(400 | 406 | 413 | 422) => ErrorKind::Invalid,
        Some(401 | 403) => ErrorKind::Unauthorized,
        Some(404) => ErrorKind::NotFound,
        Some(405 | 501) => ErrorKind::Unsupported,
        Some(409) => ErrorKind::Conflict,
        Some(502..=504) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// The engine could not be reached, went away, or gave an answer that cannot be read.
pub(crate) fn broken(operation: &'static str, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, format!("the engine gave no usable answer: {why}"))
}

/// Whether the engine answered with this status.
pub(crate) fn has_status(native: &Native, status: u16) -> bool {
    matches!(native, Native::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// Whether the engine says that the thing does not exist.
pub(crate) fn is_absent(native: &Native) -> bool {
    has_status(native, 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as real engines gave them: dockerd 20.10.24 and Podman 4.3.1.
    const SAID: &[(u16, &str, ErrorKind)] = &[
        (404, "No such container: x", ErrorKind::NotFound),
        (
            400,
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: open /proc/sys/net/no/such: no such file or directory: unknown",
            ErrorKind::Invalid,
        ),
        (
            500,
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting \"/s/0\" to rootfs at \"/tmp\": mount /s/0:/tmp (via /proc/self/fd/6), flags: 0x5001: not a directory: unknown",
            ErrorKind::Invalid,
        ),
        (404, "no container with name or ID \"x\" found: no such container", ErrorKind::NotFound),
        (404, "no such image: localhost/x:1: image not known", ErrorKind::NotFound),
        (404, "network x not found", ErrorKind::NotFound),
        (500, "Get \"https://192.0.2.7:5/v2/\": x509: certificate signed by unknown authority", ErrorKind::Unavailable),
        (500, "container create: unable to find network with name or ID x: network not found", ErrorKind::NotFound),
        (404, "volume with name x not found: no such volume", ErrorKind::NotFound),
        (
            409,
            "Conflict. The container name \"/x\" is already in use by container \"8e30\". You have to remove (or rename) that container to be able to reuse that name.",
            ErrorKind::AlreadyExists,
        ),
        (
            500,
            "container create: creating container storage: the container name \"x\" is already in use by 5429. You have to remove that container to be able to reuse that name: that name is already in use",
            ErrorKind::AlreadyExists,
        ),
        (
            409,
            "You cannot remove a running container 7d77. Stop the container before attempting removal or force remove",
            ErrorKind::Conflict,
        ),
        (
            500,
            "cannot remove container 37f9 as it is running - running or paused containers cannot be removed without force: container state improper",
            ErrorKind::Conflict,
        ),
        (409, "Container x is paused, unpause the container before exec", ErrorKind::Conflict),
        (
            500,
            "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:80 failed: port is already allocated",
            ErrorKind::Conflict,
        ),
        (
            500,
            "cannot listen on the TCP port: listen tcp4 127.0.0.1:80: bind: address already in use",
            ErrorKind::Conflict,
        ),
        (
            400,
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/no/such\": stat /no/such: no such file or directory: unknown",
            ErrorKind::Invalid,
        ),
        (400, "invalid mount config for type \"bind\": bind source path does not exist: /x", ErrorKind::Invalid),
        (500, "unable to find user x: no matching entries in passwd file", ErrorKind::Invalid),
        (
            500,
            "runc: runc create failed: error setting rlimit type 6: operation not permitted: OCI permission denied",
            ErrorKind::Invalid,
        ),
        (500, "write /var/lib/docker/x: no space left on device", ErrorKind::Exhausted),
        (
            500,
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            ErrorKind::Exhausted,
        ),
        (
            500,
            "Get \"http://127.0.0.1:9/v2/\": dial tcp 127.0.0.1:9: connect: connection refused",
            ErrorKind::Unavailable,
        ),
        (500, "unauthorized: authentication required", ErrorKind::Unauthorized),
        (
            500,
            "CommitFailure: copying layers and metadata for container \"6a3a\": committing the finished image: creating image \"ea07\": layer not known",
            ErrorKind::Unavailable,
        ),
        (500, "something new", ErrorKind::Internal),
    ];

    #[test]
    fn words_decide() {
        for (status, words, kind) in SAID {
            let error = said("test", "", words, Some(*status));
            assert_eq!(error.kind(), *kind, "{words}");
            assert_eq!(error.message(), *words);
        }
    }

    #[test]
    fn a_start_that_fails_has_its_exit_code() {
        let code = |words: &str| exit_code(&said("start", "", words, Some(400)));
        assert_eq!(
            code("unable to start container process: exec: \"/x\": stat /x: no such file or directory: unknown"),
            Some(127)
        );
        assert_eq!(code("exec: \"x\": executable file not found in $PATH: unknown"), Some(127));
        assert_eq!(code("unable to start container process: exec: \"/etc\": permission denied: unknown"), Some(126));
        assert_eq!(code("crun: executable file `/x` not found: No such file or directory"), Some(127));
        assert_eq!(code("crun: the path `/etc` is not a regular file: Operation not permitted"), Some(126));
        assert_eq!(code("crun: the path `/x` exists but it is not executable: Operation not permitted"), Some(126));
        assert_eq!(code("port is already allocated"), None);
    }

    #[test]
    fn an_engine_that_breaks_off_is_not_an_absent_thing() {
        let broken: [Native; 3] = [
            std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into(),
            Native::SocketNotFoundError("/x".to_owned()),
            Native::JsonDataError { message: "EOF".to_owned(), column: 0 },
        ];
        for native in broken {
            let error = translate("inspect", "x", native);
            assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
        }
    }
}
