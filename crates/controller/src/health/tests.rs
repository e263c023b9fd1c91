#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;

use bytes::Bytes;
use hythe_driver_memory::Memory;
use hythe_spec::{HttpProbe, Millis, OnFailure, Probe, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

fn health(retries: u32, start_period: u64) -> Health {
    Health {
        probe: Probe::Tcp { port: 1 },
        interval: Millis(1000),
        timeout: Millis(1000),
        retries,
        start_period: Millis(start_period),
        start_interval: None,
        on_failure: OnFailure::None,
    }
}

fn states(health: &Health, results: &[bool]) -> Vec<Option<HealthState>> {
    let mut tracker = Tracker::default();
    let result = |ok: &bool| if *ok { Ok(()) } else { Err("no".to_owned()) };
    results.iter().map(|ok| tracker.take(health, result(ok)).map(|(state, _)| state)).collect()
}

#[test]
fn unhealthy_takes_as_many_failures_in_a_row_as_asked() {
    let seen = states(&health(2, 0), &[true, false, true, false, false, true]);
    let expected =
        [Some(HealthState::Healthy), None, None, None, Some(HealthState::Unhealthy), Some(HealthState::Healthy)];
    assert_eq!(seen, expected);
}

#[test]
fn failures_in_the_start_period_do_not_count() {
    assert_eq!(
        states(&health(1, 60_000), &[false, false, true, false]),
        [None, None, Some(HealthState::Healthy), Some(HealthState::Unhealthy)]
    );
}

#[test]
fn the_start_interval_counts_until_the_first_success_in_the_start_period() {
    let given = Health { start_interval: Some(Millis(2000)), ..health(1, 60_000) };
    assert_eq!(pause(&given, true), Duration::from_secs(2));
    assert_eq!(pause(&given, false), Duration::from_secs(1));
    assert_eq!(pause(&health(1, 60_000), true), EAGER);
}

fn target(address: SocketAddr) -> Target {
    let id = InstanceId("a".to_owned());
    Target { id, name: "web".to_owned(), addresses: vec![address], runtime: Memory::new(), tls: None }
}

async fn tried(target: &Target, probe: Probe) -> Result<(), String> {
    let health = Health { probe, ..health(1, 0) };
    target.probe(&health).await.map_err(|reason| reason.to_string())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one request with these bytes; gives back what was asked.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(asked).unwrap()
}

async fn got(probe: HttpProbe, bytes: &'static str) -> (Result<(), String>, String) {
    let (listener, address) = listener().await;
    let serving = async { answer(listener.accept().await.unwrap().0, bytes).await };
    let target = target(address);
    tokio::join!(tried(&target, Probe::Http(probe)), serving)
}

fn http(port: u16) -> HttpProbe {
    HttpProbe::new(port, "/up".to_owned())
}

#[tokio::test]
async fn http_get_takes_the_statuses_and_the_body_that_are_asked_for() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nall well";
    let down = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    let only = |text: &str| HttpProbe { status: vec![text.parse().unwrap()], ..http(1) };
    let body = |text: &str| HttpProbe { body: Some(text.to_owned()), ..http(1) };
    for (probe, bytes, expected) in [
        (http(1), fine, Ok(())),
        (http(1), moved, Ok(())),
        (http(1), down, Err("answered 503")),
        (only("500-599"), down, Ok(())),
        (only("200"), moved, Err("answered 302, not 200")),
        (body("well"), fine, Ok(())),
        (body("ill"), fine, Err("answered 200 without `ill` in its body")),
    ] {
        assert_eq!(got(probe, bytes).await.0, expected.map_err(str::to_owned), "{bytes}");
    }
}

