//! Making a runtime, and whether it answers.

use std::sync::Arc;

use hythe_runtime::{Health, RuntimeInfo};
use hythe_spec::RuntimeKind;

use crate::{Config, Memory, MemoryBuilder};

/// Makes the runtime of a configuration. Its engine lives as long as what is returned: who connects again uses the same one.
pub fn connect(config: Config) -> Arc<Memory> {
    let Config { name, images } = config;
    images.into_iter().fold(Memory::builder().name(name), MemoryBuilder::image).build()
}

/// What the runtime says of itself.
pub(crate) fn info(name: &str, kind: RuntimeKind) -> RuntimeInfo {
    RuntimeInfo {
        name: name.to_owned(),
        kind,
        endpoint: "in-process".to_owned(),
        engine: "memory".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine_id: Some(format!("memory-{name}")),
        rootless: true,
    }
}

pub(crate) fn probe(info: &RuntimeInfo) -> Health {
    Health { version: info.version.clone(), warnings: Vec::new() }
}
