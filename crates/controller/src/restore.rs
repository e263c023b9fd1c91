//! Going back to a snapshot: a generation like any other, whose image is the snapshot's until a deploy changes the image.

use std::sync::{Arc, PoisonError};

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::vocabulary::{EventKind, OperationKind};
use hythe_spec::{Component, ImageRef};
use hythe_store::{Desired, DesiredRecord, Transaction};
use serde_json::json;

use crate::event::workload_event;
use crate::model::WorkloadState;
use crate::outcome::converge_all;
use crate::snapshots::SnapshotOn;
use crate::snapshots::naming::{self, is_of_a_snapshot};
use crate::{Controller, OperationHandle};

const OPERATION: &str = OperationKind::Restore.as_str();

/// A component as a deploy takes it: where a snapshot was restored in the place of the very image that it names, it keeps the snapshot,
/// or what runs instead where that failed. With the image in whose place that is.
pub(crate) fn kept(known: Option<&WorkloadState>, component: &Component) -> (Component, Option<ImageRef>) {
    let over = known.and_then(|state| state.desired.restored_over.as_ref()).filter(|over| **over == component.image);
    let (Some(WorkloadState { desired, observed }), Some(over)) = (known, over) else {
        return (component.clone(), None);
    };
    let is_back = observed.rolled_back_from == Some(desired.generation);
    let runs = observed.current.as_ref().filter(|_| is_back).map_or(&desired.spec, |current| &current.spec);
    let image = runs.component.image.clone();
    let over = (image != component.image).then(|| over.clone());
    (Component { image, ..component.clone() }, over)
}

impl Controller {
    /// Replaces a workload's instance with one made of its snapshot of this name, or of the newest one. The instance before stays until the new one is
    /// healthy, and comes back where it is not. Later deploys keep the snapshot, unless they name another image.
    ///
    /// # Errors
    /// `NotFound` for the workload or the snapshot, `Conflict` where it is being removed, `Unavailable` where its runtime does not answer, `Unsupported` where
    /// that keeps no snapshots. Nothing is changed then.
    pub async fn restore(self: &Arc<Self>, workload: &str, name: Option<&str>) -> Result<Arc<OperationHandle>, Error> {
        let known = self.workload(workload)?.desired;
        let found = self.snapshot_of(&known, name).await?;
        let image: ImageRef = found.snapshot.name.parse().map_err(|error| {
            Error::new(ErrorKind::Internal, OPERATION, format!("`{}` is no reference: {error}", found.snapshot.name))
        })?;
        let handle = {
            let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
            let known = self.workload(workload)?.desired;
            if known.desired == Desired::Removed {
                let words = format!("workload `{workload}` is being removed");
                return Err(Error::new(ErrorKind::Conflict, OPERATION, words).hint("deploy it, then restore it"));
            }
            let service = self.service(&known.service)?.desired;
            let runtime = known.placement.runtime.clone();
            if runtime != found.runtime || service.component(&known.spec.component.name).is_none() {
                let words = format!("workload `{workload}` has changed meanwhile");
                return Err(Error::new(ErrorKind::Conflict, OPERATION, words).hint("run the command again"));
            }
            let before = known.spec.component.image.clone();
            let over = known.restored_over.clone().or_else(|| (!is_of_a_snapshot(&before)).then_some(before));
            let component = Component { image: image.clone(), ..known.spec.component.clone() };
            let desired = DesiredRecord {
                spec: crate::action::spec(&service, &component),
                generation: known.generation + 1,
                requests: known.requests + 1,
                restored_over: over,
                ..known
            };
            let words = format!("restore {image}, generation {}", desired.generation);
            let details = json!({ "action": OPERATION, "generation": desired.generation, "image": image.to_string() });
            let changes = Transaction {
                desired: vec![desired.clone()],
                events: vec![workload_event(self.now(), &desired, EventKind::Deployed, words, details)],
                ..Transaction::default()
            };
            self.accept(&changes)?;
            self.pass_now(crate::crash::ACCEPTED);
            self.wake_with(&desired)
        };
        let result = json!({ "image": found.snapshot.name, "runtime": found.runtime });
        self.operations.spawn(OperationKind::Restore, workload, |operation| async move {
            converge_all(&operation, vec![handle]).await?;
            Ok(Some(result))
        })
    }

    /// The workload's snapshot of this name on its own runtime, or its newest one there.
    async fn snapshot_of(&self, desired: &DesiredRecord, name: Option<&str>) -> Result<SnapshotOn, Error> {
        let (service, component) = (&desired.service, &desired.spec.component.name);
        let runtime = &desired.placement.runtime;
        let all = self.snapshots(Some(runtime), Some(service)).await?;
        let mut own = all.into_iter().filter(|one| one.snapshot.identity.component == *component);
        let missing = |what: String| {
            let words = format!("workload `{}` has no snapshot{what} on runtime `{runtime}`", desired.name);
            let hint = format!("`hythe snapshot ls {service}` lists them");
            Error::new(ErrorKind::NotFound, OPERATION, words).hint(hint)
        };
        match name {
            Some(name) => {
                let image = naming::image(service, component, name)?.to_string();
                own.find(|one| one.snapshot.name == image).ok_or_else(|| missing(format!(" `{name}`")))
            }
            None => own.max_by_key(|one| one.snapshot.created).ok_or_else(|| missing(String::new())),
        }
    }
}
