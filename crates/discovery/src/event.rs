//! Events of the stream.

use std::sync::Arc;

use hythe_runtime::Exit;
use jiff::Timestamp;

use crate::FoundInstance;

/// A change, in its place in the stream.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    /// Place; each is one more than the one before.
    pub id: u64,
    /// When it happened, by the engine's clock where an engine reported it.
    pub time: Timestamp,
    /// What happened.
    pub change: Change,
}

/// A change of the instances on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An instance was made, or found not running.
    Created(Arc<FoundInstance>),
    /// An instance runs that did not, or was not known.
    Started(Arc<FoundInstance>),
    /// An instance ran and does not any more.
    Stopped(Arc<FoundInstance>, Option<Exit>),
    /// Something about an instance changed, in a few words.
    Updated(Arc<FoundInstance>, String),
    /// An instance is gone.
    Removed(Arc<FoundInstance>),
    /// A runtime does not answer, and why; what is known of its instances is kept.
    Disconnected(String, String),
    /// A runtime answers again; what changed meanwhile was reported before this.
    Reconnected(String),
}

impl Change {
    /// The instance it is about.
    pub fn instance(&self) -> Option<&Arc<FoundInstance>> {
        match self {
            Self::Created(found)
            | Self::Started(found)
            | Self::Stopped(found, _)
            | Self::Updated(found, _)
            | Self::Removed(found) => Some(found),
            Self::Disconnected(..) | Self::Reconnected(_) => None,
        }
    }

    /// The runtime it is about.
    pub fn runtime(&self) -> &str {
        match self {
            Self::Disconnected(runtime, _) | Self::Reconnected(runtime) => runtime,
            Self::Created(found)
            | Self::Started(found)
            | Self::Stopped(found, _)
            | Self::Updated(found, _)
            | Self::Removed(found) => &found.runtime,
        }
    }
}