#[tokio::test]
async fn http_get_sends_the_headers_that_are_given() {
    let headers = [("x-a", "b"), ("host", "shop.example")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let probe = HttpProbe { headers: headers.into(), ..http(1) };
    let (result, asked) = got(probe, "HTTP/1.1 204 No\r\n\r\n").await;
    assert_eq!(result, Ok(()));
    assert!(asked.starts_with("GET /up HTTP/1.1\r\n") && asked.contains("x-a: b\r\n"), "{asked}");
    assert_eq!(asked.matches("host: ").count(), 1, "{asked}");
}

#[tokio::test]
async fn endless_body_is_read_to_its_bound() {
    let (listener, address) = listener().await;
    let serving = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let probe = HttpProbe { body: Some("y".to_owned()), ..http(1) };
    let result = tried(&target(address), Probe::Http(probe)).await;
    assert_eq!(result, Err("answered 200 without `y` in its body".to_owned()));
    serving.await.unwrap();
}

#[tokio::test]
async fn silence_a_closed_port_and_nonsense_each_have_words() {
    let (listening, address) = listener().await;
    let silent = tried(&target(address), Probe::Http(http(1))).await;
    assert_eq!(silent, Err("no answer within 1s".to_owned()));
    drop(listening);
    let refused = Err(format!("{address}: connection refused"));
    assert_eq!(tried(&target(address), Probe::Tcp { port: 1 }).await, refused);
    assert_eq!(tried(&target(address), Probe::Grpc { port: 1, service: None }).await, refused);
    let odd = got(http(1), "SSH-2.0-OpenSSH\r\n").await.0.unwrap_err();
    assert!(odd.starts_with("its answer cannot be read: "), "{odd}");
}

#[tokio::test]
async fn https_certificate_is_verified_unless_configured_otherwise() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["web".to_owned()]).unwrap();
    let certificate = cert.der().clone();
    let address = serving_tls(acceptor(certificate.clone(), signing_key.serialize_der())).await;
    let with = |how, authorities| Target { tls: Some(tls::trusting(how, authorities)), ..target(address) };
    let probe = |tls| Probe::Http(HttpProbe { tls: Some(tls), ..http(1) });
    assert_eq!(tried(&with(Tls::Insecure, Vec::new()), probe(Tls::Insecure)).await, Ok(()));
    assert_eq!(tried(&with(Tls::Verified, vec![certificate.clone()]), probe(Tls::Verified)).await, Ok(()));
    let unknown = tried(&with(Tls::Verified, Vec::new()), probe(Tls::Verified)).await.unwrap_err();
    assert!(unknown.starts_with("no TLS: invalid peer certificate: its issuer is not a trusted CA"), "{unknown}");
    let named = HttpProbe { tls: Some(Tls::Verified), server_name: Some("shop.example".to_owned()), ..http(1) };
    let another = tried(&with(Tls::Verified, vec![certificate]), Probe::Http(named)).await.unwrap_err();
    assert!(another.contains("not valid for name"), "{another}");
}

#[tokio::test]
async fn https_certificate_of_a_ca_is_refused_in_words() {
    let mut params = CertificateParams::new(vec!["web".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let address = serving_tls(acceptor(certificate.clone(), key.serialize_der())).await;
    let target = Target { tls: Some(tls::trusting(Tls::Verified, vec![certificate])), ..target(address) };
    let probe = Probe::Http(HttpProbe { tls: Some(Tls::Verified), ..http(1) });
    let words = "the certificate is a CA certificate and cannot be used as a server's";
    assert_eq!(tried(&target, probe).await, Err(format!("no TLS: invalid peer certificate: {words}")));
}

/// A server that answers every request with 200.
async fn serving_tls(acceptor: TlsAcceptor) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let stream = listener.accept().await.unwrap().0;
            // Who does not trust it goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    });
    address
}

fn acceptor(certificate: CertificateDer<'static>, key: Vec<u8>) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn grpc_server_says_whether_it_serves() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let stream = listener.accept().await.unwrap().0;
            tokio::spawn(serve_health(stream));
        }
    });
    let checked = async |service: &str| {
        let service = Some(service.to_owned()).filter(|service| !service.is_empty());
        tried(&target(address), Probe::Grpc { port: 1, service }).await
    };
    assert_eq!(checked("").await, Ok(()));
    assert_eq!(checked("shop.Cart").await, Err("answered NOT_SERVING".to_owned()));
    assert_eq!(checked("absent").await, Err("answered gRPC status NOT_FOUND: unknown service".to_owned()));
}

/// `grpc.health.v1.Health` as servers have it: the server serves, `shop.Cart` does not, and there is nothing else.
async fn serve_health(stream: tokio::net::TcpStream) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(accepted) = connection.accept().await {
        let (request, mut reply) = accepted.unwrap();
        tokio::spawn(async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let mut body = request.into_body();
            let mut asked = Vec::new();
            while let Some(bytes) = body.data().await {
                asked.extend_from_slice(&bytes.unwrap());
            }
            let head = ::http::Response::builder().header("content-type", "application/grpc");
            let state: u8 = match &asked[5..] {
                [] => 1,
                [0x0a, 9, name @ ..] if name == b"shop.Cart" => 2,
                _ => {
                    let head = head.header("grpc-status", "5").header("grpc-message", "unknown service");
                    reply.send_response(head.body(()).unwrap(), true).unwrap();
                    return;
                }
            };
            let mut send = reply.send_response(head.body(()).unwrap(), false).unwrap();
            send.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, state]), false).unwrap();
            let mut trailers = ::http::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            send.send_trailers(trailers).unwrap();
        });
    }
}
