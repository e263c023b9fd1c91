//! What is deployed: services that work, and ones that do not, each for a reason of its own.

use std::collections::BTreeMap;

use hythe_driver_memory::Memory;
use hythe_spec::{
    Component, Condition, Dependency, Drift, Health, Millis, Mount, MountSource, OnFailure, Probe, Restart, Service,
};

use crate::rng::Rng;
use crate::world::{REGISTRY, VERSIONS};

pub(crate) const NAME: &str = "shop";
pub(crate) const COMPONENTS: [&str; 3] = ["db", "job", "web"];

fn bare(name: &str, version: u64, script: &str) -> Component {
    let mut component = Component::new(name, Memory::TEST_IMAGE.parse().unwrap());
    component.command = Some(["sh", "-c", script].map(str::to_owned).to_vec());
    component.env.insert("VERSION".to_owned(), version.to_string());
    component
}

/// Whatever may be deployed.
pub(crate) fn component(rng: &mut Rng, name: &str, version: u64) -> Component {
    if name == "job" {
        let scripts = ["exit 0", "exit 0", "sleep 3; exit 0", "exit 4", "sleep 2; exit 4"];
        let script = *rng.pick(&scripts);
        return job(script, version);
    }
    let scripts = ["sleep 100000", "sleep 100000", "trap exit TERM; sleep 100000 & wait", "sleep 40; exit 3", "exit 5"];
    let script = *rng.pick(&scripts);
    let mut component = bare(name, version, script);
    component.stop_grace = Millis(*rng.pick(&[0, 200, 3000]));
    component.restart =
        *rng.pick(&[Restart::Always, Restart::UnlessStopped, Restart::No, Restart::OnFailure { max_retries: Some(2) }]);
    if rng.once_in(2) {
        let command = if rng.once_in(4) { "false" } else { "true" };
        component.health = Some(health(command, rng));
    }
    if rng.once_in(3) {
        component.mounts = vec![data()];
    }
    if rng.once_in(3) {
        component.ports = vec![if name == "db" { "7000:1" } else { "7001:1" }.parse().unwrap()];
    }
    if rng.once_in(3) {
        component.image = if rng.once_in(5) { absent() } else { remote(version) };
    }
    component
}

/// What web waits for, by chance; what it waits for to be healthy is probed.
pub(crate) fn depend(rng: &mut Rng, components: &mut [Component]) {
    let [db, _, web] = components else { return };
    if rng.once_in(2) {
        let restart = rng.once_in(2);
        web.depends_on.insert("db".to_owned(), Dependency { condition: Condition::Healthy, restart });
        db.health.get_or_insert(health("true", rng));
    }
    if rng.once_in(2) {
        web.depends_on.insert("job".to_owned(), Condition::Completed.into());
    }
}

pub(crate) fn job(script: &str, version: u64) -> Component {
    let mut component = bare("job", version, script);
    component.restart = Restart::No;
    component
}

/// An image that only the registry has.
pub(crate) fn remote(version: u64) -> hythe_spec::ImageRef {
    format!("{REGISTRY}/app:{}", version % VERSIONS).parse().unwrap()
}

/// An image that only the registry has, and that the engine has not yet: each number is asked for once.
pub(crate) fn unseen(number: u64) -> hythe_spec::ImageRef {
    format!("{REGISTRY}/new:{number}").parse().unwrap()
}

/// An image that nobody has.
pub(crate) fn absent() -> hythe_spec::ImageRef {
    format!("{REGISTRY}/none:1").parse().unwrap()
}

pub(crate) fn health(command: &str, rng: &mut Rng) -> Health {
    Health {
        probe: Probe::Exec { command: vec![command.to_owned()] },
        interval: Millis(2000),
        timeout: Millis(2000),
        retries: 2,
        start_period: Millis(0),
        start_interval: None,
        on_failure: if rng.once_in(2) { OnFailure::Restart } else { OnFailure::None },
    }
}

pub(crate) fn data() -> Mount {
    let source = MountSource::Volume { name: "data".to_owned(), external: false };
    Mount { target: "/data".to_owned(), source, read_only: false }
}

/// What works.
pub(crate) fn good(name: &str, version: u64) -> Component {
    if name == "job" {
        return job("exit 0", version);
    }
    let mut component = bare(name, version, "sleep 100000");
    component.stop_grace = Millis(100);
    component.mounts = vec![data()];
    component.health = Some(health("true", &mut Rng::new(version)));
    component
}

/// What works, web after both others.
pub(crate) fn good_set(version: u64) -> Vec<Component> {
    let mut components = COMPONENTS.map(|name| good(name, version)).to_vec();
    components[2].depends_on =
        BTreeMap::from([("db".to_owned(), Condition::Healthy.into()), ("job".to_owned(), Condition::Completed.into())]);
    components
}

pub(crate) fn service(components: Vec<Component>) -> Service {
    let name = NAME.to_owned();
    Service { name, node: None, labels: BTreeMap::new(), active: true, drift: Drift::Report, components }
}
