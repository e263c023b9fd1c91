//! Where every workload's task and state are found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hythe_runtime::watched;
use tokio::sync::mpsc;

use crate::message::Message;
use crate::model::WorkloadState;

/// The way to one workload's task.
#[derive(Debug, Clone)]
pub(crate) struct WorkloadHandle {
    pub(crate) state: Arc<watched::Sender<WorkloadState>>,
    pub(crate) inbox: mpsc::UnboundedSender<Message>,
    /// The request that it was handed out for, by the workload's own count.
    pub(crate) request: u64,
}

impl WorkloadHandle {
    pub(crate) fn read(&self) -> WorkloadState {
        self.state.borrow().clone()
    }

    pub(crate) fn for_request(self, request: u64) -> Self {
        Self { request, ..self }
    }

    /// A task that has ended has nothing left to do with a message.
    pub(crate) fn send(&self, message: Message) {
        let _ = self.inbox.send(message);
    }
}

/// All workloads by name, and which of them each service has.
#[derive(Debug, Default)]
pub(crate) struct WorkloadRegistry {
    index: RwLock<Index>,
}

/// Every question about one service looks at its own workloads only: there may be thousands of others.
#[derive(Debug, Default)]
struct Index {
    handles: BTreeMap<String, (String, WorkloadHandle)>,
    services: BTreeMap<String, BTreeSet<String>>,
}

impl Index {
    fn of_service<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a WorkloadHandle> {
        let names = self.services.get(service).into_iter().flatten();
        names.filter_map(|name| self.handles.get(name)).map(|(_, handle)| handle)
    }

    fn forget(&mut self, name: &str) {
        let Some((service, _)) = self.handles.remove(name) else {
            return;
        };
        if let Some(names) = self.services.get_mut(&service) {
            names.remove(name);
            if names.is_empty() {
                self.services.remove(&service);
            }
        }
    }
}

impl WorkloadRegistry {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<WorkloadHandle> {
        self.index().handles.get(name).map(|(_, handle)| handle.clone())
    }

    pub(crate) fn all(&self) -> Vec<WorkloadHandle> {
        self.index().handles.values().map(|(_, handle)| handle.clone()).collect()
    }

    pub(crate) fn of_service(&self, service: &str) -> Vec<WorkloadHandle> {
        self.index().of_service(service).cloned().collect()
    }

    /// How many workloads of the service are so.
    pub(crate) fn count_of_service(&self, service: &str, is: impl Fn(&WorkloadState) -> bool) -> usize {
        self.index().of_service(service).filter(|handle| is(&handle.state.borrow())).count()
    }

    /// Whether any workload of the service is so.
    pub(crate) fn any_of_service(&self, service: &str, is: impl Fn(&WorkloadState) -> bool) -> bool {
        self.index().of_service(service).any(|handle| is(&handle.state.borrow()))
    }

    /// The first workload that is so.
    pub(crate) fn find(&self, is: impl Fn(&WorkloadState) -> bool) -> Option<WorkloadHandle> {
        self.index().handles.values().map(|(_, handle)| handle).find(|handle| is(&handle.state.borrow())).cloned()
    }

    /// Also for one that is known already and may have come to another service.
    pub(crate) fn insert(&self, name: String, handle: WorkloadHandle) {
        let service = handle.state.borrow().desired.service.clone();
        let mut index = self.index_mut();
        index.forget(&name);
        index.services.entry(service.clone()).or_default().insert(name.clone());
        index.handles.insert(name, (service, handle));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.index_mut().forget(name);
    }

    pub(crate) fn clear(&self) {
        *self.index_mut() = Index::default();
    }
}

#[cfg(test)]
mod tests;
