//! What an engine lets one change of a container that is there.

use super::{Belongings, Expected, finds, is};
use crate::files::{IMAGE, one};
use crate::fixture::Fixture;
use crate::wait;

/// Ends with a failure when asked to end: stopped by hand it is not done.
const SCRIPT: &str = "trap 'exit 3' TERM; sleep 3600 & wait";
const KEYS: &str = "restart = 'no'\nmemory = '64m'\ncpus = 0.5\npids = 50\nenv = { MODE = 'fast' }";

pub(super) fn an_unchanged_service_differs_in_nothing(fixture: &mut Fixture<'_>) {
    let keys = "ports = ['80', '81/udp']\nvolumes = ['data:/data']\ntmpfs = ['/t:size=1m,mode=700', '/sbin/through/a/link:size=1m']\nuser = 'app'\n\
                workdir = '/made/for/it'\nextra_hosts = ['gate:host-gateway']\nread_only = true\ntty = true\nstdin = true\n\
                shm_size = '1m'\nulimits = { nofile = 512 }\nstop_signal = 'INT'";
    let script = "trap 'exit 3' INT; sleep 3600 & wait";
    for (what, keys) in [("bare", ""), ("with limits", KEYS), ("with everything", keys)] {
        fixture.deploy(&one(&fixture.service, script, &format!("{keys}\nstop_grace = '1s'"))).ok();
        finds(fixture, what, &[]);
        fixture.hythe(&["restart", &fixture.service]).ok();
        finds(fixture, &format!("{what}, restarted"), &[]);
    }
    fixture.hythe(&["stop", &fixture.service]).ok();
    finds(fixture, "stopped", &[]);
    fixture.hythe(&["start", &fixture.service]).ok();
    finds(fixture, "started", &[]);
    fixture.agent.stop();
    fixture.agent.start_again();
    fixture.await_state("running");
    finds(fixture, "another agent", &[]);
    fixture.agent.stop();
    std::fs::remove_file(fixture.agent.database()).unwrap();
    fixture.agent.start_again();
    wait::until("it is read back from its labels", || fixture.it(), |it| it["state"] == "running");
    finds(fixture, "a lost database", &[]);
    fixture.deploy(&one(&fixture.service, "exit 0", "restart = 'no'")).ok();
    fixture.await_state("completed");
    finds(fixture, "it is done", &[]);
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

const MODIFIED: &str = "modified";

const OF_ALL: [Change; 6] = [
    change("pause ID", ("state", "paused"), "unpause ID"),
    change("rename ID NAME-by-hand", ("name", "renamed"), "rename ID NAME"),
    change("network connect OTHER ID", ("networks.OTHER", "unexpected"), "network disconnect OTHER ID"),
    change("network disconnect NET ID", ("networks.NET", "missing"), "network connect --alias ALIAS NET ID"),
    change(
        "update --memory 96m --memory-swap 96m ID",
        ("memory", MODIFIED),
        "update --memory 64m --memory-swap 64m ID",
    ),
    change("update --cpus 0.7 ID", ("cpus", MODIFIED), "update --cpus 0.5 ID"),
];

/// Podman 4 cannot change these.
const OF_DOCKER: [Change; 3] = [
    change("update --pids-limit 60 ID", ("pids", MODIFIED), "update --pids-limit 50 ID"),
    change("update --restart always ID", ("restart", MODIFIED), "update --restart no ID"),
    change("update --restart on-failure:3 ID", ("restart", MODIFIED), "update --restart no ID"),
];

pub(super) fn changes_of_a_running_service_are_found(fixture: &mut Fixture<'_>) {
    let mut belongings = Belongings::new(fixture.engine());
    let other = format!("{}-other", fixture.service);
    belongings.make(&["network", "create", &other], &["network", "rm", "-f", &other]);
    let image = format!("localhost/{}:1", fixture.service);
    belongings.make(&["tag", IMAGE, &image], &["rmi", "-f", &image]);
    fixture.deploy(&one(&fixture.service, SCRIPT, KEYS).replace(IMAGE, &image)).ok();
    finds(fixture, "nothing", &[]);
    let docker: &[Change] = if fixture.subject.name == "docker" { &OF_DOCKER } else { &[] };
    let changes_more = fixture.engine().changes_what_is_there();
    let can = |change: &&Change| changes_more || !change.does.starts_with("update");
    let changes: Vec<&Change> = OF_ALL.iter().filter(can).chain(docker).collect();
    changes.iter().for_each(|change| try_one(fixture, change, &other));
    let moved = if changes_more { image_moves(fixture, &image, &mut belongings) } else { 0 };
    let more = moved + a_second_one(fixture) + it_ends(fixture) + it_is_started_though_stopped(fixture);
    fixture.hythe(&["undeploy", &fixture.service]).ok();
    println!("{}: {} changes of a running service found", fixture.subject.name, changes.len() + more);
}

fn id(fixture: &Fixture<'_>) -> String {
    fixture.it()["instance"]["id"].as_str().unwrap_or_default().to_owned()
}

fn try_one(fixture: &Fixture<'_>, change: &Change, other: &str) {
    let it = fixture.it();
    let (id, name) = (it["instance"]["id"].as_str().unwrap(), it["instance"]["name"].as_str().unwrap());
    let network = format!("hythe-{}", fixture.service);
    let filled = |text: &str| {
        let filled = text.replace("OTHER", other).replace("NET", &network).replace("ALIAS", &fixture.service);
        filled.replace("NAME", name).replace("ID", id)
    };
    let run = |text: &str| fixture.engine().run(&filled(text).split(' ').collect::<Vec<_>>());
    run(change.does);
    let (field, cause) = change.finds;
    finds(fixture, change.does, &[(&filled(field), cause)]);
    run(change.undoes);
    finds(fixture, change.undoes, &[]);
}

/// The name of its image comes to mean another image, as a pull or build does it.
fn image_moves(fixture: &Fixture<'_>, image: &str, belongings: &mut Belongings) -> usize {
    let newer = format!("localhost/{}:2", fixture.service);
    belongings.make(&["commit", &id(fixture), &newer], &["rmi", "-f", &newer]);
    fixture.engine().run(&["tag", &newer, image]);
    finds(fixture, "the tag moved", &[("image", "image-moved")]);
    fixture.engine().run(&["tag", IMAGE, image]);
    finds(fixture, "the tag moved back", &[]);
    1
}

/// Somebody copies an instance with its labels; of a generation that the agent has not made yet, so that it lets it be.
fn a_second_one(fixture: &Fixture<'_>) -> usize {
    let copy = format!("{}-copy", fixture.service);
    let labels = fixture.engine().run(&["container", "inspect", "--format", "{{json .Config.Labels}}", &id(fixture)]);
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&labels).unwrap();
    let labels = labels.iter().map(|(key, value)| match key.as_str() {
        "hythe.generation" => format!("--label={key}=99"),
        _ => format!("--label={key}={value}"),
    });
    let labels: Vec<String> = labels.collect();
    let mut words = vec!["run", "-d", "--name", &copy];
    words.extend(labels.iter().map(String::as_str));
    words.extend([IMAGE, "sleep", "3600"]);
    fixture.engine().run(&words);
    finds(fixture, "a second instance", &[("instance", "unexpected")]);
    fixture.engine().run(&["rm", "-f", &copy]);
    finds(fixture, "it is gone", &[]);
    1
}

