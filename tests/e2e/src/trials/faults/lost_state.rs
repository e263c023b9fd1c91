//! The agent's memory is lost: in part, all of it, and together with what the engine remembers.

use std::fs::{self, File};

use crate::files::{one, stays};
use crate::scene::Scene;
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

fn text(scene: &Scene<'_>) -> String {
    one(&scene.service, &stays("up"), KEYS)
}

/// While the agent is away its database is cut to so many bytes of what it had; `None`: deleted.
fn cut(scene: &mut Scene<'_>, to: fn(u64) -> Option<u64>) {
    scene.agent.stop();
    let database = scene.agent.database();
    for name in BESIDES {
        // There is none after an orderly end.
        let _ = fs::remove_file(database.with_file_name(name));
    }
    match to(fs::metadata(&database).unwrap().len()) {
        Some(bytes) => File::options().write(true).open(&database).unwrap().set_len(bytes).unwrap(),
        None => fs::remove_file(&database).unwrap(),
    }
    scene.agent.start_again();
}

/// The same process goes on, known as before, and the file it came from changes nothing.
fn is_rebuilt(scene: &mut Scene<'_>, to: fn(u64) -> Option<u64>) {
    let text = text(scene);
    scene.deploy(&text).ok();
    let (id, process) = (scene.it()["instance"]["id"].clone(), pid(scene, &scene.service));
    cut(scene, to);
    scene.await_state("running");
    let it = settles(scene, "read back from its labels");
    assert_eq!((&it["instance"]["id"], &it["generation"]), (&id, &1.into()), "{it:#}");
    assert_eq!(pid(scene, &scene.service), process, "another process");
    scene.deploy(&text).ok();
    scene.deploy(&text).ok().says(&["nothing changed"]);
    let it = settles(scene, "deployed again");
    assert_eq!(it["instance"]["id"], id, "replaced though nothing changed: {it:#}");
    scene.deploy(&text.replace("MODE = 'a'", "MODE = 'b'")).ok();
    assert_eq!(settles(scene, "changed")["generation"], 2);
}

fn a_database_cut_in_half_is_rebuilt(scene: &mut Scene<'_>) {
    is_rebuilt(scene, |bytes| Some(bytes / 2));
}

fn a_database_cut_to_nothing_is_rebuilt(scene: &mut Scene<'_>) {
    is_rebuilt(scene, |_| Some(0));
}

fn a_deleted_database_is_rebuilt(scene: &mut Scene<'_>) {
    is_rebuilt(scene, |_| None);
}

fn a_stopped_service_stays_stopped_without_its_database(scene: &mut Scene<'_>) {
    scene.deploy(&text(scene)).ok();
    let id = scene.it()["instance"]["id"].clone();
    scene.hythe(&["stop", &scene.service]).ok();
    cut(scene, |_| None);
    scene.await_state("stopped");
    let it = settles(scene, "stopped");
    assert_eq!((&it["desired"], &it["instance"]["id"]), (&"stopped".into(), &id), "{it:#}");
    scene.hythe(&["start", &scene.service]).ok();
    assert_eq!(settles(scene, "started when asked")["instance"]["id"], id);
}

/// Instances and networks are gone with their labels, volumes are what engines keep longest.
fn a_deploy_restores_all_and_finds_its_data(scene: &mut Scene<'_>) {
    let text = text(scene);
    scene.deploy(&text).ok();
    scene.hythe(&["exec", &scene.service, "sh", "-c", "echo kept >/data/file"]).ok();
    scene.agent.kill();
    let (engine, label) = (scene.engine().clone(), scene.agent.owner_label());
    for id in engine.instances(&label) {
        engine.run(&["rm", "-f", &id]);
    }
    for name in engine.networks(&label) {
        engine.run(&["network", "rm", &name]);
    }
    cut(scene, |_| None);
    let known = || scene.hythe(&["runtimes", "--json"]).ok().json();
    wait::until("the runtime answers", known, |runtimes| runtimes[0]["error"].is_null());
    assert!(scene.workloads().is_empty(), "known from nowhere: {:#?}", scene.workloads());
    scene.deploy(&text).ok();
    settles(scene, "restored");
    assert_eq!(scene.hythe(&["exec", &scene.service, "cat", "/data/file"]).ok().out, "kept\n");
}
