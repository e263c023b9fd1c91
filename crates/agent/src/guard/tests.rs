#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use hythe_api::OPERATIONS;
use tower_service::Service;

use super::*;
use crate::routes::router;

/// An agent that nothing is deployed to, guarded by a token.
struct Site {
    app: App,
    bearer: String,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let token = Token::load_or_make(directory.path()).unwrap();
        let bearer = format!("Bearer {}", std::fs::read_to_string(directory.path().join("token")).unwrap().trim());
        let app = crate::testing::app(Guard::new(Some(token), &["hythe.example".to_owned()]));
        Self { app, bearer, _directory: directory }
    }

    async fn ask(&self, request: axum::http::request::Builder) -> Response {
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn send(&self, request: Request) -> Response {
        router(self.app.clone()).call(request).await.unwrap()
    }

    /// A request that is allowed.
    fn allowed(&self, method: Method, path: &str) -> axum::http::request::Builder {
        called(method, path).header(AUTHORIZATION, &self.bearer)
    }
}

fn called(method: Method, path: &str) -> axum::http::request::Builder {
    let path = path.replace("{name}", "x").replace("{id}", "x");
    Request::builder().method(method).uri(path).header(HOST, "localhost:7070")
}

fn upgrade(request: axum::http::request::Builder) -> axum::http::request::Builder {
    let request = request.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "websocket");
    request.header(header::SEC_WEBSOCKET_VERSION, "13").header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
}

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];

/// The table holds every route: `tests/architecture` compares it to the router.
fn paths() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.path).chain(["/", "/v1/none", "/v1/services/"])
}

#[track_caller]
fn is_problem(response: &Response, status: u16) {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn every_route_without_the_token_is_unauthorized() {
    let site = Site::new();
    for path in paths() {
        for method in METHODS {
            is_problem(&site.ask(called(method.clone(), path)).await, 401);
            let wrong = called(method.clone(), path).header(AUTHORIZATION, "Bearer 0");
            is_problem(&site.ask(wrong).await, 401);
            let twice = site.allowed(method, path).header(AUTHORIZATION, &site.bearer);
            is_problem(&site.ask(twice).await, 400);
        }
        is_problem(&site.ask(upgrade(called(Method::GET, path))).await, 401);
    }
}

#[tokio::test]
async fn every_route_with_the_token_is_reached() {
    let site = Site::new();
    for operation in OPERATIONS {
        let method = Method::from_bytes(operation.method.name().as_bytes()).unwrap();
        let response = site.ask(site.allowed(method, operation.path)).await;
        let status = response.status();
        assert!(![401, 403, 405].contains(&status.as_u16()), "{} answers {status}", operation.path);
    }
}

#[tokio::test]
async fn every_route_with_a_foreign_host_or_origin_is_forbidden_even_with_the_token() {
    let site = Site::new();
    for path in paths() {
        for method in METHODS {
            let mut rebound = site.allowed(method.clone(), path);
            rebound.headers_mut().unwrap().insert(HOST, HeaderValue::from_static("evil.example:7070"));
            is_problem(&site.ask(rebound).await, 403);
            for origin in ["http://evil.example", "http://localhost:3000", "https://localhost", "null", "file://", ""] {
                let foreign = site.allowed(method.clone(), path).header(ORIGIN, origin);
                is_problem(&site.ask(foreign).await, 403);
                is_problem(&site.ask(upgrade(site.allowed(method.clone(), path).header(ORIGIN, origin))).await, 403);
            }
        }
    }
    let own = site.allowed(Method::GET, "/v1/version").header(ORIGIN, "http://localhost:7070");
    assert_eq!(site.ask(own).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn hosts_of_the_loopback_interface_and_configured_ones_are_taken() {
    let site = Site::new();
    let of = |host: &'static str| {
        let mut request = site.allowed(Method::GET, "/v1/version");
        request.headers_mut().unwrap().insert(HOST, HeaderValue::from_static(host));
        request
    };
    for host in
        ["localhost", "LocalHost.:1", "127.0.0.1:7070", "127.1.2.3", "[::1]:7070", "hythe.example", "Hythe.Example:80"]
    {
        assert_eq!(site.ask(of(host)).await.status(), StatusCode::OK, "{host}");
    }
    for host in ["127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "0.0.0.0", "xhythe.example"] {
        is_problem(&site.ask(of(host)).await, 403);
    }
    for host in ["", "a b", "user@localhost", "localhost:x:y"] {
        is_problem(&site.ask(of(host)).await, 400);
    }
}

#[tokio::test]
async fn ambiguous_requests_are_bad_on_every_listener() {
    let site = Site::new();
    for entrance in [Entrance::Tcp, Entrance::Unix] {
        let ask = |request: axum::http::request::Builder| site.ask(request.extension(ConnectInfo(Peer::new(entrance))));
        let twice = site.allowed(Method::GET, "/v1/version").header(HOST, "localhost:7070");
        is_problem(&ask(twice).await, 400);
        let two = site.allowed(Method::GET, "http://evil.example/v1/version");
        is_problem(&ask(two).await, 400);
        let both = site.allowed(Method::POST, "/v1/gc").header(TRANSFER_ENCODING, "chunked");
        let both = ask(both.header(header::CONTENT_LENGTH, "2")).await;
        is_problem(&both, 400);
        assert_eq!(both.headers()[CONNECTION], "close");
        let none = Request::builder().uri("/v1/version").header(AUTHORIZATION, &site.bearer);
        is_problem(&ask(none).await, 400);
    }
}

#[tokio::test]
async fn the_unix_socket_needs_no_token_and_takes_any_host() {
    let site = Site::new();
    let request = Request::builder().uri("/v1/version").header(HOST, "hythe");
    let response = site.ask(request.extension(ConnectInfo(Peer::new(Entrance::Unix)))).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_route_that_is_not_described_is_reached_by_nobody() {
    let site = Site::new();
    let mut stray = Router::new()
        .route("/v1/stray", get(async || "reached"))
        .layer(from_fn_with_state(site.app.clone(), guarded))
        .with_state(site.app.clone());
    let request = site.allowed(Method::GET, "/v1/stray").extension(ConnectInfo(Peer::new(Entrance::Unix)));
    let response = stray.call(request.body(Body::empty()).unwrap()).await.unwrap();
    is_problem(&response, 403);
}

#[tokio::test]
async fn every_failure_is_a_problem_with_its_status() {
    let site = Site::new();
    let post = || site.allowed(Method::POST, "/v1/gc");
    let json = || post().header(header::CONTENT_TYPE, "application/json");
    let send = |request: axum::http::request::Builder, body: Body| site.send(request.body(body).unwrap());
    is_problem(&send(post(), "{}".into()).await, 415);
    is_problem(&send(json(), "{".into()).await, 400);
    is_problem(&send(json(), r#"{"volumes":7}"#.into()).await, 422);
    is_problem(&send(json(), vec![b' '; crate::body::LARGEST + 1].into()).await, 413);
    is_problem(&site.ask(site.allowed(Method::GET, "/v1/none")).await, 404);
    is_problem(&site.ask(site.allowed(Method::GET, "/v1/events?limit=x")).await, 400);
    is_problem(&site.ask(site.allowed(Method::GET, "/v1/workloads/x/exec")).await, 400);
    let wrong = site.ask(site.allowed(Method::PATCH, "/v1/services")).await;
    is_problem(&wrong, 405);
    assert_eq!(wrong.headers()[header::ALLOW], "GET,HEAD");
}
