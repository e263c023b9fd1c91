//! What containerd says, in the vocabulary of the seam.

use std::fmt;

use hythe_runtime::{Error, ErrorKind};
use hythe_shim::{ShimError, ShimErrorKind};

/// Words of runc about a kernel parameter: the file that it writes, or its own words since 1.3.
const SYSCTLS: [&str; 2] = ["/proc/sys/", "failed to write sysctl"];

/// The connection broke, or what came cannot be read.
pub(crate) fn lost(operation: &'static str, why: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, operation, format!("the connection to containerd failed: {why}"))
}

/// A call ended with a code of gRPC and containerd's words.
pub(crate) fn refused(operation: &'static str, code: u32, words: &str) -> Error {
    let kind = match code {
        1 => ErrorKind::Cancelled,
        3 | 11 => ErrorKind::Invalid,
        4 => ErrorKind::Timeout,
        5 => ErrorKind::NotFound,
        6 => ErrorKind::AlreadyExists,
        7 | 16 => ErrorKind::Unauthorized,
        8 => ErrorKind::Exhausted,
        9 | 10 => ErrorKind::Conflict,
        12 => ErrorKind::Unsupported,
        14 => ErrorKind::Unavailable,
        _ if words.contains("no space left on device") => ErrorKind::Exhausted,
        _ if SYSCTLS.iter().any(|known| words.contains(known)) => ErrorKind::Invalid,
        _ if is_being_made(words) => ErrorKind::Conflict,
        _ => ErrorKind::Internal,
    };
    // 2.x leaves this out.
    let words = words.strip_suffix(": unknown").or_else(|| words.strip_suffix(": not found")).unwrap_or(words);
    let error = Error::new(kind, operation, words);
    let error = if is_being_made(words) { error.temporary(true) } else { error };
    match SYSCTLS.iter().any(|known| words.contains(known)) {
        true => error.hint("`sysctl -a` on the host lists the kernel parameters with valid values"),
        false => error,
    }
}

/// The task's directory is there: the call of an agent that died is still at work on it, or containerd still undoes it.
fn is_being_made(words: &str) -> bool {
    words.starts_with("failed to start shim") && words.contains(": file exists")
}

/// Why a command could not be executed, as a shell would tell it by its code; `None`: it is about something else.
pub(crate) fn exec_code(words: &str) -> Option<i32> {
    let absent = ["executable file not found", "no such file or directory"];
    let unusable = ["permission denied", "exec format error", "is a directory"];
    let is_exec = words.contains("exec: \"") || words.contains("exec /");
    let says = |all: &[&str]| all.iter().any(|one| words.contains(one));
    match is_exec {
        true if says(&absent) => Some(127),
        true if says(&unusable) => Some(126),
        _ => None,
    }
}

/// What the supervisor of a task's streams says.
pub(crate) fn from_shim(operation: &'static str, fault: &ShimError) -> Error {
    let kind = match fault.kind {
        ShimErrorKind::NotFound => ErrorKind::NotFound,
        ShimErrorKind::Invalid => ErrorKind::Invalid,
        ShimErrorKind::Conflict => ErrorKind::Conflict,
        ShimErrorKind::Unsupported => ErrorKind::Unsupported,
        ShimErrorKind::Unauthorized => ErrorKind::Unauthorized,
        ShimErrorKind::Exhausted => ErrorKind::Exhausted,
        ShimErrorKind::Internal => ErrorKind::Internal,
    };
    let error = Error::new(kind, operation, fault.message.clone());
    match &fault.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    }
}

/// What the image reader says.
pub(crate) fn of_store(operation: &'static str) -> impl Fn(hythe_oci::Error) -> Error {
    move |error| {
        let told = Error::new(error.kind().into(), operation, error.to_string());
        let told = match error.next_step() {
            Some(hint) => told.hint(hint),
            None => told,
        };
        told.source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_keeps_the_words_and_takes_the_kind_of_the_code() {
        let error = refused("start", 2, "failed to create shim task: OCI runtime create failed: unknown");
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.message(), "failed to create shim task: OCI runtime create failed");
        let other = refused("start", 2, "failed to start shim: mkdir /run/x/task/hythe/1: file exists: unknown");
        assert_eq!((other.kind(), other.is_temporary()), (ErrorKind::Conflict, true));
        assert_eq!(refused("inspect", 5, "container \"x\": not found").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn exec_code_of_runc_words_is_that_of_a_shell() {
        let absent = "unable to start container process: exec: \"nope\": executable file not found in $PATH";
        assert_eq!(exec_code(absent), Some(127));
        assert_eq!(exec_code("exec: \"/etc/passwd\": permission denied"), Some(126));
        assert_eq!(exec_code("error mounting \"/x\": no such file or directory"), None);
    }
}
