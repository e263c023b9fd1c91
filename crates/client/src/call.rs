//! From a method, a path, a query and a body to a typed answer or a typed error.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response, request};
use http_body_util::Full;
use hyper::body::Incoming;
use hythe_api::Problem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::target::Target;
use crate::{ClientError, ProtocolError, transport};

/// What RFC 3986 leaves alone in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const SHOWN_OF_A_BODY: usize = 200;

/// A request in the making.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    head: request::Builder,
    query: String,
    body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let head = Request::builder().method(method);
        Self { path: path.into(), head, query: String::new(), body: Bytes::new() }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: &str) -> Self {
        self.head = self.head.header(name, value);
        self
    }

    pub(crate) fn query(mut self, query: &impl Serialize) -> Result<Self, ClientError> {
        self.query = serde_urlencoded::to_string(query)?;
        Ok(self)
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        let unfit = |source| ProtocolError::Json { path: self.path.clone(), source };
        self.body = serde_json::to_vec(body).map_err(unfit)?.into();
        Ok(self.header(CONTENT_TYPE, "application/json"))
    }

    /// The answer's head, where its status says success.
    pub(crate) async fn send(self, target: &Target) -> Result<Response<Incoming>, ClientError> {
        let uri = match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        let mut request = self.head.uri(uri).body(Full::new(self.body))?;
        target.address(&mut request)?;
        let response = transport::send(target, request).await?;
        let status = response.status();
        if status.is_success() || status.is_informational() {
            return Ok(response);
        }
        let body = transport::collect(target, response).await?;
        Err(refusal(self.path, status, &body))
    }

    pub(crate) async fn json<T: DeserializeOwned>(self, target: &Target) -> Result<T, ClientError> {
        let path = self.path.clone();
        let body = self.header(ACCEPT, "application/json").body_of(target).await?;
        serde_json::from_slice(&body).map_err(|source| ProtocolError::Json { path, source }.into())
    }

    pub(crate) async fn text(self, target: &Target) -> Result<String, ClientError> {
        Ok(std::str::from_utf8(&self.body_of(target).await?)?.to_owned())
    }

    pub(crate) async fn empty(self, target: &Target) -> Result<(), ClientError> {
        self.body_of(target).await.map(drop)
    }

    async fn body_of(self, target: &Target) -> Result<Bytes, ClientError> {
        let response = self.send(target).await?;
        transport::collect(target, response).await
    }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> impl std::fmt::Display {
    utf8_percent_encode(name, SEGMENT)
}

fn refusal(path: String, status: http::StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.into(),
        Err(_) => {
            let body = String::from_utf8_lossy(body).chars().take(SHOWN_OF_A_BODY).collect();
            ProtocolError::Status { path, status, body }.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_becomes_a_problem() {
        let body = br#"{"kind":"not-found","title":"not found","status":404,"detail":"no service `x`"}"#;
        let error = refusal("/v1/services/x".into(), http::StatusCode::NOT_FOUND, body);
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "no service `x`");
    }

    #[test]
    fn any_other_refusal_keeps_status_and_words() {
        let error = refusal("/v1/x".into(), http::StatusCode::BAD_GATEWAY, b"<html>");
        let ClientError::Protocol(source) = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), "`/v1/x` answered with status 502 Bad Gateway: <html>");
    }

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(segment("a/b?c").to_string(), "a%2Fb%3Fc");
        assert_eq!(segment("shop-web").to_string(), "shop-web");
    }
}
