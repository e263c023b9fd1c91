//! The in-process runtime on its own, and the layers of the seam around it.
//!
//! For: what the conformance suite does not say of every driver. Not for: promises of the seam (see `tests/conformance`).
#![expect(clippy::unwrap_used, reason = "tests")]

mod driver;
mod layers;

use hythe_driver_memory::Memory;
use hythe_runtime::{Identity, OpContext, Plan};

fn cx() -> OpContext {
    OpContext::new("test")
}

/// The first attempt of component `web` of a service, without capabilities.
fn plan(service: &str, command: &[&str]) -> Plan {
    let identity = Identity {
        owner: "test".to_owned(),
        service: service.to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: "0123".to_owned(),
    };
    let mut plan = Plan::plain(Memory::TEST_IMAGE.parse().unwrap(), identity);
    plan.command = Some(command.iter().map(ToString::to_string).collect());
    plan.security.capabilities = Vec::new();
    plan
}
