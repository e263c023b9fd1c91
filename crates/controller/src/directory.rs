//! Where every workload's task and state are found.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use hythe_store::{DesiredRecord, ObservedRecord};
use tokio::sync::{mpsc, watch};

use crate::worker::Message;

/// A workload: what is desired and what is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What is desired.
    pub desired: DesiredRecord,
    /// What is known.
    pub observed: ObservedRecord,
}

/// The way to one workload's task.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) cell: Arc<watch::Sender<Cell>>,
    pub(crate) inbox: mpsc::UnboundedSender<Message>,
}

impl Handle {
    pub(crate) fn read(&self) -> Cell {
        self.cell.borrow().clone()
    }

    /// A task that has ended has nothing left to do with a message.
    pub(crate) fn send(&self, message: Message) {
        let _ = self.inbox.send(message);
    }
}

/// All workloads by name.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    handles: RwLock<BTreeMap<String, Handle>>,
}

impl Directory {
    pub(crate) fn get(&self, name: &str) -> Option<Handle> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Handle> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn of_service(&self, service: &str) -> Vec<Handle> {
        self.all().into_iter().filter(|handle| handle.cell.borrow().desired.service == service).collect()
    }

    /// Whether any workload of the service is so.
    pub(crate) fn any_of_service(&self, service: &str, is: impl Fn(&Cell) -> bool) -> bool {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.values().map(|handle| handle.cell.borrow()).any(|cell| cell.desired.service == service && is(&cell))
    }

    /// The first workload that is so.
    pub(crate) fn find(&self, is: impl Fn(&Cell) -> bool) -> Option<Handle> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.values().find(|handle| is(&handle.cell.borrow())).cloned()
    }

    pub(crate) fn insert(&self, name: String, handle: Handle) {
        self.handles.write().unwrap_or_else(PoisonError::into_inner).insert(name, handle);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.handles.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(crate) fn clear(&self) {
        self.handles.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
