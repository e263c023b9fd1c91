//! Hands over what a new instance would mend.

use super::{Cause, Difference};
use crate::Controller;
use crate::worker::Message;

impl Controller {
    /// Called with every look that finds something wrong with a workload whose service says `drift = "heal"`, after the event. Its task replaces the
    /// instance; what its own policies see to (an instance that is gone or has ended, an engine that does not answer), what is on its way, and a tag
    /// that moved, which is no change of the instance, are left out.
    pub(crate) fn heal(&self, workload: &str, differences: &[Difference]) {
        let mended = differences.iter().filter(|difference| is_mended_by_a_new_one(difference));
        let fields: Vec<&str> = mended.map(|difference| difference.field.as_str()).collect();
        let handle = self.directory.get(workload).filter(|_| !fields.is_empty());
        if let Some(handle) = handle {
            handle.send(Message::Drifted(fields.join(", ")));
        }
    }
}

fn is_mended_by_a_new_one(difference: &Difference) -> bool {
    match difference.cause {
        Cause::Paused | Cause::Renamed => true,
        Cause::ChangedByHand | Cause::Missing | Cause::Extra => {
            !["state", "generation", "instance"].contains(&difference.field.as_str())
        }
        Cause::ImageMoved | Cause::Stopped | Cause::RolledBack | Cause::NotYet | Cause::Unreachable => false,
    }
}
