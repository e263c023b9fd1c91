//! A hook that is a URL: the alert is posted to it as JSON.

use std::sync::{Arc, OnceLock};

use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hythe_spec::causes::with_causes;

use super::message::Message;

/// Bytes of an answer that are read; of a refusal some of them are reported.
const READ: usize = 16 << 10;
const SHOWN: usize = 200;

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Posts it; the answer's status, or why that is a failure. Redirections are refusals.
pub(super) async fn post(url: &Uri, message: &Message) -> Result<String, String> {
    let request = Request::post(url.clone())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("hythe/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(message.json.clone())))
        .map_err(|error| error.to_string())?;
    let answer = client()?.request(request).await.map_err(|error| with_causes(&error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(status.to_string());
    }
    // A refusal without readable words is one all the same.
    let body = Limited::new(answer.into_body(), READ).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let words: String = String::from_utf8_lossy(&body).trim().chars().take(SHOWN).collect();
    Err(if words.is_empty() { status.to_string() } else { format!("{status}: {words}") })
}

/// A URL without what may be secret in it: path and query often are.
pub(super) fn shown(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{host}", url.scheme_str().unwrap_or("http"))
}

/// One for all hooks, made when it is first needed: certificates of the system are read then.
fn client() -> Result<&'static Http, String> {
    static CLIENT: OnceLock<Http> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(provider)
        .map_err(|error| format!("TLS cannot be used: {}", with_causes(&error)))?
        .https_or_http()
        .enable_http1()
        .build();
    // Rare calls gain nothing from connections that are kept.
    let made = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    Ok(CLIENT.get_or_init(|| made))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn message() -> Message {
        Message { json: "{\"alert\":\"drift\"}".to_owned(), variables: Vec::new() }
    }

    /// Posts to somebody who answers with these bytes; the outcome and what was asked.
    async fn posted(answer: &'static str) -> (Result<String, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("http://{}/hook?key=secret", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                stream.read_buf(&mut asked).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        let outcome = post(&url, &message()).await;
        (outcome, server.await.unwrap())
    }

    #[tokio::test]
    async fn the_alert_is_posted_as_json() {
        let (outcome, asked) = posted("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(outcome.unwrap(), "204 No Content");
        assert!(asked.starts_with("POST /hook?key=secret HTTP/1.1\r\n"), "{asked}");
        assert!(
            asked.contains("content-type: application/json\r\n") && asked.ends_with("{\"alert\":\"drift\"}"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_refusal_and_a_closed_door_are_failures() {
        let (outcome, _) = posted("HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nno token\n").await;
        assert_eq!(outcome.unwrap_err(), "403 Forbidden: no token");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = post(&format!("http://{closed}/").parse().unwrap(), &message()).await.unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn https_speaks_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 2];
            stream.read_exact(&mut hello).await.unwrap();
            hello
        });
        assert!(post(&url, &message()).await.is_err());
        assert_eq!(server.await.unwrap(), [22, 3], "a TLS handshake record");
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        assert_eq!(shown(&"https://u:p@hooks.example/T0/B0?x=1".parse().unwrap()), "https://hooks.example");
    }
}
