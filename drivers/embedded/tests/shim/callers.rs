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
use crate::bed::{self, Bed};
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
pub(crate) const GRACE: Stop = Stop { signal: None, grace: Duration::from_secs(5) };

fn plan() -> Plan {
    let attachment = Attachment { network: NETWORK.to_owned(), aliases: Vec::new() };
    let network = match hythe_driver_embedded::network::supported() {
        Ok(()) => PlanNetwork::Bridged { attachments: vec![attachment] },
        Err(_) => PlanNetwork::None,
    };
    Plan { network, ..bed::plan(1, SCRIPT) }
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
        let embedded = bed::connect(Path::new(root)).await;
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
        "start" => drop(embedded.start(&cx, id).await),
        "stop" => embedded.stop(&cx, id, &GRACE).await.unwrap(),
        "load" => drop(load(embedded, Path::new(&id.0)).await),
        "remove" => embedded.remove(&cx, id).await.unwrap(),
        "commit" => drop(crate::snapshots::commit(embedded, id).await.unwrap()),
        other => panic!("`{other}`"),
    }
}

async fn load(embedded: &Embedded, archive: &Path) -> Vec<hythe_runtime::Image> {
    let (progress, _reports) = tokio::sync::mpsc::channel(1);
    embedded.images().unwrap().load(&OpContext::new("trial"), archive, &progress).await.unwrap()
}

fn spawn(bed: &Bed, verb: &str, id: &InstanceId) -> Child {
    let mut child = Command::new("/proc/self/exe")
        .arg("caller")
        .args([&bed.root, &PathBuf::from(verb), &PathBuf::from(&id.0)])
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
pub(crate) fn killed_everywhere(verb: &'static str, prepare: fn(&Bed) -> InstanceId, look: fn(&Bed, &InstanceId)) {
    let kill = move |bed: &Bed, id: &InstanceId, nth| traced::caller(spawn(bed, verb, id), nth);
    everywhere(verb, prepare, kill, look);
}

pub(crate) fn everywhere(
    what: &str,
    prepare: fn(&Bed) -> InstanceId,
    kill: impl Fn(&Bed, &InstanceId, usize) -> Became,
    look: fn(&Bed, &InstanceId),
) {
    let mut bed = Bed::new();
    if let Some(networks) = bed.embedded.networks() {
        let spec = NetworkSpec { name: NETWORK.to_owned(), labels: BTreeMap::new(), internal: false };
        bed.wait(networks.ensure(&bed.cx, &spec)).unwrap();
    }
    let mut places = BTreeMap::<&str, usize>::new();
    let mut ids = Vec::new();
    for nth in 1.. {
        let id = prepare(&bed);
        let became = kill(&bed, &id, nth);
        bed.again();
        look(&bed, &id);
        ids.extend(bed.clear());
        match became {
            Became::Killed(call) => *places.entry(call.name()).or_default() += 1,
            Became::Ended => break,
        }
    }
    println!("{what}: killed before {} calls: {places:?}", places.values().sum::<usize>());
    assert!(places.values().sum::<usize>() > 5, "it cannot have done its work in so few: {places:?}");
    bed.end();
    bed.is_empty(&ids);
}

fn state(bed: &Bed) -> Option<State> {
    let rows = bed.wait(bed.embedded.list(&bed.cx, &Filter::default())).unwrap();
    assert!(rows.len() <= 1, "{rows:?}");
    rows.first().map(|row| row.state)
}

/// It runs, in one process that began once since it was made.
pub(crate) fn runs_once(bed: &Bed, id: &InstanceId) {
    runs(bed, id);
    while bed.lines(id).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bed.lines(id), ["began"]);
}

