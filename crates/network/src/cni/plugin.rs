//! Running one plugin of the Container Network Interface: words in the environment, a document in, a document out.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hythe_runtime::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use serde_json::Value;

use crate::SEARCHED;
use crate::error::file;

const OPERATION: &str = "run network plugin";
/// Longest run of one plugin, and longest wait for one that somebody else runs.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(2);
/// What Debian and its kin call the package.
pub(super) const HINT: &str = "install the CNI plugins (Debian package `containernetworking-plugins`) and `iptables`, set `cni_path` to their directory, or use \
     `network = \"native\"`";

/// What a plugin is asked to do, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) command: &'static str,
    pub(super) container: &'a str,
    pub(super) namespace: &'a Path,
    pub(super) link: &'a str,
}

/// The right to run plugins, one at a time: they trip over each other when they make chains that they share.
///
/// A plugin inherits it as its stderr, and so does not lose it with us: whoever cleans up after a crash waits for what still runs.
#[derive(Debug)]
pub(super) struct Plugins<'a> {
    directory: &'a Path,
    turn: File,
    path: PathBuf,
}

/// What a plugin says when it fails.
#[derive(Debug, Deserialize)]
struct PluginError {
    msg: String,
    #[serde(default)]
    details: String,
}

impl<'a> Plugins<'a> {
    /// Waits for the turn, which is a lock on that file.
    pub(super) fn take(directory: &'a Path, turn: PathBuf) -> Result<Self> {
        let open = || File::options().create(true).truncate(false).read(true).write(true).open(&turn);
        let opened = open().map_err(|error| file(OPERATION, &turn, error))?;
        let begun = Instant::now();
        while let Err(error) = flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            match error {
                rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR if begun.elapsed() < LIMIT => {
                    std::thread::sleep(LOOK);
                }
                rustix::io::Errno::WOULDBLOCK => {
                    let message = format!("a network plugin has been running for {} s", LIMIT.as_secs());
                    return Err(Error::new(ErrorKind::Timeout, OPERATION, message));
                }
                other => return Err(file(OPERATION, &turn, other.into())),
            }
        }
        Ok(Self { directory, turn: opened, path: turn })
    }

    /// Runs a plugin to its end; gives what it printed, which is nothing for `DEL`.
    pub(super) fn run(&self, request: Request<'_>, config: &Value) -> Result<Value> {
        let kind = config["type"].as_str().unwrap_or_default();
        let words = |error| file(OPERATION, &self.path, error);
        self.turn.set_len(0).map_err(words)?;
        let stderr = self.turn.try_clone().map_err(words)?;
        let mut command = Command::new(self.directory.join(kind));
        command
            .env_clear()
            .env("PATH", SEARCHED)
            .env("CNI_COMMAND", request.command)
            .env("CNI_CONTAINERID", request.container)
            .env("CNI_NETNS", request.namespace)
            .env("CNI_IFNAME", request.link)
            .env("CNI_PATH", self.directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let child = command.spawn().map_err(|error| absent(self.directory, kind, error))?;
        let (good, output) = finish(child, config.to_string().as_bytes())
            .map_err(|error| self.failed(request.command, kind, &error.to_string()))?;
        if good {
            return match output.as_slice() {
                [] => Ok(Value::Null),
                told => serde_json::from_slice(told)
                    .map_err(|error| self.failed(request.command, kind, &format!("it printed no JSON: {error}"))),
            };
        }
        let said = match serde_json::from_slice::<PluginError>(&output) {
            Ok(PluginError { msg, details }) if details.is_empty() => msg,
            Ok(PluginError { msg, details }) => format!("{msg}: {details}"),
            Err(_) => self.grumbled(),
        };
        Err(self.failed(request.command, kind, said.trim()))
    }

    fn failed(&self, command: &str, kind: &str, why: &str) -> Error {
        let message = format!("CNI plugin `{}` failed at {command}: {why}", self.directory.join(kind).display());
        Error::new(ErrorKind::Internal, OPERATION, message)
    }

    /// The last plugin's stderr.
    fn grumbled(&self) -> String {
        let mut text = String::new();
        let mut source = &self.turn;
        // Where it cannot be read there is nothing to tell.
        let _ = source.seek(SeekFrom::Start(0)).and_then(|_| source.read_to_string(&mut text));
        if text.trim().is_empty() { "it said nothing".to_owned() } else { text }
    }
}

/// An error about a plugin that cannot be started.
pub(super) fn absent(directory: &Path, kind: &str, error: io::Error) -> Error {
    let message = format!("networks by CNI are unsupported because plugin `{kind}` cannot be run");
    let message = format!("{message}: `{}`: {error}", directory.join(kind).display());
    Error::new(ErrorKind::Unsupported, OPERATION, message).hint(HINT).source(error)
}

/// Whether it ended well, and what it printed: less than a pipe holds.
fn finish(mut child: Child, input: &[u8]) -> io::Result<(bool, Vec<u8>)> {
    if let Some(mut stdin) = child.stdin.take() {
        // One that has died already is told of below.
        let _ = stdin.write_all(input);
    }
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!("it did not end within {} s", LIMIT.as_secs())));
        }
        std::thread::sleep(LOOK);
    };
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut output)?;
    }
    Ok((status.success(), output))
}
