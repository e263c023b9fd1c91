//! The agent's API as strangers meet it: other users of the machine, web pages, clients that err on purpose.

use std::os::unix::fs::MetadataExt;

use crate::fixture::Fixture;
use crate::home::{Ends, Home};
use crate::http::free_port;
use crate::program::Ran;
use crate::raw::{self, Answer};
use crate::trial::trials;

trials!("api":
    tcp_without_the_token_is_unauthorized Memory,
    tcp_with_the_token_is_served_and_hythe_takes_its_file Memory,
    hythe_finds_the_token_of_its_users_agent Memory,
    foreign_hosts_and_origins_are_forbidden_to_http_streams_and_sessions Memory,
    a_request_that_can_be_understood_in_two_ways_is_bad Memory,
    wrong_methods_paths_and_bodies_are_problems Memory,
    a_token_that_others_can_read_stops_the_start Memory,
);

/// An agent that listens on TCP too.
struct Site<'a> {
    fixture: &'a Fixture<'a>,
    port: u16,
    token: String,
}

impl<'a> Site<'a> {
    fn open(fixture: &'a mut Fixture<'_>) -> Self {
        let port = free_port();
        let listen = format!("listen = \"127.0.0.1:{port}\"\nallowed_hosts = [\"hythe.example\"]\n");
        let config = listen + &fixture.subject.config();
        fixture.agent.reconfigure(&config);
        let token = std::fs::read_to_string(fixture.agent.path("state/token")).unwrap().trim().to_owned();
        Self { fixture, port, token }
    }

