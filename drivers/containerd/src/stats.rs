//! Resource use, from the control groups of tasks.

use async_trait::async_trait;
use hythe_local::stats::sample;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result, Stats, StatsSample};
use hythe_shim::cgroup;

use crate::api_types::Status;
use crate::driver::Containerd;
use crate::{record, task};

#[async_trait]
impl Stats for Containerd {
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample> {
        let look = async {
            let found = record::find(&self.context, "stats", instance).await?;
            let process = task::get(&self.context, "stats", found.id()).await?;
            let runs = |status| matches!(status, Status::Running | Status::Paused | Status::Pausing);
            let Some(process) = process.filter(|process| runs(process.status())) else {
                let message = format!("`{}` is not running", found.name());
                return Err(Error::new(ErrorKind::Conflict, "stats", message));
            };
            let (group, pid) = (task::group(found.id()), i32::try_from(process.pid).ok());
            if found.record.is_none() {
                let message = format!("`{}` was not made by Hythe, which does not know its cgroups", found.name());
                return Err(Error::new(ErrorKind::Unsupported, "stats", message));
            }
            run_blocking("stats", move || Ok(sample(&cgroup::of_path(&group), pid))).await
        };
        cx.with_deadline("stats", look).await
    }
}
