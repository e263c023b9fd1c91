//! What the embedded runtime rests on fails. A container's supervisor is killed: the container dies with it, which is told as the loss that it is, and it is
//! started again. The directory with all it knows goes and returns, as a disk does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::files::{one, stays};
use crate::fixture::Fixture;
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

fn deployed(fixture: &Fixture<'_>) -> (String, u64) {
    fixture.deploy(&one(&fixture.service, &stays("up"), KEYS)).ok();
    (fixture.it()["instance"]["id"].as_str().unwrap().to_owned(), pid(fixture, &fixture.service))
}

#[track_caller]
fn is_started_again(fixture: &Fixture<'_>, id: &str, process: u64) {
    let again = |it: &Value| it["state"] == "running" && it["restarts"] == 1;
    wait::until("it runs again", || fixture.it(), again);
    let it = settles(fixture, "once");
    assert_eq!((&it["instance"]["id"], &it["exit"]["code"]), (&id.into(), &137.into()), "{it:#}");
    assert_ne!(pid(fixture, &fixture.service), process);
    let told = fixture.events().into_iter().filter(|event| event["message"].to_string().contains("supervisor"));
    assert_eq!(told.count(), 1, "the cause is not told: {:#?}", fixture.events());
}

fn a_killed_one_is_noticed_soon_and_its_container_started_again(fixture: &mut Fixture<'_>) {
    let (id, process) = deployed(fixture);
    let began = Instant::now();
    fixture.engine().kill_supervisor(&id);
    is_started_again(fixture, &id, process);
    assert!(began.elapsed() < SOON, "noticed after {:?}", began.elapsed());
}

fn one_killed_while_the_agent_is_away_is_noticed_by_the_next(fixture: &mut Fixture<'_>) {
    let (id, process) = deployed(fixture);
    fixture.agent.kill();
    fixture.engine().kill_supervisor(&id);
    fixture.agent.start_again();
    is_started_again(fixture, &id, process);
}

fn one_killed_in_a_stop_is_no_failure_of_it(fixture: &mut Fixture<'_>) {
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    fixture.deploy(&one(&fixture.service, deaf, "restart = 'always'\nstop_grace = '20s'")).ok();
    let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
    let stop = fixture.agent.spawn(&["stop", &fixture.service]);
    wait::until("it is being stopped", || fixture.it(), |it| it["state"] == "stopping");
    fixture.engine().kill_supervisor(&id);
    stop.end().ok();
    assert_eq!(settles(fixture, "stopped")["desired"], "stopped");
}

/// A root that is moved away until this is dropped, also when the trial fails.
struct Away {
    root: PathBuf,
    aside: PathBuf,
}

impl Away {
    fn take(fixture: &Fixture<'_>) -> Self {
        let root = fixture.engine().root();
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
fn is_unknown(fixture: &Fixture<'_>) {
    wait::until("nothing is known of it", || fixture.it(), |it| it["state"] == "unknown");
    wait::stays("so", Duration::from_secs(2), || fixture.it(), |it| it["state"] == "unknown");
}

#[track_caller]
fn is_as_it_was(fixture: &Fixture<'_>, id: &str, process: u64) {
    wait::until("it is known again", || fixture.it(), |it| it["state"] == "running");
    let it = settles(fixture, "once");
    assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id.into(), &0.into()), "{it:#}");
    assert_eq!(pid(fixture, &fixture.service), process, "another process");
}

fn a_root_that_goes_and_returns_finds_all_as_it_was(fixture: &mut Fixture<'_>) {
    let (id, process) = deployed(fixture);
    let away = Away::take(fixture);
    is_unknown(fixture);
    away.bring_back();
    is_as_it_was(fixture, &id, process);
    fixture.hythe(&["exec", &fixture.service, "true"]).ok();
}

fn a_root_that_is_gone_when_the_agent_starts_is_waited_for(fixture: &mut Fixture<'_>) {
    let (id, process) = deployed(fixture);
    fixture.agent.kill();
    let away = Away::take(fixture);
    fixture.agent.start_again();
    is_unknown(fixture);
    away.bring_back();
    is_as_it_was(fixture, &id, process);
}
