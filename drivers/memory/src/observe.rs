//! Reading one instance, reading all.

use hythe_runtime::{Filter, InstanceRef, Listed, Observed, Result};

use crate::engine::Engine;
use crate::instance::Instance;
use crate::translate::observed;

pub(crate) fn inspect(engine: &Engine, instance: &InstanceRef) -> Result<Observed> {
    engine.world().find("inspect", instance).map(observed)
}

pub(crate) fn list(engine: &Engine, filter: &Filter) -> Vec<Listed> {
    let world = engine.world();
    let matches =
        |instance: &&Instance| filter.labels.iter().all(|(key, value)| instance.labels.get(key) == Some(value));
    let mut rows: Vec<Listed> =
        world.instances.values().filter(matches).map(|found| observed(found).listed()).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}
