//! The `hythe` program and what came of running it.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait;

/// A command that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(120);

/// The program: what `HYTHE_BIN` names, else built here.
pub(crate) fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os("HYTHE_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--quiet", "--package", "hythe-cli"]).status();
    assert!(built.is_ok_and(|status| status.success()), "`hythe` does not build");
    // The test is `target/debug/deps/e2e-…`.
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("hythe")
}

/// A command that sees nothing of the settings of whoever runs the tests.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in [
        "HYTHE_HOST",
        "HYTHE_TOKEN_FILE",
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "CONTAINER_HOST",
        "COLUMNS",
        "CLICOLOR_FORCE",
        "HYTHE_LOG",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A command that ended.
#[derive(Clone)]
pub(crate) struct Ran {
    words: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        Running::start(command).end()
    }

    /// With something to read on its stdin.
    pub(crate) fn fed(command: &mut Command, input: &[u8]) -> Self {
        let mut running = Running::start(command.stdin(Stdio::piped()));
        // A program that reads no more is judged by how it ends.
        let _ = running.child.stdin.take().unwrap().write_all(input);
        running.end()
    }

    fn new(words: String, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { words, code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What no process was needed for.
    pub(crate) fn without_a_process(words: &[&str], outcome: Result<String, String>) -> Self {
        let (code, out, err) = match outcome {
            Ok(out) => (0, out, String::new()),
            Err(err) => (1, String::new(), err),
        };
        Self { words: words.join(" "), code: Some(code), out, err }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.ends_with(0)
    }

    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "must end with {code}: {self:?}");
        self
    }

    /// Its stderr says each of these.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "stderr must say `{part}`: {self:?}");
        }
        self
    }

    /// Its stdout as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("stdout must be JSON: {error}: {self:?}"))
    }

    /// Its stdout as one JSON document a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("`{line}` must be JSON: {error}"));
        self.out.lines().map(line).collect()
    }
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {:?}\n--- stdout\n{}\n--- stderr\n{}", self.words, self.code, self.out, self.err)
    }
}

/// A command that runs on, with its output kept.
pub(crate) struct Running {
    words: String,
    child: Child,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self { words: words(command), child: spawn(command) }
    }

    /// Waits for its end; killed when that takes too long.
    pub(crate) fn end(self) -> Ran {
        let pid = Pid::from_child(&self.child);
        let (ended, waiting) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if waiting.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                // It may have ended just now.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let output = self.child.wait_with_output().unwrap();
        drop(ended);
        watchdog.join().unwrap();
        Ran::new(self.words, &output)
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn kill(mut self) -> Ran {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.end()
    }
}

/// A command that follows something and prints JSON lines, which can be read while it runs.
pub(crate) struct Following {
    words: String,
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Following {
    pub(crate) fn start(command: &mut Command) -> Self {
        let output = tempfile::NamedTempFile::new().unwrap();
        let words = words(command);
        let spawned = command.stdout(output.reopen().unwrap()).spawn();
        let child = spawned.unwrap_or_else(|error| panic!("{words}: {error}"));
        Self { words, child, output }
    }

    /// The whole lines so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.output.path()).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until one of its lines has this kind.
    #[track_caller]
    pub(crate) fn wait_for_kind(&self, kind: &str) -> Vec<Value> {
        let what = format!("`{}` prints `{kind}`", self.words);
        wait::until(&what, || self.lines(), |lines| lines.iter().any(|line| line["kind"] == kind))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut Command) -> Child {
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    spawned.unwrap_or_else(|error| panic!("{}: {error}", words(command)))
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let all: Vec<_> = [program].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    all.join(" ")
}
