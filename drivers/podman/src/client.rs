//! Podman's own HTTP API (libpod): the only place that sends requests to it.

mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hythe_local::http::{Body, Endpoint, HttpClient, http_client};
use hythe_runtime::{Error, ErrorKind, OpContext, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::wire::json;
pub(crate) use self::wire::{body, empty, filters, lines, read_json, segment};
use crate::api_types::ErrorMessage;
use crate::error;
use crate::service::Service;

/// Host in the address of every request; the connector ignores it.
const AUTHORITY: &str = "http://podman";
/// The oldest API that is spoken, which every Podman 4 and 5 still answers.
const OLDEST: &str = "4.0.0";
const OLDEST_MAJOR: u32 = 4;
/// The newest major version that answers requests of the oldest.
const NEWEST_MAJOR: u32 = 5;
const VERSION_HEADER: &str = "libpod-api-version";
const CONNECT: Duration = Duration::from_secs(5);

/// What a call was about, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) operation: &'static str,
    /// The instance, image, network or volume.
    pub(crate) subject: &'a str,
}

/// Parameters of a request.
pub(crate) type Query<'a> = &'a [(&'a str, &'a str)];

/// Bytes as they come.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Connection to one podman; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: HttpClient,
    /// Of every path: version and name of the API.
    prefix: Arc<str>,
    /// Where it is a service of ours; it lives as long as a client.
    service: Option<Arc<Service>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("prefix", &self.prefix).field("service", &self.service).finish_non_exhaustive()
    }
}

/// Why there is no answer.
enum Failure {
    /// Podman refused.
    Refused(StatusCode, String),
    /// Nothing, or half of it, came back.
    Lost(String),
}

impl Client {
    /// A client of what listens there; speaks the oldest version.
    pub(crate) fn new(endpoint: &Endpoint, service: Option<Arc<Service>>) -> Self {
        Self { http: http_client(endpoint, CONNECT), prefix: prefix(OLDEST), service }
    }

    /// A client that speaks a version which that podman speaks too.
    pub(crate) fn speaking(self, about: About<'_>, version: &str) -> Result<Self> {
        let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
        if major < OLDEST_MAJOR {
            let words = format!("podman {version} is too old: its API is {version}, {OLDEST} or newer is needed");
            return Err(Error::new(ErrorKind::Unavailable, about.operation, words).hint("install podman 4 or newer"));
        }
        let spoken = if major > NEWEST_MAJOR { version } else { OLDEST };
        Ok(Self { prefix: prefix(spoken), ..self })
    }

    /// The service that this client keeps going.
    pub(crate) fn service(&self) -> Option<&Service> {
        self.service.as_deref()
    }

    /// The version of the podman that answers now.
    pub(crate) async fn ping(&self, about: About<'_>) -> Result<String> {
        let request = http::Request::get(format!("{AUTHORITY}/_ping")).body(empty());
        let response = self.answer(about, request).await?;
        let version = response.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let _read = response.into_body().collect().await;
        let other = || Error::new(ErrorKind::Unavailable, about.operation, "what answers there is not podman");
        version.ok_or_else(other)
    }

