//! The engine itself fails: it goes, hangs, dies in the middle of a call, loses all it had.

use std::time::Duration;

use serde_json::Value;

use crate::files::one;
use crate::fixture::Fixture;
use crate::own_engine::{OwnEngine, Workloads};
use crate::trial::{caught, trials};
use crate::wait;

use super::{newest, pid, settles};

trials!("faults-own-engine":
    one_that_goes_and_returns_finds_all_as_it_was Engine,
    what_ends_with_it_is_started_again Docker,
    what_ends_with_it_returns_in_the_order_of_its_dependencies Docker,
    a_call_it_dies_in_is_finished_once_or_undone Engine,
    one_that_hangs_is_waited_for Engine,
    a_lost_store_is_filled_again Engine,
    a_lost_store_is_filled_once_the_image_is_there Engine,
    a_lost_store_and_a_lost_database_are_restored_by_a_deploy Engine,
);

/// Longer than a look at the engine may take.
const HANGS: Duration = Duration::from_secs(32);

/// A process that shows its version, on no network: the private engine has none.
fn text(fixture: &Fixture<'_>, version: u32) -> String {
    let script = "trap exit TERM; echo $VERSION >>/data/versions; while :; do sleep 0.1; done";
    let keys = "network = 'none'\nrestart = 'always'\nstop_grace = '1s'\nvolumes = ['data:/data']";
    one(&fixture.service, script, &format!("{keys}\nenv = {{ VERSION = '{version}' }}"))
}

/// Does something with an agent for an engine of its own, and cleans up there too.
fn on_an_own_engine(shared: &Fixture<'_>, workloads: Workloads, act: impl FnOnce(&mut Fixture<'_>, &mut OwnEngine)) {
    let mut engine = OwnEngine::start(shared, workloads);
    let subject = engine.subject.clone();
    let mut fixture = Fixture::new(shared.environment, &subject);
    let outcome = caught(|| act(&mut fixture, &mut engine));
    let log = fixture.agent.log();
    let cleaned = if outcome.is_ok() { fixture.clean() } else { Ok(()) };
    if let Err(fault) = outcome.and(cleaned) {
        panic!("{fault}\n--- end of the log of the agent on the private engine\n{log}");
    }
}

fn told(fixture: &Fixture<'_>, kind: &str) -> bool {
    fixture.hythe(&["events", "--json"]).ok().json_lines().iter().any(|event| event["kind"] == kind)
}

/// Waits until the engine is known to be gone, and the workload as unknown; whatever it was said to be before that, it was never stopped.
#[track_caller]
fn is_lost(fixture: &Fixture<'_>) {
    let state = || {
        let it = fixture.it();
        assert!(it["state"] != "stopped" && it["state"] != "completed", "the engine is gone, not the workload: {it:#}");
        it
    };
    wait::until("nothing is known of the workload", state, |it| it["state"] == "unknown");
    assert!(told(fixture, "runtime.disconnected"), "its loss is not told");
}

#[track_caller]
fn is_back(fixture: &Fixture<'_>) -> Value {
    wait::until("its return is told", || told(fixture, "runtime.reconnected"), |told| *told);
    settles(fixture, "one instance as desired")
}

/// Images are only fetched where they are not there.
#[track_caller]
fn nothing_was_pulled(fixture: &Fixture<'_>) {
    assert!(!told(fixture, "image.pulled"), "pulled though it was there");
}

fn one_that_goes_and_returns_finds_all_as_it_was(fixture: &mut Fixture<'_>) {
    on_an_own_engine(fixture, Workloads::GoOn, |fixture, engine| {
        fixture.deploy(&text(fixture, 1)).ok();
        let (id, process) = (fixture.it()["instance"]["id"].clone(), pid(fixture, &fixture.service));
        engine.die();
        is_lost(fixture);
        engine.come_back();
        let it = is_back(fixture);
        assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id, &0.into()), "{it:#}");
        assert_eq!(pid(fixture, &fixture.service), process, "another process");
        nothing_was_pulled(fixture);
    });
}

fn what_ends_with_it_is_started_again(fixture: &mut Fixture<'_>) {
    on_an_own_engine(fixture, Workloads::EndWithIt, |fixture, engine| {
        fixture.deploy(&text(fixture, 1)).ok();
        let id = fixture.it()["instance"]["id"].clone();
        engine.end();
        is_lost(fixture);
        engine.come_back();
        let it = is_back(fixture);
        assert_eq!((&it["instance"]["id"], &it["desired"]), (&id, &"running".into()), "{it:#}");
        nothing_was_pulled(fixture);
        fixture.hythe(&["stop", &fixture.service]).ok();
        engine.end();
        engine.come_back();
        let it = settles(fixture, "stopped on purpose, and so after its engine's return");
        assert_eq!(it["desired"], "stopped", "{it:#}");
    });
}

fn what_ends_with_it_returns_in_the_order_of_its_dependencies(fixture: &mut Fixture<'_>) {
    on_an_own_engine(fixture, Workloads::EndWithIt, |fixture, engine| {
        fixture.deploy(&super::boot::ordered(&fixture.service, "network = 'none'")).ok();
        let (before, [db, web]) = (newest(fixture), super::boot::components(fixture));
        engine.end();
        wait::until("nothing is known of it", || fixture.workload(&db), |db| db["state"] == "unknown");
        engine.come_back();
        let ready = super::boot::time(fixture, before, &db, "ready");
        let started = super::boot::time(fixture, before, &web, "started");
        assert!(ready < started, "`{web}` did not wait for `{db}`: {started} is not after {ready}");
        fixture.has_instances(2);
    });
}

