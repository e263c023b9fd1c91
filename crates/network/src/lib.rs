//! Networks of containers: bridges, addresses, names, the way out, and published ports.
//!
//! For drivers that make their own networks. It knows no container: it is given a network namespace, an id and what to connect. Nothing
//! has to be alive for what was set up to work, except the holder of published ports ([`relay`]), which belongs to the container.
//!
//! - A network is a bridge, an IPv4 subnet, an IPv6 one where the kernel has IPv6, and rules of nf_tables that no member changes.
//! - Or, where an operator wants it, links and rules are the work of CNI plugins (`cni`), and everything else is the same.
//! - Names are lines of hosts files ([`Attached::hosts`]), rewritten when others come and go.
//! - A published port is a socket held from [`ports::reserve`] on, so it is nobody else's, and a relay behind it.
//! - Every step may be the last one before a crash: attaching again, detaching or [`Networks::gc`] leads to a whole or to nothing.
//!
//! All calls block for some milliseconds; they are for a thread that may.

mod attach;
mod cni;
mod detach;
pub mod dns;
mod error;
mod firewall;
mod gc;
mod host;
mod hosts;
mod hosts_update;
mod link_names;
mod links;
mod namespace;
mod netlink;
mod networks;
mod poller;
pub mod ports;
mod probe;
pub mod relay;
pub mod resolver;
pub mod shim_network;
mod store;
mod subnet;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_runtime::Result;

pub use self::attach::{AttachRequest, Attached};
pub use self::cni::plugins_supported;
pub use self::gc::Collected;
pub use self::links::loopback;
pub use self::networks::Routes;
pub use self::probe::{obstacles, supported};
use self::store::Store;

/// Where `iptables` is looked for, by us and by plugins: a shim has no environment, and the `PATH` of a cron job lacks half of it.
const SEARCHED: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The places between two steps of [`Networks::attach`], in order. The part from `bridge` to `inside` is passed for each network;
/// one that is the work of plugins has no `bridge`.
pub const ATTACH_STEPS: &[&str] = &["reserved", "prepared", "bridge", "pair", "inside", "marked", "published"];
/// The same of [`Networks::detach`].
pub const DETACH_STEPS: &[&str] = &["unlinked", "unlisted", "forgotten"];
/// The same of [`Networks::ensure`].
pub const ENSURE_STEPS: &[&str] = &["defined", "ruled"];
/// The same of [`Networks::remove`].
pub const REMOVE_STEPS: &[&str] = &["unbridged", "undefined"];

/// Called with the name of a step that was just done.
pub type StepHook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// The networks whose state is in one directory. Several processes and threads may use one directory at once.
pub struct Networks {
    store: Store,
    plugins: Option<PathBuf>,
    beside: Routes,
    hook: Option<StepHook>,
}

impl Networks {
    /// Opens a state directory, and makes it where it is absent. Nothing else is touched.
    ///
    /// # Errors
    /// The directory cannot be made, written or read.
    pub fn open(directory: &Path) -> Result<Self> {
        Ok(Self { store: Store::open(directory)?, plugins: None, beside: Routes::default(), hook: None })
    }

    /// The same, where networks that are made from now on are the work of the CNI plugins in that directory. A network stays what it was made as.
    /// But the plugins of earlier ones are looked for there from now on.
    ///
    /// # Errors
    /// The state directory cannot be changed.
    pub fn by_plugins(mut self, directory: PathBuf) -> Result<Self> {
        let lock = self.store.lock()?;
        for mut definition in self.store.definitions()? {
            if definition.plugins.as_ref().is_some_and(|plugins| *plugins != directory) {
                definition.plugins = Some(directory.clone());
                lock.put_definition(&definition)?;
            }
        }
        drop(lock);
        self.plugins = Some(directory);
        Ok(self)
    }

    /// The same, telling each step; for trials that end the process there.
    #[must_use]
    pub fn with_hook(mut self, hook: StepHook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// What the names of all our links begin with.
    pub fn link_prefix(&self) -> String {
        self.store.scope().prefix()
    }

    /// Name of our table of nf_tables (family `inet`).
    pub fn table(&self) -> String {
        self.store.scope().table()
    }

    /// The hosts file of an instance, there from the beginning of [`Networks::attach`] to [`Networks::detach`].
    pub fn hosts_file(&self, instance: &str) -> PathBuf {
        self.store.hosts_file(instance)
    }

    fn step(&self, name: &'static str) {
        if let Some(hook) = &self.hook {
            hook(name);
        }
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Networks").field("store", &self.store).finish_non_exhaustive()
    }
}
