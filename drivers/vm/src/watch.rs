//! Events: the journal, to which supervisors and this driver append.

use hythe_local::events;
use hythe_runtime::{Cursor, EventStream, Result};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::shim::exit;

/// From a cursor on, or from now.
pub(crate) fn watch(context: &Context, from: &Cursor, cancel: CancellationToken) -> Result<EventStream> {
    events::watch(context.instances.journal(), from, cancel, exit)
}
