//! `kill -9` of the agent at any moment: nothing stops, nothing is started twice, nothing is forgotten.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde_json::Value;

use crate::files::{one, several, stays};
use crate::http;
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

trials!("crash":
    workloads_run_on_and_are_adopted Real,
    published_ports_are_served_while_the_agent_is_away Real,
    two_hundred_run_on_and_are_adopted Embedded,
    what_died_meanwhile_is_noticed_and_restarted Real,
    what_died_meanwhile_and_must_stay_down_is_failed Real,
    a_deploy_cut_short_ends_in_exactly_one Real,
);

/// A process that ends with 7 when asked by USR1.
const MORTAL: &str = "trap 'exit 7' USR1; trap exit TERM; echo up; while :; do sleep 0.1; done";

fn pid(scene: &Scene<'_>, workload: &str) -> Value {
    let document = scene.hythe(&["inspect", workload]).ok().json();
    let pid = document["observed"]["pid"].clone();
    assert!(pid.is_u64(), "{document:#}");
    pid
}

fn is_alive(pid: &Value) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn newest(scene: &Scene<'_>) -> u64 {
    scene.events().iter().filter_map(|event| event["cursor"].as_u64()).max().unwrap_or_default()
}

fn workloads_run_on_and_are_adopted(scene: &mut Scene<'_>) {
    let script = stays("here");
    let service = scene.service.clone();
    scene
        .deploy(&several(
            &service,
            &[("a", &script, ""), ("b", &script, "health = { exec = 'true', interval = '200ms' }")],
        ))
        .ok();
    let (ids, cursor) = (scene.ids(), newest(scene));
    let names = ["a", "b"].map(|component| format!("{service}-{component}"));
    let pids = names.clone().map(|name| pid(scene, &name));
    scene.agent.kill();
    std::thread::sleep(Duration::from_millis(500));
    assert!(pids.iter().all(is_alive), "a workload ended with the agent");
    scene.agent.start_again();
    for name in &names {
        wait::until("adopted", || scene.workload(name), |workload| workload["state"] == "running");
    }
    assert_eq!(scene.ids(), ids, "not the same instances");
    assert_eq!(names.clone().map(|name| pid(scene, &name)), pids, "not the same processes");
    scene.has_instances(2);
    assert!(scene.differences().is_empty(), "{:#?}", scene.differences());
    wait::until("healthy", || scene.workload(&names[1]), |workload| workload["health"] == "healthy");
    scene.hythe(&["restart", &names[0]]).ok();
    assert!(newest(scene) > cursor, "events do not go on");
    assert_eq!(scene.ids(), ids, "a restart made another instance");
}

fn published_ports_are_served_while_the_agent_is_away(scene: &mut Scene<'_>) {
    let page = "mkdir -p /www; echo here >/www/index.html; trap exit TERM; httpd -f -p 80 -h /www & wait";
    let port = http::free_port();
    scene.deploy(&one(&scene.service, page, &format!("ports = ['127.0.0.1:{port}:80']"))).ok();
    let served = || http::get(&format!("127.0.0.1:{port}"), "/");
    wait::until("the page is served", served, |answer| answer.ends_with("here\n"));
    scene.agent.kill();
    for _ in 0..3 {
        assert!(served().ends_with("here\n"), "not served without the agent");
    }
    scene.agent.start_again();
    scene.await_state("running");
    assert!(served().ends_with("here\n"), "not served by what was adopted");
}

/// Their shared memory is that of one program; nothing but the kernel's tables bounds them.
fn two_hundred_run_on_and_are_adopted(scene: &mut Scene<'_>) {
    const COUNT: usize = 200;
    let script = stays("here");
    let names: Vec<String> = (0..COUNT).map(|number| format!("c{number}")).collect();
    let components: Vec<(&str, &str, &str)> =
        names.iter().map(|name| (name.as_str(), script.as_str(), "network = 'none'\nstop_grace = '1s'")).collect();
    scene.deploy(&several(&scene.service, &components)).ok();
    let label = scene.service_label();
    assert_eq!(scene.engine().running(&label).len(), COUNT);
    let ids = scene.ids();
    scene.agent.kill();
    scene.agent.start_again();
    let running = |all: &Vec<Value>| all.iter().filter(|workload| workload["state"] == "running").count();
    wait::until("all are adopted", || scene.workloads(), |all| running(all) == COUNT);
    assert_eq!(scene.ids(), ids, "not the same instances");
    assert_eq!(scene.engine().running(&label).len(), COUNT);
    scene.hythe(&["undeploy", &scene.service]).ok();
    scene.has_instances(0);
}

/// Ends the only instance of the service while the agent is away.
fn end_behind_its_back(scene: &mut Scene<'_>) {
    let label = scene.service_label();
    let id = scene.engine().instances(&label).remove(0);
    scene.agent.kill();
    scene.engine().run(&["kill", "--signal", "USR1", &id]);
    wait::until("the process has ended", || scene.engine().running(&label), Vec::is_empty);
    scene.agent.start_again();
}

fn what_died_meanwhile_is_noticed_and_restarted(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, MORTAL, "restart = 'always'")).ok();
    let id = scene.it()["instance"]["id"].clone();
    end_behind_its_back(scene);
    let it = wait::until("restarted", || scene.it(), |it| it["restarts"] == 1 && it["state"] == "running");
    assert_eq!((&it["instance"]["id"], &it["exit"]["code"]), (&id, &7.into()), "{it:#}");
    scene.has_instances(1);
}

fn what_died_meanwhile_and_must_stay_down_is_failed(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, MORTAL, "restart = 'no'")).ok();
    end_behind_its_back(scene);
    let it = scene.await_state("failed");
    assert_eq!((&it["restarts"], &it["exit"]["code"]), (&0.into(), &7.into()), "{it:#}");
}

/// Some milliseconds from 5 to 400, other ones each time.
fn some_time() -> Duration {
    Duration::from_millis(5 + RandomState::new().build_hasher().finish() % 396)
}

fn a_deploy_cut_short_ends_in_exactly_one(scene: &mut Scene<'_>) {
    for round in 0..6 {
        let file = scene.file(&one(&scene.service, &stays("here"), &format!("env = {{ ROUND = '{round}' }}")));
        let deploy = scene.agent.spawn(&["deploy", &file]);
        let delay = some_time();
        std::thread::sleep(delay);
        scene.agent.crash(Duration::from_millis(50));
        deploy.end();
        let what = format!("one instance in round {round}, killed after {delay:?}");
        wait::until(&what, || seen(scene), is_exactly_one);
        wait::stays(&what, Duration::from_secs(1), || seen(scene), is_exactly_one);
    }
    scene.deploy(&one(&scene.service, &stays("here"), "env = { ROUND = 'last' }")).ok();
    scene.has_instances(1);
}

/// The workload as the agent sees it, the differences it finds, and the instances that the engine has.
type Seen = (Value, Vec<Value>, Vec<String>);

fn seen(scene: &Scene<'_>) -> Seen {
    let it = scene.it();
    let differences = if it.is_null() { Vec::new() } else { scene.differences() };
    (it, differences, scene.engine().instances(&scene.service_label()))
}

/// It runs as desired, once; or the agent never heard of it.
fn is_exactly_one((it, differences, instances): &Seen) -> bool {
    let ids: Vec<&str> = it["instance"]["id"].as_str().into_iter().collect();
    let calm = it.is_null() || it["state"] == "running" && !ids.is_empty();
    calm && differences.is_empty() && *instances == ids
}
