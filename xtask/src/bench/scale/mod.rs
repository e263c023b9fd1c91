//! What more workloads cost: time to converge, memory, idle processor time, events, coming back after a kill.
//!
//! On the in-process runtime the numbers are the agent's own; on Docker they are what its users get.

use super::agent::Agent;
use super::engine::Engine;
use super::harness::Harness;
use super::report::{Row, Table};
use crate::failure::Result;

mod fleet;
mod latency;
mod plot;
mod usage;

use self::fleet::Fleet;

/// Workloads on the in-process runtime, which loses them with its agent.
const IN_PROCESS: [usize; 3] = [10, 100, 1000];
const ON_DOCKER: [usize; 4] = [10, 50, 100, 200];

/// One size on one runtime.
#[derive(Debug)]
struct Point {
    workloads: usize,
    /// Seconds from the first deploy to the last workload's running.
    converged: f64,
    /// Share of one core while nothing happens, in percent.
    idle: f64,
    /// Resident set of the agent in MiB.
    memory: f64,
    /// Seconds from the start of a new agent after `kill -9` to all being known as running.
    adopted: Option<f64>,
}

/// A table for each runtime, one for the latency of events, and a plot of both.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let docker = harness.engines.iter().find(|engine| engine.name == "docker");
    let latencies = docker.map(|docker| latencies(harness, docker)).transpose()?;
    let own = grow(harness, None, &IN_PROCESS)?;
    let mut tables = vec![table("the in-process runtime", &own)];
    let mut lines = vec![("in-process", own)];
    if let Some(docker) = docker {
        let points = grow(harness, Some(docker), &ON_DOCKER)?;
        tables.push(table("docker", &points));
        lines.push(("docker", points));
    }
    tables.extend(latencies.map(|rows| Table { rows, ..latency_table() }));
    tables[0].plot = Some(plot::draw(&lines)?);
    Ok(tables)
}

fn grow(harness: &Harness, engine: Option<&Engine>, sizes: &[usize]) -> Result<Vec<Point>> {
    sizes.iter().map(|size| point(harness, engine, *size)).collect()
}

fn start(harness: &Harness, engine: Option<&Engine>) -> Result<Agent> {
    match engine {
        Some(engine) => harness.agent(&[engine]),
        None => harness.agent_in_process(),
    }
}

fn point(harness: &Harness, engine: Option<&Engine>, workloads: usize) -> Result<Point> {
    let name = engine.map_or("the in-process runtime", |engine| engine.name);
    eprintln!("xtask:   {workloads} workloads on {name}");
    let mut agent = start(harness, engine)?;
    let fleet = Fleet::new(engine.map_or("memory", |engine| engine.name), workloads);
    let measured = live(harness, &mut agent, &fleet, engine.is_some());
    fleet.undeploy(&agent)?;
    measured
}

fn live(harness: &Harness, agent: &mut Agent, fleet: &Fleet, outlives: bool) -> Result<Point> {
    let converged = fleet.deploy(harness, agent)?;
    let (idle, memory) = usage::at_rest(agent)?;
    let adopted = if outlives { Some(fleet.adopt(agent)?) } else { None };
    Ok(Point { workloads: fleet.workloads, converged, idle, memory, adopted })
}

fn latencies(harness: &Harness, engine: &Engine) -> Result<Vec<Row>> {
    let agent = start(harness, Some(engine))?;
    let fleet = Fleet::new(engine.name, 1);
    let measured = fleet.deploy(harness, &agent).and_then(|_| latency::measure(&agent, engine, &fleet.first()));
    fleet.undeploy(&agent)?;
    measured
}

fn table(runtime: &str, points: &[Point]) -> Table {
    let figure = |point: &Point| {
        let adopted =
            point.adopted.map_or_else(String::new, |adopted| format!("; adopted after kill -9 in {adopted:.2} s"));
        let each = point.converged * 1e3 / point.workloads as f64;
        let value = format!(
            "converged in {:.2} s ({each:.1} ms each); idle {:.2} % of a core; RSS {:.1} MiB{adopted}",
            point.converged, point.idle, point.memory
        );
        (format!("{} workloads", point.workloads), value)
    };
    Table {
        title: format!("Scale: {runtime}"),
        note: "Services of ten components without a network, deployed one after another; then the agent is idle."
            .to_owned(),
        rows: Vec::new(),
        figures: points.iter().map(figure).collect(),
        plot: None,
    }
}

fn latency_table() -> Table {
    Table {
        title: "Latency of events: docker".to_owned(),
        note: "From the time that the engine gives an event to its line's arrival, at a reader of the agent's event stream and at \
               `docker events`; both read at once while a container is paused and resumed."
            .to_owned(),
        rows: Vec::new(),
        figures: Vec::new(),
        plot: None,
    }
}
