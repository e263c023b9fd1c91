//! Deaths of whoever calls the driver, as an agent does, and of supervisors: before each system call by which they change something while a container is
//! created, started, stopped and removed. Another caller comes, is asked for the same, and there must be one container, or none, and nothing beside it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use hythe_driver_embedded::Embedded;
use hythe_runtime::{Attachment, Filter, InstanceId, NetworkSpec, OpContext, Plan, PlanNetwork, Runtime, State, Stop};

use crate::Named;
use crate::harness::{self, Harness};
use crate::traced::{self, Became};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("a_caller_killed_at_any_step_of_load_leaves_a_whole_image_or_none", loads),
        ("a_caller_killed_at_any_step_of_create_leaves_one_or_none", creates),
        ("a_caller_killed_at_any_step_of_start_leaves_one_that_runs_once", starts),
        ("a_stop_after_a_start_cut_short_at_any_step_is_obeyed", stops_what_was_starting),
        ("a_caller_killed_at_any_step_of_stop_leaves_one_that_can_be_stopped", stops),
        ("a_caller_killed_at_any_step_of_remove_leaves_nothing_of_it", removes),
        ("a_supervisor_killed_at_any_step_of_a_start_leaves_one_that_can_be_started", supervisor_starts),
        ("a_supervisor_killed_at_any_step_of_an_end_leaves_a_true_record", supervisor_ends),
    ]
}

const SCRIPT: &str = "trap 'exit 5' TERM; echo began; while :; do sleep 0.01; done";
const NETWORK: &str = "shared";
/// The container ends by itself; killed before, on a busy host, it would have another exit code.
pub(crate) const GRACE: Stop = Stop { signal: None, grace: Duration::from_secs(60) };

fn plan() -> Plan {
    let attachment = Attachment { network: NETWORK.to_owned(), aliases: Vec::new() };
    let network = match hythe_network::supported() {
        Ok(()) => PlanNetwork::Networks { attachments: vec![attachment] },
        Err(_) => PlanNetwork::None,
    };
    Plan { network, ..harness::plan(1, SCRIPT) }
}

/// The life of the process that is killed, where this is it: `caller <root> <verb> <id>`.
pub(crate) fn caller() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mark, root, verb, id] = words.as_slice() else { return None };
    if mark != "caller" {
        return None;
    }
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let embedded = harness::connect(Path::new(root)).await;
        println!("ready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        act(&embedded, verb, &InstanceId(id.clone())).await;
    });
    Some(ExitCode::SUCCESS)
}

async fn act(embedded: &Embedded, verb: &str, id: &InstanceId) {
    let cx = OpContext::new("trial");
    match verb {
        "create" => drop(embedded.create(&cx, &plan()).await.unwrap()),
        // It fails where the supervisor is the one that is killed.
        "start" => drop(embedded.start(&cx, &id.to_ref()).await),
        "stop" => embedded.stop(&cx, &id.to_ref(), &GRACE).await.unwrap(),
        "load" => drop(load(embedded, Path::new(&id.0)).await),
        "remove" => embedded.remove(&cx, &id.to_ref()).await.unwrap(),
        "commit" => drop(crate::snapshots::commit(embedded, id).await.unwrap()),
        other => panic!("`{other}`"),
    }
}

async fn load(embedded: &Embedded, archive: &Path) -> Vec<hythe_runtime::Image> {
    let (progress, _reports) = tokio::sync::mpsc::channel(1);
    embedded.images().unwrap().load(&OpContext::new("trial"), archive, None, &progress).await.unwrap()
}

