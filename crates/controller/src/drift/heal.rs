//! The hand-over of differences to whoever undoes them.

use super::Difference;
use crate::Controller;

impl Controller {
    /// Called with every look that finds something wrong with a workload whose service says `drift = "heal"`, after the event.
    /// A deploy with that policy is refused so far, so nothing comes here; the workload's task will be told.
    pub(crate) fn heal(&self, workload: &str, differences: &[Difference]) {
        tracing::debug!(workload, differences = differences.len(), "differences are to be undone");
    }
}
