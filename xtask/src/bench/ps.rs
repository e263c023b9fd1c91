//! A list of a hundred containers: the agent's, and the engine's own of the same containers.

use std::fmt::Write;

use super::agent::Agent;
use super::engine::Engine;
use super::harness::Harness;
use super::report::Table;
use super::rounds::{Contender, hold, quietly, time};
use crate::failure::{Failure, Result};
use crate::run;

const SERVICES: usize = 10;
const COMPONENTS: usize = 10;

/// A table for each engine.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for engine in &harness.engines {
        let agent = harness.agent(&[engine])?;
        let filled = fill(harness, &agent, engine).and_then(|()| count(engine));
        let measured = filled.and_then(|()| compare(harness, &agent, engine));
        empty(&agent)?;
        tables.push(measured?);
    }
    Ok(tables)
}

fn compare(harness: &Harness, agent: &Agent, engine: &Engine) -> Result<Table> {
    let contenders = [
        Contender::plain("hythe ps", || time(agent.command(&["ps"]))),
        Contender::plain("hythe ps --json", || time(agent.command(&["ps", "--json"]))),
        Contender::plain(&format!("{} ps", engine.name), || time(engine.command(&["ps"]))),
    ];
    Ok(Table {
        title: format!("List {} containers: {}", SERVICES * COMPONENTS, engine.name),
        note: format!("{SERVICES} services of {COMPONENTS} components, all running; both list the same containers."),
        rows: hold(&contenders, harness.runs)?,
        figures: Vec::new(),
        plot: None,
    })
}

/// Deploys a hundred workloads.
pub(crate) fn fill(harness: &Harness, agent: &Agent, engine: &Engine) -> Result<()> {
    for number in 0..SERVICES {
        let text = service(harness, engine, number);
        let file = harness.file(&format!("many{number}"), &text)?;
        quietly(agent.command(&["deploy", &file.to_string_lossy()]))?;
    }
    Ok(())
}

fn count(engine: &Engine) -> Result<()> {
    let listed = run::output(&mut engine.command(&["ps", "--quiet"]))?.lines().count();
    if listed == SERVICES * COMPONENTS {
        return Ok(());
    }
    Err(Failure::new(format!("{} lists {listed} containers after the deploys", engine.name)))
}

/// Takes them down again.
pub(crate) fn empty(agent: &Agent) -> Result<()> {
    (0..SERVICES).try_for_each(|number| quietly(agent.command(&["undeploy", &format!("many{number}")])))
}

fn service(harness: &Harness, engine: &Engine, number: usize) -> String {
    let mut text = format!("name = \"many{number}\"\nruntime = \"{}\"\n", engine.name);
    for component in 0..COMPONENTS {
        let _ = write!(
            text,
            "\n[[components]]\nname = \"c{component}\"\nimage = \"{}\"\ncommand = [\"sleep\", \"3600\"]\nnetwork = \"none\"\nstop_grace = \"0s\"\n",
            harness.image_for(engine)
        );
    }
    text
}
