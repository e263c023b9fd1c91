//! What goes around a driver: tracing, capability checks, retries, timeouts; for tests, faults; for dry runs, no writing.
//!
//! Each is a [`Policy`]: one function that sees every call of the runtime and its facets. [`Layered`] forwards every
//! method by hand, once for all of them. [`standard`] composes what the agent uses: trace → capability → retry → timeout → driver.
//! Not for: anything that knows an engine.

mod capability;
mod fault;
mod layered;
mod operation;
mod read_only;
mod retry;
mod timeout;
mod trace;

use std::sync::Arc;

pub use capability::{CheckCapability, kernel_mount};
pub use fault::{Fault, FaultAction, FaultRule, FaultScript};
pub use layered::{Layered, Policy};
pub use operation::{Call, Operation};
pub use read_only::ReadOnly;
pub use retry::{Retry, RetrySettings};
pub use timeout::{Timeout, TimeoutSettings};
pub use trace::Trace;

use crate::Runtime;

/// Settings of the standard layers.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How often and how soon.
    pub retry: RetrySettings,
    /// How long.
    pub timeout: TimeoutSettings,
}

/// The layers that the agent puts around every driver: trace → capability → retry → timeout → driver.
pub fn standard(runtime: Arc<dyn Runtime>, settings: &Settings) -> Arc<dyn Runtime> {
    let runtime = Layered::around(runtime, Timeout::new(settings.timeout.clone()));
    let runtime = Layered::around(runtime, Retry::new(settings.retry.clone()));
    let runtime = Layered::around(runtime, CheckCapability);
    Layered::around(runtime, Trace)
}
