//! Deaths in the middle of a commit: an instance that was held still runs on, the same call gives the snapshot, and nothing else is left.

use std::time::{Duration, Instant};

use hythe_driver_embedded::Embedded;
use hythe_runtime::{ErrorKind, InstanceId, OpContext, Result, Runtime, Snapshot, SnapshotRequest, State};
use hythe_spec::ImageRef;

use crate::Named;
use crate::bed::{self, Bed};
use crate::callers::{GRACE, created, everywhere, killed_everywhere, running, runs, stopped, store};
use crate::deaths::small;
use crate::traced;

pub(crate) fn trials() -> Vec<Named> {
    vec![
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
    let request = SnapshotRequest { image: image(), identity: bed::plan(1, "").identity };
    embedded.snapshots().unwrap().commit(&OpContext::new("trial"), id, &request).await
}

/// A supervisor hears of a death a moment after it.
fn until_running(bed: &Bed, id: &InstanceId) {
    let began = Instant::now();
    while bed.inspect(id).state != State::Running {
        assert!(began.elapsed() < PATIENCE, "{:?}", bed.inspect(id));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The same call gives the snapshot; taken away, it leaves what was there before.
fn is_made(bed: &Bed, id: &InstanceId) {
    let snapshots = bed.embedded.snapshots().unwrap();
    let made = bed.wait(commit(&bed.embedded, id)).unwrap();
    assert_eq!(bed.wait(snapshots.list(&bed.cx)).unwrap(), [made]);
    let plan = hythe_runtime::Plan { image: image(), ..bed::plan(2, "exit 7") };
    let next = bed.run(&plan);
    assert_eq!(bed.until_exited(&next).exit.unwrap().code, 7);
    bed.remove(&next);
    bed.wait(snapshots.remove(&bed.cx, &image())).unwrap();
    // Of the one image: a manifest, a configuration, a layer as it came, and unpacked; and a place to work in with its lock.
    let left = store(bed);
    assert_eq!(left.len(), 4 + 2, "{left:?}");
}

fn of_one_that_runs() {
    killed_everywhere("commit", running, |bed, id| {
        until_running(bed, id);
        runs(bed, id);
        is_made(bed, id);
        until_running(bed, id);
    });
}

fn of_one_that_is_stopped() {
    killed_everywhere("commit", stopped, |bed, id| {
        assert_eq!(bed.inspect(id).state, State::Exited);
        is_made(bed, id);
        bed.wait(bed.embedded.start(&bed.cx, id)).unwrap();
        runs(bed, id);
    });
}

fn of_one_that_never_ran() {
    killed_everywhere("commit", created, |bed, id| {
        assert_eq!(bed.inspect(id).state, State::Created);
        is_made(bed, id);
        bed.wait(bed.embedded.start(&bed.cx, id)).unwrap();
        runs(bed, id);
    });
}

fn supervisors() {
    let kill = |bed: &Bed, id: &InstanceId, nth| {
        let act = || {
            // They fail where the supervisor dies meanwhile, also since whoever traces it reaps what they start.
            let _ = bed.wait(commit(&bed.embedded, id));
            let _ = bed.wait(bed.embedded.stop(&bed.cx, id, &GRACE));
        };
        traced::running(bed.shim(id).unwrap(), nth, act)
    };
    everywhere("supervisor, commit", running, kill, |bed, id| {
        assert_eq!(bed.inspect(id).state, State::Exited);
        is_made(bed, id);
        bed.wait(bed.embedded.start(&bed.cx, id)).unwrap();
        runs(bed, id);
    });
}

fn a_full_disk() {
    let (_mounted, bed) = small();
    let id = bed.run(&bed.plan(1, "head -c 12000000 /dev/zero > /large; echo ready; while :; do sleep 0.01; done"));
    while bed.lines(&id).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = store(&bed);
    let error = bed.wait(commit(&bed.embedded, &id)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    until_running(&bed, &id);
    assert_eq!(store(&bed), before);
    bed.end();
}
