//! A service of ten components: one deploy beside ten runs of the engine's own command line, and beside Compose.

use std::process::Command;

use super::agent::Agent;
use super::deploy::COMMAND;
use super::engine::Engine;
use super::harness::Harness;
use super::report::Table;
use super::rounds::{Contender, hold, quietly, time, time_all};
use crate::failure::Result;
use crate::run;

const COMPONENTS: usize = 10;
const COMPOSE: &str = "docker-compose";

/// A table for each engine.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let of_engine = |engine| compare(harness, &harness.agent(&[engine])?, engine);
    harness.engines.iter().map(of_engine).collect()
}

fn compare(harness: &Harness, agent: &Agent, engine: &Engine) -> Result<Table> {
    let file = harness.file("ten", &service(&harness.image))?;
    let file = file.to_string_lossy();
    let mut contenders = vec![
        Contender {
            labels: vec!["hythe deploy".to_owned()],
            act: Box::new(|| Ok(vec![time(agent.command(&["deploy", &file]))?])),
            tidy: Box::new(|| quietly(agent.command(&["undeploy", "ten"]))),
        },
        Contender {
            labels: vec![format!("{} run --detach, ten times", engine.name)],
            act: Box::new(|| Ok(vec![time_all(peers(harness, engine))?])),
            tidy: Box::new(|| names().try_for_each(|name| quietly(engine.remove(&name)))),
        },
    ];
    if let Some(program) = run::find(COMPOSE).filter(|_| engine.name == "docker") {
        let project = harness.file("compose", &project(&harness.image))?;
        let compose = move |words: &[&str]| {
            let mut command = run::command(&program.to_string_lossy());
            command.args(["--host", &engine.place.1, "--project-name", "ten", "--file"]).arg(&project).args(words);
            command
        };
        let down = compose.clone();
        contenders.push(Contender {
            labels: vec![format!("{COMPOSE} up --detach")],
            act: Box::new(move || Ok(vec![time(compose(&["up", "--detach"]))?])),
            tidy: Box::new(move || quietly(down(&["down", "--timeout", "0"]))),
        });
    }
    Ok(Table {
        title: format!("Deploy a service of ten components: {}", engine.name),
        note: "No network, nothing waits for anything. The agent runs and the image is there; removing is not timed. \
               Ratios are to the last row."
            .to_owned(),
        rows: hold(&contenders, harness.runs)?,
        figures: Vec::new(),
        plot: None,
    })
}

fn names() -> impl Iterator<Item = String> {
    (0..COMPONENTS).map(|number| format!("part{number}"))
}

fn peers(harness: &Harness, engine: &Engine) -> Vec<Command> {
    let peer = |name: String| {
        let mut run = engine.command(&["run", "--detach", "--network=none", "--name", &name]);
        run.arg(&harness.image).args(COMMAND);
        run
    };
    names().map(peer).collect()
}

fn service(image: &str) -> String {
    let component = |name| {
        format!(
            "\n[[components]]\nname = \"{name}\"\nimage = \"{image}\"\ncommand = {COMMAND:?}\nstop_grace = \"0s\"\nnetwork = \"none\"\n"
        )
    };
    std::iter::once("name = \"ten\"\n".to_owned()).chain(names().map(component)).collect()
}

/// The same in Compose's form.
fn project(image: &str) -> String {
    let component =
        |name| format!("  {name}:\n    image: \"{image}\"\n    command: {COMMAND:?}\n    network_mode: none\n");
    std::iter::once("version: \"3\"\nservices:\n".to_owned()).chain(names().map(component)).collect()
}
