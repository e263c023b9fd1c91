//! An agent under measurement, and the command line that speaks to it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::engine::Engine;
use crate::failure::{Context, Failure, Result};
use crate::run;

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// A running `hythe agent`; it ends with this value.
#[derive(Debug)]
pub(crate) struct Agent {
    hythe: PathBuf,
    socket: PathBuf,
    state: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Agent {
    /// Starts one below `directory` and waits until every engine is connected.
    pub(crate) fn start(hythe: &Path, directory: &Path, engines: &[&Engine]) -> Result<Self> {
        let state = directory.join("state");
        fs::create_dir_all(&state).context(|| format!("creating `{}`", state.display()))?;
        let config = directory.join("agent.toml");
        let text: String = engines.iter().map(|engine| engine.configuration()).collect();
        fs::write(&config, text).context(|| format!("writing `{}`", config.display()))?;
        let (socket, log) = (directory.join("agent.sock"), directory.join("agent.log"));
        let output = fs::File::create(&log).context(|| format!("creating `{}`", log.display()))?;
        let child = run::command(&hythe.to_string_lossy())
            .arg("agent")
            .arg("--config")
            .arg(&config)
            .arg("--socket")
            .arg(&socket)
            .arg("--state-dir")
            .arg(&state)
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .context(|| "starting the agent".into())?;
        let agent = Self { hythe: hythe.to_path_buf(), socket, state, log, child };
        agent.wait(engines.len())?;
        Ok(agent)
    }

    /// The command line, set to speak to this agent.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = run::command(&self.hythe.to_string_lossy());
        command.arg("--host").arg(&self.socket).args(words);
        command
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait(&self, engines: usize) -> Result<()> {
        let began = Instant::now();
        while self.healthy() < engines {
            if began.elapsed() > PATIENCE {
                return Err(Failure::new(format!(
                    "the agent did not connect to every engine; its log says:\n{}",
                    self.last_words()
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

    fn last_words(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.state);
    }
}
