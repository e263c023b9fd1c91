//! What an engine lets one change of a container that is there.

use super::{Belongings, Expected, finds, is};
use crate::files::{IMAGE, one};
use crate::scene::Scene;
use crate::wait;

/// Ends with a failure when asked to end: stopped by hand it is not done.
const SCRIPT: &str = "trap 'exit 3' TERM; sleep 3600 & wait";
const KEYS: &str = "restart = 'no'\nmemory = '64m'\ncpus = 0.5\npids = 50\nenv = { MODE = 'fast' }";

pub(super) fn an_unchanged_service_differs_in_nothing(scene: &mut Scene<'_>) {
    let keys = "ports = ['80', '81/udp']\nvolumes = ['data:/data']\ntmpfs = ['/t:size=1m,mode=700']\nuser = 'app'\n\
                workdir = '/made/for/it'\nextra_hosts = ['gate:host-gateway']\nread_only = true\ntty = true\nstdin = true\n\
                shm_size = '1m'\nulimits = { nofile = 512 }\nstop_signal = 'INT'";
    let script = "trap 'exit 3' INT; sleep 3600 & wait";
    for (what, keys) in [("bare", ""), ("with limits", KEYS), ("with everything", keys)] {
        scene.deploy(&one(&scene.service, script, &format!("{keys}\nstop_grace = '1s'"))).ok();
        finds(scene, what, &[]);
        scene.hythe(&["restart", &scene.service]).ok();
        finds(scene, &format!("{what}, restarted"), &[]);
    }
    scene.hythe(&["stop", &scene.service]).ok();
    finds(scene, "stopped", &[]);
    scene.hythe(&["start", &scene.service]).ok();
    finds(scene, "started", &[]);
    scene.agent.stop();
    scene.agent.start_again();
    scene.await_state("running");
    finds(scene, "another agent", &[]);
    scene.agent.stop();
    std::fs::remove_file(scene.agent.database()).unwrap();
    scene.agent.start_again();
    wait::until("it is read back from its labels", || scene.it(), |it| it["state"] == "running");
    finds(scene, "a lost database", &[]);
    scene.deploy(&one(&scene.service, "exit 0", "restart = 'no'")).ok();
    scene.await_state("completed");
    finds(scene, "it is done", &[]);
}

/// Words for the engine's program, separated by spaces; `ID` and `NAME` stand for the instance, `NET`, `ALIAS` and `OTHER` for networks.
struct Change {
    does: &'static str,
    finds: Expected<'static>,
    undoes: &'static str,
}

const fn change(does: &'static str, finds: Expected<'static>, undoes: &'static str) -> Change {
    Change { does, finds, undoes }
}

const BY_HAND: &str = "changed by hand";

const OF_ALL: [Change; 6] = [
    change("pause ID", ("state", "paused"), "unpause ID"),
    change("rename ID NAME-by-hand", ("name", "renamed"), "rename ID NAME"),
    change("network connect OTHER ID", ("networks.OTHER", "extra"), "network disconnect OTHER ID"),
    change("network disconnect NET ID", ("networks.NET", "missing"), "network connect --alias ALIAS NET ID"),
    change("update --memory 96m --memory-swap 96m ID", ("memory", BY_HAND), "update --memory 64m --memory-swap 64m ID"),
    change("update --cpus 0.7 ID", ("cpus", BY_HAND), "update --cpus 0.5 ID"),
];

/// Podman 4 cannot change these.
const OF_DOCKER: [Change; 3] = [
    change("update --pids-limit 60 ID", ("pids", BY_HAND), "update --pids-limit 50 ID"),
    change("update --restart always ID", ("restart", BY_HAND), "update --restart no ID"),
    change("update --restart on-failure:3 ID", ("restart", BY_HAND), "update --restart no ID"),
];

pub(super) fn changes_of_a_running_service_are_found(scene: &mut Scene<'_>) {
    let mut belongings = Belongings::new(scene.engine());
    let other = format!("{}-other", scene.service);
    belongings.make(&["network", "create", &other], &["network", "rm", "-f", &other]);
    let image = format!("localhost/{}:1", scene.service);
    belongings.make(&["tag", IMAGE, &image], &["rmi", "-f", &image]);
    scene.deploy(&one(&scene.service, SCRIPT, KEYS).replace(IMAGE, &image)).ok();
    finds(scene, "nothing", &[]);
    let docker: &[Change] = if scene.subject.name == "docker" { &OF_DOCKER } else { &[] };
    let changes_more = scene.engine().changes_what_is_there();
    let can = |change: &&Change| changes_more || !change.does.starts_with("update");
    let changes: Vec<&Change> = OF_ALL.iter().filter(can).chain(docker).collect();
    changes.iter().for_each(|change| try_one(scene, change, &other));
    let moved = if changes_more { image_moves(scene, &image, &mut belongings) } else { 0 };
    let more = moved + a_second_one(scene) + it_ends(scene) + it_is_started_though_stopped(scene);
    scene.hythe(&["undeploy", &scene.service]).ok();
    println!("{}: {} changes of a running service found", scene.subject.name, changes.len() + more);
}

