//! What has to hold before an instance is made or started.

use hythe_local::host_paths;
use hythe_oci_spec::volume_files;
use hythe_runtime::layers::kernel_mount;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{Error, ErrorKind, Plan, PlanNetwork, Result};
use hythe_spec::MountSource;

use crate::context::Context;
use crate::instances::Record;

/// Everything that the plan names must be there.
pub(crate) fn check(context: &Context, operation: &'static str, plan: &Plan) -> Result<()> {
    if let Some(target) = plan.kernel_mount() {
        return Err(kernel_mount(operation, target));
    }
    for mount in &plan.all_mounts() {
        match &mount.source {
            MountSource::Volume { name, .. } if !volume_files(&context.volumes(), name).is_dir() => {
                return Err(Error::new(ErrorKind::NotFound, operation, format!("no volume `{name}`")));
            }
            MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => {}
        }
    }
    host_paths::check(operation, plan)?;
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
    Ok(())
}
