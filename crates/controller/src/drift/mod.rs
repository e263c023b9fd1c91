//! Desired against observed, field by field, and why they differ.
//!
//! For: finding and reporting differences. `compare` and what it calls is pure; `inspect` asks the engine, `watcher` decides
//! when. Not for: healing them, which the workload's own task does (see `heal`).

mod compare;
mod found;
mod grants;
mod heal;
mod image;
mod inspect;
mod limits;
mod mounts;
mod network;
mod security;
mod state;
#[cfg(test)]
mod tests;
mod variables;
mod watcher;

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::Controller;
use crate::model::{Difference, WorkloadState};

pub(crate) use watcher::Watcher;

/// Instances inspected at once: an engine may spawn a process for each.
const AT_ONCE: usize = 8;

impl Controller {
    /// Where a workload's instance differs from what is desired, as its engine says now.
    pub async fn differences(&self, state: &WorkloadState) -> Vec<Difference> {
        inspect::Inspection::new(self, Arc::default()).at(state).await
    }

    /// The same for several, in their order, with as few questions to their engines as that takes.
    pub async fn differences_of(&self, states: &[WorkloadState]) -> Vec<Vec<Difference>> {
        let inspection = inspect::Inspection::new(self, Arc::default());
        let each = states.iter().map(|state| inspection.at(state)).collect::<Vec<_>>();
        stream::iter(each).buffered(AT_ONCE).collect().await
    }
}
