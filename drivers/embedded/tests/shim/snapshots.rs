//! Deaths in the middle of a commit: an instance that was held still runs on, the same call gives the snapshot, and nothing else is left.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hythe_driver_embedded::Embedded;
use hythe_runtime::{ErrorKind, InstanceId, OpContext, Result, Runtime, Snapshot, SnapshotRequest, State};
use hythe_shim::protocol::{self, Answer, HEAD, Request, frame_json, kind};
use hythe_spec::ImageRef;

use crate::Named;
use crate::callers::{GRACE, created, everywhere, killed_everywhere, running, runs, stopped, store};
use crate::deaths::small;
use crate::harness::{self, Harness};
use crate::traced;

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("one_that_is_held_stands_still_and_counts_as_running", stands_still),
        ("a_stop_ends_a_hold", a_stop),
        ("a_caller_killed_at_any_step_of_a_commit_leaves_it_running", of_one_that_runs),
        (
            "a_caller_killed_at_any_step_of_a_commit_of_one_that_is_stopped_leaves_nothing_half_way",
            of_one_that_is_stopped,
        ),
        (
            "a_caller_killed_at_any_step_of_a_commit_of_one_that_never_ran_leaves_nothing_half_way",
            of_one_that_never_ran,
        ),
        ("a_supervisor_killed_at_any_step_of_a_commit_leaves_one_that_can_be_committed", supervisors),
        ("a_commit_on_a_full_disk_leaves_nothing_and_lets_it_run_on", a_full_disk),
    ]
}

const PATIENCE: Duration = Duration::from_secs(10);

fn image() -> ImageRef {
    "localhost/kept:1".parse().unwrap()
}

pub(crate) async fn commit(embedded: &Embedded, id: &InstanceId) -> Result<Snapshot> {
    let request = SnapshotRequest { image: image(), identity: harness::plan(1, "").identity };
    embedded.snapshots().unwrap().commit(&OpContext::new("trial"), &id.to_ref(), &request).await
}

/// A supervisor hears of a death a moment after it.
fn until_running(harness: &Harness, id: &InstanceId) {
    let began = Instant::now();
    while harness.inspect(id).state != State::Running {
        assert!(began.elapsed() < PATIENCE, "{:?}", harness.inspect(id));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn until_ready(harness: &Harness, id: &InstanceId) {
    while harness.lines(id).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same call gives the snapshot; taken away, it leaves what was there before.
fn is_made(harness: &Harness, id: &InstanceId) {
    let snapshots = harness.embedded.snapshots().unwrap();
    let made = harness.wait(commit(&harness.embedded, id)).unwrap();
    assert_eq!(harness.wait(snapshots.list(&harness.cx)).unwrap(), [made]);
    let plan = hythe_runtime::Plan { image: image(), ..harness::plan(2, "exit 7") };
    let next = harness.run(&plan);
    assert_eq!(harness.until_exited(&next).exit.unwrap().code, Some(7));
    harness.remove(&next);
    harness.wait(snapshots.remove(&harness.cx, &image())).unwrap();
    // Of the one image: a manifest, a configuration, a layer as it came, and unpacked; and a place to work in with its lock.
    let left = store(harness);
    assert_eq!(left.len(), 4 + 2, "{left:?}");
}

fn of_one_that_runs() {
    killed_everywhere("commit", running, |harness, id| {
        until_running(harness, id);
        runs(harness, id);
        is_made(harness, id);
        until_running(harness, id);
    });
}

fn of_one_that_is_stopped() {
    killed_everywhere("commit", stopped, |harness, id| {
        assert_eq!(harness.inspect(id).state, State::Exited);
        is_made(harness, id);
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        runs(harness, id);
    });
}

fn of_one_that_never_ran() {
    killed_everywhere("commit", created, |harness, id| {
        assert_eq!(harness.inspect(id).state, State::Created);
        is_made(harness, id);
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        runs(harness, id);
    });
}

fn supervisors() {
    let kill = |harness: &Harness, id: &InstanceId, nth| {
        let act = || {
            // They fail where the supervisor dies meanwhile, also since whoever traces it reaps what they start.
            let _ = harness.wait(commit(&harness.embedded, id));
            let _ = harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &GRACE));
        };
        traced::running(harness.shim(id).unwrap(), nth, act)
    };
    everywhere("supervisor, commit", running, kill, |harness, id| {
        assert_eq!(harness.inspect(id).state, State::Exited);
        is_made(harness, id);
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        runs(harness, id);
    });
}

fn a_full_disk() {
    let (_mounted, harness) = small();
    let id =
        harness.run(&harness.plan(1, "head -c 12000000 /dev/zero > /large; echo ready; while :; do sleep 0.01; done"));
    until_ready(&harness, &id);
    let before = store(&harness);
    let error = harness.wait(commit(&harness.embedded, &id)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    until_running(&harness, &id);
    assert_eq!(store(&harness), before);
    harness.end();
}

/// Asks the supervisor for a hold.
fn hold(harness: &Harness, id: &InstanceId) -> UnixStream {
    let directory = harness.directory(id);
    let (_open, path) = directory.socket().unwrap();
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(&frame_json(kind::REQUEST, &Request::Hold).unwrap()).unwrap();
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).unwrap();
    let mut answer = vec![0; protocol::head(head).unwrap().1];
    stream.read_exact(&mut answer).unwrap();
    serde_json::from_slice::<Answer>(&answer).unwrap().unwrap();
    stream
}

const COUNTER: &str = "while :; do echo x; sleep 0.001; done";

fn stands_still() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, COUNTER));
    let (one, other) = (hold(&harness, &id), hold(&harness, &id));
    std::thread::sleep(Duration::from_millis(50));
    let before = harness.lines(&id).len();
    drop(one);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((harness.lines(&id).len(), harness.inspect(&id).state), (before, State::Running));
    drop(other);
    let began = Instant::now();
    while harness.lines(&id).len() == before {
        assert!(began.elapsed() < PATIENCE, "it still stands still");
        std::thread::sleep(Duration::from_millis(1));
    }
    // A pause is no hold, and outlives one.
    harness.wait(harness.embedded.freeze(&id.0, true)).unwrap();
    drop(hold(&harness, &id));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(harness.inspect(&id).state, State::Paused);
    harness.end();
}

fn a_stop() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"));
    until_ready(&harness, &id);
    let mut held = hold(&harness, &id);
    harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &GRACE)).unwrap();
    assert_eq!(harness.inspect(&id).exit.unwrap().code, Some(5));
    assert_eq!(held.read(&mut [0]).unwrap(), 0, "whoever held it does not hear of that");
    harness.end();
}
