//! `cargo xtask api`: the agent's API held against its own document by schemathesis, a program of PyPI.
//!
//! It needs Python and a network, so it is no part of `test`: run it when routes or types of the API change.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::run;
use crate::test::program;

pub(crate) const USAGE: &str = "\
cargo xtask api [examples]
    Asks a private agent what its OpenAPI document allows and much that it does not, by schemathesis from PyPI; examples: of each operation (10)";

const TOOL: &str = "schemathesis==4.32.5";
const EXAMPLES: &str = "10";
/// A document cannot say that two fields of a request must agree, or that a name must be there.
const NOT_CHECKED: &str = "positive_data_acceptance";
const CONFIG: &str = "headers = { Authorization = \"Bearer ${HYTHE_TOKEN}\" }\n";
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `api` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let examples = match words {
        [] => EXAMPLES,
        [number] if number.parse::<u32>().is_ok() => number,
        _ => return Err(Failure::usage(USAGE)),
    };
    let directory = checkout().join("target/schemathesis");
    let tool = installed(&directory)?;
    let agent = Agent::start(&program()?, &directory.join("agent"))?;
    fs::write(directory.join("openapi.json"), &agent.document)
        .context(|| "the document cannot be written".to_owned())?;
    fs::write(directory.join("schemathesis.toml"), CONFIG).context(|| "the settings cannot be written".to_owned())?;
    let mut command = Command::new(tool);
    command.current_dir(&directory).env("HYTHE_TOKEN", &agent.token).stdin(Stdio::null());
    command.args(["--config-file", "schemathesis.toml", "run", "openapi.json", "--url", &agent.url]);
    command.args(["--phases", "coverage,fuzzing", "--max-examples", examples, "--seed", "1"]);
    command.args(["--exclude-checks", NOT_CHECKED, "--suppress-health-check", "all"]);
    command.args(["--request-timeout", "5", "--continue-on-failure"]);
    if run::passes(&mut command)? {
        return Ok(());
    }
    Err(Failure::new("the agent does not do what its document says".to_owned()))
}

/// The program, installed once into an environment of its own.
fn installed(directory: &Path) -> Result<PathBuf> {
    let environment = directory.join("venv");
    let tool = environment.join("bin/st");
    if !tool.exists() {
        run::output(run::command("python3").args(["-m", "venv"]).arg(&environment))?;
        run::output(Command::new(environment.join("bin/pip")).args(["install", "--quiet", TOOL]))?;
    }
    Ok(tool)
}

/// A private agent with the in-process runtime, ended when dropped.
struct Agent {
    child: Child,
    url: String,
    token: String,
    document: String,
}

impl Agent {
    fn start(program: &Path, directory: &Path) -> Result<Self> {
        let unusable = || format!("`{}` cannot be used", directory.display());
        if directory.exists() {
            fs::remove_dir_all(directory).context(unusable)?;
        }
        fs::create_dir_all(directory).context(unusable)?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.context(|| "no port is free".to_owned())?;
        let config = format!("listen = \"{address}\"\n[[runtimes]]\nkind = \"memory\"\n");
        fs::write(directory.join("agent.toml"), config).context(unusable)?;
        let document = run::output(Command::new(program).arg("openapi"))?;
        let log = File::create(directory.join("agent.log")).context(unusable)?;
        let mut command = Command::new(program);
        command.arg("agent").args(["--config", "agent.toml", "--socket", "agent.sock", "--state-dir", "state"]);
        command.current_dir(directory).stdin(Stdio::null()).stderr(log);
        let child = command.spawn().context(|| format!("`{}` cannot be started", program.display()))?;
        let mut agent = Self { child, url: format!("http://{address}"), token: String::new(), document };
        agent.token = token(&directory.join("state/token"))?;
        Ok(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token(path: &Path) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(token) if !token.is_empty() => return Ok(token.trim().to_owned()),
            _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            _ => return Err(Failure::new(format!("the agent made no `{}`", path.display()))),
        }
    }
}
