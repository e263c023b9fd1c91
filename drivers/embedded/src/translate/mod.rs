//! Pure translation: a plan into an OCI runtime specification and what the shim is given, records into what was observed. No I/O here.

mod observed;
mod plan;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub(crate) use hythe_local::image::config_of;
pub(crate) use observed::{exit, observed};
pub(crate) use plan::{HostFacts, Instance, shim_config};
