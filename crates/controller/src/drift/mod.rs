//! Desired against observed, field by field, and why they differ.
//!
//! For: finding differences and telling of them. `compare` and what it calls is pure; `look` asks the engine, `watcher` decides
//! when. Not for: undoing them, which is the workload's own task's business (see `heal`).

mod compare;
mod found;
mod heal;
mod image;
mod limits;
mod look;
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
use serde::Serialize;
use serde_json::Value;

use crate::Controller;
use crate::directory::Cell;

pub(crate) use watcher::Watcher;

/// Instances inspected at once: an engine may spawn a process for each.
const AT_ONCE: usize = 8;

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Field of the component (`memory`, `env.MODE`, `mounts./data`), or `state`, `name`, `generation`, `instance`.
    pub field: String,
    /// What is desired.
    pub desired: Value,
    /// What is observed.
    pub observed: Value,
    /// Why.
    pub cause: Cause,
}

/// Why something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Cause {
    /// Somebody changed it, or made the instance anew with another value.
    #[serde(rename = "changed by hand")]
    ChangedByHand,
    /// The image's name means another image by now.
    #[serde(rename = "image moved")]
    ImageMoved,
    /// It is desired and not there.
    #[serde(rename = "missing")]
    Missing,
    /// It does not run.
    #[serde(rename = "stopped")]
    Stopped,
    /// It is frozen.
    #[serde(rename = "paused")]
    Paused,
    /// It has another name.
    #[serde(rename = "renamed")]
    Renamed,
    /// It is there and nobody asked for it.
    #[serde(rename = "extra")]
    Extra,
    /// What is desired failed, what ran before was kept.
    #[serde(rename = "rolled back")]
    RolledBack,
    /// It is being done.
    #[serde(rename = "not yet")]
    NotYet,
    /// The engine does not say.
    #[serde(rename = "unreachable")]
    Unreachable,
}

impl Difference {
    /// Of whether it runs.
    pub(crate) fn of_state(desired: &str, observed: &str, cause: Cause) -> Self {
        Self { field: "state".to_owned(), desired: desired.into(), observed: observed.into(), cause }
    }
}

impl Controller {
    /// Where a workload's instance differs from what is desired, as its engine says now.
    pub async fn differences(&self, cell: &Cell) -> Vec<Difference> {
        look::Look::new(self, Arc::default()).at(cell).await
    }

    /// The same for several, in their order, with as few questions to their engines as that takes.
    pub async fn differences_of(&self, cells: &[Cell]) -> Vec<Vec<Difference>> {
        let look = look::Look::new(self, Arc::default());
        let each = cells.iter().map(|cell| look.at(cell)).collect::<Vec<_>>();
        stream::iter(each).buffered(AT_ONCE).collect().await
    }
}
