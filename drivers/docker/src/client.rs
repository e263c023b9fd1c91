//! The engine's HTTP API: bollard for plain calls, the same connections used directly for streams and for reads that must be tolerant.
//!
//! Bollard's answer types have closed enumerations, so that one foreign container in a state it does not know would spoil a whole list,
//! and its log decoder guesses frames. Lists, inspects, hijacked and endless streams are therefore read with our own types.

use std::sync::Arc;
use std::time::Duration;

use bollard::ClientVersion;
use bollard::errors::Error as Native;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api_types::ErrorMessage;
use hythe_local::http::{Body, Endpoint, HttpClient, http_client};

/// Host in the address of every request; the connector ignores it.
const AUTHORITY: &str = "http://engine";
/// Deadlines come with each operation; this only ends calls that everybody has forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An API version, `1.41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u16, pub(crate) u16);

impl ApiVersion {
    /// The newest one whose answers this driver knows; Docker 20.10 (1.41) is the oldest.
    pub(crate) const NEWEST: Self = Self(1, 44);

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// Connection to one engine; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: HttpClient,
    docker: bollard::Docker,
    version: ApiVersion,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Parameters of a request.
pub(crate) type Query<'a> = &'a [(&'a str, &'a str)];

impl Client {
    /// A client that speaks this version.
    pub(crate) fn new(endpoint: &Endpoint, connect_timeout: Duration, version: ApiVersion) -> Result<Self, Native> {
        let http = http_client(endpoint, connect_timeout);
        let shared = Arc::new(http.clone());
        let transport = move |request: bollard::BollardRequest| {
            let http = Arc::clone(&shared);
            async move { http.request(request).await.map_err(Native::from) }
        };
        let spoken = ClientVersion { major_version: version.0.into(), minor_version: version.1.into() };
        let docker =
            bollard::Docker::connect_with_custom_transport(transport, Some(AUTHORITY), FORGOTTEN.as_secs(), &spoken)?;
        Ok(Self { http, docker, version })
    }

    /// Bollard, for plain calls.
    pub(crate) fn docker(&self) -> &bollard::Docker {
        &self.docker
    }

    /// The version spoken.
    pub(crate) fn version(&self) -> ApiVersion {
        self.version
    }

    /// The headers of a ping, which is the one call without a version in its path.
    pub(crate) async fn ping(&self) -> Result<HeaderMap, Native> {
        let request = http::Request::get(format!("{AUTHORITY}/_ping")).body(bollard::body_full(Bytes::new()))?;
        let response = checked(self.http.request(request).await?).await?;
        let headers = response.headers().clone();
        response.into_body().collect().await?;
        Ok(headers)
    }

    /// A JSON answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: Query<'_>) -> Result<T, Native> {
        decode(self.send(Method::GET, path, query, &HeaderMap::new(), bollard::body_full(Bytes::new())).await?).await
    }

    /// A JSON answer to a JSON document.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &impl Serialize,
    ) -> Result<T, Native> {
        decode(self.send(Method::POST, path, query, &HeaderMap::new(), json(body)?).await?).await
    }

    /// A request whose answer is only its status.
    pub(crate) async fn act(&self, method: Method, path: &str, query: Query<'_>) -> Result<StatusCode, Native> {
        let response = self.send(method, path, query, &HeaderMap::new(), bollard::body_full(Bytes::new())).await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status)
    }

    /// The headers of an answer without a body.
    pub(crate) async fn head(&self, path: &str, query: Query<'_>) -> Result<HeaderMap, Native> {
        let body = bollard::body_full(Bytes::new());
        Ok(self.send(Method::HEAD, path, query, &HeaderMap::new(), body).await?.headers().clone())
    }

    /// An answer that comes bit by bit.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<ByteStream, Native> {
        let response = self.send(method, path, query, headers, body).await?;
        Ok(response.into_body().into_data_stream().map_err(Native::from).boxed())
    }

    /// A connection taken over from HTTP.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        query: Query<'_>,
        body: Body,
    ) -> Result<hyper::upgrade::Upgraded, Native> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, http::HeaderValue::from_static("tcp"));
        let response = self.send(Method::POST, path, query, &headers, body).await?;
        Ok(hyper::upgrade::on(response).await?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, Native> {
        let ApiVersion(major, minor) = self.version;
        let mut address = format!("{AUTHORITY}/v{major}.{minor}{path}");
        if !query.is_empty() {
            address.push('?');
            address.push_str(&serde_urlencoded::to_string(query)?);
        }
        let mut request = http::Request::builder().method(method).uri(address).body(body)?;
        *request.headers_mut() = headers.clone();
        request.headers_mut().entry(header::CONTENT_TYPE).or_insert(http::HeaderValue::from_static("application/json"));
        checked(self.http.request(request).await?).await
    }
}

/// Bytes as they come.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes, Native>>;

/// One segment of a path; also what holds a slash.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The `filters` parameter.
pub(crate) fn filters(filters: &[(&str, Vec<String>)]) -> String {
    let map: std::collections::BTreeMap<&str, &Vec<String>> =
        filters.iter().map(|(key, values)| (*key, values)).collect();
    serde_json::json!(map).to_string()
}

/// A JSON body.
pub(crate) fn json(body: &impl Serialize) -> Result<Body, Native> {
    Ok(bollard::body_full(Bytes::from(serde_json::to_vec(body)?)))
}

async fn checked(response: Response<Incoming>) -> Result<Response<Incoming>, Native> {
    let status = response.status();
    if status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS) {
        return Ok(response);
    }
    let body = response.into_body().collect().await?.to_bytes();
    let message = match serde_json::from_slice::<ErrorMessage>(&body) {
        Ok(error) => error.message,
        Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    Err(Native::DockerResponseServerError { status_code: status.as_u16(), message })
}

async fn decode<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Native> {
    let body = response.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}
