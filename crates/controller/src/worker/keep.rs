//! Keeping the files of the current instance as a snapshot, between two steps.

use std::sync::Arc;

use hythe_runtime::{Error, ErrorKind, Identity, SnapshotRequest};
use hythe_store::{InstanceRecord, Life};
use tokio::sync::oneshot;

use super::Worker;
use super::instance::reference;
use crate::OperationHandle;
use crate::snapshots::{Name, SnapshotOn};

/// A snapshot that somebody waits for.
#[derive(Debug)]
pub(crate) struct Keep {
    /// Nobody else takes it as long as this is there.
    pub(crate) name: Name,
    pub(crate) operation: Arc<OperationHandle>,
    pub(crate) reply: oneshot::Sender<Result<SnapshotOn, Error>>,
}

impl Worker {
    /// Nothing else is done to the instance meanwhile; probes would fail while its engine holds it still. One that was withdrawn is not waited for.
    pub(super) async fn keep(&mut self, keep: Keep) {
        let workload = self.desired().name;
        let cx = keep.operation.context();
        if cx.cancel.is_cancelled() {
            return;
        }
        let (current, runtime) = match self.kept() {
            Ok(found) => found,
            Err(error) => {
                let _ = keep.reply.send(Err(error));
                return;
            }
        };
        let held = self.controller.snapshots.hold(&workload);
        self.watchdog.rest();
        let (id, request) = (reference(&current), self.snapshot_request(&current, &keep.name));
        keep.operation.phase(&workload, "committing", format!("keeping its files as {}", request.image));
        let (controller, Keep { name, reply, .. }) = (self.controller.clone(), keep);
        let withdrawn = cx.cancel.clone();
        let mut working = self.controller.spawn(async move {
            let outcome = controller.commit_snapshot(&cx, &runtime, &id, &request).await;
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
        self.cell.send_modify(|cell| cell.observed.updated = self.observed.updated);
        drop(held);
    }

    /// The instance whose files there are.
    fn kept(&self) -> Result<(InstanceRecord, Arc<dyn hythe_runtime::Runtime>), Error> {
        let name = &self.cell.borrow().desired.name;
        let made = self.observed.current.as_ref().filter(|current| current.life != Life::Intended);
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
            component: desired.recipe.component.name,
            generation: current.generation,
            attempt: current.attempt,
            plan_hash: current.recipe.hash.clone(),
        };
        SnapshotRequest { image: name.image.clone(), identity }
    }
}
