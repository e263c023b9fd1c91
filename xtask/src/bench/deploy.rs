//! One container, from the command to its running: through the agent, and by the engine's own command line.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::engine::Engine;
use super::harness::Harness;
use super::report::Table;
use super::rounds::{Contender, hold, quietly, time_all};
use crate::failure::{Context, Failure, Result};

pub(super) const COMMAND: [&str; 2] = ["sleep", "3600"];
/// How a line begins that ends "deploy to running".
const RUNNING: [&str; 2] = ["bench: running", "bench: runs"];
const DEPLOYED: &str = "deployed `bench`";

/// How the container is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Not at all.
    None,
    /// The engine's default bridge, one port of the host published.
    Port(u16),
    /// A network of its own, made for it.
    Service,
}

/// A table for each engine and mode.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let port = free_port()?;
    let mut tables = Vec::new();
    for engine in &harness.engines {
        let agent = harness.agent(&[engine])?;
        for mode in [Mode::None, Mode::Port(port), Mode::Service] {
            let compared = compare(harness, &agent, engine, mode);
            tables.push(compared.unwrap_or_else(|failure| unmeasured(engine, mode, &failure)));
        }
    }
    Ok(tables)
}

/// One comparison that fails does not take the others along.
fn unmeasured(engine: &Engine, mode: Mode, failure: &Failure) -> Table {
    Table {
        title: mode.title(engine),
        note: mode.note(engine),
        rows: Vec::new(),
        figures: vec![("not measured".to_owned(), failure.to_string().trim().replace('\n', "; "))],
        plot: None,
    }
}

fn compare(harness: &Harness, agent: &Agent, engine: &Engine, mode: Mode) -> Result<Table> {
    let undeploy = || quietly(agent.command(&["undeploy", "bench"]));
    let file = harness.file("bench", &service(&harness.image, engine, mode))?;
    let file = file.to_string_lossy();
    let contenders = [
        Contender {
            labels: vec!["hythe deploy, to running".to_owned(), "hythe deploy".to_owned()],
            act: Box::new(|| time_deploy(agent.command(&["deploy", &file]))),
            tidy: Box::new(undeploy),
        },
        Contender {
            labels: vec![format!("{} run --detach", engine.name)],
            act: Box::new(|| Ok(vec![time_all(peer(harness, engine, mode))?])),
            tidy: Box::new(|| tidy(engine, mode)),
        },
    ];
    Ok(Table {
        title: mode.title(engine),
        note: mode.note(engine),
        rows: hold(&contenders, harness.runs)?,
        figures: Vec::new(),
        plot: None,
    })
}

/// The same container by the engine's own command line.
pub(super) fn peer(harness: &Harness, engine: &Engine, mode: Mode) -> Vec<Command> {
    let publish = match mode {
        Mode::Port(port) => {
            let network = engine.default_network.map(|name| format!("--network={name}"));
            network.into_iter().chain([format!("--publish=127.0.0.1:{port}:80")]).collect()
        }
        Mode::None => vec!["--network=none".to_owned()],
        Mode::Service => vec!["--network=peer".to_owned()],
    };
    let mut run = engine.command(&["run", "--detach", "--name=peer"]);
    run.args(publish).arg(&harness.image).args(COMMAND);
    match mode {
        Mode::Service => vec![engine.command(&["network", "create", "peer"]), run],
        Mode::None | Mode::Port(_) => vec![run],
    }
}

pub(super) fn tidy(engine: &Engine, mode: Mode) -> Result<()> {
    quietly(engine.remove("peer"))?;
    match mode {
        Mode::Service => quietly(engine.command(&["network", "rm", "peer"])),
        Mode::None | Mode::Port(_) => Ok(()),
    }
}

pub(super) fn service(image: &str, engine: &Engine, mode: Mode) -> String {
    let network = match mode {
        Mode::None => "network = \"none\"\n".to_owned(),
        Mode::Port(port) => {
            let network = engine.default_network.map(|name| format!("network = \"{name}\"\n")).unwrap_or_default();
            format!("{network}ports = [\"127.0.0.1:{port}:80\"]\n")
        }
        Mode::Service => String::new(),
    };
    format!(
        "name = \"bench\"\n\n[[components]]\nname = \"bench\"\nimage = \"{image}\"\ncommand = {COMMAND:?}\nstop_grace = \"0s\"\n{network}"
    )
}

/// Until the command says that it runs, and until the command ends.
pub(super) fn time_deploy(mut command: Command) -> Result<Vec<Duration>> {
    let running = || "running `hythe deploy`".to_owned();
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context(running)?;
    let stderr = child.stderr.take().ok_or_else(|| Failure::new("no output to read"))?;
    let (mut reached, mut said) = (None, String::new());
    for line in BufReader::new(stderr).lines() {
        let line = line.context(running)?;
        if RUNNING.iter().any(|begin| line.starts_with(begin)) {
            reached.get_or_insert_with(|| began.elapsed());
        }
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait().context(running)?;
    let ended = began.elapsed();
    // One that was over before anybody followed it tells its end alone.
    match reached.or_else(|| said.contains(DEPLOYED).then_some(ended)).filter(|_| status.success()) {
        Some(reached) => Ok(vec![reached, ended]),
        None => Err(Failure::new(format!("`hythe deploy` did not get there: {said}"))),
    }
}

/// A port nobody holds now.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context(|| "finding a port".into())?;
    Ok(listener.local_addr().context(|| "finding a port".into())?.port())
}

impl Mode {
    fn title(self, engine: &Engine) -> String {
        format!("Deploy one container: {}, {}", engine.name, self.words())
    }

    const fn words(self) -> &'static str {
        match self {
            Self::None => "network none",
            Self::Port(_) => "one published port",
            Self::Service => "a network of its own",
        }
    }

    fn note(self, engine: &Engine) -> String {
        let network = match self {
            Self::None => "No network.".to_owned(),
            Self::Port(_) => {
                format!("The default network `{}`, a fixed port of 127.0.0.1.", engine.default_network.unwrap_or("-"))
            }
            Self::Service => format!(
                "What a service gets by default; the peer is `{0} network create` and `{0} run` together.",
                engine.name
            ),
        };
        format!("{network} The agent runs and the image is there; removing is not timed.")
    }
}
