//! Networks as a facet; how they are made is told in [`crate::network`].

use async_trait::async_trait;
use hythe_runtime::{NetworkInfo, NetworkSpec, Networks, OpContext, Result};

use crate::driver::Embedded;
use crate::errand::Change;
use crate::error::{blocking, bounded, carried};

#[async_trait]
impl Networks for Embedded {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let (core, spec) = (self.core.clone(), spec.clone());
        let operation = "network create";
        carried(cx, operation, blocking(operation, move || core.change_networks(operation, Change::Ensure(spec)))).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let core = self.core.clone();
        let operation = "network list";
        bounded(
            cx,
            operation,
            blocking(operation, move || {
                core.instances.reachable(operation)?;
                core.networks(operation)?.list()
            }),
        )
        .await
    }

    async fn remove(&self, cx: &OpContext, name: &str) -> Result<()> {
        let (core, name) = (self.core.clone(), name.to_owned());
        let operation = "network remove";
        carried(cx, operation, blocking(operation, move || core.change_networks(operation, Change::Remove(name)))).await
    }
}
