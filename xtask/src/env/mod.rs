//! `cargo xtask env`: private engines for tests, brought up and taken down without touching the machine's own.
//!
//! Everything lives in one directory off the checkout (`HYTHE_ENV_DIR` overrides it); `down` removes it without a trace.
//! Tests find the engines through `env.json`, whose path goes into `HYTHE_TEST_ENV`. This module knows nothing of tests.

use std::path::PathBuf;

use crate::failure::{Context, Failure, Result};
use crate::packages::{self, Need};

mod containerd;
mod docker;
mod firewall;
mod host_changes;
mod http;
mod image;
mod layout;
mod leftovers;
mod links;
mod podman;
mod pool;
mod process;
mod registry;
mod session;
mod state;
mod sweep;
mod tar;
mod vm;

pub(crate) use self::image::{Registry, push_layers};
use self::layout::Layout;
pub(crate) use self::layout::checkout;
pub(crate) use self::leftovers::{Leftovers, all as leftovers};
use self::session::Session;
pub(crate) use self::tar::Archive;

pub(crate) const USAGE: &str = "\
cargo xtask env up|down|status [podman] [podman-api] [docker] [containerd] [vm] [registry] [--json]
    Starts private engines, ends them, or says which are up. Without names: all of them.
    --json (status)   print env.json, the description tests read";

/// An engine that can be brought up by name.
#[derive(Debug)]
struct Engine {
    name: &'static str,
    needs: &'static [Need],
    /// What it needs besides without root; `None` when only root can run it.
    rootless: Option<&'static [Need]>,
    up: fn(&mut Session) -> Result<()>,
    down: fn(&mut Session) -> Result<()>,
}

/// In the order of coming up; down goes backwards.
const ENGINES: [Engine; 6] = [
    Engine { name: "registry", needs: registry::NEEDS, rootless: Some(&[]), up: registry::up, down: registry::down },
    Engine {
        name: "podman",
        needs: podman::NEEDS,
        rootless: Some(podman::ROOTLESS_NEEDS),
        up: podman::up,
        down: podman::down,
    },
    Engine {
        name: "podman-api",
        needs: podman::NEEDS,
        rootless: Some(podman::ROOTLESS_NEEDS),
        up: podman::up_api,
        down: podman::down_api,
    },
    Engine { name: "docker", needs: docker::NEEDS, rootless: None, up: docker::up, down: docker::down },
    Engine { name: "containerd", needs: containerd::NEEDS, rootless: None, up: containerd::up, down: containerd::down },
    Engine { name: "vm", needs: vm::NEEDS, rootless: None, up: vm::up, down: vm::down },
];

/// Runs `env` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let json = words.iter().any(|word| word == "--json");
    let mut names = words.iter().filter(|word| *word != "--json");
    let verb = names.next().map_or("", String::as_str);
    let engines = names.map(|name| engine(name)).collect::<Result<Vec<_>>>()?;
    match verb {
        "up" => {
            let description = up(&or_all(engines))?;
            println!("HYTHE_TEST_ENV={}", description.display());
            Ok(())
        }
        "down" if engines.is_empty() => down(),
        "down" => down_some(&engines),
        "status" => status(json),
        other => Err(Failure::usage(format!("`{other}` is not up, down or status\n{USAGE}"))),
    }
}

/// Brings every engine up; answers the path of `env.json`.
pub(crate) fn up_all() -> Result<PathBuf> {
    up(&or_all(Vec::new()))
}

/// A static busybox, for tests that make images of their own.
pub(crate) fn busybox() -> Result<PathBuf> {
    image::busybox(&Layout::discover()?)
}

/// Ends everything and removes the environment without a trace.
pub(crate) fn down() -> Result<()> {
    let layout = Layout::discover()?;
    if !layout.exists() {
        return Ok(());
    }
    let mut session = Session::open(layout)?;
    for engine in ENGINES.iter().rev() {
        if let Err(failure) = (engine.down)(&mut session) {
            eprintln!("xtask: {}: {failure}", engine.name);
        }
    }
    sweep::everything(&session)
}

/// Engines this machine cannot have, with the reason of each.
pub(crate) fn skipped() -> Vec<(String, String)> {
    let description = Layout::discover()
        .ok()
        .and_then(|layout| state::State::load(&layout.state()))
        .map(|state| state.description.skipped);
    description.unwrap_or_default().into_iter().collect()
}

fn engine(name: &str) -> Result<&'static Engine> {
    ENGINES.iter().find(|engine| engine.name == name).ok_or_else(|| {
        let known: Vec<_> = ENGINES.iter().map(|engine| engine.name).collect();
        Failure::usage(format!("no engine `{name}`; there are {}", known.join(", ")))
    })
}

fn or_all(engines: Vec<&'static Engine>) -> Vec<&'static Engine> {
    if engines.is_empty() {
        return ENGINES.iter().collect();
    }
    engines
}

fn up(engines: &[&Engine]) -> Result<PathBuf> {
    let mut session = Session::open(Layout::discover()?)?;
    let mut failures = Vec::new();
    for engine in engines {
        if let Err(failure) = up_one(engine, &mut session) {
            failures.push(format!("{}: {failure}", engine.name));
        }
    }
    session.save()?;
    if failures.is_empty() {
        return Ok(session.layout.description());
    }
    Err(Failure::new(failures.join("\n")))
}

fn up_one(engine: &Engine, session: &mut Session) -> Result<()> {
    if let Some(reason) = unavailable(engine)? {
        eprintln!("xtask: skipping {}: {reason}", engine.name);
        session.state.description.skipped.insert(engine.name.into(), reason);
        return Ok(());
    }
    session.state.description.skipped.remove(engine.name);
    (engine.up)(session)
}

fn unavailable(engine: &Engine) -> Result<Option<String>> {
    let besides = match engine.rootless {
        _ if rustix::process::geteuid().is_root() => &[],
        Some(besides) => besides,
        None => return Ok(Some("needs root".to_owned())),
    };
    packages::ensure(&[engine.needs, besides].concat())
}

fn down_some(engines: &[&Engine]) -> Result<()> {
    let layout = Layout::discover()?;
    if !layout.exists() {
        return Ok(());
    }
    let mut session = Session::open(layout)?;
    for engine in ENGINES.iter().rev().filter(|engine| engines.iter().any(|asked| asked.name == engine.name)) {
        (engine.down)(&mut session)?;
    }
    session.save()
}

fn status(json: bool) -> Result<()> {
    let layout = Layout::discover()?;
    let Some(state) = state::State::load(&layout.state()) else {
        println!("{}", if json { "{}" } else { "no engine is up" });
        return Ok(());
    };
    if json {
        let text = serde_json::to_string_pretty(&state.description).context(|| "printing the description".into())?;
        println!("{text}");
        return Ok(());
    }
    for (name, line) in state.lines() {
        println!("{name:<14} {line}");
    }
    println!("{:<14} {}", "described in", layout.description().display());
    Ok(())
}
