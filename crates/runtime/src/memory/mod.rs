//! A complete runtime in this process: instances are tasks that interpret a small shell.
//!
//! For: the reference that the conformance suite is proven on, tests of everything above the seam, demonstrations.
//! Every promise of [`Runtime`](crate::Runtime) and its facets is kept, with events, logs, networks, volumes and images.
//! Not for: real work. It starts no process, opens no port and limits nothing; host paths are only touched where a plan binds them.

mod archive;
mod builder;
mod catalogue;
mod console;
mod control;
mod dockerfile;
mod engine;
mod events;
mod exec;
mod files;
mod images;
mod instance;
mod lifecycle;
mod logs;
mod networks;
mod process;
mod shell;
mod snapshots;
mod stats;
mod volumes;

pub use builder::MemoryBuilder;
pub use control::MemoryControl;

use std::sync::Arc;

use engine::Engine;

use crate::{Capability, RuntimeInfo};

/// The in-process runtime; made by [`Memory::builder`].
#[derive(Debug)]
pub struct Memory {
    info: RuntimeInfo,
    capability: Capability,
    engine: Arc<Engine>,
}

impl Memory {
    /// The image that is there unless the builder says otherwise: a busybox with the users `root` and `app` (1000).
    pub const TEST_IMAGE: &str = "localhost/hythe-test:1";

    /// A runtime with nothing but [`Memory::TEST_IMAGE`], that can honour all but allow-lists and `privileged`.
    pub fn new() -> Arc<Self> {
        Self::builder().build()
    }

    /// Starts a configuration.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }

    /// The hand that reaches in from outside: what an operator, the kernel or an accident does to a real engine.
    pub fn control(&self) -> MemoryControl {
        MemoryControl::new(Arc::clone(&self.engine))
    }
}

#[cfg(test)]
mod tests;
