//! What a plan names of the host.

use std::fs;

use hythe_runtime::{Error, ErrorKind, Plan, Result};
use hythe_spec::{Device, MountSource};

/// What is bound or granted must be there, at every start: it may have gone since the instance was made.
///
/// # Errors
/// `Invalid`, with the first path that is absent.
pub fn check(operation: &'static str, plan: &Plan) -> Result<()> {
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
