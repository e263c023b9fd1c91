//! Networks as a facet; how they are made is told in [`crate::network`].

use async_trait::async_trait;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{NetworkInfo, NetworkSpec, Networks, OpContext, Result};

use crate::driver::Embedded;
use crate::userns_exec::Change;

#[async_trait]
impl Networks for Embedded {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let (context, spec) = (self.context.clone(), spec.clone());
        let operation = "network create";
        cx.run_detached(
            operation,
            run_blocking(operation, move || context.change_networks(operation, Change::Ensure(spec))),
        )
        .await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let context = self.context.clone();
        let operation = "network list";
        cx.with_deadline(
            operation,
            run_blocking(operation, move || {
                context.instances.reachable(operation)?;
                context.networks(operation)?.list()
            }),
        )
        .await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let (context, change) =
            (self.context.clone(), Change::RemoveOf { owner: owner.to_owned(), name: name.to_owned() });
        let operation = "network remove";
        cx.run_detached(operation, run_blocking(operation, move || context.change_networks(operation, change))).await
    }
}
