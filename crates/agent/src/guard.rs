//! Who may call: every request passes here before any route sees it, and what is not allowed is refused.
//!
//! A Unix socket is guarded by its permissions, so whoever gets there may call. Over TCP the bearer token decides, for every path and without
//! an exception. `Host` and `Origin` keep web pages out: a browser sends them truly, whatever the page wants.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, HOST, ORIGIN, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::App;
use crate::body::whole_body;
use crate::error::{ApiError, Refused, as_problem, refused};
use crate::serve::{Entrance, Peer};
use crate::token::Token;

/// What requests are held against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    /// Absent: nothing is served over TCP.
    token: Option<Token>,
    /// Names besides those of the loopback interface that `Host` may say, with or without a port.
    allowed_hosts: Vec<String>,
}

impl Guard {
    pub(crate) fn new(token: Option<Token>, allowed_hosts: &[String]) -> Arc<Self> {
        let allowed_hosts = allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Arc::new(Self { token, allowed_hosts })
    }

    fn admit(&self, request: &Request) -> Result<(), ApiError> {
        // A connection of which nothing is known is treated as one over TCP.
        let entrance = request.extensions().get::<ConnectInfo<Peer>>().map_or(Entrance::Tcp, |peer| peer.0.entrance());
        framing(request)?;
        let host = host(request)?;
        if entrance == Entrance::Tcp {
            match &host {
                Some(host) if self.is_allowed(host) => {}
                Some(host) => return Err(foreign_host(host)),
                None => return Err(malformed("`Host` is missing")),
            }
        }
        self.origin(request, host.as_ref())?;
        if entrance == Entrance::Tcp {
            self.token(request)?;
        }
        decided(request)
    }

    fn is_allowed(&self, host: &Authority) -> bool {
        let name = host.host().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        is_loopback(name) || self.allowed_hosts.iter().any(|allowed| allowed == name || allowed == host.as_str())
    }

    /// A page may call only the agent that it came from, and only under a name that this agent knows as its own.
    fn origin(&self, request: &Request, host: Option<&Authority>) -> Result<(), ApiError> {
        for origin in request.headers().get_all(ORIGIN) {
            let authority = origin.to_str().ok().and_then(authority_of_origin);
            let is_own = authority.is_some_and(|authority| self.is_allowed(&authority) && Some(&authority) == host);
            if !is_own {
                let shown = String::from_utf8_lossy(origin.as_bytes());
                return Err(refused(Refused::Forbidden, format!("`Origin` is not allowed: `{shown}`"))
                    .hint("other web pages may not call the agent"));
            }
        }
        Ok(())
    }

    fn token(&self, request: &Request) -> Result<(), ApiError> {
        let given = one(request, &AUTHORIZATION)?;
        let is_right =
            given.is_some_and(|given| self.token.as_ref().is_some_and(|token| token.is_given_by(given.as_bytes())));
        if is_right {
            return Ok(());
        }
        let detail = if given.is_some() { "the bearer token is wrong" } else { "a bearer token is needed" };
        Err(refused(Refused::Unauthenticated, detail)
            .hint("it is in the file `token` in the agent's state directory; `hythe` takes `--token-file` or `HYTHE_TOKEN_FILE`"))
    }
}

/// The outermost layer of the router.
pub(crate) async fn guarded(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = match app.guard.admit(&request) {
        Ok(()) => match whole_body(request).await {
            Ok(request) => next.run(request).await,
            Err(error) => closing(error),
        },
        Err(refusal) => closing(refusal),
    };
    as_problem(response).await
}

/// What comes next on a connection whose request was not read to its end could be taken for something else.
fn closing(error: ApiError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A route is described in [`hythe_api::OPERATIONS`], which says by that that holders of the token may call it; any other is reached by nobody.
fn decided(request: &Request) -> Result<(), ApiError> {
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return Ok(());
    };
    if hythe_api::OPERATIONS.iter().any(|operation| operation.path == path.as_str()) {
        return Ok(());
    }
    Err(refused(Refused::Forbidden, format!("nothing says who may call `{}`", path.as_str())))
}

/// Whoever stands in front of the agent and the agent must agree where a request ends. With `Content-Length` alone there is one answer.
fn framing(request: &Request) -> Result<(), ApiError> {
    if request.headers().contains_key(TRANSFER_ENCODING) {
        return Err(malformed("`Transfer-Encoding` is not accepted").hint("give the body with `Content-Length`"));
    }
    Ok(())
}

/// The one host that a request is for.
fn host(request: &Request) -> Result<Option<Authority>, ApiError> {
    let wrong = |_| malformed("`Host` is not a host");
    let text = match one(request, &HOST)? {
        Some(value) => value.to_str().map_err(|_| malformed("`Host` is not a host"))?,
        None if request.version() == Version::HTTP_10 => return Ok(None),
        None => return Err(malformed("`Host` is missing")),
    };
    let host: Authority = text.parse().map_err(wrong)?;
    if host.as_str().contains('@') {
        return Err(malformed("`Host` is not a host"));
    }
    match request.uri().authority() {
        Some(named) if *named != host => Err(malformed("`Host` and the request's target name different hosts")),
        _ => Ok(Some(host)),
    }
}

/// The value of a header that may be there once.
fn one<'a>(request: &'a Request, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ApiError> {
    let mut values = request.headers().get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(malformed(&format!("there is more than one `{name}`")));
    }
    Ok(first)
}

/// `http://host:port`; `null` and what is no web page have none.
fn authority_of_origin(text: &str) -> Option<Authority> {
    let uri: Uri = text.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/") && !text.ends_with('/');
    uri.into_parts().authority.filter(|_| is_web && is_bare)
}

fn is_loopback(name: &str) -> bool {
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name == "localhost"
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || v6.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()))
}

fn malformed(detail: &str) -> ApiError {
    refused(Refused::Malformed, detail)
}

fn foreign_host(host: &Authority) -> ApiError {
    refused(Refused::Forbidden, format!("`Host` is not a name of this agent: `{host}`"))
        .hint("`allowed_hosts` in its configuration names those besides `localhost`")
}

#[cfg(test)]
mod tests;