fn it_ends(fixture: &Fixture<'_>) -> usize {
    let ended = |what: &str, words: &[&str]| {
        fixture.engine().run(words);
        finds(fixture, what, &[("state", "stopped")]);
        fixture.await_state("failed");
    };
    ended("stop", &["stop", &id(fixture)]);
    fixture.hythe(&["start", &fixture.service]).ok();
    finds(fixture, "started again", &[]);
    ended("kill", &["kill", &id(fixture)]);
    fixture.engine().run(&["rm", "-f", &id(fixture)]);
    finds(fixture, "rm -f", &[("state", "missing")]);
    fixture.hythe(&["start", &fixture.service]).ok();
    wait::until("it runs again", || fixture.it(), |it| it["state"] == "running");
    finds(fixture, "made again", &[]);
    3
}

/// What is desired to be stopped is not stopped again: it is told.
fn it_is_started_though_stopped(fixture: &Fixture<'_>) -> usize {
    fixture.hythe(&["stop", &fixture.service]).ok();
    let id = id(fixture);
    fixture.engine().run(&["start", &id]);
    finds(fixture, "start", &[("state", MODIFIED)]);
    let told = || fixture.events().into_iter().rfind(|event| event["kind"] == "drift").unwrap_or_default();
    let event = wait::until("it is told", told, |event| event["message"] == "was started out of band");
    let differences = event["details"]["differences"].as_array().cloned().unwrap_or_default();
    assert!(is(&differences, &[("state", MODIFIED)]), "{event:#}");
    finds(fixture, "it runs on", &[("state", MODIFIED)]);
    fixture.hythe(&["stop", &fixture.service]).ok();
    finds(fixture, "stopped again", &[]);
    1
}
