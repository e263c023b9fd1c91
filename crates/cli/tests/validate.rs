//! `hythe validate`, as it is typed, on files that are none.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn validate(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hythe")).arg("validate").args(words).current_dir(directory).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SERVICE: &str = "name = 'shop'\n[[components]]\nname = 'web'\nimage = 'busybox:1'\n";

#[test]
fn file_that_is_not_utf8_is_refused_at_its_place() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), b"name = 'shop'\nimage = 'caf\xe9'\n").unwrap();
    let output = validate(directory.path(), &["a.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).contains("a.toml:2:13") && told(&output).contains("save the file as UTF-8"),
        "{}",
        told(&output)
    );
    let output = validate(directory.path(), &["a.toml", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["diagnostics"][0]["line"], &json["diagnostics"][0]["column"]), (&2.into(), &13.into()), "{json}");
}

#[test]
fn file_without_end_is_refused_in_time() {
    let start = Instant::now();
    let output = validate(Path::new("/"), &["/dev/zero"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("larger than 1MiB"), "{}", told(&output));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), format!("{SERVICE}env_file = '/dev/zero'\n")).unwrap();
    let output = validate(directory.path(), &["a.toml"]);
    assert!(told(&output).contains("larger than 4MiB"), "{}", told(&output));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn named_file_that_is_not_utf8_says_its_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.env"), b"A=1\nB=\xff\n").unwrap();
    std::fs::write(directory.path().join("a.toml"), format!("{SERVICE}env_file = 'a.env'\n")).unwrap();
    let output = validate(directory.path(), &["a.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("it is not UTF-8 in line 2"), "{}", told(&output));
}

#[test]
fn one_error_is_reported_as_one() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), format!("{SERVICE}pids = 0\n")).unwrap();
    assert!(told(&validate(directory.path(), &["a.toml"])).contains("`a.toml` has 1 error\n"));
}
