//! Networks: those of the host's kernel, as the embedded runtime has them. A guest is behind a namespace that is connected to them.

use async_trait::async_trait;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{NetworkInfo, NetworkSpec, Networks, OpContext, Result};

use crate::driver::Vm;

#[async_trait]
impl Networks for Vm {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        const OPERATION: &str = "network create";
        let (context, spec) = (self.context.clone(), spec.clone());
        cx.run_detached(OPERATION, run_blocking(OPERATION, move || context.networks(OPERATION)?.ensure(&spec))).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        const OPERATION: &str = "network list";
        let context = self.context.clone();
        let list = move || {
            context.instances.reachable(OPERATION)?;
            context.networks(OPERATION)?.list()
        };
        cx.with_deadline(OPERATION, run_blocking(OPERATION, list)).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        const OPERATION: &str = "network remove";
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        let remove = move || context.networks(OPERATION)?.remove_of(&owner, &name);
        cx.run_detached(OPERATION, run_blocking(OPERATION, remove)).await
    }
}
