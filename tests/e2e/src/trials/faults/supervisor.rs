//! What the embedded runtime rests on fails. A container's supervisor is killed: the container dies with it, which is told as the loss that it is, and it is
//! started again. The directory with all it knows goes and returns, as a disk does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::files::{one, stays};
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

use super::{pid, settles};

trials!("faults-supervisor":
    a_killed_one_is_noticed_soon_and_its_container_started_again Embedded,
    one_killed_while_the_agent_is_away_is_noticed_by_the_next Embedded,
    one_killed_in_a_stop_is_no_failure_of_it Embedded,
    a_root_that_goes_and_returns_finds_all_as_it_was Embedded,
    a_root_that_is_gone_when_the_agent_starts_is_waited_for Embedded,
);

/// Longer than anybody would call soon.
const SOON: Duration = Duration::from_secs(5);
const KEYS: &str = "restart = 'always'\nstop_grace = '1s'\nports = ['80']";

fn deployed(scene: &Scene<'_>) -> (String, u64) {
    scene.deploy(&one(&scene.service, &stays("up"), KEYS)).ok();
    (scene.it()["instance"]["id"].as_str().unwrap().to_owned(), pid(scene, &scene.service))
}

#[track_caller]
fn is_started_again(scene: &Scene<'_>, id: &str, process: u64) {
    let again = |it: &Value| it["state"] == "running" && it["restarts"] == 1;
    wait::until("it runs again", || scene.it(), again);
    let it = settles(scene, "once");
    assert_eq!((&it["instance"]["id"], &it["exit"]["code"]), (&id.into(), &137.into()), "{it:#}");
    assert_ne!(pid(scene, &scene.service), process);
    let told = scene.events().into_iter().filter(|event| event["message"].to_string().contains("supervisor"));
    assert_eq!(told.count(), 1, "the cause is not told: {:#?}", scene.events());
}

fn a_killed_one_is_noticed_soon_and_its_container_started_again(scene: &mut Scene<'_>) {
    let (id, process) = deployed(scene);
    let began = Instant::now();
    scene.engine().kill_supervisor(&id);
    is_started_again(scene, &id, process);
    assert!(began.elapsed() < SOON, "noticed after {:?}", began.elapsed());
}

fn one_killed_while_the_agent_is_away_is_noticed_by_the_next(scene: &mut Scene<'_>) {
    let (id, process) = deployed(scene);
    scene.agent.kill();
    scene.engine().kill_supervisor(&id);
    scene.agent.start_again();
    is_started_again(scene, &id, process);
}

fn one_killed_in_a_stop_is_no_failure_of_it(scene: &mut Scene<'_>) {
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    scene.deploy(&one(&scene.service, deaf, "restart = 'always'\nstop_grace = '20s'")).ok();
    let id = scene.it()["instance"]["id"].as_str().unwrap().to_owned();
    let stop = scene.agent.spawn(&["stop", &scene.service]);
    wait::until("it is being stopped", || scene.it(), |it| it["state"] == "stopping");
    scene.engine().kill_supervisor(&id);
    stop.end().ok();
    assert_eq!(settles(scene, "stopped")["desired"], "stopped");
}

/// A root that is moved away until this is dropped, also when the trial fails.
struct Away {
    root: PathBuf,
    aside: PathBuf,
}

impl Away {
    fn take(scene: &Scene<'_>) -> Self {
        let root = scene.engine().root();
        let aside = root.with_extension("aside");
        std::fs::rename(&root, &aside).unwrap();
        Self { root, aside }
    }

    fn bring_back(self) {
        assert!(!self.root.exists(), "another root was made in its place");
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        // Whatever was made in its place is worth nothing.
        let _ = std::fs::remove_dir_all(&self.root);
        let _ = std::fs::rename(&self.aside, &self.root);
    }
}

#[track_caller]
fn is_unknown(scene: &Scene<'_>) {
    wait::until("nothing is known of it", || scene.it(), |it| it["state"] == "unknown");
    wait::stays("so", Duration::from_secs(2), || scene.it(), |it| it["state"] == "unknown");
}

#[track_caller]
fn is_as_it_was(scene: &Scene<'_>, id: &str, process: u64) {
    wait::until("it is known again", || scene.it(), |it| it["state"] == "running");
    let it = settles(scene, "once");
    assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id.into(), &0.into()), "{it:#}");
    assert_eq!(pid(scene, &scene.service), process, "another process");
}

fn a_root_that_goes_and_returns_finds_all_as_it_was(scene: &mut Scene<'_>) {
    let (id, process) = deployed(scene);
    let away = Away::take(scene);
    is_unknown(scene);
    away.bring_back();
    is_as_it_was(scene, &id, process);
    scene.hythe(&["exec", &scene.service, "true"]).ok();
}

fn a_root_that_is_gone_when_the_agent_starts_is_waited_for(scene: &mut Scene<'_>) {
    let (id, process) = deployed(scene);
    scene.agent.kill();
    let away = Away::take(scene);
    scene.agent.start_again();
    is_unknown(scene);
    away.bring_back();
    is_as_it_was(scene, &id, process);
}
