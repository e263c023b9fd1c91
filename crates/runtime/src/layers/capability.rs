//! Refuses before anything is touched.

use futures_util::future::BoxFuture;

use super::{Call, Policy};
use crate::{Error, ErrorKind, Plan, Refusal, Result};

/// Refuses a plan that asks for what the runtime cannot do, naming the field, the runtime and the reason.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckCapability;

impl Policy for CheckCapability {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        if let Some(target) = call.plan.and_then(Plan::kernel_mount) {
            return Err(kernel_mount(call.operation.name(), target));
        }
        let refusals = call.plan.map(|plan| call.capability.refusals(plan)).unwrap_or_default();
        if refusals.is_empty() { act().await } else { Err(refused(&call, &refusals)) }
    }
}

/// A mount where the kernel shows itself.
pub fn kernel_mount(operation: &'static str, target: &str) -> Error {
    let message = format!("nothing can be mounted at `{target}`: `/proc` and `/sys` are the kernel's");
    Error::new(ErrorKind::Invalid, operation, message).hint("mount it elsewhere")
}

fn refused(call: &Call<'_>, refusals: &[Refusal]) -> Error {
    let reason =
        |refusal: &Refusal| format!("`{}` asks for {}: {}", refusal.field, refusal.feature.describe(), refusal.reason);
    let reasons: Vec<String> = refusals.iter().map(reason).collect();
    let message = format!("runtime `{}` cannot honour this plan: {}", call.info.name, reasons.join("; "));
    Error::new(ErrorKind::Unsupported, call.operation.name(), message)
        .hint("take the named fields out, or choose a runtime that can")
}