fn a_call_it_dies_in_is_finished_once_or_undone(fixture: &mut Fixture<'_>) {
    on_an_own_engine(fixture, Workloads::GoOn, |fixture, engine| {
        fixture.deploy(&text(fixture, 0)).ok();
        let mut good = fixture.it()["generation"].as_u64().unwrap();
        for round in 1..=4 {
            let file = fixture.file(&text(fixture, round));
            let deploy = fixture.agent.spawn(&["deploy", &file]);
            // Somewhere in the replacement, which takes about a second.
            std::thread::sleep(Duration::from_millis(u64::from(round) * 120));
            engine.die_in_a_call();
            engine.recover();
            // It may have failed; the agent goes on.
            deploy.end();
            good = is_finished_or_undone(fixture, round, good);
            let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
            let versions = engine.direct(&["exec", &id, "cat", "/data/versions"]);
            assert!(versions.ends_with(&format!("{}\n", good - 1)), "after the death in round {round}: {versions}");
        }
        nothing_was_pulled(fixture);
        fixture.deploy(&text(fixture, 9)).ok();
        settles(fixture, "deployed as ever");
    });
}

/// One instance runs: of the version that was deployed, or, where the engine came back unable to start what it had half started, of the good one before,
/// which is told. The generation that runs, which is one more than the version.
#[track_caller]
fn is_finished_or_undone(fixture: &Fixture<'_>, version: u32, good: u64) -> u64 {
    let wanted = u64::from(version) + 1;
    let look = || {
        let rows = fixture.engine().rows(&fixture.service_label());
        (fixture.it(), rows.into_iter().map(|row| (row.id, row.running, row.generation)).collect::<Vec<_>>())
    };
    // Podman has no daemon that could come back so.
    let may_fail = fixture.subject.name == "docker";
    let is_settled = |(it, rows): &(Value, Vec<(String, bool, u64)>)| {
        let undone = may_fail && it["message"].as_str().is_some_and(|message| message.contains("rolled back"));
        let runs = if undone { good } else { wanted };
        let known = it["instance"]["id"].as_str().unwrap_or_default().to_owned();
        it["generation"] == wanted && it["state"] == "running" && *rows == [(known, true, runs)]
    };
    wait::until(&format!("version {version} runs, once, or the one before"), look, is_settled);
    wait::stays("once", Duration::from_millis(500), look, is_settled);
    look().1[0].2
}

fn one_that_hangs_is_waited_for(fixture: &mut Fixture<'_>) {
    on_an_own_engine(fixture, Workloads::GoOn, |fixture, engine| {
        fixture.deploy(&text(fixture, 1)).ok();
        let process = pid(fixture, &fixture.service);
        engine.freeze();
        let file = fixture.file(&text(fixture, 2));
        let deploy = fixture.agent.spawn(&["deploy", &file]);
        let honest = |it: &Value| !["stopped", "completed", "failed"].iter().any(|state| it["state"] == *state);
        wait::stays("not said to have ended", HANGS, || fixture.it(), honest);
        assert!(
            std::path::Path::new(&format!("/proc/{process}")).exists(),
            "the workload ended with its engine's silence"
        );
        engine.thaw();
        deploy.end();
        let it = settles(fixture, "version 2, once");
        assert_eq!(it["generation"], 2, "{it:#}");
        nothing_was_pulled(fixture);
    });
}

fn a_lost_store_is_filled_again(fixture: &mut Fixture<'_>) {
    let shared = &*fixture;
    on_an_own_engine(shared, Workloads::GoOn, |fixture, engine| {
        fixture.deploy(&text(fixture, 1)).ok();
        let id = fixture.it()["instance"]["id"].clone();
        engine.die();
        is_lost(fixture);
        engine.lose_store(false);
        engine.give_image_unseen(shared);
        engine.come_back();
        let it = is_back(fixture);
        assert!(it["instance"]["id"] != id && it["generation"] == 1, "made anew from what is desired: {it:#}");
        nothing_was_pulled(fixture);
    });
}

fn a_lost_store_is_filled_once_the_image_is_there(fixture: &mut Fixture<'_>) {
    let shared = &*fixture;
    on_an_own_engine(shared, Workloads::GoOn, |fixture, engine| {
        fixture.deploy(&text(fixture, 1)).ok();
        engine.die();
        is_lost(fixture);
        engine.lose_store(false);
        engine.come_back();
        let without = |it: &Value| it["state"] != "running" && it["message"].is_string();
        wait::until("it says what it lacks", || fixture.it(), without);
        engine.give_image(shared);
        let it = is_back(fixture);
        assert_eq!((&it["desired"], &it["generation"]), (&"running".into(), &1.into()), "{it:#}");
    });
}

fn a_lost_store_and_a_lost_database_are_restored_by_a_deploy(fixture: &mut Fixture<'_>) {
    let shared = &*fixture;
    on_an_own_engine(shared, Workloads::GoOn, |fixture, engine| {
        let text = text(fixture, 1);
        fixture.deploy(&text).ok();
        fixture.agent.kill();
        engine.die();
        engine.lose_store(true);
        for name in ["hythe.db", "hythe.db-wal", "hythe.db-shm"] {
            // What there was of it.
            let _ = std::fs::remove_file(fixture.agent.database().with_file_name(name));
        }
        engine.give_image_unseen(shared);
        engine.come_back();
        fixture.agent.start_again();
        fixture.deploy(&text).ok();
        settles(fixture, "restored");
        let versions = fixture.hythe(&["exec", &fixture.service, "cat", "/data/versions"]).ok().out;
        assert_eq!(versions, "1\n1\n", "the volume's data is not what it was");
    });
}
