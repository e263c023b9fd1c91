//! What can go wrong between a client and an agent: three kinds that never look alike.

use std::io;
use std::time::Duration;

use http::StatusCode;
use hythe_api::Problem;

use crate::Endpoint;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The agent answered that it cannot or will not.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// No agent answers there.
    #[error("no agent answers on `{endpoint}`")]
    Unreachable {
        /// Where it was looked for.
        endpoint: Endpoint,
        /// Why it was not found.
        source: io::Error,
    },
    /// An agent listens there and says nothing: it is stopped, or hangs.
    #[error("the agent on `{endpoint}` does not answer within {} s", .after.as_secs())]
    Silent {
        /// Where it listens.
        endpoint: Endpoint,
        /// How long was waited.
        after: Duration,
    },
    /// What answers does not speak this API, or stopped in mid-answer.
    #[error("the conversation with the agent broke off")]
    Protocol(#[from] ProtocolError),
}

/// How a conversation broke.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The connection failed after it was made.
    #[error("the connection failed")]
    Connection(#[from] hyper::Error),
    /// A request could not be put into HTTP.
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
    /// A query could not be put into a URL.
    #[error("the query cannot be sent")]
    Query(#[from] serde_urlencoded::ser::Error),
    /// Text that is not the JSON expected.
    #[error("the answer of `{path}` is not what this version understands")]
    Json {
        /// Path that was asked.
        path: String,
        /// What is wrong with the text.
        source: serde_json::Error,
    },
    /// A status without a problem document.
    #[error("`{path}` answered with status {status}: {body}")]
    Status {
        /// Path that was asked.
        path: String,
        /// HTTP status.
        status: StatusCode,
        /// Beginning of the body.
        body: String,
    },
    /// No answer in time.
    #[error("no answer in {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// A stream ended before it said so.
    #[error("the stream of `{path}` ended before it was complete")]
    Truncated {
        /// Path that was asked.
        path: String,
    },
    /// An event of a stream is not text.
    #[error("the stream is not UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    /// A WebSocket failed.
    #[error("the session failed")]
    WebSocket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// A WebSocket message on a channel that does not exist.
    #[error("a message on the unknown channel {0}")]
    Channel(u8),
    /// The upgrade to a WebSocket was answered with a wrong key.
    #[error("the upgrade to a WebSocket was not confirmed")]
    Upgrade,
}

impl ClientError {
    /// The problem's kind where the agent answered with one: `not-found`, `conflict`.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.kind),
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Protocol(_) => None,
        }
    }

    /// The agent answered that it does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some("not-found")
    }
}

impl From<Problem> for ClientError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

macro_rules! protocol_errors {
    ($($source:ty),*) => {
        $(impl From<$source> for ClientError {
            fn from(source: $source) -> Self {
                Self::Protocol(source.into())
            }
        })*
    };
}

protocol_errors!(hyper::Error, http::Error, serde_urlencoded::ser::Error, std::str::Utf8Error);

impl From<tokio_tungstenite::tungstenite::Error> for ClientError {
    fn from(source: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Protocol(Box::new(source).into())
    }
}
