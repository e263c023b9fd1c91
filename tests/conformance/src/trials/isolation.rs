//! What keeps a workload from its host, as a process in it finds out: facts that are compared by row with those of other runtimes.
//!
//! A small C program prints the facts. Some must hold everywhere; every fact of the embedded runtime is at least as tight as that
//! of Docker and Podman, by an order that the row declares. The table of a complete run is `docs/reference/isolation.md`.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use hythe_runtime::{Feature, Plan};
use hythe_spec::Permissions;

use crate::failure::{Failure, Outcome};
use crate::fixture::{Fixture, bind_mount, connected};
use crate::isolation::{self, Facts, required};
use crate::need::Need::{Can, Compiler, Logs, Real};
use crate::trial::trials;

trials! { "isolation":
    default_workload_is_isolated [Real, Logs, Compiler, Can(Feature::CapabilitySet)],
    workload_without_permissions_is_isolated [Real, Logs, Compiler, Can(Feature::CapabilitySet)],
}

const PROBE: &str = include_str!("isolation/probe.c");

/// The program, built once for the whole run.
fn probe() -> Outcome<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|failure| failure.to_string()));
    built.clone().map_err(Failure::new)
}

fn build() -> Outcome<PathBuf> {
    // Where every user may look; it goes with the run's other temporary files.
    let directory = std::env::temp_dir().join(format!("hythe-probe-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let (source, program) = (directory.join("probe.c"), directory.join("probe"));
    std::fs::write(&source, PROBE)?;
    let built = Command::new("cc").args(["-static", "-O1", "-w", "-o"]).arg(&program).arg(&source).output()?;
    if !built.status.success() {
        return Err(Failure::new(format!("`cc`: {}", String::from_utf8_lossy(&built.stderr))));
    }
    Ok(program)
}

/// Removes what [`probe`] left.
pub(crate) fn clean() {
    let directory = std::env::temp_dir().join(format!("hythe-probe-{}", std::process::id()));
    // Where no trial ran there is none.
    let _ = std::fs::remove_dir_all(directory);
}

async fn facts(fixture: &Fixture, mut plan: Plan) -> Outcome<Facts> {
    let name = format!("hythe-isolation-{}", fixture.service);
    let _reachable = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let program = probe()?;
    let mut mount = bind_mount(program.parent().expect("a directory"), "/probe");
    mount.read_only = true;
    plan.mounts.push(mount);
    plan.command = Some(vec!["/probe/probe".to_owned(), name]);
    let mut facts = Facts::parse(&fixture.output(&plan).await?);
    facts.compare_namespaces(|kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).ok());
    let mut mounts = fixture.script("cat /proc/self/mountinfo");
    (mounts.security, mounts.network, mounts.identity.attempt) = (plan.security, plan.network, 2);
    facts.add_mounts(&fixture.output(&mounts).await?);
    Ok(facts)
}

async fn judge(fixture: &Fixture, profile: &'static str, plan: Plan) -> Outcome {
    let facts = facts(fixture, plan).await?;
    let missing = required(&facts);
    isolation::note(fixture.subject.name, profile, facts);
    if missing.is_empty() { Ok(()) } else { Err(Failure::new(missing.join("\n"))) }
}

async fn default_workload_is_isolated(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    if fixture.runtime().networks().is_some() {
        plan.network = connected(&[&fixture.network("net").await?], "probe");
    }
    judge(fixture, isolation::DEFAULT, plan).await
}

async fn workload_without_permissions_is_isolated(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.security.capabilities = Permissions::built_in("none").map(|none| none.capabilities).unwrap_or_default();
    judge(fixture, isolation::NONE, plan).await
}