fn id(scene: &Scene<'_>) -> String {
    scene.it()["instance"]["id"].as_str().unwrap_or_default().to_owned()
}

fn try_one(scene: &Scene<'_>, change: &Change, other: &str) {
    let it = scene.it();
    let (id, name) = (it["instance"]["id"].as_str().unwrap(), it["instance"]["name"].as_str().unwrap());
    let network = format!("hythe-{}", scene.service);
    let filled = |text: &str| {
        let filled = text.replace("OTHER", other).replace("NET", &network).replace("ALIAS", &scene.service);
        filled.replace("NAME", name).replace("ID", id)
    };
    let run = |text: &str| scene.engine().run(&filled(text).split(' ').collect::<Vec<_>>());
    run(change.does);
    let (field, cause) = change.finds;
    finds(scene, change.does, &[(&filled(field), cause)]);
    run(change.undoes);
    finds(scene, change.undoes, &[]);
}

/// The name of its image comes to mean another image, as a pull or build does it.
fn image_moves(scene: &Scene<'_>, image: &str, belongings: &mut Belongings) -> usize {
    let newer = format!("localhost/{}:2", scene.service);
    belongings.make(&["commit", &id(scene), &newer], &["rmi", "-f", &newer]);
    scene.engine().run(&["tag", &newer, image]);
    finds(scene, "the tag moved", &[("image", "image moved")]);
    scene.engine().run(&["tag", IMAGE, image]);
    finds(scene, "the tag moved back", &[]);
    1
}

/// Somebody copies an instance with its labels; of a generation that the agent has not made yet, so that it lets it be.
fn a_second_one(scene: &Scene<'_>) -> usize {
    let copy = format!("{}-copy", scene.service);
    let labels = scene.engine().run(&["container", "inspect", "--format", "{{json .Config.Labels}}", &id(scene)]);
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&labels).unwrap();
    let labels = labels.iter().map(|(key, value)| match key.as_str() {
        "hythe.generation" => format!("--label={key}=99"),
        _ => format!("--label={key}={value}"),
    });
    let labels: Vec<String> = labels.collect();
    let mut words = vec!["run", "-d", "--name", &copy];
    words.extend(labels.iter().map(String::as_str));
    words.extend([IMAGE, "sleep", "3600"]);
    scene.engine().run(&words);
    finds(scene, "a second instance", &[("instance", "extra")]);
    scene.engine().run(&["rm", "-f", &copy]);
    finds(scene, "it is gone", &[]);
    1
}

fn it_ends(scene: &Scene<'_>) -> usize {
    let ended = |what: &str, words: &[&str]| {
        scene.engine().run(words);
        finds(scene, what, &[("state", "stopped")]);
        scene.await_state("failed");
    };
    ended("stop", &["stop", &id(scene)]);
    scene.hythe(&["start", &scene.service]).ok();
    finds(scene, "started again", &[]);
    ended("kill", &["kill", &id(scene)]);
    scene.engine().run(&["rm", "-f", &id(scene)]);
    finds(scene, "rm -f", &[("state", "missing")]);
    scene.hythe(&["start", &scene.service]).ok();
    wait::until("it runs again", || scene.it(), |it| it["state"] == "running");
    finds(scene, "made again", &[]);
    3
}

/// What is desired to be stopped is not stopped again: it is told.
fn it_is_started_though_stopped(scene: &Scene<'_>) -> usize {
    scene.hythe(&["stop", &scene.service]).ok();
    let id = id(scene);
    scene.engine().run(&["start", &id]);
    finds(scene, "start", &[("state", BY_HAND)]);
    let told = || scene.events().into_iter().rfind(|event| event["kind"] == "drift").unwrap_or_default();
    let event = wait::until("it is told", told, |event| event["message"] == "was started by hand");
    let differences = event["details"]["differences"].as_array().cloned().unwrap_or_default();
    assert!(is(&differences, &[("state", BY_HAND)]), "{event:#}");
    finds(scene, "it runs on", &[("state", BY_HAND)]);
    scene.hythe(&["stop", &scene.service]).ok();
    finds(scene, "stopped again", &[]);
    1
}
