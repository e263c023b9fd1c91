//! A dry run cannot write.

use futures_util::future::BoxFuture;

use super::{Call, Policy};
use crate::{Error, ErrorKind, Result};

/// Refuses whatever changes an engine, a registry or an instance.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOnly;

impl Policy for ReadOnly {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        if call.operation.only_reads() {
            return act().await;
        }
        let words = format!("a dry run cannot write to runtime `{}`", call.info.name);
        Err(Error::new(ErrorKind::Unsupported, call.operation.name(), words))
    }
}
