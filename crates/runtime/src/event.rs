//! What engines report as it happens.

use std::fmt;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, Exit, Identity, InstanceId};

/// A place in one runtime's event stream; opaque to everyone but its driver. `Cursor::START` means "from now".
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub Option<String>);

impl Cursor {
    /// From now on.
    pub const START: Self = Self(None);

    /// The place a driver named.
    pub fn at(place: impl Into<String>) -> Self {
        Self(Some(place.into()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("now"))
    }
}

/// Events until the engine goes away: the stream ends with an `Unavailable` error, or ends when the watcher is dropped.
pub type EventStream = BoxStream<'static, Result<Event, Error>>;

/// One report of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where to resume after this event.
    pub cursor: Cursor,
    /// When it happened, by the engine's clock.
    pub time: Timestamp,
    /// The instance; for image events the image's id; empty for a gap.
    pub id: InstanceId,
    /// The instance's name, where the engine says it.
    pub name: Option<String>,
    /// Our labels, where the event carries them and the instance is ours.
    pub identity: Option<Identity>,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// Events before it are lost; the stream goes on at `cursor`.
    pub fn gap(cursor: Cursor, time: Timestamp) -> Self {
        Self { cursor, time, id: InstanceId::default(), name: None, identity: None, kind: EventKind::Gap }
    }
}

/// The stream, with a gap before it where there is one.
pub fn after_gap(gap: Option<Event>, stream: EventStream) -> EventStream {
    match gap {
        Some(gap) => futures_util::stream::once(async { Ok(gap) }).chain(stream).boxed(),
        None => stream,
    }
}

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EventKind {
    /// It was made.
    Created,
    /// Its main process was started.
    Started,
    /// Its main process ended. A signal that did not end it is [`EventKind::Signalled`].
    Stopped {
        /// How, as far as the event says it; `inspect` knows more.
        exit: Exit,
    },
    /// A signal was sent to it by somebody; it may live on.
    Signalled {
        /// The engine's word for the signal.
        signal: String,
    },
    /// It was frozen.
    Paused,
    /// It was thawed.
    Unpaused,
    /// The kernel killed something in it for want of memory.
    OutOfMemory,
    /// Its configuration, name, networks or the verdict of the engine's own check changed.
    Updated {
        /// What changed, in the engine's words: `rename`, `network connect <name>`, `network disconnect <name>` (the name where
        /// the engine says it), `health <word>`, `update`.
        what: String,
    },
    /// It was removed.
    Removed,
    /// Events before this one are lost: the cursor was older than what the engine keeps, or not one of this engine, or the reader was overtaken.
    /// The caller lists again.
    Gap,
    /// An image was pulled, tagged, built or removed.
    Image {
        /// The engine's word for it.
        action: String,
    },
}
