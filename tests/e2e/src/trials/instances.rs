//! Everything that runs on the machine, as other tools discover it.

use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::feed::Feed;
use crate::files::{IMAGE, one, stays};
use crate::fixture::Fixture;
use crate::http::free_port;
use crate::trial::trials;
use crate::wait;

trials!("instances":
    others_are_listed_as_they_are Commanded,
    hints_are_read_from_the_labels_of_other_tools Real,
    the_feed_reports_what_happens_as_it_happens Real,
    the_engines_own_check_is_reported Commanded,
    short_lives_are_reported_too Commanded,
    a_crash_loop_is_reported_run_by_run Commanded,
    one_engine_by_two_ways_is_one_runtime Real,
    podman_and_its_api_are_one_runtime Both,
    an_engine_that_goes_keeps_its_instances_until_it_says_what_became_of_them Both,
    ours_are_listed_with_their_workload Every,
    a_runtime_that_is_not_configured_is_not_found Memory,
    a_feed_that_breaks_begins_again_with_a_snapshot Memory,
);

/// What somebody else made in the engine; taken away when dropped.
struct Foreign {
    engine: Engine,
    label: String,
    name: String,
}

impl Foreign {
    fn new(fixture: &Fixture<'_>) -> Self {
        let name = format!("{}x", fixture.service);
        Self { engine: fixture.engine().clone(), label: format!("e2e.foreign={name}"), name }
    }

    /// A name of its own.
    fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.name)
    }

    /// Starts one; its id.
    fn run(&self, of: &str, options: &[&str], command: &[&str]) -> String {
        let name = self.name(of);
        let words = ["run", "-d", "--pull=never", "--name", &name, "--label", &self.label];
        let out = self.engine.run(&[&words, options, &[IMAGE], command].concat());
        out.lines().last().unwrap().trim().to_owned()
    }

    fn network(&self, of: &str) -> String {
        let name = self.name(of);
        self.engine.run(&["network", "create", "--label", &self.label, &name]);
        name
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.engine.sweep(&self.label);
    }
}

const SLEEP: &[&str] = &["sleep", "1000"];

/// The instance as it is listed now; null where it is not.
fn listed(fixture: &Fixture<'_>, id: &str, words: &[&str]) -> Value {
    let snapshot = fixture.hythe(&[&["instances", "--json"], words].concat()).ok().json();
    let found = snapshot["instances"].as_array().unwrap().iter().filter(|found| found["id"] == id).collect::<Vec<_>>();
    assert!(found.len() <= 1, "listed more than once: {found:#?}");
    found.first().map(|found| (*found).clone()).unwrap_or_default()
}

fn others_are_listed_as_they_are(fixture: &mut Fixture<'_>) {
    let foreign = Foreign::new(fixture);
    let (first, second) = (foreign.network("n1"), foreign.network("n2"));
    let port = free_port();
    let (tcp, udp) = (format!("127.0.0.1:{port}:53"), format!("127.0.0.1:{port}:53/udp"));
    let compose = ["com.docker.compose.project=shop", "com.docker.compose.service=dns"];
    let id = foreign.run(
        "a",
        &["--network", &first, "-p", &tcp, "-p", &udp, "--label", compose[0], "--label", compose[1]],
        SLEEP,
    );
    foreign.engine.run(&["network", "connect", &second, &id]);
    let found = listed(fixture, &id, &[]);
    assert_eq!(found["runtime"], fixture.subject.name);
    assert_eq!((&found["name"], &found["display_name"]), (&json!(foreign.name("a")), &json!("shop/dns")));
    assert_eq!(
        (&found["owner"], &found["foreign"], &found["hythe"]),
        (&json!("compose:shop"), &json!(true), &Value::Null)
    );
    assert_eq!(found["compose"], json!({ "project": "shop", "service": "dns", "number": null }));
    assert_eq!(
        (&found["state"], &found["image"], &found["complete"]),
        (&json!("running"), &json!(IMAGE), &json!(true))
    );
    let wanted = |protocol: &str| {
        json!({ "host_ip": "127.0.0.1", "host_port": port, "container_port": 53, "protocol": protocol,
            "service_type": format!("_dns._{protocol}") })
    };
    assert_eq!(found["ports"], json!([wanted("tcp"), wanted("udp")]));
    let networks = found["networks"].as_array().unwrap();
    let names: Vec<&Value> = networks.iter().map(|network| &network["name"]).collect();
    assert_eq!(names, [&json!(first), &json!(second)]);
    assert!(networks.iter().all(|network| network["addresses"][0].is_string()), "{networks:#?}");
    assert_eq!(found["labels"]["com.docker.compose.project"], "shop");
    let stopped = foreign.run("b", &[], &["true"]);
    wait::until("it ended", || listed(fixture, &stopped, &["-a"]), |found| found["state"] == "exited");
    assert!(listed(fixture, &stopped, &[]).is_null(), "one that does not run is listed");
    let table = fixture.hythe(&["instances", "--foreign"]).ok().out;
    assert!(table.lines().any(|line| line.starts_with("shop/dns ")), "{table}");
}

