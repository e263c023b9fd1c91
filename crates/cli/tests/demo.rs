//! `hythe demo` on the in-process runtime, as where no engine is.
#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const KEY_LINES: [&str; 8] = [
    "$ hythe demo --runtime memory --file > demo.toml",
    "$ hythe deploy demo.toml",
    "demo-db: healthy",
    "deployed `demo`",
    "ready for connections",
    "db is healthy: serving on port 80",
    "127.0.0.1:8080:80",
    "$ hythe demo",
];

/// With nothing of this machine in its environment but where temporary files go.
fn start(temporary: &TempDir, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hythe"));
    command.args(arguments).env_clear().env("TMPDIR", temporary.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn assert_shown(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = format!("{stderr}{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert!(stderr.lines().next().unwrap().contains("no process is started"), "{text}");
    for line in KEY_LINES {
        assert!(text.contains(line), "`{line}` is missing:\n{text}");
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

/// A directory whose path leaves room for the socket's.
fn temporary() -> TempDir {
    tempfile::tempdir_in("/tmp").unwrap()
}

#[test]
fn two_at_once_show_a_whole_deploy_and_leave_nothing() {
    let temporary = temporary();
    let both =
        [start(&temporary, &["demo", "--runtime", "memory"]), start(&temporary, &["demo", "--runtime", "memory"])];
    for child in both {
        assert_shown(&child.wait_with_output().unwrap());
    }
    assert!(is_empty(temporary.path()));
}

#[test]
fn interrupted_it_leaves_nothing_either() {
    use std::io::{BufRead, BufReader};
    let temporary = temporary();
    let mut child = start(&temporary, &["demo", "--runtime", "memory"]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    assert!(!is_empty(temporary.path()));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(is_empty(temporary.path()));
}

#[test]
fn its_service_file_is_valid() {
    let temporary = temporary();
    let printed = start(&temporary, &["demo", "--file"]).wait_with_output().unwrap();
    let file = temporary.path().join("demo.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let validated = start(&temporary, &["validate", file.to_str().unwrap()]).wait_with_output().unwrap();
    assert!(validated.status.success(), "{}", String::from_utf8_lossy(&validated.stderr));
    assert!(validated.stderr.ends_with(b"service `hythe-demo`, 2 components\n"));
}
