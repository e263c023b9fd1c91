//! What the garbage collector has observed so far.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::decide::{Object, Observation};

/// The scans so far. `collecting` is locked during a collection, so that two never work on one object.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    pub(super) observed: Mutex<BTreeMap<Object, Observation>>,
    pub(super) collecting: tokio::sync::Mutex<()>,
}
