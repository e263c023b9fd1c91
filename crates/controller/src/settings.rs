//! Limits and identity of a controller.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::Clock;

use crate::secrets::files::SecretFiles;

/// Called with the name of each crash point that is passed; `true` means that nothing may happen any more.
pub type CrashHook = Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>;

/// Limits and identity of a controller.
#[derive(Clone)]
pub struct Settings {
    /// Id of this agent, on every object it makes.
    pub owner: String,
    /// Events kept.
    pub keep_events: u64,
    /// How long they are kept at most; absent: however old.
    pub keep_events_for: Option<Duration>,
    /// Operations kept.
    pub keep_operations: u32,
    /// Whether components are accepted that are privileged, or ask for something else that equals root on the host.
    pub allow_privileged: bool,
    /// Directories and sockets of the agent itself, which no component may see without that.
    pub own: Vec<String>,
    /// Id of the host's boot: what ran in another one has ended with it.
    pub boot: String,
    /// The clock.
    pub clock: Clock,
    /// For tests: called where a crash must do no harm.
    pub crash: CrashHook,
    /// How orphaned objects are found and collected.
    pub gc: GcSettings,
    /// Time between two comparisons for drift; zero: none.
    pub drift_interval: Duration,
    /// Secrets of components; absent: components with secrets are refused.
    pub secrets: Option<Arc<SecretFiles>>,
}

impl Settings {
    /// Of an agent with this id and otherwise the usual limits.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            keep_events: 10_000,
            keep_events_for: None,
            keep_operations: 200,
            allow_privileged: false,
            own: Vec::new(),
            boot: String::new(),
            clock: Clock::system(),
            crash: None,
            gc: GcSettings::default(),
            drift_interval: Duration::from_secs(60),
            secrets: None,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("owner", &self.owner).field("boot", &self.boot).finish_non_exhaustive()
    }
}

/// How orphaned objects are found and collected.
#[derive(Debug, Clone)]
pub struct GcSettings {
    /// Time between two scans; zero: none by itself.
    pub interval: std::time::Duration,
    /// Least time that an object must have been orphaned.
    pub min_age: std::time::Duration,
    /// Least time that an image which this agent brought must have been without a tag and an instance; `None`: images stay.
    pub images_older_than: Option<std::time::Duration>,
    /// Directory with files of ours that may be orphaned.
    pub state_dir: Option<std::path::PathBuf>,
}

impl Default for GcSettings {
    fn default() -> Self {
        let minute = std::time::Duration::from_secs(60);
        let week = std::time::Duration::from_secs(7 * 24 * 3600);
        Self { interval: minute, min_age: minute, images_older_than: Some(week), state_dir: None }
    }
}