    /// A request with these further lines of its head.
    fn ask(&self, method: &str, path: &str, host: &str, lines: &str) -> Answer {
        raw::tcp(self.port, &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n"))
    }

    /// A session, as a browser would open it.
    fn upgrade(&self, host: &str, lines: &str) -> Answer {
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let path = "/v1/workloads/x/exec";
        raw::tcp(self.port, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}{lines}\r\n"))
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// The program as a client over TCP.
    fn hythe(&self, words: &[&str]) -> Ran {
        let mut command = crate::program::command(crate::program::path());
        // Nobody else's token may be found.
        command.env("XDG_STATE_HOME", self.fixture.agent.path("nowhere"));
        Ran::of(command.arg("--host").arg(self.address()).args(words))
    }
}

fn tcp_without_the_token_is_unauthorized(fixture: &mut Fixture<'_>) {
    let site = Site::open(fixture);
    let wrong = format!("Authorization: Bearer {}\r\n", "0".repeat(64));
    for lines in ["", &wrong, "Authorization: Basic cm9vdDpyb290\r\n"] {
        for path in ["/healthz", "/metrics", "/v1/version", "/v1/events?follow=true", "/v1/none"] {
            site.ask("GET", path, "localhost", lines).is_problem(401);
        }
        site.ask("PUT", "/v1/services/x", "localhost", lines).is_problem(401);
        site.upgrade("localhost", lines).is_problem(401);
    }
    site.hythe(&["ps"]).ends_with(5).says(&["token", "hint:", "--token-file"]);
    // The permissions of the socket are enough there.
    site.fixture.hythe(&["ps"]).ok();
    let log = site.fixture.agent.log();
    assert!(log.contains("protected by the bearer token") && log.contains("protected by the permissions"), "{log}");
    assert!(!log.contains(&site.token), "the token is in the log");
}

fn tcp_with_the_token_is_served_and_hythe_takes_its_file(fixture: &mut Fixture<'_>) {
    let site = Site::open(fixture);
    let file = site.fixture.agent.path("state/token");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(site.ask("GET", "/v1/version", "localhost", &site.bearer()).status(), 200);
    assert_eq!(site.upgrade("localhost", &site.bearer()).status(), 101);
    let file = file.display().to_string();
    assert_eq!(site.hythe(&["ps", "--json", "--token-file", &file]).ok().out, "[]\n");
    let mut command = crate::program::command(crate::program::path());
    Ran::of(command.args(["ps", "--host", &site.address()]).env("HYTHE_TOKEN_FILE", &file)).ok();
    site.hythe(&["ps", "--token-file", "/nonexistent/token"]).ends_with(2).says(&["/nonexistent/token"]);
}

fn hythe_finds_the_token_of_its_users_agent(_: &mut Fixture<'_>) {
    let port = free_port();
    let home = Home::new(&format!("listen = \"127.0.0.1:{port}\"\n[[runtimes]]\nkind = \"memory\"\n"));
    let _ends = Ends(&home);
    Ran::of(&mut home.command(&["ps"])).ok();
    let ran = Ran::of(&mut home.command(&["--host", &format!("tcp://localhost:{port}"), "ps", "--json"])).ok();
    assert_eq!(ran.out, "[]\n");
}

fn foreign_hosts_and_origins_are_forbidden_to_http_streams_and_sessions(fixture: &mut Fixture<'_>) {
    let site = Site::open(fixture);
    let port = site.port;
    let own = format!("127.0.0.1:{port}");
    let bearer = site.bearer();
    let every = |host: &str, lines: &str, status: u16| {
        for path in ["/v1/version", "/v1/events?follow=true", "/metrics", "/v1/none"] {
            site.ask("GET", path, host, lines).is_problem(status);
        }
        site.ask("POST", "/v1/gc", host, lines).is_problem(status);
        site.ask("OPTIONS", "/v1/gc", host, lines).is_problem(status);
        site.upgrade(host, lines).is_problem(status);
    };
    every(&format!("evil.example:{port}"), &bearer, 403);
    for origin in ["http://evil.example".to_owned(), "null".to_owned(), format!("http://localhost:{port}")] {
        every(&own, &format!("{bearer}Origin: {origin}\r\n"), 403);
    }
    for host in [own.as_str(), "localhost", "[::1]", "hythe.example"] {
        assert_eq!(site.ask("GET", "/v1/version", host, &bearer).status(), 200, "{host}");
        assert_eq!(site.upgrade(host, &format!("{bearer}Origin: http://{host}\r\n")).status(), 101, "{host}");
    }
    // Whoever leads a page to the Unix socket leads it to the same answer.
    let socket = site.fixture.agent.socket();
    raw::unix(
        &socket,
        "GET /v1/version HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: http://evil.example\r\n\r\n",
    )
    .is_problem(403);
}

fn a_request_that_can_be_understood_in_two_ways_is_bad(fixture: &mut Fixture<'_>) {
    let site = Site::open(fixture);
    let socket = site.fixture.agent.socket();
    let bearer = site.bearer();
    let json = "Content-Type: application/json\r\n";
    let smuggled = format!("GET /v1/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{bearer}\r\n");
    let length = smuggled.len() + 5;
    let heads = [
        "Host: evil.example\r\n".to_owned(),
        format!("{json}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("{json}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
    ];
    for lines in heads {
        let request = format!("POST /v1/gc HTTP/1.1\r\nHost: localhost\r\n{bearer}{lines}\r\n0\r\n\r\n{smuggled}");
        for answer in [raw::tcp(site.port, &request), raw::unix(&socket, &request)] {
            answer.is_problem(400);
            assert_eq!(answer.count(), 1, "what was smuggled was answered: {}", answer.text);
        }
    }
    let none = format!("GET /v1/version HTTP/1.1\r\nConnection: close\r\n{bearer}\r\n");
    raw::tcp(site.port, &none).is_problem(400);
}

fn wrong_methods_paths_and_bodies_are_problems(fixture: &mut Fixture<'_>) {
    let socket = fixture.agent.socket();
    let ask = |method: &str, path: &str, lines: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n"
        );
        raw::unix(&socket, &(head + body))
    };
    let json = "Content-Type: application/json\r\n";
    ask("GET", "/v1/none", "", "").is_problem(404);
    ask("PATCH", "/v1/services", "", "").is_problem(405);
    ask("DELETE", "/v1/version", "", "").is_problem(405);
    ask("GET", "/v1/events?limit=many", "", "").is_problem(400);
    ask("GET", "/v1/workloads/x/exec", "", "").is_problem(400);
    for path in ["/v1/gc", "/v1/purge", "/v1/services/x/stop", "/v1/images/pull", "/v1/snapshots", "/v1/adopt"] {
        ask("POST", path, "", "{}").is_problem(415);
        ask("POST", path, json, "{").is_problem(400);
        ask("POST", path, json, "7").is_problem(422);
        ask("POST", path, json, &" ".repeat((2 << 20) + 1)).is_problem(413);
    }
    // A body that is announced and too large is refused before it comes.
    let announced = "POST /v1/gc HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
    raw::unix(&socket, announced).is_problem(413);
}

fn a_token_that_others_can_read_stops_the_start(fixture: &mut Fixture<'_>) {
    let site = Site::open(fixture);
    let file = site.fixture.agent.path("state/token");
    let config = site.fixture.agent.path("agent.toml").display().to_string();
    fixture.agent.stop();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let state = fixture.agent.path("state").display().to_string();
    let socket = fixture.agent.socket();
    fixture
        .hythe(&["agent", "--config", &config, "--state-dir", &state, "--socket", &socket])
        .ends_with(5)
        .says(&["state/token", "others"]);
    std::fs::remove_file(&file).unwrap();
    fixture.agent.start_again();
    assert!(file.exists(), "no other token was made");
}