fn spawn(harness: &Harness, verb: &str, id: &InstanceId) -> Child {
    let mut child = Command::new("/proc/self/exe")
        .arg("caller")
        .args([&harness.root, &PathBuf::from(verb), &PathBuf::from(&id.0)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// For each change that the verb makes: prepares, has the caller killed before it, and looks at what another one finds and makes of it.
pub(crate) fn killed_everywhere(
    verb: &'static str,
    prepare: fn(&Harness) -> InstanceId,
    look: fn(&Harness, &InstanceId),
) {
    let kill = move |harness: &Harness, id: &InstanceId, nth| traced::caller(spawn(harness, verb, id), nth);
    everywhere(verb, prepare, kill, look);
}

pub(crate) fn everywhere(
    what: &str,
    prepare: fn(&Harness) -> InstanceId,
    kill: impl Fn(&Harness, &InstanceId, usize) -> Became,
    look: fn(&Harness, &InstanceId),
) {
    let mut harness = Harness::new();
    if let Some(networks) = harness.embedded.networks() {
        let spec = NetworkSpec { name: NETWORK.to_owned(), labels: crate::harness::owned(), internal: false };
        harness.wait(networks.ensure(&harness.cx, &spec)).unwrap();
    }
    let mut places = BTreeMap::<&str, usize>::new();
    let mut ids = Vec::new();
    for nth in 1.. {
        let id = prepare(&harness);
        let became = kill(&harness, &id, nth);
        harness.again();
        look(&harness, &id);
        ids.extend(harness.clear());
        match became {
            Became::Killed(call) => *places.entry(call.name()).or_default() += 1,
            Became::Ended => break,
        }
    }
    println!("{what}: killed before {} calls: {places:?}", places.values().sum::<usize>());
    assert!(places.values().sum::<usize>() > 5, "it cannot have done its work in so few: {places:?}");
    harness.end();
    harness.is_empty(&ids);
}

fn state(harness: &Harness) -> Option<State> {
    let rows = harness.wait(harness.embedded.list(&harness.cx, &Filter::default())).unwrap();
    assert!(rows.len() <= 1, "{rows:?}");
    rows.first().map(|row| row.state)
}

/// It runs, in one process that began once since it was made.
pub(crate) fn runs_once(harness: &Harness, id: &InstanceId) {
    runs(harness, id);
    while harness.lines(id).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(harness.lines(id), ["began"]);
}

/// It runs, in one process below one supervisor.
pub(crate) fn runs(harness: &Harness, id: &InstanceId) {
    let observed = harness.inspect(id);
    assert_eq!(observed.state, State::Running, "{observed:?}");
    let shims =
        hythe_host_leaks::supervisors().into_iter().filter(|(_, line)| line.contains(&id.0)).collect::<Vec<_>>();
    assert_eq!(shims.len(), 1, "{shims:?}");
    let group = format!("hythe-{id}");
    let inside = hythe_host_leaks::contained().into_iter().filter(|(_, name)| *name == group);
    let mains = inside.filter(|(pid, _)| parent(*pid) == Some(shims[0].0)).collect::<Vec<_>>();
    assert_eq!(mains.len(), 1, "{mains:?}");
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

fn nothing(_: &Harness) -> InstanceId {
    InstanceId("none".to_owned())
}

pub(crate) fn created(harness: &Harness) -> InstanceId {
    harness.wait(harness.embedded.create(&harness.cx, &plan())).unwrap()
}

/// It has set its trap: the first process of a container does not die of a signal that it does not wait for.
pub(crate) fn running(harness: &Harness) -> InstanceId {
    let id = harness.run(&plan());
    while harness.lines(&id).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    id
}

pub(crate) fn stopped(harness: &Harness) -> InstanceId {
    let id = running(harness);
    harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &GRACE)).unwrap();
    id
}

/// What the image store consists of, but for what it locks.
pub(crate) fn store(harness: &Harness) -> Vec<String> {
    let images = harness.root.join("images");
    let names = |directory: &str| hythe_host_leaks::names(images.join(directory));
    ["blobs/sha256", "layers", "ingest", "tmp"].into_iter().flat_map(names).collect()
}

fn loads() {
    const OTHER: &str = "localhost/other:1";
    let prepare = |harness: &Harness| InstanceId(harness.archive(OTHER).display().to_string());
    killed_everywhere("load", prepare, |harness, archive| {
        let images = harness.embedded.images().unwrap();
        let other = OTHER.parse().unwrap();
        let plan = Plan { image: OTHER.parse().unwrap(), ..plan() };
        if harness.wait(images.get(&harness.cx, &other)).is_ok() {
            runs_once(harness, &harness.run(&plan));
            harness.clear();
        }
        harness.wait(load(&harness.embedded, Path::new(&archive.0)));
        runs_once(harness, &harness.run(&plan));
        harness.clear();
        harness.wait(images.remove(&harness.cx, &other)).unwrap();
        // Of its one other image: a manifest, a configuration, a layer as it came, and unpacked; and a place to work in with its lock.
        let left = store(harness);
        assert_eq!(left.iter().filter(|name| name.starts_with('.')).count(), 2, "{left:?}");
        assert_eq!(left.len(), 4 + 2, "{left:?}");
    });
}

fn creates() {
    killed_everywhere("create", nothing, |harness, _| {
        let found = state(harness);
        assert!(matches!(found, None | Some(State::Created)), "{found:?}");
        let id = created(harness);
        assert_eq!(state(harness), Some(State::Created));
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        runs_once(harness, &id);
    });
}

fn starts() {
    killed_everywhere("start", created, |harness, id| {
        assert!(matches!(state(harness), Some(State::Created | State::Running)));
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        runs_once(harness, id);
    });
}

fn stops_what_was_starting() {
    killed_everywhere("start", created, |harness, id| {
        harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &GRACE)).unwrap();
        for _ in 0..5 {
            assert!(matches!(state(harness), Some(State::Created | State::Exited)), "it was started after its stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

fn stops() {
    killed_everywhere("stop", running, |harness, id| {
        assert!(matches!(state(harness), Some(State::Running | State::Exited)));
        harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &GRACE)).unwrap();
        let observed = harness.inspect(id);
        assert_eq!((observed.state, observed.exit.unwrap().code), (State::Exited, Some(5)));
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        assert_eq!(harness.inspect(id).state, State::Running);
    });
}

fn removes() {
    killed_everywhere("remove", stopped, |harness, id| {
        assert!(matches!(state(harness), None | Some(State::Exited)));
        harness.wait(harness.embedded.remove(&harness.cx, &id.to_ref())).unwrap();
        assert_eq!(state(harness), None);
        let made = running(harness);
        assert_ne!(made, *id);
        runs_once(harness, &made);
    });
}

fn supervisor_starts() {
    let kill = |harness: &Harness, id: &InstanceId, nth| traced::started_by(spawn(harness, "start", id), nth);
    everywhere("supervisor, start", created, kill, |harness, id| {
        let found = state(harness);
        assert!(matches!(found, Some(State::Created | State::Exited | State::Running)), "{found:?}");
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        runs(harness, id);
    });
}

fn supervisor_ends() {
    let kill = |harness: &Harness, id: &InstanceId, nth| {
        let stop = || harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &GRACE)).unwrap();
        traced::running(harness.shim(id).unwrap(), nth, stop)
    };
    everywhere("supervisor, end", running, kill, |harness, id| {
        let observed = harness.inspect(id);
        let exit = observed.exit.unwrap();
        let lost = exit.error.as_ref().is_some_and(|error| error.contains("supervisor"));
        // As it was, or told as lost.
        assert!(
            observed.state == State::Exited && (lost && exit.code == Some(137) || exit.code == Some(5)),
            "{exit:?}"
        );
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        runs(harness, id);
    });
}
