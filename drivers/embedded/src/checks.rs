//! What has to hold before an instance is made or started.

use std::fs;

use hythe_oci_spec::volume_files;
use hythe_runtime::layers::kernel_mount;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{Error, ErrorKind, Plan, PlanNetwork, Result};
use hythe_spec::{Device, MountSource};

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
    check_binds(operation, plan)?;
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

/// What is bound or granted must be there, at every start: it may have gone since it was made.
pub(crate) fn check_binds(operation: &'static str, plan: &Plan) -> Result<()> {
    let absent = |path: &str| fs::symlink_metadata(path).is_err();
    for mount in &plan.all_mounts() {
        if let MountSource::Bind { path, .. } = &mount.source
            && absent(path)
        {
            let message = format!("the host has no `{path}`");
            return Err(Error::new(ErrorKind::Invalid, operation, message).hint("make it first, or use a volume"));
        }
    }
    for device in &plan.devices {
        if let Device::Path { path, .. } = device
            && absent(path)
        {
            let message = format!("the host has no device `{path}`");
            return Err(Error::new(ErrorKind::Invalid, operation, message).hint("load the module that makes it"));
        }
    }
    Ok(())
}
