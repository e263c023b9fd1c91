//! Named volumes: a directory each, with labels beside the data.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use hythe_local::named_volumes::NamedVolumes;
use hythe_oci_spec::volume_files;
use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::must_be_of;
use hythe_runtime::{OpContext, Result, VolumeInfo, VolumeSpec, Volumes};

use crate::context::Context;
use crate::driver::Embedded;
use crate::error::IoContext;

fn all(context: &Context) -> NamedVolumes<'_> {
    NamedVolumes { root: &context.root, instances: &context.instances }
}

pub(crate) fn ensure(context: &Context, operation: &'static str, spec: &VolumeSpec) -> Result<()> {
    let fill = |volume: &Path| {
        let (data, what) = (volume.join("data"), || format!("make volume `{}`", spec.name));
        fs::create_dir(&data).context(operation, what())?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).context(operation, what())
    };
    all(context).ensure(operation, spec, fill)
}

fn list(context: &Context, operation: &'static str) -> Result<Vec<VolumeInfo>> {
    let files = |volumes: &Path, name: &str| Some(volume_files(volumes, name).to_string_lossy().into_owned());
    all(context).list(operation, files)
}

/// Removes one whose labels may go.
pub(crate) fn remove_where(
    context: &Context,
    operation: &'static str,
    name: &str,
    may_go: impl FnOnce(&BTreeMap<String, String>) -> Result<()>,
) -> Result<()> {
    match all(context).take_where(operation, name, may_go)? {
        Some(trash) => context.discard(operation, &trash, format_args!("remove the files of volume `{name}`")),
        None => Ok(()),
    }
}

#[async_trait]
impl Volumes for Embedded {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let (context, spec) = (self.context.clone(), spec.clone());
        cx.run_detached(
            "volume create",
            run_blocking("volume create", move || ensure(&context, "volume create", &spec)),
        )
        .await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        let context = self.context.clone();
        cx.with_deadline("volume list", run_blocking("volume list", move || list(&context, "volume list"))).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        let operation = "volume remove";
        let remove = move || {
            remove_where(&context, operation, &name, |labels| must_be_of(&owner, operation, "volume", &name, labels))
        };
        cx.run_detached(operation, run_blocking(operation, remove)).await
    }
}
