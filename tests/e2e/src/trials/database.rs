//! The database is lost: the engine's labels say what there is.

use crate::files::{one, stays};
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

trials!("database":
    a_damaged_one_is_set_aside_and_workloads_are_adopted Real,
    a_lost_one_leaves_no_workload_behind Real,
);

const HEALTH: &str = "health = { exec = 'true', interval = '200ms' }\nenv = { MODE = 'a' }\nvolumes = ['data:/data']";

fn a_damaged_one_is_set_aside_and_workloads_are_adopted(scene: &mut Scene<'_>) {
    let text = one(&scene.service, &stays("up"), HEALTH);
    scene.deploy(&text).ok();
    let id = scene.it()["instance"]["id"].clone();
    scene.agent.stop();
    damage(scene);
    scene.agent.start_again();
    scene.hythe(&["version"]).ok().says(&["warning:", "damaged", "state/hythe"]);
    let it = scene.await_state("running");
    assert_eq!(it["instance"]["id"], id, "{it:#}");
    scene.hythe(&["exec", &scene.service, "true"]).ok();
    // What the labels do not tell is learnt from the file, without touching the instance.
    scene.deploy(&text).ok();
    scene.deploy(&text).ok().says(&["nothing changed"]);
    assert_eq!(scene.it()["instance"]["id"], id, "replaced though nothing changed");
    scene.has_instances(1);
}

/// All of it: what is written ahead would repair the rest.
fn damage(scene: &Scene<'_>) {
    let database = scene.agent.database();
    for name in ["hythe.db", "hythe.db-wal"] {
        let path = database.with_file_name(name);
        if path.exists() {
            std::fs::write(path, "this is no database".repeat(500)).unwrap();
        }
    }
}

fn a_lost_one_leaves_no_workload_behind(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, &stays("up"), HEALTH)).ok();
    scene.agent.stop();
    for name in ["hythe.db", "hythe.db-wal", "hythe.db-shm"] {
        // What there was of it.
        let _ = std::fs::remove_file(scene.agent.database().with_file_name(name));
    }
    scene.agent.start_again();
    wait::until("adopted", || scene.it(), |it| it["state"] == "running");
    scene.hythe(&["undeploy", "--volumes", &scene.service]).ok();
    let label = scene.agent.owner_label();
    let engine = scene.engine();
    assert_eq!(
        (engine.instances(&label).len(), engine.networks(&label).len(), engine.volumes(&label).len()),
        (0, 0, 0)
    );
}
