//! Networks: bridges of `hythe_network`, beside containerd, which has none. Supervisors of tasks connect to them.

use std::sync::Arc;

use async_trait::async_trait;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{NetworkInfo, NetworkSpec, Networks, OpContext, Result};

use crate::connect::version;
use crate::context::{Context, SharedContext};
use crate::driver::Containerd;

/// Changes them, once containerd answers.
async fn change(
    context: SharedContext,
    operation: &'static str,
    work: impl FnOnce(&hythe_network::Networks) -> Result<()> + Send + 'static,
) -> Result<()> {
    version(&context.client, operation).await?;
    run_blocking(operation, move || work(context.networks(operation)?)).await
}

/// Takes back the addresses and links of an instance. None: success.
pub(crate) async fn detach(context: &Arc<Context>, operation: &'static str, id: &str) -> Result<()> {
    if context.networks.is_none() {
        return Ok(());
    }
    let (context, id) = (context.clone(), id.to_owned());
    run_blocking(operation, move || context.networks(operation)?.detach(&id)).await
}

#[async_trait]
impl Networks for Containerd {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let (context, spec, operation) = (self.context.clone(), spec.clone(), "network create");
        cx.run_detached(operation, change(context, operation, move |networks| networks.ensure(&spec))).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let (context, operation) = (self.context.clone(), "network list");
        let list = async {
            version(&context.client, operation).await?;
            let context = context.clone();
            run_blocking(operation, move || context.networks(operation)?.list()).await
        };
        cx.with_deadline(operation, list).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        let operation = "network remove";
        let work = move |networks: &hythe_network::Networks| networks.remove_of(&owner, &name);
        cx.run_detached(operation, change(context, operation, work)).await
    }
}
