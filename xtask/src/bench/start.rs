//! One container on the embedded runtime, from the command to its running, beside engines and bare OCI runtimes.

use std::time::{Duration, Instant};

use super::agent::Agent;
use super::containerd::Bundle;
use super::deploy::{COMMAND, Mode, free_port, peer, service, tidy, time_deploy};
use super::engine::Engine;
use super::harness::Harness;
use super::report::Table;
use super::rounds::{Contender, hold, quietly, time};
use crate::failure::{Context, Result};
use crate::run;

/// A table without a network, and one with a published port.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let embedded = harness.embedded();
    let agent = harness.agent(&[&embedded])?;
    let port = free_port()?;
    // The first deploy pulls.
    let measured = [Mode::None, Mode::Port(port)].map(|mode| compare(harness, &agent, &embedded, mode));
    // What a failed round has left would lose its files with the harness.
    let _ = quietly(agent.command(&["undeploy", "bench"]));
    measured.into_iter().collect()
}

fn compare(harness: &Harness, agent: &Agent, embedded: &Engine, mode: Mode) -> Result<Table> {
    let bundle = bare(harness, mode)?;
    let runtimes = bundle.as_ref().map(usable).unwrap_or_default();
    let text = service(&harness.remote_image, embedded, mode);
    let file = harness.file("bench", &text)?;
    let file = file.to_string_lossy();
    let mut contenders = vec![Contender {
        labels: vec!["hythe deploy, to running".to_owned(), "hythe deploy".to_owned()],
        act: Box::new(|| time_deploy(agent.command(&["deploy", &file]))),
        tidy: Box::new(|| quietly(agent.command(&["undeploy", "bench"]))),
    }];
    for engine in harness.engines.iter().rev() {
        contenders.push(Contender {
            labels: vec![format!("{} run --detach", engine.name)],
            act: Box::new(move || Ok(vec![time_peer(harness, engine, mode)?])),
            tidy: Box::new(move || tidy(engine, mode)),
        });
    }
    if let (Some(bundle), Some(containerd)) = (&bundle, &harness.containerd) {
        contenders.push(Contender {
            labels: vec!["ctr run --detach".to_owned()],
            act: Box::new(|| Ok(vec![time(containerd.start(&harness.remote_image, "peer", &COMMAND))?])),
            tidy: Box::new(|| containerd.remove("peer")),
        });
        for runtime in runtimes.iter().filter(|(_, refusal)| refusal.is_none()).map(|(runtime, _)| *runtime) {
            contenders.push(Contender {
                labels: vec![format!("{runtime} run --detach")],
                act: Box::new(move || Ok(vec![time_bare(bundle, runtime)?])),
                tidy: Box::new(move || bundle.remove(runtime, "peer")),
            });
        }
    }
    Ok(Table {
        title: match mode {
            Mode::Port(_) => "Start one container: embedded, one published port".to_owned(),
            Mode::None | Mode::Service => "Start one container: embedded, network none".to_owned(),
        },
        note: note(mode, &runtimes),
        rows: hold(&contenders, harness.runs)?,
        figures: Vec::new(),
        plot: None,
    })
}

fn note(mode: Mode, runtimes: &[(&str, Option<String>)]) -> String {
    if let Mode::Port(_) = mode {
        return "A fixed port of 127.0.0.1. Ours is on a network of its own, which is made and removed with it; the others are on their default one.".to_owned();
    }
    let mut note = "Default seccomp profile, logs captured. Bare runtimes run the OCI spec that containerd wrote for the same program, with its files in place.".to_owned();
    for (runtime, refusal) in runtimes {
        if let Some(refusal) = refusal {
            note.push_str(&format!(" `{runtime}` does not run here: {refusal}."));
        }
    }
    note
}

/// Those that are installed, and why one cannot be measured.
fn usable(bundle: &Bundle) -> Vec<(&'static str, Option<String>)> {
    let installed = ["crun", "runc"].into_iter().filter(|runtime| run::find(runtime).is_some());
    let tried = |runtime| {
        let outcome = time_bare(bundle, runtime).and_then(|_| bundle.remove(runtime, "peer"));
        (runtime, outcome.err().map(|failure| failure.to_string().trim().to_owned()))
    };
    installed.map(tried).collect()
}

/// Bare runtimes have no ports to publish.
fn bare(harness: &Harness, mode: Mode) -> Result<Option<Bundle>> {
    match (&harness.containerd, mode) {
        (Some(containerd), Mode::None) => {
            quietly(containerd.pull(&harness.remote_image))?;
            Bundle::make(containerd, &harness.remote_image, &COMMAND, harness.directory()).map(Some)
        }
        (None | Some(_), _) => Ok(None),
    }
}

fn time_peer(harness: &Harness, engine: &Engine, mode: Mode) -> Result<Duration> {
    peer(harness, engine, mode).into_iter().map(time).sum()
}

fn time_bare(bundle: &Bundle, runtime: &str) -> Result<Duration> {
    let mut command = bundle.start(runtime, "peer")?;
    let began = Instant::now();
    let status = command.status().context(|| format!("running `{runtime}`"))?;
    let took = began.elapsed();
    if status.success() { Ok(took) } else { Err(bundle.last_log_lines()) }
}