    /// A JSON answer to a call that changes nothing.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        cx: &OpContext,
        about: About<'_>,
        path: &str,
        query: Query<'_>,
    ) -> Result<T> {
        cx.with_deadline(about.operation, self.send_json(about, Method::GET, path, query)).await
    }

    /// A JSON answer, whoever waits for it.
    pub(crate) async fn send_json<T: DeserializeOwned>(
        &self,
        about: About<'_>,
        method: Method,
        path: &str,
        query: Query<'_>,
    ) -> Result<T> {
        self.decode(about, self.send(about, method, path, query, empty()).await?).await
    }

    /// Whether there is such a thing.
    pub(crate) async fn exists(&self, about: About<'_>, path: &str) -> Result<bool> {
        match self.send(about, Method::GET, path, &[], empty()).await {
            Err(error) if error.is_not_found() => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// As [`Client::get`] for a list.
    pub(crate) async fn listing<T: DeserializeOwned>(
        &self,
        cx: &OpContext,
        about: About<'_>,
        path: &str,
        query: Query<'_>,
    ) -> Result<T> {
        self.get(cx, about, path, query).await.map_err(Error::of_listing)
    }

    /// A JSON answer to a call that changes something; it goes on to its end even when nobody waits any more.
    pub(crate) async fn post<T: DeserializeOwned + Send + 'static>(
        &self,
        cx: &OpContext,
        about: About<'_>,
        path: &str,
        query: Query<'_>,
        body: &impl Serialize,
    ) -> Result<T> {
        let body = json(about, body)?;
        let request = self.request(Method::POST, path, query, body);
        let (client, operation, subject) = (self.clone(), about.operation, about.subject.to_owned());
        let work = async move {
            let about = About { operation, subject: &subject };
            let response = client.answer(about, request).await?;
            client.decode(about, response).await
        };
        cx.run_detached(operation, work).await
    }

    /// A call that changes something; it goes on to its end even when nobody waits any more.
    pub(crate) async fn act(
        &self,
        cx: &OpContext,
        about: About<'_>,
        method: Method,
        path: &str,
        query: Query<'_>,
    ) -> Result<()> {
        self.act_holding(cx, about, (method, path, query), empty(), ()).await
    }

    /// [`Client::act`] that lets go of a guard when the call has ended, whoever still waits.
    pub(crate) async fn act_holding(
        &self,
        cx: &OpContext,
        about: About<'_>,
        (method, path, query): (Method, &str, Query<'_>),
        body: Body,
        guard: impl Send + 'static,
    ) -> Result<()> {
        let request = self.request(method, path, query, body);
        let (client, operation, subject) = (self.clone(), about.operation, about.subject.to_owned());
        let work = async move {
            let about = About { operation, subject: &subject };
            let answered = async {
                let read = client.answer(about, request).await?.into_body().collect().await;
                read.map(drop).map_err(|cause| client.lost(operation, &cause))
            };
            let done = answered.await;
            drop(guard);
            done
        };
        cx.run_detached(operation, work).await
    }

    /// The headers of an answer without a body.
    pub(crate) async fn head(&self, about: About<'_>, path: &str, query: Query<'_>) -> Result<http::HeaderMap> {
        Ok(self.send(about, Method::HEAD, path, query, empty()).await?.headers().clone())
    }

    /// An answer that comes bit by bit; dropping it ends the call.
    pub(crate) async fn stream(
        &self,
        about: About<'_>,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Body,
    ) -> Result<ByteStream> {
        let response = self.send(about, method, path, query, body).await?;
        let (client, operation) = (self.clone(), about.operation);
        let lost = move |cause: hyper::Error| client.lost(operation, &cause);
        Ok(response.into_body().into_data_stream().map_err(lost).boxed())
    }

    async fn send(
        &self,
        about: About<'_>,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Body,
    ) -> Result<Response<Incoming>> {
        self.answer(about, self.request(method, path, query, body)).await
    }

    fn request(&self, method: Method, path: &str, query: Query<'_>, body: Body) -> http::Result<http::Request<Body>> {
        let mut address = format!("{AUTHORITY}{}{path}", self.prefix);
        if !query.is_empty() {
            address.push('?');
            address.push_str(&serde_urlencoded::to_string(query).unwrap_or_default());
        }
        http::Request::builder()
            .method(method)
            .uri(address)
            .header(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))
            .body(body)
    }

    async fn answer(&self, about: About<'_>, request: http::Result<http::Request<Body>>) -> Result<Response<Incoming>> {
        let answered = match request {
            Ok(request) => self.http.request(request).await.map_err(|cause| Failure::Lost(reason(&cause))),
            Err(cause) => {
                let words = format!("`{}`: no request can be made of it: {cause}", about.subject);
                return Err(Error::new(ErrorKind::Invalid, about.operation, words).source(cause));
            }
        };
        let checked = match answered {
            Ok(response) => checked(response).await,
            Err(failure) => Err(failure),
        };
        checked.map_err(|failure| match failure {
            Failure::Refused(status, words) => error::refused(about, status.as_u16(), &words),
            Failure::Lost(words) => self.no_answer(about.operation, &words),
        })
    }

    async fn decode<T: DeserializeOwned>(&self, about: About<'_>, response: Response<Incoming>) -> Result<T> {
        let body = response.into_body().collect().await.map_err(|cause| self.lost(about.operation, &cause))?;
        read_json(about, &body.to_bytes())
    }

    fn lost(&self, operation: &'static str, cause: &(dyn std::error::Error + 'static)) -> Error {
        self.no_answer(operation, &reason(cause))
    }

    /// The engine is not there, for now: whether the call had an effect is not known.
    fn no_answer(&self, operation: &'static str, words: &str) -> Error {
        let error = Error::new(ErrorKind::Unavailable, operation, format!("podman's service does not answer: {words}"));
        match self.service().and_then(Service::last_log_lines) {
            Some(said) => error.with("service", said),
            None => error,
        }
    }
}

fn prefix(version: &str) -> Arc<str> {
    format!("/v{version}/libpod").into()
}

async fn checked(response: Response<Incoming>) -> std::result::Result<Response<Incoming>, Failure> {
    let status = response.status();
    if status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS) {
        return Ok(response);
    }
    let body = response.into_body().collect().await.map_err(|cause| Failure::Lost(reason(&cause)))?.to_bytes();
    let words = match serde_json::from_slice::<ErrorMessage>(&body) {
        Ok(error) => error.message,
        Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    Err(Failure::Refused(status, words))
}

/// The innermost words of an error of the connection.
fn reason(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = cause;
    while let Some(error) = innermost.source() {
        innermost = error;
    }
    match innermost.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => "its socket is absent".to_owned(),
        Some(io::ErrorKind::ConnectionRefused) => "nothing listens on its socket".to_owned(),
        _ => innermost.to_string(),
    }
}

/// Waits for the work until the deadline, unless the caller withdraws.
pub(crate) async fn until_deadline<F: Future>(cx: &OpContext, about: About<'_>, work: F) -> Result<F::Output> {
    cx.with_deadline(about.operation, async { Ok(work.await) }).await
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    const ABOUT: About<'static> = About { operation: "connect", subject: "podman" };

    fn prefix_for(version: &str) -> Result<String> {
        let client = Client::new(&Endpoint::Unix("/absent".into()), None);
        client.speaking(ABOUT, version).map(|client| client.prefix.to_string())
    }

    #[tokio::test]
    async fn the_version_is_one_that_both_speak() {
        for (version, expected) in
            [("4.3.1", "/v4.0.0/libpod"), ("5.8.6", "/v4.0.0/libpod"), ("6.1.0", "/v6.1.0/libpod")]
        {
            assert_eq!(prefix_for(version).unwrap(), expected);
        }
        assert_eq!(prefix_for("3.4.4").unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn an_absent_socket_is_a_lost_engine() {
        let client = Client::new(&Endpoint::Unix("/absent".into()), None);
        let error = client.ping(ABOUT).await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true));
        assert!(error.message().ends_with("its socket is absent"), "{error}");
    }
}
