//! What has to hold before an instance is made or started.

use hythe_local::instances::Record;
use hythe_runtime::layers::kernel_mount;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{Error, ErrorKind, Plan, PlanNetwork, Result};
use hythe_spec::MountSource;

use crate::context::Context;
use crate::volumes::disk;

/// Everything that the plan names must be there, and must be possible.
pub(crate) fn check(context: &Context, operation: &'static str, plan: &Plan) -> Result<()> {
    if let Some(target) = plan.kernel_mount() {
        return Err(kernel_mount(operation, target));
    }
    for mount in &plan.all_mounts() {
        match &mount.source {
            MountSource::Volume { name, .. } if !disk(&context.volumes(), name).is_file() => {
                return Err(Error::new(ErrorKind::NotFound, operation, format!("no volume `{name}`")));
            }
            MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => {}
        }
    }
    if let PlanNetwork::Networks { attachments } = &plan.network {
        let known = context.networks(operation)?.list()?;
        if let Some(missing) = attachments.iter().find(|one| !known.iter().any(|network| network.name == one.network)) {
            return Err(Error::new(ErrorKind::NotFound, operation, format!("no network `{}`", missing.network)));
        }
    }
    Ok(())
}

/// What the image brings of the command must be as sound as what the plan does.
pub(crate) fn check_command(operation: &'static str, plan: &Plan, record: &Record) -> Result<()> {
    check_workdir(operation, &record.command.workdir)?;
    if record.command.env.contains_key("") {
        let message = format!("image `{}` sets a variable without a name", plan.image);
        return Err(Error::new(ErrorKind::Invalid, operation, message).hint("build the image without it"));
    }
    if record.command.arguments().is_empty() {
        let message = format!("image `{}` has no command", plan.image);
        return Err(Error::new(ErrorKind::Invalid, operation, message).hint("set `command`"));
    }
    Ok(())
}
