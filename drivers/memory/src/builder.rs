//! An in-process runtime for a test: its kind, capability, latency, clock, images and registries.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{Capability, Clock, Pending};
use hythe_spec::RuntimeKind;

use crate::capability::capability;
use crate::catalogue::Registry;
use crate::engine::{Engine, World};
use crate::scheduling::Scheduling;
use crate::{Memory, connect};

/// What an in-process runtime is made of.
#[derive(Debug, Clone)]
pub struct MemoryBuilder {
    name: String,
    kind: RuntimeKind,
    capability: Capability,
    latency: Duration,
    scheduling: Option<Scheduling>,
    clock: Clock,
    images: Vec<String>,
    registries: Vec<(String, Registry)>,
}

impl Default for MemoryBuilder {
    fn default() -> Self {
        Self {
            name: RuntimeKind::Memory.to_string(),
            kind: RuntimeKind::Memory,
            capability: capability(),
            latency: Duration::ZERO,
            scheduling: None,
            clock: Clock::system(),
            images: vec![Memory::TEST_IMAGE.to_owned()],
            registries: Vec::new(),
        }
    }
}

impl MemoryBuilder {
    /// Its name in the agent; `memory` unless set.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The kind it claims to be, for tests of placement; `memory` unless set.
    #[must_use]
    pub fn kind(mut self, kind: RuntimeKind) -> Self {
        self.kind = kind;
        self
    }

    /// What it can honour.
    #[must_use]
    pub fn capability(mut self, capability: Capability) -> Self {
        self.capability = capability;
        self
    }

    /// Time that every operation takes before it does anything; none unless set.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Every start takes so long, and the instance is pending meanwhile, for this reason; it is started at once unless set.
    #[must_use]
    pub fn scheduling(mut self, takes: Duration, pending: Pending) -> Self {
        self.scheduling = Some(Scheduling { takes, pending });
        self
    }

    /// The clock it stamps its records and events with; the host's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// One more image in the engine, with the content of the test image. An unreadable reference is left out.
    #[must_use]
    pub fn image(mut self, reference: impl Into<String>) -> Self {
        self.images.push(reference.into());
        self
    }

    /// A registry that answers at this `host[:port]`, with these repositories (`path:tag`). Any host not named is unreachable.
    #[must_use]
    pub fn registry<T: Into<String>>(mut self, host: impl Into<String>, images: impl IntoIterator<Item = T>) -> Self {
        self.registries.push((host.into(), Registry::with(images.into_iter().map(Into::into))));
        self
    }

    /// A registry that refuses all credentials.
    #[must_use]
    pub fn registry_refusing(mut self, host: impl Into<String>) -> Self {
        self.registries.push((host.into(), Registry::refusing()));
        self
    }

    /// The runtime.
    pub fn build(self) -> Arc<Memory> {
        let mut world = World::new(&self.name, self.clock);
        for reference in self.images.iter().filter_map(|text| text.parse().ok()) {
            world.images.add_test_image(&reference);
        }
        world.images.registries = self.registries.into_iter().collect();
        let info = connect::info(&self.name, self.kind);
        Arc::new(Memory::of(info, self.capability, Engine::new(world, self.latency, self.scheduling)))
    }
}
