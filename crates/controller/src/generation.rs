//! Generations that nobody deployed: what engines and registries say makes them.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use hythe_runtime::{Error, Listed};
use hythe_spec::vocabulary::{ComponentAction as Action, EventKind};
use hythe_store::{DesiredRecord, Transaction};
use serde_json::json;

use crate::event::workload_event;
use crate::model::is_same;
use crate::{Controller, follow};

impl Controller {
    /// The image of what is desired was fetched again and is another one than the running one's: a new generation
    /// replaces the instance.
    ///
    /// # Errors
    /// When it cannot be stored; nothing is changed then.
    pub(crate) fn replace_moved(&self, known: &DesiredRecord) -> Result<(), Error> {
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(handle) = self.registry.get(&known.name).filter(|handle| handle.state.borrow().desired == *known)
        else {
            return Ok(());
        };
        let desired = DesiredRecord { generation: known.generation + 1, ..known.clone() };
        let words = format!("replace generation {}: its image has changed", desired.generation);
        let details = json!({ "action": Action::Replace.as_str(), "generation": desired.generation });
        let mut service: Vec<DesiredRecord> =
            self.registry.of_service(&known.service).iter().map(|handle| handle.read().desired).collect();
        let changed = BTreeSet::from([known.spec.component.name.clone()]);
        let followers = follow::note(changed, service.iter_mut().collect());
        service.retain(|other| followers.contains(&other.spec.component.name));
        let service = follow::dependencies_first(service);
        let changes = Transaction {
            events: vec![workload_event(self.now(), &desired, EventKind::Deployed, words, details)],
            desired: [desired.clone()].into_iter().chain(service.iter().cloned()).collect(),
            ..Transaction::default()
        };
        self.events.commit(&changes).map_err(crate::store_error)?;
        handle.state.send_modify(|state| state.desired = desired);
        for follower in service {
            if let Some(handle) = self.registry.get(&follower.name) {
                handle.state.send_modify(|state| state.desired = follower);
            }
        }
        Ok(())
    }

    /// An engine that has a newer generation, and not the instance that the store knows of, shows that the store was
    /// set back: what is desired is newer still.
    pub(crate) fn bump_generation(&self, workload: &str, rows: &[Listed]) -> Result<(), Error> {
        let newest = rows.iter().filter_map(|row| row.identity.as_ref()).map(|identity| identity.generation).max();
        let generation = newest.unwrap_or_default();
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(handle) = self.registry.get(workload) else { return Ok(()) };
        let known = handle.read().desired;
        let current = handle.read().observed.current;
        let has_current =
            current.is_some_and(|current| rows.iter().any(|row| is_same(&current, &row.id, Some(&row.name))));
        if known.generation >= generation || has_current {
            return Ok(());
        }
        let desired = DesiredRecord { generation: generation + 1, requests: known.requests + 1, ..known };
        let words = format!("its runtime has generation {generation}, the store knew {}", known.generation);
        let details = json!({ "generation": desired.generation });
        let event = workload_event(self.now(), &desired, EventKind::Warning, words, details);
        let changes = Transaction { desired: vec![desired.clone()], events: vec![event], ..Transaction::default() };
        self.events.commit(&changes).map_err(crate::store_error)?;
        handle.state.send_modify(|state| state.desired = desired);
        Ok(())
    }
}
