//! An agent under measurement, and the command line that speaks to it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::run;

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// A running `hythe agent`; it ends with this value.
#[derive(Debug)]
pub(crate) struct Agent {
    hythe: PathBuf,
    config: PathBuf,
    socket: PathBuf,
    state: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// Starts one below `directory` with runtimes as configured and waits until each is connected.
    pub(crate) fn start(hythe: &Path, directory: &Path, runtimes: &[String]) -> Result<Self> {
        let state = directory.join("state");
        fs::create_dir_all(&state).context(|| format!("creating `{}`", state.display()))?;
        let config = directory.join("agent.toml");
        fs::write(&config, runtimes.concat()).context(|| format!("writing `{}`", config.display()))?;
        let (socket, log) = (directory.join("agent.sock"), directory.join("agent.log"));
        let mut agent = Self { hythe: hythe.to_path_buf(), config, socket, state, log, child: None };
        agent.launch()?;
        agent.wait(runtimes.len())?;
        Ok(agent)
    }

    /// Starts the process, without waiting for its answer.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let output = fs::File::create(&self.log).context(|| format!("creating `{}`", self.log.display()))?;
        let mut command = run::command(&self.hythe.to_string_lossy());
        command.arg("agent").arg("--config").arg(&self.config).arg("--socket").arg(&self.socket);
        command.arg("--state-dir").arg(&self.state).stdout(Stdio::null()).stderr(output);
        self.child = Some(command.spawn().context(|| "starting the agent".into())?);
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).context(|| "killing the agent".into())?;
        }
        Ok(())
    }

    /// The command line, set to speak to this agent.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = run::command(&self.hythe.to_string_lossy());
        command.arg("--host").arg(&self.socket).args(words);
        command
    }

    /// A JSON answer of its API.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let mut answer = String::new();
        let reading = || format!("asking the agent for `{path}`");
        self.stream(path)?.read_to_string(&mut answer).context(reading)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).context(reading)
    }

    /// An answer of its API as it comes; in HTTP 1.0 it ends with its connection and is in one piece.
    pub(crate) fn stream(&self, path: &str) -> Result<UnixStream> {
        let asking = || format!("asking the agent for `{path}`");
        let mut stream = UnixStream::connect(&self.socket).context(asking)?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: agent\r\n\r\n").as_bytes()).context(asking)?;
        Ok(stream)
    }

    /// 0 when it does not run.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    fn wait(&self, engines: usize) -> Result<()> {
        let began = Instant::now();
        while self.healthy() < engines {
            if began.elapsed() > PATIENCE {
                return Err(Failure::new(format!(
                    "the agent did not connect to every engine; its log says:\n{}",
                    self.last_log_lines()
                )));
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    fn healthy(&self) -> usize {
        let listed = run::output(&mut self.command(&["runtimes", "--json"])).unwrap_or_default();
        let runtimes: Vec<Value> = serde_json::from_str(&listed).unwrap_or_default();
        let healthy = |runtime: &&Value| runtime["healthy"] == true;
        runtimes.iter().filter(healthy).count()
    }

    fn last_log_lines(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.state);
    }
}
