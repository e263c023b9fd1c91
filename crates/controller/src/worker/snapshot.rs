//! Takes a snapshot of the current instance, between two steps.

use std::sync::Arc;

use hythe_runtime::{Error, ErrorKind, Identity, SnapshotRequest};
use hythe_spec::vocabulary::ProgressPhase;
use hythe_store::{InstanceRecord, Life};

use super::Worker;
use crate::lookup::identify;
use crate::message::TakeSnapshot;
use crate::snapshots::naming::Name;

impl Worker {
    /// Nothing else is done to the instance meanwhile. Probes rest: they would fail while the engine freezes it. A cancelled snapshot is not waited for.
    pub(super) async fn snapshot(&mut self, snapshot: TakeSnapshot) {
        let workload = self.desired().name;
        let cx = snapshot.operation.context();
        if cx.cancel.is_cancelled() {
            return;
        }
        let (current, runtime) = match self.snapshot_source() {
            Ok(found) => found,
            Err(error) => {
                let _ = snapshot.reply.send(Err(error));
                return;
            }
        };
        let frozen = self.controller.snapshots.freeze(&workload);
        self.timers.rest();
        let request = self.snapshot_request(&current, &snapshot.name);
        snapshot.operation.phase(
            &workload,
            ProgressPhase::Committing,
            format!("saving its files as {}", request.image),
        );
        let (controller, TakeSnapshot { name, reply, .. }) = (self.controller.clone(), snapshot);
        let withdrawn = cx.cancel.clone();
        let mut working = self.controller.spawn(async move {
            let outcome = match identify(runtime.as_ref(), &cx, controller.owner(), &current).await {
                Ok(id) => controller.commit_snapshot(&cx, &runtime, &id, &request).await,
                Err(error) => Err(error),
            };
            drop(name);
            let _ = reply.send(outcome);
        });
        tokio::select! {
            biased;
            _ = &mut working => {}
            () = withdrawn.cancelled() => {}
        }
        // Whoever looked at the instance meanwhile sees that it was no time to judge it.
        self.observed.updated = self.controller.now();
        self.state.send_modify(|state| state.observed.updated = self.observed.updated);
        drop(frozen);
    }

    /// The current instance, once it exists.
    fn snapshot_source(&self) -> Result<(InstanceRecord, Arc<dyn hythe_runtime::Runtime>), Error> {
        let name = &self.state.borrow().desired.name;
        let made = self.observed.current.as_ref().filter(|current| current.life != Life::Pending);
        let current = made.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "snapshot", format!("workload `{name}` has no instance yet"))
                .hint("`hythe status` says why")
        })?;
        Ok((current.clone(), self.runtime(&current.runtime)?))
    }

    fn snapshot_request(&self, current: &InstanceRecord, name: &Name) -> SnapshotRequest {
        let desired = self.desired();
        let identity = Identity {
            owner: self.controller.owner().to_owned(),
            service: desired.service,
            component: desired.spec.component.name,
            generation: current.generation,
            attempt: current.attempt,
            plan_hash: current.spec.hash.clone(),
        };
        SnapshotRequest { image: name.image.clone(), identity }
    }
}
