//! The example with three components that wait for each other, from its file to its removal.

use serde_json::Value;

use crate::agent::Agent;
use crate::fixture::Fixture;
use crate::http;
use crate::subject::Subject;
use crate::trial::trials;
use crate::wait;

trials!("shop":
    comes_up_in_order_and_serves Real,
    a_second_deploy_replaces_only_what_changed Real,
    volumes_outlive_undeploy_unless_asked Real,
    the_same_file_runs_on_podman_and_docker Both,
);

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/shop.toml");
const COMPONENTS: [&str; 3] = ["app", "db", "front"];

/// The example under another name and port, which are the only things of it that the machine shares.
fn shop(service: &str, port: u16) -> String {
    let text = std::fs::read_to_string(FILE).unwrap();
    let adapted = text
        .replace("name = \"shop\"", &format!("name = \"{service}\""))
        .replace("127.0.0.1:8080:80", &format!("127.0.0.1:{port}:80"));
    assert!(adapted.contains(service) && adapted.contains(&port.to_string()), "the example has changed its shape");
    adapted
}

#[track_caller]
fn serves(port: u16, body: &str) {
    let address = format!("127.0.0.1:{port}");
    wait::until(
        "the front serves",
        || http::get(&address, "/"),
        |answer| answer.contains("200 OK") && answer.ends_with(body),
    );
}

/// When an event happened, as text that sorts by time. An engine tells late, so that the order of telling is another one.
fn time(fixture: &Fixture<'_>, component: &str, kind: &str) -> String {
    let name = format!("{}-{component}", fixture.service);
    let is_it = |event: &&Value| event["workload"] == name && event["kind"] == kind;
    let what = format!("event `{kind}` of `{name}`");
    let events = wait::until(&what, || fixture.events(), |events| events.iter().any(|event| is_it(&event)));
    let event = events.iter().find(is_it).unwrap();
    event["time"].as_str().unwrap().to_owned()
}

fn comes_up_in_order_and_serves(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    fixture.deploy(&shop(&fixture.service, port)).ok().says(&["deployed"]);
    serves(port, "started\n");
    assert!(time(fixture, "db", "ready") < time(fixture, "app", "started"), "app did not wait for db");
    assert!(time(fixture, "app", "ready") < time(fixture, "front", "started"), "front did not wait for app");
    let listed = fixture.hythe(&["ps", "--service", &fixture.service]).ok().out;
    for component in COMPONENTS {
        let line = listed.lines().find(|line| line.starts_with(&format!("{}-{component} ", fixture.service)));
        assert!(line.is_some_and(|line| line.contains("running") && line.contains("healthy")), "{listed}");
    }
    assert!(listed.contains(&format!("127.0.0.1:{port}:80")), "{listed}");
    assert_eq!(fixture.differences(), Vec::<Value>::new());
    looked_into(fixture);
    fixture.has_instances(3);
}

fn looked_into(fixture: &Fixture<'_>) {
    let db = format!("{}/db", fixture.service);
    fixture.hythe(&["exec", &db, "sh", "-c", "echo out; echo err >&2; exit 7"]).ends_with(7);
    let echoed = fixture.hythe(&["exec", &db, "cat", "/data/starts"]).ok();
    assert_eq!(echoed.out, "started\n");
    for component in COMPONENTS {
        fixture.hythe(&["logs", &format!("{}/{component}", fixture.service)]).ok();
    }
    let document = fixture.hythe(&["inspect", &db]).ok().json();
    assert_eq!((&document["observed"]["state"], &document["desired"]["name"]), (&"running".into(), &"db".into()));
}

fn a_second_deploy_replaces_only_what_changed(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let text = shop(&fixture.service, port);
    fixture.deploy(&text).ok();
    let first = fixture.ids();
    fixture.deploy(&text).ok().says(&["nothing changed"]);
    assert_eq!(fixture.ids(), first, "an unchanged deploy replaced something");
    let changed = text.replace("env = { SOURCE", "env = { EXTRA = \"1\", SOURCE");
    fixture.deploy(&changed).ok();
    let second = fixture.ids();
    let kept: Vec<bool> = first.iter().zip(&second).map(|(before, after)| before == after).collect();
    assert_eq!(kept, [false, true, true], "only `app` may be replaced: {first:?} {second:?}");
    let app = format!("{}/app", fixture.service);
    assert_eq!(fixture.hythe(&["exec", &app, "sh", "-c", "echo $EXTRA"]).ok().out, "1\n");
    serves(port, "started\n");
    fixture.has_instances(3);
}

fn volumes_outlive_undeploy_unless_asked(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let text = shop(&fixture.service, port);
    let label = fixture.agent.owner_label();
    fixture.deploy(&text).ok();
    assert_eq!((fixture.engine().networks(&label).len(), fixture.engine().volumes(&label).len()), (1, 1));
    fixture.hythe(&["undeploy", &fixture.service]).ok();
    let left = |fixture: &Fixture<'_>| {
        (
            fixture.engine().instances(&label).len(),
            fixture.engine().networks(&label).len(),
            fixture.engine().volumes(&label).len(),
        )
    };
    assert_eq!(left(fixture), (0, 0, 1), "instances, networks, volumes after undeploy");
    fixture.deploy(&text).ok();
    serves(port, "started\nstarted\n");
    fixture.hythe(&["undeploy", "--volumes", &fixture.service]).ok();
    assert_eq!(left(fixture), (0, 0, 0), "instances, networks, volumes after undeploy --volumes");
    fixture.hythe(&["status", &fixture.service]).ends_with(3);
}

fn the_same_file_runs_on_podman_and_docker(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let file = fixture.file(&shop(&fixture.service, port));
    fixture.hythe(&["deploy", &file]).ok();
    serves(port, "started\n");
    fixture.hythe(&["undeploy", "--volumes", &fixture.service]).ok();

    let docker = Subject::docker(fixture.environment).unwrap();
    let agent = Agent::start(&docker.config());
    let deployed = agent.hythe(&["deploy", &file]);
    let answer = http::get(&format!("127.0.0.1:{port}"), "/");
    let undeployed = agent.hythe(&["undeploy", "--volumes", &fixture.service]);
    let left = docker.engine.sweep(&agent.owner_label());
    deployed.ok();
    assert!(answer.ends_with("started\n"), "{answer}");
    undeployed.ok();
    assert!(left.is_empty(), "left in docker: {left:?}");
}
