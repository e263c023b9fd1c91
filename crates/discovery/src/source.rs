//! Where the runtimes come from.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hythe_runtime::{Result, Runtime, watched};

/// The configured runtimes, connected or not. Whoever connects them implements this; discovery connects none itself.
#[async_trait]
pub trait RuntimeSource: fmt::Debug + Send + Sync {
    /// Names of all configured runtimes.
    fn names(&self) -> Vec<String>;

    /// The named runtime, if it is connected.
    ///
    /// # Errors
    /// `NotFound` for a name that is not configured, `Unavailable` for a runtime that is not connected.
    fn get(&self, name: &str) -> Result<Arc<dyn Runtime>>;

    /// Why the named runtime is not connected; `None`: it is.
    fn reason(&self, name: &str) -> Option<String>;

    /// Wakes whenever a runtime was connected, failed to connect, or was lost.
    fn changed(&self) -> watched::Receiver<u64>;

    /// Waits until a connection to every runtime was tried once, but not for ever.
    async fn tried(&self);
}
