#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use hythe_local::http::Endpoint;
use hythe_runtime::ErrorKind;
use hythe_runtime::event_dedup::PATIENCE;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{EventsReader, seconds};
use crate::client::Client;

const WHOLE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
/// Ends without the last chunk.
const BROKEN_OFF: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn line(second: i64) -> String {
    format!(
        r#"{{"Type":"container","Action":"start","Actor":{{"ID":"a","Attributes":{{"name":"a"}}}},"timeNano":{}}}"#,
        at(second).as_nanosecond()
    )
}

/// Reads a socket that answers each call with the next line, repeats the one before, and ends well; then it answers with `end`.
async fn read(lines: Vec<String>, end: &'static str) -> (usize, usize, hythe_runtime::Error) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let calls = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&calls);
    let serving = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _read = connection.read(&mut request).await.unwrap();
            let call = count.fetch_add(1, Ordering::SeqCst);
            let before = call.checked_sub(1).and_then(|before| lines.get(before)).map_or("", String::as_str);
            let answer = lines.get(call).map_or(end.to_owned(), |line| format!("{WHOLE}{before}\n{line}\n"));
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = Client::new(&Endpoint::Unix(socket), None);
    let reader = EventsReader::begin(client, at(0)).await.unwrap();
    let mut told: Vec<_> = reader.lines().collect().await;
    let gone = told.pop().unwrap().unwrap_err();
    assert!(told.iter().all(Result::is_ok));
    serving.abort();
    (told.len(), calls.load(Ordering::SeqCst), gone)
}

#[tokio::test]
async fn a_clean_end_is_no_loss_until_it_is_all_there_is() {
    let lines: Vec<String> = (100..108).map(line).collect();
    let wanted = lines.len();
    let (told, calls, gone) = read(lines, WHOLE).await;
    assert_eq!((told, gone.kind()), (wanted, ErrorKind::Unavailable), "{gone}");
    assert_eq!(calls, wanted + usize::try_from(PATIENCE).unwrap());
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_a_loss_at_once() {
    let (told, calls, gone) = read(vec![line(100)], BROKEN_OFF).await;
    assert_eq!((told, calls, gone.kind()), (1, 2, ErrorKind::Unavailable), "{gone}");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_a_loss() {
    let (told, _, gone) = read(vec![line(100), "{\"odd\":1}".to_owned()], WHOLE).await;
    assert_eq!((told, gone.kind()), (1, ErrorKind::Unavailable));
    assert!(gone.message().contains("cannot be read"), "{gone}");
}

#[test]
fn a_moment_has_nine_decimals() {
    assert_eq!(seconds(at(200)), "200.000000000");
}
