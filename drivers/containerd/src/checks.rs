//! What has to hold before an instance is made or started.

use hythe_local::host_paths;
use hythe_runtime::layers::kernel_mount;
use hythe_runtime::{Error, ErrorKind, Plan, PlanNetwork, Result};

use crate::context::Context;
use crate::volumes;

/// What the plan names must be there.
pub(crate) fn check(context: &Context, operation: &'static str, plan: &Plan) -> Result<()> {
    if let Some(target) = plan.kernel_mount() {
        return Err(kernel_mount(operation, target));
    }
    if let PlanNetwork::Networks { attachments } = &plan.network {
        let known = context.networks(operation)?.list()?;
        if let Some(missing) = attachments.iter().find(|one| !known.iter().any(|network| network.name == one.network)) {
            return Err(Error::new(ErrorKind::NotFound, operation, format!("no network `{}`", missing.network)));
        }
    }
    check_mounts(context, operation, plan)
}

/// What is mounted or granted must be there, at every start: it may have gone since it was made.
pub(crate) fn check_mounts(context: &Context, operation: &'static str, plan: &Plan) -> Result<()> {
    for mount in &plan.all_mounts() {
        volumes::check(context, operation, &mount.source)?;
    }
    host_paths::check(operation, plan)
}