fn hints_are_read_from_the_labels_of_other_tools(fixture: &mut Fixture<'_>) {
    let foreign = Foreign::new(fixture);
    let labels = [
        "koi.name=Shop",
        "koi.health.path=/healthz",
        "traefik.enable=TRUE",
        "traefik.http.routers.web.rule=Host(`shop.test`) && PathPrefix(`/`)",
        "traefik.http.services.web.loadbalancer.server.port=8080",
    ];
    let options: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
    let id = foreign.run("a", &[&options[..], &["-e", "KOI_MDNS_ANNOUNCE=env"]].concat(), SLEEP);
    let hints = listed(fixture, &id, &[])["hints"].clone();
    let expected = json!({
        "enabled": true, "name": "Shop", "dns_name": "env", "port": 8080, "health_path": "/healthz", "hosts": ["shop.test"],
        "sources": {
            "enabled": "KOI_MDNS_ANNOUNCE", "name": "koi.name", "dns_name": "KOI_MDNS_ANNOUNCE", "health.path": "koi.health.path",
            "port": "traefik.http.services.web.loadbalancer.server.port", "hosts": "traefik.http.routers.web.rule",
        },
    });
    assert_eq!(hints, expected);
    let out = foreign.run("b", &["--label", "koi.enable=flase", "--label", "caddy=shop.test"], SLEEP);
    let hints = listed(fixture, &out, &[])["hints"].clone();
    assert_eq!((&hints["enabled"], &hints["dns_name"]), (&json!(false), &Value::Null), "{hints:#}");
    assert!(hints["problems"][0].as_str().unwrap().contains("`koi.enable`"), "{hints:#}");
}

fn the_feed_reports_what_happens_as_it_happens(fixture: &mut Fixture<'_>) {
    let foreign = Foreign::new(fixture);
    let there = foreign.run("there", &[], SLEEP);
    let network = foreign.network("n");
    let feed = Feed::start(&fixture.agent, &["--runtime", fixture.subject.name]);
    let snapshot = feed.heard()[0].clone();
    assert!(snapshot["instances"].as_array().unwrap().iter().any(|found| found["id"] == there), "{snapshot:#}");
    let script = "trap 'echo hup' HUP; trap exit TERM; while :; do sleep 0.1; done";
    let id = foreign.run("a", &[], &["sh", "-c", script]);
    feed.until(&id, "started");
    let engine = &foreign.engine;
    engine.run(&["rename", &id, &foreign.name("b")]);
    feed.until(&id, "rename");
    engine.run(&["network", "connect", &network, &id]);
    feed.until(&id, &format!("network connect {network}"));
    engine.run(&["network", "disconnect", &network, &id]);
    feed.until(&id, &format!("network disconnect {network}"));
    engine.run(&["pause", &id]);
    feed.until(&id, ": paused");
    engine.run(&["unpause", &id]);
    feed.until(&id, "unpaused");
    engine.run(&["kill", "--signal", "HUP", &id]);
    wait::until("the signal arrives", || engine.run(&["logs", &id]), |log| log.contains("hup"));
    engine.run(&["stop", "-t", "5", &id]);
    feed.until(&id, "stopped");
    let told = feed.about(&id);
    assert_eq!(told.iter().filter(|told| *told == "stopped").count(), 1, "a signal is no stop: {told:?}");
    assert_eq!((told[0].as_str(), told.last().unwrap().as_str()), ("started", "stopped"), "{told:?}");
    let last = feed.heard().into_iter().rfind(|event| event["instance"]["id"] == id).unwrap();
    assert_eq!((&last["instance"]["state"], &last["instance"]["name"]), (&json!("exited"), &json!(foreign.name("b"))));
    engine.run(&["start", &id]);
    wait::until("it is told again", || feed.about(&id), |told| told.last().unwrap() == "started");
    engine.run(&["rm", "-f", &id]);
    wait::until("it is told again", || feed.about(&id), |told| told.last().unwrap() == "stopped");
    assert!(feed.about(&there).is_empty(), "nothing happened to it: {:?}", feed.about(&there));
    feed.has_no_gap();
}

