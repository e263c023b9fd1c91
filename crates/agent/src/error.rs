//! Errors at the edge: the one place that knows status codes.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::body::to_bytes;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
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
    /// Only loopback addresses are listened on: what is said over TCP is not encrypted.
    #[error("`{address}` is not a loopback address")]
    OpenListener {
        /// Which.
        address: SocketAddr,
    },
    /// The token cannot be relied on.
    #[error("`{path}` cannot be used as the token: {reason}; remove it, and the agent makes another one")]
    Token {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The group of the socket does not exist.
    #[error("no group is named `{group}`")]
    Group {
        /// Which.
        group: String,
    },
    /// Members of the group cannot get to the socket.
    #[error(
        "`{directory}` keeps the group `{group}` from the socket; give the socket a directory of its own (`socket`) below ones that others may pass"
    )]
    Unreachable {
        /// Which directory.
        directory: PathBuf,
        /// Which group.
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

impl StartError {
    /// Another agent is there already.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::Store(hythe_store::Error::Locked { .. }))
    }
}

/// Why a request is refused for its form or its sender, before any route has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is no request that could be understood in one way only.
    Malformed,
    /// It has no valid token.
    Unauthenticated,
    /// It may not come from there, or not go there.
    Forbidden,
    /// Its body is too large.
    TooLarge,
    /// Its body did not come in time.
    TooSlow,
}

impl Refused {
    const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
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

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self(Box::new(plain(rejection.status(), rejection.body_text())))
    }
}

impl ApiError {
    /// With the next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

const PROBLEM: &str = "application/problem+json";
/// Longest text of a failure that was not written as a problem.
const LONGEST_TEXT: usize = 4096;

/// A request refused before any route.
pub(crate) fn refused(why: Refused, detail: impl Into<String>) -> ApiError {
    ApiError(Box::new(plain(why.status(), detail.into())))
}

/// A problem that has a status and no error of ours behind it.
fn plain(status: StatusCode, detail: String) -> Problem {
    let (kind, title) = match status {
        StatusCode::UNAUTHORIZED => ("unauthenticated", "who calls is not known"),
        StatusCode::FORBIDDEN => ("forbidden", "not allowed"),
        StatusCode::NOT_FOUND => ("not-found", "not found"),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UPGRADE_REQUIRED => {
            ("unsupported", "not supported")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "too large"),
        StatusCode::REQUEST_TIMEOUT => ("timeout", "not in time"),
        status if status.is_server_error() => ("internal", "an internal error"),
        _ => ("invalid", "not valid"),
    };
    Problem {
        kind: kind.to_owned(),
        title: title.to_owned(),
        status: status.as_u16(),
        detail,
        hint: None,
        problems: Vec::new(),
    }
}

/// What the HTTP library says of a failure, as a problem; what is one already, or a document of its own, stays as it is.
pub(crate) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_document =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/"));
    if is_document || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, LONGEST_TEXT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let detail = match (status, text.as_str()) {
        (StatusCode::METHOD_NOT_ALLOWED, "") => "this path does not have the method".to_owned(),
        (_, "") => status.canonical_reason().unwrap_or("the request failed").to_lowercase(),
        _ => text,
    };
    let problem = ApiError(Box::new(plain(status, detail))).into_response();
    head.headers.remove(header::CONTENT_LENGTH);
    let (own, body) = problem.into_parts();
    head.headers.extend(own.headers);
    Response::from_parts(head, body)
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
        detail: format!("the service has {} errors", problems.len()),
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
