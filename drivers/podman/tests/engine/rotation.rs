//! Events over the replacement of podman's file of events.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::{Bench, PATIENCE};
use futures_util::StreamExt;
use hythe_driver_podman::{Config, connect};
use hythe_runtime::{Cursor, Event, EventKind, EventStream, InstanceId, Runtime};

const INSTANCES: u32 = 30;

/// The environment's podman with a file of events that is soon too large; `None` where its settings are not to be found.
fn small(program: &Path, dir: &Path) -> Option<PathBuf> {
    let script = std::fs::read_to_string(program).ok()?;
    let settings = script.lines().find_map(|line| line.trim().strip_prefix("export CONTAINERS_CONF="))?;
    let text = std::fs::read_to_string(settings).ok()?;
    let ours = dir.join("containers.conf");
    std::fs::write(&ours, text.replace("[engine]", "[engine]\nevents_logfile_max_size = \"20k\"")).unwrap();
    let podman = dir.join("podman");
    std::fs::write(&podman, script.replace(settings, &ours.display().to_string())).unwrap();
    std::fs::set_permissions(&podman, std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(podman)
}

async fn lives(bench: &Bench) -> Vec<InstanceId> {
    let mut ids = Vec::new();
    for attempt in 1..=INSTANCES {
        let mut plan = bench.plan("rotation", &["true"]);
        plan.identity.attempt = attempt;
        let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
        bench.ended(&id).await;
        bench.podman.remove(&bench.cx, &id.to_ref()).await.unwrap();
        ids.push(id);
    }
    ids
}

/// Reads on until that instance is removed, which may have been seen already.
async fn until_removed(events: &mut EventStream, last: &InstanceId, mut seen: Vec<Event>) -> Vec<Event> {
    let reading = async {
        while !seen.iter().any(|event: &Event| event.id == *last && event.kind == EventKind::Removed) {
            seen.push(events.next().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    seen
}

#[tokio::test]
async fn a_new_file_of_events_loses_none() {
    let Some(mut bench) = crate::bench::bench("rotation").await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = small(Path::new(&bench.podman.info().endpoint), dir.path()) else {
        eprintln!("skipped: the settings of this podman cannot be changed");
        return;
    };
    bench.podman = connect(Config { program, ..Config::default() }).await.unwrap();
    let mut events = bench.podman.watch(&bench.cx, Cursor::START).await.unwrap();
    let living = lives(&bench);
    tokio::pin!(living);
    let mut seen = Vec::new();
    let ids = loop {
        tokio::select! {
            ids = &mut living => break ids,
            event = events.next() => seen.push(event.unwrap().unwrap()),
        }
    };
    let seen = until_removed(&mut events, ids.last().unwrap(), seen).await;
    let mut kinds: BTreeMap<InstanceId, Vec<String>> = BTreeMap::new();
    for event in seen {
        kinds.entry(event.id).or_default().push(serde_json::to_value(&event.kind).unwrap()["kind"].to_string());
    }
    let whole = ["\"created\"", "\"started\"", "\"stopped\"", "\"removed\""];
    for id in &ids {
        assert_eq!(kinds[id], whole);
    }
    let more = tokio::time::timeout(Duration::from_secs(2), events.next()).await;
    assert!(!matches!(more, Ok(None | Some(Err(_)))), "the end of the file is taken for the engine's");
}