fn the_engines_own_check_is_reported(fixture: &mut Fixture<'_>) {
    let foreign = Foreign::new(fixture);
    let feed = Feed::start(&fixture.agent, &[]);
    let check = ["--health-cmd", "test ! -e /tmp/ill", "--health-interval", "1s", "--health-retries", "1"];
    let id = foreign.run("a", &check, SLEEP);
    feed.until(&id, "started");
    // Podman leaves the timer to systemd, which not every machine has, and tells the verdict of a check with the next one.
    let by_hand = || {
        if fixture.subject.name == "podman" {
            foreign.engine.tries(&["healthcheck", "run", &id]);
            foreign.engine.tries(&["healthcheck", "run", &id]);
        }
    };
    by_hand();
    feed.until(&id, "health healthy");
    assert_eq!(listed(fixture, &id, &[])["health"], "healthy");
    foreign.engine.run(&["exec", &id, "touch", "/tmp/ill"]);
    by_hand();
    feed.until(&id, "health unhealthy");
    assert_eq!(listed(fixture, &id, &[])["health"], "unhealthy");
}

/// Each is gone before anybody could ask about it.
fn short_lives_are_reported_too(fixture: &mut Fixture<'_>) {
    const LIVES: usize = 5;
    let foreign = Foreign::new(fixture);
    let feed = Feed::start(&fixture.agent, &["-a"]);
    let ids: Vec<String> =
        (0..LIVES).map(|n| foreign.run(&n.to_string(), &["--rm"], &["sh", "-c", "exit 3"])).collect();
    for id in &ids {
        wait::until(
            "its whole life is told",
            || feed.about(id),
            |told| told.last().is_some_and(|told| told == "removed"),
        );
        let told = feed.about(id);
        assert_eq!(told, ["created", "started", "stopped", "removed"], "{told:?}");
        let stopped =
            feed.heard().into_iter().find(|event| event["instance"]["id"] == **id && event["kind"] == "stopped");
        assert_eq!(stopped.unwrap()["instance"]["exit_code"], 3);
    }
    feed.has_no_gap();
}

fn a_crash_loop_is_reported_run_by_run(fixture: &mut Fixture<'_>) {
    let foreign = Foreign::new(fixture);
    let feed = Feed::start(&fixture.agent, &[]);
    let id = foreign.run("a", &["--restart", "on-failure:2"], &["sh", "-c", "exit 3"]);
    wait::until("three runs are told", || feed.about(&id), |told| told.len() >= 6);
    assert_eq!(feed.about(&id), ["started", "stopped"].repeat(3));
    let codes = feed.heard().into_iter().filter(|event| event["instance"]["id"] == id && event["kind"] == "stopped");
    assert!(codes.into_iter().all(|event| event["instance"]["exit_code"] == 3), "{:#?}", feed.heard());
    feed.has_no_gap();
}

fn one_engine_by_two_ways_is_one_runtime(fixture: &mut Fixture<'_>) {
    let again = format!("{}{}name = \"again\"\n", fixture.subject.config(), fixture.subject.config());
    fixture.agent.reconfigure(&again);
    let foreign = Foreign::new(fixture);
    let id = foreign.run("a", &[], SLEEP);
    let runtimes = fixture.hythe(&["runtimes", "--json"]).ok().json();
    let same = format!("is the same engine as `{}`", fixture.subject.name);
    let seen: Vec<(&Value, &Value)> =
        runtimes.as_array().unwrap().iter().map(|runtime| (&runtime["healthy"], &runtime["error"])).collect();
    assert_eq!(seen, [(&json!(true), &Value::Null), (&json!(false), &json!(same))]);
    assert_eq!(listed(fixture, &id, &[])["runtime"], fixture.subject.name);
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    assert_eq!(fixture.it()["runtime"], fixture.subject.name);
    fixture.has_instances(1);
    fixture.hythe(&["instances", "--runtime", "again"]).ends_with(5).says(&[&same]);
}

/// Podman's service, which speaks Docker's API: an engine that may be killed.
struct Service {
    engine: Engine,
    directory: TempDir,
    child: Child,
}

impl Service {
    fn start(engine: &Engine) -> Self {
        let directory = tempfile::Builder::new().prefix("he2e").tempdir().unwrap();
        let child = Self::spawn(engine, &directory);
        Self { engine: engine.clone(), directory, child }
    }

