//! `kill -9` of the agent at any moment: nothing stops, nothing is started twice, nothing is forgotten.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde_json::Value;

use crate::files::{one, several, stays};
use crate::fixture::Fixture;
use crate::http;
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

fn pid(fixture: &Fixture<'_>, workload: &str) -> Value {
    let document = fixture.hythe(&["inspect", workload]).ok().json();
    let pid = document["observed"]["pid"].clone();
    assert!(pid.is_u64(), "{document:#}");
    pid
}

fn is_alive(pid: &Value) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn newest(fixture: &Fixture<'_>) -> u64 {
    fixture.events().iter().filter_map(|event| event["cursor"].as_u64()).max().unwrap_or_default()
}

fn workloads_run_on_and_are_adopted(fixture: &mut Fixture<'_>) {
    let script = stays("here");
    let service = fixture.service.clone();
    fixture
        .deploy(&several(
            &service,
            &[("a", &script, ""), ("b", &script, "health = { exec = 'true', interval = '200ms' }")],
        ))
        .ok();
    let (ids, cursor) = (fixture.ids(), newest(fixture));
    let names = ["a", "b"].map(|component| format!("{service}-{component}"));
    let pids = names.clone().map(|name| pid(fixture, &name));
    fixture.agent.kill();
    std::thread::sleep(Duration::from_millis(500));
    assert!(pids.iter().all(is_alive), "a workload ended with the agent");
    fixture.agent.start_again();
    for name in &names {
        wait::until("adopted", || fixture.workload(name), |workload| workload["state"] == "running");
    }
    assert_eq!(fixture.ids(), ids, "not the same instances");
    assert_eq!(names.clone().map(|name| pid(fixture, &name)), pids, "not the same processes");
    fixture.has_instances(2);
    assert!(fixture.differences().is_empty(), "{:#?}", fixture.differences());
    wait::until("healthy", || fixture.workload(&names[1]), |workload| workload["health"] == "healthy");
    fixture.hythe(&["restart", &names[0]]).ok();
    assert!(newest(fixture) > cursor, "events do not go on");
    assert_eq!(fixture.ids(), ids, "a restart made another instance");
}

fn published_ports_are_served_while_the_agent_is_away(fixture: &mut Fixture<'_>) {
    let page = "mkdir -p /www; echo here >/www/index.html; trap exit TERM; httpd -f -p 80 -h /www & wait";
    let port = http::free_port();
    fixture.deploy(&one(&fixture.service, page, &format!("ports = ['127.0.0.1:{port}:80']"))).ok();
    let served = || http::get(&format!("127.0.0.1:{port}"), "/");
    wait::until("the page is served", served, |answer| answer.ends_with("here\n"));
    fixture.agent.kill();
    for _ in 0..3 {
        assert!(served().ends_with("here\n"), "not served without the agent");
    }
    fixture.agent.start_again();
    fixture.await_state("running");
    assert!(served().ends_with("here\n"), "not served by what was adopted");
}

/// Their shared memory is that of one program; nothing but the kernel's tables bounds them.
fn two_hundred_run_on_and_are_adopted(fixture: &mut Fixture<'_>) {
    const COUNT: usize = 200;
    let script = stays("here");
    let names: Vec<String> = (0..COUNT).map(|number| format!("c{number}")).collect();
    let components: Vec<(&str, &str, &str)> =
        names.iter().map(|name| (name.as_str(), script.as_str(), "network = 'none'\nstop_grace = '1s'")).collect();
    fixture.deploy(&several(&fixture.service, &components)).ok();
    let label = fixture.service_label();
    assert_eq!(fixture.engine().running(&label).len(), COUNT);
    let ids = fixture.ids();
    fixture.agent.kill();
    fixture.agent.start_again();
    let running = |all: &Vec<Value>| all.iter().filter(|workload| workload["state"] == "running").count();
    wait::until("all are adopted", || fixture.workloads(), |all| running(all) == COUNT);
    assert_eq!(fixture.ids(), ids, "not the same instances");
    assert_eq!(fixture.engine().running(&label).len(), COUNT);
    fixture.hythe(&["undeploy", &fixture.service]).ok();
    fixture.has_instances(0);
}

/// Ends the only instance of the service while the agent is away. The kernel drops a signal that the first process of a container has no trap for
/// yet, so what it says after setting its traps is awaited.
fn end_behind_its_back(fixture: &mut Fixture<'_>) {
    wait::until("its traps are set", || fixture.hythe(&["logs", &fixture.service]).out, |out| out.contains("up"));
    let label = fixture.service_label();
    let id = fixture.engine().instances(&label).remove(0);
    fixture.agent.kill();
    fixture.engine().run(&["kill", "--signal", "USR1", &id]);
    wait::until("the process has ended", || fixture.engine().running(&label), Vec::is_empty);
    fixture.agent.start_again();
}

fn what_died_meanwhile_is_noticed_and_restarted(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, MORTAL, "restart = 'always'")).ok();
    let id = fixture.it()["instance"]["id"].clone();
    end_behind_its_back(fixture);
    let it = wait::until("restarted", || fixture.it(), |it| it["restarts"] == 1 && it["state"] == "running");
    assert_eq!((&it["instance"]["id"], &it["exit"]["code"]), (&id, &7.into()), "{it:#}");
    fixture.has_instances(1);
}

fn what_died_meanwhile_and_must_stay_down_is_failed(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, MORTAL, "restart = 'no'")).ok();
    end_behind_its_back(fixture);
    let it = fixture.await_state("failed");
    assert_eq!((&it["restarts"], &it["exit"]["code"]), (&0.into(), &7.into()), "{it:#}");
}

/// Some milliseconds from 5 to 400, other ones each time.
fn some_time() -> Duration {
    Duration::from_millis(5 + RandomState::new().build_hasher().finish() % 396)
}

fn a_deploy_cut_short_ends_in_exactly_one(fixture: &mut Fixture<'_>) {
    for round in 0..6 {
        let file = fixture.file(&one(&fixture.service, &stays("here"), &format!("env = {{ ROUND = '{round}' }}")));
        let deploy = fixture.agent.spawn(&["deploy", &file]);
        let delay = some_time();
        std::thread::sleep(delay);
        fixture.agent.crash(Duration::from_millis(50));
        deploy.end();
        let what = format!("one instance in round {round}, killed after {delay:?}");
        wait::until(&what, || seen(fixture), is_exactly_one);
        wait::stays(&what, Duration::from_secs(1), || seen(fixture), is_exactly_one);
    }
    fixture.deploy(&one(&fixture.service, &stays("here"), "env = { ROUND = 'last' }")).ok();
    fixture.has_instances(1);
}

/// The workload as the agent sees it, the differences it finds, and the instances that the engine has.
type Seen = (Value, Vec<Value>, Vec<String>);

fn seen(fixture: &Fixture<'_>) -> Seen {
    let it = fixture.it();
    let differences = if it.is_null() { Vec::new() } else { fixture.differences() };
    (it, differences, fixture.engine().instances(&fixture.service_label()))
}

/// It runs as desired, once; or the agent never heard of it.
fn is_exactly_one((it, differences, instances): &Seen) -> bool {
    let ids: Vec<&str> = it["instance"]["id"].as_str().into_iter().collect();
    let calm = it.is_null() || it["state"] == "running" && !ids.is_empty();
    calm && differences.is_empty() && *instances == ids
}
