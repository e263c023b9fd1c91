//! Errors at the edge: the one place that knows status codes.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hythe_api::Problem;
use hythe_runtime::{Error, ErrorKind};
use serde_json::Value;

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or directory cannot be used.
    #[error("`{path}` cannot be used")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration cannot be read.
    #[error("`{path}` is not a valid configuration")]
    Config {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Values of the configuration that cannot be meant.
    #[error("`{path}` is not a valid configuration\n  {}", .problems.join("\n  "))]
    Settings {
        /// Which file.
        path: PathBuf,
        /// Every fault with its place.
        problems: Vec<String>,
    },
    /// The id of the agent is damaged.
    #[error("`{path}` does not hold an agent's id")]
    Owner {
        /// Which.
        path: PathBuf,
    },
    /// Another agent answers on the socket.
    #[error("an agent answers on `{path}` already")]
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// Only loopback addresses are listened on: the API has no log-in.
    #[error("`{address}` is not a loopback address")]
    OpenListener {
        /// Which.
        address: SocketAddr,
    },
    /// The group of the socket does not exist.
    #[error("no group is named `{group}`")]
    Group {
        /// Which.
        group: String,
    },
    /// What a test asked for by the environment is not understood.
    #[error("{0}")]
    TestAid(String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] hythe_store::Error),
    /// The controller cannot be started.
    #[error(transparent)]
    Controller(#[from] Error),
}

/// A failed request.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Box<Problem>);

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(Box::new(problem(&error)))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

/// An error as clients see it.
pub(crate) fn problem(error: &Error) -> Problem {
    let (status, title) = status(error.kind());
    Problem {
        kind: error.kind().as_str().to_owned(),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: error.message().to_owned(),
        hint: error.next_step().map(str::to_owned),
        problems: Vec::new(),
    }
}

/// An operation's stored error as clients see it.
pub(crate) fn stored_problem(error: &Value) -> Problem {
    let text = |key: &str| error[key].as_str().map(str::to_owned);
    let kind = text("kind").unwrap_or_else(|| "internal".to_owned());
    let (status, title) =
        KINDS.iter().find(|known| known.as_str() == kind).map_or(status(ErrorKind::Internal), |kind| status(*kind));
    Problem {
        kind,
        title: title.to_owned(),
        status: status.as_u16(),
        detail: text("message").unwrap_or_default(),
        hint: text("hint"),
        problems: Vec::new(),
    }
}

/// A request that cannot be read.
pub(crate) fn bad_request(detail: impl Into<String>) -> ApiError {
    ApiError::from(Error::new(ErrorKind::Invalid, "request", detail))
}

/// A service that breaks the rules: every fault of it.
pub(crate) fn invalid_service(problems: Vec<hythe_api::FieldProblem>) -> ApiError {
    let (status, title) = status(ErrorKind::Invalid);
    ApiError(Box::new(Problem {
        kind: ErrorKind::Invalid.as_str().to_owned(),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: format!("the service has {} faults", problems.len()),
        hint: None,
        problems,
    }))
}

const KINDS: [ErrorKind; 11] = [
    ErrorKind::NotFound,
    ErrorKind::AlreadyExists,
    ErrorKind::Unsupported,
    ErrorKind::Invalid,
    ErrorKind::Conflict,
    ErrorKind::Unauthorized,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Exhausted,
    ErrorKind::Cancelled,
    ErrorKind::Internal,
];

const fn status(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not found"),
        ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "the name is taken"),
        ErrorKind::Unsupported => (StatusCode::UNPROCESSABLE_ENTITY, "not supported"),
        ErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "not valid"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "not possible in this state"),
        ErrorKind::Unauthorized => (StatusCode::FORBIDDEN, "credentials were refused"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "no answer"),
        ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "no answer in time"),
        ErrorKind::Exhausted => (StatusCode::INSUFFICIENT_STORAGE, "a resource ran out"),
        ErrorKind::Cancelled => (StatusCode::CONFLICT, "withdrawn"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "an internal error"),
    }
}
