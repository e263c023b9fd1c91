//! The example with three components that wait for each other, from its file to its removal.

use serde_json::Value;

use crate::agent::Agent;
use crate::http;
use crate::scene::Scene;
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
fn time(scene: &Scene<'_>, component: &str, kind: &str) -> String {
    let name = format!("{}-{component}", scene.service);
    let is_it = |event: &&Value| event["workload"] == name && event["kind"] == kind;
    let what = format!("event `{kind}` of `{name}`");
    let events = wait::until(&what, || scene.events(), |events| events.iter().any(|event| is_it(&event)));
    let event = events.iter().find(is_it).unwrap();
    event["time"].as_str().unwrap().to_owned()
}

fn comes_up_in_order_and_serves(scene: &mut Scene<'_>) {
    let port = http::free_port();
    scene.deploy(&shop(&scene.service, port)).ok().says(&["deployed"]);
    serves(port, "started\n");
    assert!(time(scene, "db", "ready") < time(scene, "app", "started"), "app did not wait for db");
    assert!(time(scene, "app", "ready") < time(scene, "front", "started"), "front did not wait for app");
    let listed = scene.hythe(&["ps", "--service", &scene.service]).ok().out;
    for component in COMPONENTS {
        let line = listed.lines().find(|line| line.starts_with(&format!("{}-{component} ", scene.service)));
        assert!(line.is_some_and(|line| line.contains("running") && line.contains("healthy")), "{listed}");
    }
    assert!(listed.contains(&format!("127.0.0.1:{port}:80")), "{listed}");
    assert_eq!(scene.differences(), Vec::<Value>::new());
    looked_into(scene);
    scene.has_instances(3);
}

fn looked_into(scene: &Scene<'_>) {
    let db = format!("{}/db", scene.service);
    scene.hythe(&["exec", &db, "sh", "-c", "echo out; echo err >&2; exit 7"]).ends_with(7);
    let echoed = scene.hythe(&["exec", &db, "cat", "/data/starts"]).ok();
    assert_eq!(echoed.out, "started\n");
    for component in COMPONENTS {
        scene.hythe(&["logs", &format!("{}/{component}", scene.service)]).ok();
    }
    let document = scene.hythe(&["inspect", &db]).ok().json();
    assert_eq!((&document["observed"]["state"], &document["desired"]["name"]), (&"running".into(), &"db".into()));
}

fn a_second_deploy_replaces_only_what_changed(scene: &mut Scene<'_>) {
    let port = http::free_port();
    let text = shop(&scene.service, port);
    scene.deploy(&text).ok();
    let first = scene.ids();
    scene.deploy(&text).ok().says(&["nothing changed"]);
    assert_eq!(scene.ids(), first, "an unchanged deploy replaced something");
    let changed = text.replace("env = { SOURCE", "env = { EXTRA = \"1\", SOURCE");
    scene.deploy(&changed).ok();
    let second = scene.ids();
    let kept: Vec<bool> = first.iter().zip(&second).map(|(before, after)| before == after).collect();
    assert_eq!(kept, [false, true, true], "only `app` may be replaced: {first:?} {second:?}");
    let app = format!("{}/app", scene.service);
    assert_eq!(scene.hythe(&["exec", &app, "sh", "-c", "echo $EXTRA"]).ok().out, "1\n");
    serves(port, "started\n");
    scene.has_instances(3);
}

fn volumes_outlive_undeploy_unless_asked(scene: &mut Scene<'_>) {
    let port = http::free_port();
    let text = shop(&scene.service, port);
    let label = scene.agent.owner_label();
    scene.deploy(&text).ok();
    assert_eq!((scene.engine().networks(&label).len(), scene.engine().volumes(&label).len()), (1, 1));
    scene.hythe(&["undeploy", &scene.service]).ok();
    let left = |scene: &Scene<'_>| {
        (
            scene.engine().instances(&label).len(),
            scene.engine().networks(&label).len(),
            scene.engine().volumes(&label).len(),
        )
    };
    assert_eq!(left(scene), (0, 0, 1), "instances, networks, volumes after undeploy");
    scene.deploy(&text).ok();
    serves(port, "started\nstarted\n");
    scene.hythe(&["undeploy", "--volumes", &scene.service]).ok();
    assert_eq!(left(scene), (0, 0, 0), "instances, networks, volumes after undeploy --volumes");
    scene.hythe(&["status", &scene.service]).ends_with(3);
}

fn the_same_file_runs_on_podman_and_docker(scene: &mut Scene<'_>) {
    let port = http::free_port();
    let file = scene.file(&shop(&scene.service, port));
    scene.hythe(&["deploy", &file]).ok();
    serves(port, "started\n");
    scene.hythe(&["undeploy", "--volumes", &scene.service]).ok();

    let docker = Subject::docker(scene.environment).unwrap();
    let agent = Agent::start(&docker.config());
    let deployed = agent.hythe(&["deploy", &file]);
    let answer = http::get(&format!("127.0.0.1:{port}"), "/");
    let undeployed = agent.hythe(&["undeploy", "--volumes", &scene.service]);
    let left = docker.engine.sweep(&agent.owner_label());
    deployed.ok();
    assert!(answer.ends_with("started\n"), "{answer}");
    undeployed.ok();
    assert!(left.is_empty(), "left in docker: {left:?}");
}
