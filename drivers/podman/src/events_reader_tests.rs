#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures_util::StreamExt;
use hythe_runtime::ErrorKind;
use hythe_runtime::event_dedup::PATIENCE;
use jiff::Timestamp;

use super::{EventsReader, seconds};
use crate::client::Client;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn line(second: i64) -> String {
    format!(r#"{{"ID":"a","Name":"a","Status":"start","Time":"{}","Type":"container"}}"#, at(second))
}

/// Reads a program that prints the next line for each of its calls, repeats the one before, and ends well.
async fn read(dir: &Path, lines: &[String], end: &str) -> (usize, ErrorKind, String) {
    for (number, line) in lines.iter().enumerate() {
        let before = if number == 0 { "" } else { &lines[number - 1] };
        std::fs::write(dir.join(format!("{}", number + 1)), format!("{before}\n{line}\n")).unwrap();
    }
    let program = dir.join("podman");
    let script = format!(
        "#!/bin/sh\ncd {}\necho call >> calls\nnow=$(wc -l < calls)\n[ ! -e $now ] || exec cat $now\n{end}\n",
        dir.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let reader = EventsReader::begin(Client::new(program, BTreeMap::new()), at(0)).unwrap();
    let mut told: Vec<_> = reader.lines().collect().await;
    let gone = told.pop().unwrap().unwrap_err();
    assert!(told.iter().all(Result::is_ok));
    (told.len(), gone.kind(), gone.message().to_owned())
}

fn calls(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join("calls")).unwrap().lines().count()
}

#[tokio::test]
async fn a_clean_end_is_no_loss_until_it_is_all_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (100..108).map(line).collect();
    let (told, kind, message) = read(dir.path(), &lines, "exit 0").await;
    assert_eq!((told, kind), (lines.len(), ErrorKind::Unavailable), "{message}");
    assert_eq!(calls(dir.path()), lines.len() + usize::try_from(PATIENCE).unwrap());
}

#[tokio::test]
async fn a_word_of_failure_is_a_loss_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (told, kind, message) = read(dir.path(), &[line(100)], "echo 'Error: broken' >&2; exit 125").await;
    assert_eq!((told, kind), (1, ErrorKind::Unavailable));
    assert!(message.ends_with("broken"), "{message}");
    assert_eq!(calls(dir.path()), 2);
}

#[test]
fn a_moment_has_nine_decimals() {
    assert_eq!(seconds(at(200)), "200.000000000");
}