    fn spawn(engine: &Engine, directory: &TempDir) -> Child {
        let socket = directory.path().join("p.sock");
        // What is left of one that was killed must not be taken for the next.
        let _ = std::fs::remove_file(&socket);
        let mut command = engine.command(&["system", "service", "--time=0", &format!("unix://{}", socket.display())]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::until("the service listens", || UnixStream::connect(&socket).is_ok(), |listens| *listens);
        child
    }

    fn config(&self) -> String {
        format!(
            "[[runtimes]]\nkind = \"docker\"\nname = \"api\"\nhost = \"unix://{}/p.sock\"\n",
            self.directory.path().display()
        )
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = Self::spawn(&self.engine, &self.directory);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

fn podman_and_its_api_are_one_runtime(fixture: &mut Fixture<'_>) {
    let service = Service::start(fixture.engine());
    fixture.agent.reconfigure(&(fixture.subject.config() + &service.config()));
    let runtimes = fixture.hythe(&["runtimes", "--json"]).ok().json();
    assert_eq!(runtimes[1]["error"], "is the same engine as `podman`", "{runtimes:#}");
    let foreign = Foreign::new(fixture);
    let id = foreign.run("a", &[], SLEEP);
    assert_eq!(listed(fixture, &id, &[])["runtime"], "podman");
}

fn an_engine_that_goes_keeps_its_instances_until_it_says_what_became_of_them(fixture: &mut Fixture<'_>) {
    let mut service = Service::start(fixture.engine());
    fixture.agent.reconfigure(&service.config());
    let foreign = Foreign::new(fixture);
    let (kept, ended) = (foreign.run("kept", &[], SLEEP), foreign.run("ended", &[], SLEEP));
    let feed = Feed::start(&fixture.agent, &[]);
    let kinds =
        || feed.heard().iter().map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    service.kill();
    wait::until("it is missed", kinds, |kinds| kinds.iter().any(|kind| kind == "runtime.disconnected"));
    foreign.engine.run(&["rm", "-f", "-t", "0", &ended]);
    assert!(feed.about(&ended).is_empty() && feed.about(&kept).is_empty(), "nobody can know that");
    service.start_again();
    wait::until("it is back", kinds, |kinds| kinds.iter().any(|kind| kind == "runtime.reconnected"));
    let heard = feed.heard();
    let place = |what: &dyn Fn(&Value) -> bool| heard.iter().position(what).unwrap_or(usize::MAX);
    let stopped = place(&|event| event["kind"] == "stopped" && event["instance"]["id"] == ended);
    assert!(stopped < place(&|event| event["kind"] == "runtime.reconnected"), "{:?}", kinds());
    assert!(!feed.about(&kept).contains(&"stopped".to_owned()), "{:?}", feed.about(&kept));
    assert_eq!(listed(fixture, &kept, &[])["state"], "running");
    feed.has_no_gap();
}

fn ours_are_listed_with_their_workload(fixture: &mut Fixture<'_>) {
    let feed = Feed::start(&fixture.agent, &[]);
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
    feed.until(&id, "started");
    let found = listed(fixture, &id, &[]);
    assert_eq!((&found["owner"], &found["foreign"]), (&json!("hythe"), &json!(false)), "{found:#}");
    assert_eq!((&found["display_name"], &found["hythe"]["generation"]), (&json!(fixture.service), &json!(1)));
    assert_eq!(found["hythe"]["service"], json!(fixture.service));
    assert!(found["labels"]["hythe.recipe"].is_null() && found["labels"]["hythe.service"].is_string(), "{found:#}");
    assert!(listed(fixture, &id, &["--foreign"]).is_null());
    fixture.hythe(&["stop", &fixture.service]).ok();
    feed.until(&id, "stopped");
    assert_eq!(listed(fixture, &id, &["-a"])["state"], "exited");
}

fn a_runtime_that_is_not_configured_is_not_found(fixture: &mut Fixture<'_>) {
    fixture.hythe(&["instances", "--runtime", "nonesuch"]).ends_with(3).says(&["`nonesuch`", "memory"]);
    fixture.hythe(&["instances", "-f", "--runtime", "nonesuch"]).ends_with(3);
}

fn a_feed_that_breaks_begins_again_with_a_snapshot(fixture: &mut Fixture<'_>) {
    let feed = Feed::start(&fixture.agent, &[]);
    fixture.agent.kill();
    fixture.agent.start_again();
    let snapshots = |heard: &Vec<Value>| heard.iter().filter(|event| event["kind"] == "snapshot").count();
    wait::until("another snapshot", || feed.heard(), |heard| snapshots(heard) == 2);
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
    feed.until(&id, "started");
}
