//! The agent's memory is lost: in part, all of it, and together with what the engine remembers.

use std::fs::{self, File};

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

use super::{pid, settles};

trials!("faults-lost-state":
    a_database_cut_in_half_is_rebuilt Real,
    a_database_cut_to_nothing_is_rebuilt Real,
    a_deleted_database_is_rebuilt Real,
    a_stopped_service_stays_stopped_without_its_database Real,
    a_deploy_restores_all_and_finds_its_data Real,
);

const KEYS: &str = "stop_grace = '1s'\nrestart = 'always'\nenv = { MODE = 'a' }\nvolumes = ['data:/data']";
const BESIDES: [&str; 2] = ["hythe.db-wal", "hythe.db-shm"];

fn text(fixture: &Fixture<'_>) -> String {
    one(&fixture.service, &stays("up"), KEYS)
}

/// While the agent is away its database is cut to so many bytes of what it had; `None`: deleted.
fn cut(fixture: &mut Fixture<'_>, to: fn(u64) -> Option<u64>) {
    fixture.agent.stop();
    let database = fixture.agent.database();
    for name in BESIDES {
        // There is none after an orderly end.
        let _ = fs::remove_file(database.with_file_name(name));
    }
    match to(fs::metadata(&database).unwrap().len()) {
        Some(bytes) => File::options().write(true).open(&database).unwrap().set_len(bytes).unwrap(),
        None => fs::remove_file(&database).unwrap(),
    }
    fixture.agent.start_again();
}

/// The same process goes on, known as before, and the file it came from changes nothing.
fn is_rebuilt(fixture: &mut Fixture<'_>, to: fn(u64) -> Option<u64>) {
    let text = text(fixture);
    fixture.deploy(&text).ok();
    let (id, process) = (fixture.it()["instance"]["id"].clone(), pid(fixture, &fixture.service));
    cut(fixture, to);
    fixture.await_state("running");
    let it = settles(fixture, "read back from its labels");
    assert_eq!((&it["instance"]["id"], &it["generation"]), (&id, &1.into()), "{it:#}");
    assert_eq!(pid(fixture, &fixture.service), process, "another process");
    fixture.deploy(&text).ok();
    fixture.deploy(&text).ok().says(&["nothing changed"]);
    let it = settles(fixture, "deployed again");
    assert_eq!(it["instance"]["id"], id, "replaced though nothing changed: {it:#}");
    fixture.deploy(&text.replace("MODE = 'a'", "MODE = 'b'")).ok();
    assert_eq!(settles(fixture, "changed")["generation"], 2);
}

fn a_database_cut_in_half_is_rebuilt(fixture: &mut Fixture<'_>) {
    is_rebuilt(fixture, |bytes| Some(bytes / 2));
}

fn a_database_cut_to_nothing_is_rebuilt(fixture: &mut Fixture<'_>) {
    is_rebuilt(fixture, |_| Some(0));
}

fn a_deleted_database_is_rebuilt(fixture: &mut Fixture<'_>) {
    is_rebuilt(fixture, |_| None);
}

fn a_stopped_service_stays_stopped_without_its_database(fixture: &mut Fixture<'_>) {
    fixture.deploy(&text(fixture)).ok();
    let id = fixture.it()["instance"]["id"].clone();
    fixture.hythe(&["stop", &fixture.service]).ok();
    cut(fixture, |_| None);
    fixture.await_state("stopped");
    let it = settles(fixture, "stopped");
    assert_eq!((&it["desired"], &it["instance"]["id"]), (&"stopped".into(), &id), "{it:#}");
    fixture.hythe(&["start", &fixture.service]).ok();
    assert_eq!(settles(fixture, "started when asked")["instance"]["id"], id);
}

/// Instances and networks are gone with their labels, volumes are what engines keep longest.
fn a_deploy_restores_all_and_finds_its_data(fixture: &mut Fixture<'_>) {
    let text = text(fixture);
    fixture.deploy(&text).ok();
    fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo kept >/data/file"]).ok();
    fixture.agent.kill();
    let (engine, label) = (fixture.engine().clone(), fixture.agent.owner_label());
    for id in engine.instances(&label) {
        engine.run(&["rm", "-f", &id]);
    }
    for name in engine.networks(&label) {
        engine.run(&["network", "rm", &name]);
    }
    cut(fixture, |_| None);
    let known = || fixture.hythe(&["runtimes", "--json"]).ok().json();
    wait::until("the runtime answers", known, |runtimes| runtimes[0]["error"].is_null());
    assert!(fixture.workloads().is_empty(), "known from nowhere: {:#?}", fixture.workloads());
    fixture.deploy(&text).ok();
    settles(fixture, "restored");
    assert_eq!(fixture.hythe(&["exec", &fixture.service, "cat", "/data/file"]).ok().out, "kept\n");
}
