//! Deaths: of a shim, of an agent, at every moment.

use std::time::Duration;

use hythe_runtime::{InstanceId, Runtime, State};

use crate::Named;
use crate::harness::{Harness, kill, runs};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("a_killed_shim_takes_its_container_with_it_and_is_told", a_killed_shim),
        ("a_killed_shim_of_an_init_too", a_killed_shim_of_an_init),
        ("a_frozen_container_without_a_shim_is_settled", a_frozen_container),
        ("another_agent_finds_the_same_container", another_agent),
        ("a_shim_killed_at_any_moment_of_a_start_leaves_a_startable_instance", any_moment_of_a_start),
        ("a_shim_killed_at_any_moment_of_an_end_leaves_a_true_record", any_moment_of_an_end),
        ("a_full_disk_loses_output_and_not_the_end", a_full_disk),
    ]
}

const SERVER: &str = "echo ready; while :; do sleep 1; done";

fn lost(harness: &Harness, id: &InstanceId, pid: u32) {
    let observed = harness.inspect(id);
    assert_eq!(observed.state, State::Exited);
    let exit = observed.exit.unwrap();
    assert_eq!(exit.code, Some(137));
    assert!(exit.error.unwrap().contains("supervisor"));
    assert!(!runs(pid), "the container lives on");
}

fn killed(init: bool) {
    let harness = Harness::new();
    let mut plan = harness.plan(1, SERVER);
    plan.init = init;
    let id = harness.run(&plan);
    let pid = harness.inspect(&id).pid.unwrap();
    kill(harness.shim(&id).unwrap());
    lost(&harness, &id, pid);
    harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
    assert_eq!(harness.inspect(&id).state, State::Running);
    harness.end();
}

fn a_killed_shim() {
    killed(false);
}

fn a_killed_shim_of_an_init() {
    killed(true);
}

fn a_frozen_container() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    let pid = harness.inspect(&id).pid.unwrap();
    harness.wait(harness.embedded.freeze(&id.0, true)).unwrap();
    assert_eq!(harness.inspect(&id).state, State::Paused);
    kill(harness.shim(&id).unwrap());
    lost(&harness, &id, pid);
    harness.end();
}

fn another_agent() {
    let mut harness = Harness::new();
    let id = harness.run(&harness.plan(1, "echo before; sleep 1; echo after; exit 3"));
    let pid = harness.inspect(&id).pid;
    harness.again();
    assert_eq!(harness.inspect(&id).pid, pid);
    assert_eq!(harness.run(&harness.plan(1, "echo before; sleep 1; echo after; exit 3")), id);
    assert_eq!(harness.until_exited(&id).exit.unwrap().code, Some(3));
    assert_eq!(harness.lines(&id), ["before", "after"]);
    harness.end();
}

/// Kills the shim after so many microseconds from its first sign of life.
pub(crate) fn killer(harness: &Harness, id: &InstanceId, after: u64) -> std::thread::JoinHandle<()> {
    let directory = harness.directory(id);
    std::thread::spawn(move || {
        for _ in 0..20_000 {
            if let Some(pid) = directory.shim().unwrap() {
                std::thread::sleep(Duration::from_micros(after));
                return kill(pid);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    })
}

fn any_moment_of_a_start() {
    let harness = Harness::new();
    let id = harness.wait(harness.embedded.create(&harness.cx, &harness.plan(1, SERVER))).unwrap();
    for round in 0..40 {
        let killer = killer(&harness, &id, round * 1_500);
        // It may or may not have come so far as to say that it started.
        let _ = harness.wait(harness.embedded.start(&harness.cx, &id.to_ref()));
        killer.join().unwrap();
        let state = harness.inspect(&id).state;
        assert!(matches!(state, State::Created | State::Exited), "round {round}: {state:?}");
    }
    harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
    assert_eq!(harness.inspect(&id).state, State::Running);
    harness.end();
}

fn any_moment_of_an_end() {
    let harness = Harness::new();
    for round in 0_u32..25 {
        let id = harness.run(&harness.plan(round + 1, "exit 5"));
        if let Some(pid) = harness.shim(&id) {
            std::thread::sleep(Duration::from_micros(u64::from(round) * 400));
            kill(pid);
        }
        let exit = harness.until_exited(&id).exit.unwrap();
        // Either it was recorded as it was, or it is told as lost; never anything else.
        assert!(exit.code == Some(5) || exit.error.is_some_and(|error| error.contains("supervisor")), "round {round}");
    }
    harness.end();
}

/// A harness on a small disk, which is taken away last, also when the trial fails.
pub(crate) fn small() -> (Mounted, Harness) {
    use rustix::mount::{MountFlags, mount};
    let directory = tempfile::Builder::new().prefix("hythe-full-").tempdir_in("/var/tmp").unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    mount("tmpfs", &root, "tmpfs", MountFlags::empty(), Some(c"size=24m")).unwrap();
    (Mounted(root.clone()), Harness::at(root, directory))
}

fn a_full_disk() {
    let (_mounted, harness) = small();
    let id = harness.run(&harness.plan(1, "head -c 60000000 /dev/zero | cat; sleep 0.2; exit 7"));
    let exit = harness.until_exited(&id).exit.unwrap();
    assert_eq!((exit.code, exit.error), (Some(7), None));
    harness.end();
}

/// A mount that goes with this value.
pub(crate) struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        // The directory that held it could not go before.
        if let Some(directory) = self.0.parent() {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}
