//! Many workloads: deployed, counted, lost and found again.

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bench::agent::Agent;
use crate::bench::harness::Harness;
use crate::bench::rounds::quietly;
use crate::failure::{Failure, Result};

const COMPONENTS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// So many workloads on one runtime.
#[derive(Debug)]
pub(super) struct Fleet {
    runtime: &'static str,
    pub(super) workloads: usize,
}

impl Fleet {
    pub(super) const fn new(runtime: &'static str, workloads: usize) -> Self {
        Self { runtime, workloads }
    }

    /// Name of the first workload.
    pub(super) fn first(&self) -> String {
        "fleet0-c0".to_owned()
    }

    const fn services(&self) -> usize {
        self.workloads.div_ceil(COMPONENTS)
    }

    /// Seconds until all run.
    pub(super) fn deploy(&self, harness: &Harness, agent: &Agent) -> Result<f64> {
        let mut files = Vec::new();
        for number in 0..self.services() {
            files.push(harness.file(&format!("fleet{number}"), &self.service(harness, number))?);
        }
        let began = Instant::now();
        for file in files {
            quietly(agent.command(&["deploy", &file.to_string_lossy()]))?;
        }
        self.await_running(agent)?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Kills the agent; seconds from the start of the next to its knowing all of them as running.
    pub(super) fn adopt(&self, agent: &mut Agent) -> Result<f64> {
        let before = instances(agent)?;
        agent.kill()?;
        let began = Instant::now();
        agent.launch()?;
        self.await_running(agent)?;
        let seconds = began.elapsed().as_secs_f64();
        if instances(agent)? == before {
            return Ok(seconds);
        }
        Err(Failure::new("instances were replaced when the agent came back"))
    }

    pub(super) fn undeploy(&self, agent: &Agent) -> Result<()> {
        (0..self.services()).try_for_each(|number| quietly(agent.command(&["undeploy", &format!("fleet{number}")])))
    }

    fn await_running(&self, agent: &Agent) -> Result<()> {
        let began = Instant::now();
        loop {
            let running = running(agent);
            match running {
                Ok(running) if running == self.workloads => return Ok(()),
                _ if began.elapsed() < PATIENCE => sleep(PAUSE),
                Ok(running) => return Err(Failure::new(format!("{running} of {} workloads run", self.workloads))),
                Err(failure) => return Err(failure),
            }
        }
    }

    fn service(&self, harness: &Harness, number: usize) -> String {
        let mut text = format!("name = \"fleet{number}\"\nruntime = \"{}\"\n", self.runtime);
        for component in 0..COMPONENTS.min(self.workloads) {
            let _ = write!(
                text,
                "\n[[components]]\nname = \"c{component}\"\nimage = \"{}\"\ncommand = [\"sleep\", \"3600\"]\nnetwork = \"none\"\nstop_grace = \"0s\"\n",
                harness.image
            );
        }
        text
    }
}

/// How many run, of which the engine has been asked since the agent's start: until then none is known to.
fn running(agent: &Agent) -> Result<usize> {
    let runtimes = agent.get("/v1/runtimes")?;
    if !runtimes.as_array().is_some_and(|runtimes| runtimes.iter().all(|runtime| runtime["healthy"] == true)) {
        return Ok(0);
    }
    let workloads = agent.get("/v1/workloads")?;
    let rows = workloads.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(rows.iter().filter(|row| row["state"] == "running").count())
}

fn instances(agent: &Agent) -> Result<Vec<String>> {
    let workloads = agent.get("/v1/workloads")?;
    let rows = workloads.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(rows.iter().map(|row| row["instance"]["id"].to_string()).collect())
}
