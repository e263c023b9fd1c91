//! What a client makes of replies that a working agent does not give: scripted bytes on a socket, no evidence that an agent works.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::PathBuf;

use futures_util::StreamExt;
use hythe_api::event::EventQuery;
use hythe_api::{ExecStart, InstanceQuery, LogQuery};
use hythe_client::{Client, ClientError, Endpoint, Output, ProtocolError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

struct Scripted {
    client: Client,
    requests: JoinHandle<Vec<String>>,
    _directory: TempDir,
}

/// Answers one connection after another with these bytes and closes it; then the socket goes away.
fn scripted(replies: &[&str]) -> Scripted {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let replies: Vec<String> = replies.iter().map(|reply| (*reply).to_owned()).collect();
    let client = Client::new(Endpoint::Unix(path.clone()));
    let requests = tokio::spawn(answer(listener, path, replies));
    Scripted { client, requests, _directory: directory }
}

async fn answer(listener: UnixListener, path: PathBuf, replies: Vec<String>) -> Vec<String> {
    let mut requests = Vec::new();
    for reply in replies {
        let (mut stream, _) = listener.accept().await.unwrap();
        requests.push(head(&mut stream).await);
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
    drop(listener);
    std::fs::remove_file(path).unwrap();
    requests
}

async fn head(stream: &mut UnixStream) -> String {
    let mut head = String::new();
    while !head.contains("\r\n\r\n") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        head.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    head
}

fn reply(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A stream that breaks off: the last chunk never comes.
fn broken_stream(text: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    format!("{head}{:x}\r\n{text}\r\n", text.len())
}

fn whole_stream(text: &str) -> String {
    broken_stream(text) + "0\r\n\r\n"
}

const NOT_FOUND: &str =
    r#"{"kind":"not-found","title":"not found","status":404,"detail":"no workload `x`","hint":"`hythe ps`"}"#;
const LINE: &str = "event: line\ndata: {\"stream\":\"stdout\",\"text\":\"hello\",\"terminated\":true}\n\n";

fn event(cursor: u64) -> String {
    format!(
        "id: {cursor}\nevent: event\ndata: {{\"cursor\":{cursor},\"time\":\"2026-08-01T12:00:00Z\",\"kind\":\"started\",\"message\":\"m\",\"details\":null}}\n\n"
    )
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_names_the_endpoint() {
    let client = Client::new(Endpoint::Unix("/nonexistent/agent.sock".into()));
    let error = client.workloads().await.unwrap_err();
    assert_eq!(error.to_string(), "no agent answers on `/nonexistent/agent.sock`");
    let ClientError::Unreachable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_problem_document_is_a_problem_with_its_hint() {
    let agent = scripted(&[&reply("404 Not Found", "application/problem+json", NOT_FOUND)]);
    let error = agent.client.workload("x", &hythe_api::SecretsQuery::default()).await.unwrap_err();
    assert!(error.is_not_found());
    let ClientError::Problem(problem) = error else { panic!("{error:?}") };
    assert_eq!(problem.hint.as_deref(), Some("`hythe ps`"));
    assert!(agent.requests.await.unwrap()[0].starts_with("GET /v1/workloads/x HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_page_of_something_else_is_no_problem_of_the_agent() {
    let agent = scripted(&[&reply("502 Bad Gateway", "text/html", "<html>")]);
    let error = agent.client.workloads().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(ProtocolError::Status { .. })), "{error:?}");
}

#[tokio::test]
async fn json_of_another_shape_names_the_path() {
    let agent = scripted(&[&reply("200 OK", "application/json", "{\"a\":1}")]);
    let ClientError::Protocol(error) = agent.client.workloads().await.unwrap_err() else { panic!() };
    assert!(error.to_string().contains("`/v1/workloads`"), "{error}");
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_not_unreachable() {
    let agent = scripted(&[""]);
    let error = agent.client.workloads().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(ProtocolError::Connection(_))), "{error:?}");
}

#[tokio::test]
async fn logs_that_break_off_are_an_error_after_what_came() {
    for text in [broken_stream(LINE), whole_stream(LINE)] {
        let agent = scripted(&[&text]);
        let lines: Vec<_> = agent.client.logs("x", &LogQuery::default()).await.unwrap().collect().await;
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].as_ref().unwrap().text.as_deref(), Some("hello"));
        assert!(matches!(lines[1], Err(ClientError::Protocol(_))));
    }
}

#[tokio::test]
async fn logs_end_with_a_word_and_may_end_with_a_problem() {
    let complete = scripted(&[&whole_stream(&format!("{LINE}event: end\ndata: {{}}\n\n"))]);
    let lines: Vec<_> = complete.client.logs("x", &LogQuery::default()).await.unwrap().collect().await;
    assert!(matches!(lines.as_slice(), [Ok(_)]));
    let failed = scripted(&[&whole_stream(&format!("event: problem\ndata: {NOT_FOUND}\n\n"))]);
    let lines: Vec<_> = failed.client.logs("x", &LogQuery::default()).await.unwrap().collect().await;
    assert!(matches!(lines.as_slice(), [Err(ClientError::Problem(_))]));
}

#[tokio::test]
async fn events_go_on_after_the_last_cursor_when_the_connection_breaks() {
    let agent = scripted(&[
        &broken_stream(&(event(7) + &event(8))),
        &whole_stream(&event(9)),
        &reply("404 Not Found", "application/problem+json", NOT_FOUND),
    ]);
    let query = EventQuery { after: Some(6), ..EventQuery::default() };
    let events = agent.client.follow_events(&query).await.unwrap();
    let events: Vec<_> =
        events.map(|event| event.map(|event| event.cursor).map_err(|error| error.is_not_found())).collect().await;
    assert_eq!(events, [Ok(7), Ok(8), Ok(9), Err(true)]);
    let requests = agent.requests.await.unwrap();
    assert!(!requests[0].contains("last-event-id"));
    assert!(requests[0].starts_with("GET /v1/events?after=6&follow=true HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[1].contains("\r\nlast-event-id: 8\r\n"), "{}", requests[1]);
    assert!(requests[2].contains("\r\nlast-event-id: 9\r\n"), "{}", requests[2]);
}

#[tokio::test]
async fn from_now_on_is_a_cursor_before_anything_can_break() {
    let newest = event(41).split_once("data: ").unwrap().1.trim().to_owned();
    let agent = scripted(&[
        &reply("200 OK", "application/json", &format!("[{newest}]")),
        &broken_stream(": nothing yet\n\n"),
        &broken_stream(&event(42)),
    ]);
    let mut events = agent.client.follow_events(&EventQuery::default()).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().cursor, 42);
    let requests = agent.requests.await.unwrap();
    assert!(requests[0].starts_with("GET /v1/events?follow=false&limit=1 "), "{}", requests[0]);
    for request in &requests[1..] {
        assert!(request.starts_with("GET /v1/events?after=41&follow=true "), "{request}");
    }
}

fn instance_event(id: u64, change: &str) -> String {
    let kind = change.split('"').nth(3).unwrap();
    format!(
        "id: {id}\nevent: {kind}\ndata: {{\"id\":{id},\"after\":null,\"time\":\"2026-01-01T00:00:00Z\",{change}}}\n\n"
    )
}

#[tokio::test]
async fn a_feed_with_a_gap_or_a_broken_one_begins_again_with_a_snapshot() {
    let snapshot = r#""kind":"snapshot","runtimes":[],"instances":[]"#;
    let agent = scripted(&[
        &whole_stream(&(instance_event(1, snapshot) + &instance_event(9, r#""kind":"gap","missed":8"#))),
        &broken_stream(&instance_event(9, snapshot)),
        &whole_stream(&instance_event(3, snapshot)),
        &reply("404 Not Found", "application/problem+json", NOT_FOUND),
    ]);
    let query = InstanceQuery { foreign: true, runtime: Some("a b".to_owned()), ..InstanceQuery::default() };
    let events = agent.client.follow_instances(&query).await.unwrap();
    let events: Vec<_> = events
        .map(|event| event.map(|event| (event.id, event.change.kind())).map_err(|error| error.is_not_found()))
        .collect()
        .await;
    let expected = [Ok((1, "snapshot")), Ok((9, "gap")), Ok((9, "snapshot")), Ok((3, "snapshot")), Err(true)];
    assert_eq!(events, expected);
    for request in agent.requests.await.unwrap() {
        let path = "GET /v1/instances?all=false&foreign=true&runtime=a+b&follow=true HTTP/1.1\r\n";
        assert!(request.starts_with(path), "{request}");
    }
}

#[tokio::test]
async fn a_refused_session_is_a_problem_like_any_other() {
    let agent = scripted(&[&reply("404 Not Found", "application/problem+json", NOT_FOUND)]);
    let error = agent.client.exec("x", &ExecStart::default()).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
}

#[tokio::test]
async fn a_session_needs_the_right_answer_to_its_key() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: nonsense\r\n\r\n";
    let agent = scripted(&[upgrade]);
    let error = agent.client.exec("x", &ExecStart::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(ProtocolError::Upgrade)), "{error:?}");
}

/// Takes one session, checks its beginning, sends these messages, closes.
fn session(messages: Vec<&'static [u8]>) -> Scripted {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let requests = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let start = socket.next().await.unwrap().unwrap().into_text().unwrap().to_string();
        for message in messages {
            futures_util::SinkExt::send(&mut socket, Message::binary(message)).await.unwrap();
        }
        socket.close(None).await.unwrap();
        vec![start]
    });
    Scripted { client: Client::new(Endpoint::Unix(path)), requests, _directory: directory }
}

#[tokio::test]
async fn a_session_keeps_streams_apart_and_ends_with_a_code() {
    let agent = session(vec![b"\x01out", b"\x02err", b"\x03{\"exit\":3,\"problem\":null}"]);
    let start = ExecStart { command: vec!["ls".to_owned()], ..ExecStart::default() };
    let session = agent.client.exec("x", &start).await.unwrap();
    let output: Vec<_> = session.output.map(Result::unwrap).collect().await;
    let [Output::Stdout(out), Output::Stderr(err), Output::End(end)] = output.as_slice() else { panic!("{output:?}") };
    assert_eq!((&out[..], &err[..], end.exit), (&b"out"[..], &b"err"[..], Some(3)));
    assert_eq!(serde_json::from_str::<ExecStart>(&agent.requests.await.unwrap()[0]).unwrap(), start);
}

#[tokio::test]
async fn a_session_closed_without_an_end_is_an_error() {
    let agent = session(vec![b"\x01out"]);
    let session = agent.client.exec("x", &ExecStart::default()).await.unwrap();
    let output: Vec<_> = session.output.collect().await;
    assert!(matches!(output.as_slice(), [Ok(Output::Stdout(_)), Err(ClientError::Protocol(_))]), "{output:?}");
}
