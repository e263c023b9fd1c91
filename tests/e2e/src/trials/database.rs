//! The database is lost: the engine's labels say what there is.

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("database":
    a_damaged_one_is_set_aside_and_workloads_are_adopted Real,
    a_lost_one_leaves_no_workload_behind Real,
);

const HEALTH: &str = "health = { exec = 'true', interval = '200ms' }\nenv = { MODE = 'a' }\nvolumes = ['data:/data']";

fn a_damaged_one_is_set_aside_and_workloads_are_adopted(fixture: &mut Fixture<'_>) {
    let text = one(&fixture.service, &stays("up"), HEALTH);
    fixture.deploy(&text).ok();
    let id = fixture.it()["instance"]["id"].clone();
    fixture.agent.stop();
    damage(fixture);
    fixture.agent.start_again();
    fixture.hythe(&["version"]).ok().says(&["warning:", "damaged", "state/hythe"]);
    let it = fixture.await_state("running");
    assert_eq!(it["instance"]["id"], id, "{it:#}");
    fixture.hythe(&["exec", &fixture.service, "true"]).ok();
    // What the labels do not tell is learnt from the file, without touching the instance.
    fixture.deploy(&text).ok();
    fixture.deploy(&text).ok().says(&["nothing changed"]);
    assert_eq!(fixture.it()["instance"]["id"], id, "replaced though nothing changed");
    fixture.has_instances(1);
}

/// All of it: what is written ahead would repair the rest.
fn damage(fixture: &Fixture<'_>) {
    let database = fixture.agent.database();
    for name in ["hythe.db", "hythe.db-wal"] {
        let path = database.with_file_name(name);
        if path.exists() {
            std::fs::write(path, "this is no database".repeat(500)).unwrap();
        }
    }
}

fn a_lost_one_leaves_no_workload_behind(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), HEALTH)).ok();
    fixture.agent.stop();
    for name in ["hythe.db", "hythe.db-wal", "hythe.db-shm"] {
        // What there was of it.
        let _ = std::fs::remove_file(fixture.agent.database().with_file_name(name));
    }
    fixture.agent.start_again();
    wait::until("adopted", || fixture.it(), |it| it["state"] == "running");
    fixture.hythe(&["undeploy", "--volumes", &fixture.service]).ok();
    let label = fixture.agent.owner_label();
    let engine = fixture.engine();
    assert_eq!(
        (engine.instances(&label).len(), engine.networks(&label).len(), engine.volumes(&label).len()),
        (0, 0, 0)
    );
}