/// It runs, in one process below one supervisor.
pub(crate) fn runs(bed: &Bed, id: &InstanceId) {
    let observed = bed.inspect(id);
    assert_eq!(observed.state, State::Running, "{observed:?}");
    let shims = hythe_traces::supervisors().into_iter().filter(|(_, line)| line.contains(&id.0)).collect::<Vec<_>>();
    assert_eq!(shims.len(), 1, "{shims:?}");
    let group = format!("hythe-{id}");
    let inside = hythe_traces::contained().into_iter().filter(|(_, name)| *name == group);
    let mains = inside.filter(|(pid, _)| parent(*pid) == Some(shims[0].0)).collect::<Vec<_>>();
    assert_eq!(mains.len(), 1, "{mains:?}");
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

fn nothing(_: &Bed) -> InstanceId {
    InstanceId("none".to_owned())
}

pub(crate) fn created(bed: &Bed) -> InstanceId {
    bed.wait(bed.embedded.create(&bed.cx, &plan())).unwrap()
}

pub(crate) fn running(bed: &Bed) -> InstanceId {
    bed.run(&plan())
}

pub(crate) fn stopped(bed: &Bed) -> InstanceId {
    let id = running(bed);
    bed.wait(bed.embedded.stop(&bed.cx, &id, &GRACE)).unwrap();
    id
}

/// What the image store consists of, but for what it locks.
pub(crate) fn store(bed: &Bed) -> Vec<String> {
    let images = bed.root.join("images");
    let names = |directory: &str| hythe_traces::names(images.join(directory));
    ["blobs/sha256", "layers", "ingest", "tmp"].into_iter().flat_map(names).collect()
}

fn loads() {
    const OTHER: &str = "localhost/other:1";
    let prepare = |bed: &Bed| InstanceId(bed.archive(OTHER).display().to_string());
    killed_everywhere("load", prepare, |bed, archive| {
        let images = bed.embedded.images().unwrap();
        let other = OTHER.parse().unwrap();
        let plan = Plan { image: OTHER.parse().unwrap(), ..plan() };
        if bed.wait(images.get(&bed.cx, &other)).is_ok() {
            runs_once(bed, &bed.run(&plan));
            bed.clear();
        }
        bed.wait(load(&bed.embedded, Path::new(&archive.0)));
        runs_once(bed, &bed.run(&plan));
        bed.clear();
        bed.wait(images.remove(&bed.cx, &other)).unwrap();
        // Of its one other image: a manifest, a configuration, a layer as it came, and unpacked; and a place to work in with its lock.
        let left = store(bed);
        assert_eq!(left.iter().filter(|name| name.starts_with('.')).count(), 2, "{left:?}");
        assert_eq!(left.len(), 4 + 2, "{left:?}");
    });
}

fn creates() {
    killed_everywhere("create", nothing, |bed, _| {
        let found = state(bed);
        assert!(matches!(found, None | Some(State::Created)), "{found:?}");
        let id = created(bed);
        assert_eq!(state(bed), Some(State::Created));
        bed.wait(bed.embedded.start(&bed.cx, &id)).unwrap();
        runs_once(bed, &id);
    });
}

fn starts() {
    killed_everywhere("start", created, |bed, id| {
        assert!(matches!(state(bed), Some(State::Created | State::Running)));
        bed.wait(bed.embedded.start(&bed.cx, id)).unwrap();
        runs_once(bed, id);
    });
}

fn stops_what_was_starting() {
    killed_everywhere("start", created, |bed, id| {
        bed.wait(bed.embedded.stop(&bed.cx, id, &GRACE)).unwrap();
        for _ in 0..5 {
            assert!(matches!(state(bed), Some(State::Created | State::Exited)), "it was started after its stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

fn stops() {
    killed_everywhere("stop", running, |bed, id| {
        assert!(matches!(state(bed), Some(State::Running | State::Exited)));
        bed.wait(bed.embedded.stop(&bed.cx, id, &GRACE)).unwrap();
        let observed = bed.inspect(id);
        assert_eq!((observed.state, observed.exit.unwrap().code), (State::Exited, 5));
        bed.wait(bed.embedded.start(&bed.cx, id)).unwrap();
        assert_eq!(bed.inspect(id).state, State::Running);
    });
}

fn removes() {
    killed_everywhere("remove", stopped, |bed, id| {
        assert!(matches!(state(bed), None | Some(State::Exited)));
        bed.wait(bed.embedded.remove(&bed.cx, id)).unwrap();
        assert_eq!(state(bed), None);
        let made = running(bed);
        assert_ne!(made, *id);
        runs_once(bed, &made);
    });
}

fn supervisor_starts() {
    let kill = |bed: &Bed, id: &InstanceId, nth| traced::started_by(spawn(bed, "start", id), nth);
    everywhere("supervisor, start", created, kill, |bed, id| {
        let found = state(bed);
        assert!(matches!(found, Some(State::Created | State::Exited | State::Running)), "{found:?}");
        bed.wait(bed.embedded.start(&bed.cx, id)).unwrap();
        runs(bed, id);
    });
}

fn supervisor_ends() {
    let kill = |bed: &Bed, id: &InstanceId, nth| {
        let stop = || bed.wait(bed.embedded.stop(&bed.cx, id, &GRACE)).unwrap();
        traced::running(bed.shim(id).unwrap(), nth, stop)
    };
    everywhere("supervisor, end", running, kill, |bed, id| {
        let observed = bed.inspect(id);
        let exit = observed.exit.unwrap();
        let lost = exit.error.as_ref().is_some_and(|error| error.contains("supervisor"));
        // As it was, or told as lost.
        assert!(observed.state == State::Exited && (lost && exit.code == 137 || exit.code == 5), "{exit:?}");
        bed.wait(bed.embedded.start(&bed.cx, id)).unwrap();
        runs(bed, id);
    });
}
