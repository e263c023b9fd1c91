//! `hythe image pack -o`, as it is typed: no agent is there, and none is started.
#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::{Command, Output};

fn hythe(directory: &Path, words: &[&str]) -> Output {
    // An address where nobody answers: whoever asks an agent fails.
    Command::new(env!("CARGO_BIN_EXE_hythe"))
        .args(["--host", "/nonexistent/agent.sock"])
        .args(words)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_same_input_gives_the_same_archive() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("conf"), "x").unwrap();
    let own = std::env::current_exe().unwrap();
    let pack = |file: &str| {
        let options = ["--file", "conf:/etc/conf", "--env", "A=1", "--entrypoint", "/bin/x 'a b'", "--json"];
        let words = [&["image", "pack", own.to_str().unwrap(), "-t", "shop:dev", "-o", file][..], &options].concat();
        let output = hythe(directory.path(), &words);
        assert!(output.status.success(), "{}", told(&output));
        let packed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (packed["name"].as_str(), packed["file"].as_str()),
            (Some("docker.io/library/shop:dev"), Some(file))
        );
        (packed["digest"].clone(), std::fs::read(directory.path().join(file)).unwrap())
    };
    assert_eq!(pack("a.tar"), pack("b.tar"));
}

#[test]
fn what_was_typed_wrong_is_reported_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("script"), "#!/bin/sh\n").unwrap();
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["absent"], 3, "there is no file `absent`"),
        (&["script"], 2, "hint: scripts"),
        (&[own, "--file", "script"], 2, "is not `SOURCE:PATH`"),
        (&[own, "--file", "script:relative"], 2, "is not `SOURCE:PATH`"),
        (&[own, "--env", "A"], 2, "is not `NAME=VALUE`"),
        (&[own, "--entrypoint", "'"], 2, "open quote"),
    ];
    for (words, code, text) in cases {
        let output = hythe(directory.path(), &[&["image", "pack", "-t", "x", "-o", "x.tar"], words].concat());
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        assert!(told(&output).contains(text), "{}", told(&output));
        assert!(!directory.path().join("x.tar").exists());
    }
}
