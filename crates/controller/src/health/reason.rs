//! Why a try failed, in words: never without any.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use hythe_spec::causes::with_causes;
use hythe_spec::{Millis, Statuses};

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// The try took longer than it may.
    NoAnswer(Millis),
    /// Nothing that the agent can reach has the port.
    NoWay,
    /// Nobody accepts a connection.
    NoConnection(SocketAddr, io::ErrorKind, String),
    /// There is a connection, and no TLS on it.
    NoTls(String),
    /// What came is no answer of this protocol.
    Broken(String),
    /// The answer has another status than one of these; none: 200 to 399.
    Status(u16, Vec<Statuses>),
    /// The body lacks this text.
    Body(u16, String),
    /// The command ended with this code and this last output.
    Exit(i32, String),
    /// The command could not be run.
    NotRun(String),
    /// The call ended with this gRPC status and message.
    Call(u32, String),
    /// The service is in this state, by the protocol's number.
    NotServing(u64),
}

/// gRPC's statuses, by number.
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Reason {
    pub(super) fn no_connection(address: SocketAddr, error: &io::Error) -> Self {
        Self::NoConnection(address, error.kind(), error.to_string())
    }

    /// An error with all that it is about.
    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        Self::Broken(with_causes(error))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(limit) => write!(f, "no answer within {limit}"),
            Self::NoWay => f.write_str("the agent has no way to its network: publish the port or use an exec probe"),
            Self::NoConnection(address, io::ErrorKind::Other, words) => write!(f, "{address}: {}", said(words)),
            Self::NoConnection(address, kind, _) => write!(f, "{address}: {kind}"),
            Self::NoTls(words) => write!(f, "no TLS: {}", said(words)),
            Self::Broken(words) => write!(f, "its answer cannot be read: {}", said(words)),
            Self::Status(status, expected) if expected.is_empty() => write!(f, "answered {status}"),
            Self::Status(status, expected) => {
                let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
                write!(f, "answered {status}, not {}", expected.join(" or "))
            }
            Self::Body(status, text) => write!(f, "answered {status} without `{text}` in its body"),
            Self::Exit(code, output) if output.is_empty() => write!(f, "exit code {code}, without output"),
            Self::Exit(code, output) => write!(f, "exit code {code}: {output}"),
            Self::NotRun(words) => write!(f, "its command was not run: {}", said(words)),
            Self::Call(number, message) => {
                match usize::try_from(*number).ok().and_then(|number| STATUSES.get(number)) {
                    Some(name) => write!(f, "answered gRPC status {name}")?,
                    None => write!(f, "answered gRPC status {number}")?,
                }
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Self::NotServing(0) => f.write_str("answered UNKNOWN, not SERVING"),
            Self::NotServing(2) => f.write_str("answered NOT_SERVING"),
            Self::NotServing(3) => f.write_str("answered SERVICE_UNKNOWN: the server knows no such service"),
            Self::NotServing(number) => write!(f, "answered the unknown state {number}"),
        }
    }
}

fn said(words: &str) -> &str {
    if words.trim().is_empty() { "no reason was given" } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<(Reason, &'static str)> {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let refused = io::ErrorKind::ConnectionRefused;
        let success = vec![Statuses { first: 200, last: 200 }, Statuses { first: 300, last: 399 }];
        let own = String::new;
        vec![
            (Reason::NoAnswer(Millis(1500)), "no answer within 1s500ms"),
            (Reason::NoWay, "the agent has no way to its network: publish the port or use an exec probe"),
            (Reason::NoConnection(address, refused, own()), "127.0.0.1:80: connection refused"),
            (Reason::NoConnection(address, io::ErrorKind::Other, own()), "127.0.0.1:80: no reason was given"),
            (Reason::NoTls(own()), "no TLS: no reason was given"),
            (Reason::Broken("odd".to_owned()), "its answer cannot be read: odd"),
            (Reason::Status(503, Vec::new()), "answered 503"),
            (Reason::Status(503, success), "answered 503, not 200 or 300-399"),
            (Reason::Body(200, "ok".to_owned()), "answered 200 without `ok` in its body"),
            (Reason::Exit(3, own()), "exit code 3, without output"),
            (Reason::Exit(3, "not yet".to_owned()), "exit code 3: not yet"),
            (Reason::NotRun(own()), "its command was not run: no reason was given"),
            (Reason::Call(12, own()), "answered gRPC status UNIMPLEMENTED"),
            (Reason::Call(77, "x".to_owned()), "answered gRPC status 77: x"),
            (Reason::NotServing(2), "answered NOT_SERVING"),
            (Reason::NotServing(9), "answered the unknown state 9"),
        ]
    }

    #[test]
    fn every_reason_says_something() {
        for (reason, words) in every() {
            assert_eq!(reason.to_string(), words);
        }
    }
}
