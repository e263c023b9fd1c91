//! Lists the objects of this agent in the engines and the state directory, and what is desired. One list call per kind and runtime.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::identity::{OWNER, SERVICE};
use hythe_runtime::{Error, Filter, OpContext, Runtime};
use hythe_store::OperationState;
use jiff::{SignedDuration, Timestamp};

use super::decide::{Object, ObjectKind, Seen, Wanted, WantedWorkload};
use crate::Controller;

/// A scan never waits longer for one engine.
const LONGEST: Duration = Duration::from_secs(20);
/// A damaged database is kept so long.
const ASIDE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Beginning of its name.
const SET_ASIDE: &str = "hythe.damaged-";

impl Controller {
    /// All objects of this agent. An engine that does not answer all calls is left out: what is not listed is not orphaned.
    pub(super) async fn scan_all(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for name in self.runtimes.names() {
            let Ok(runtime) = self.reading(&name) else { continue };
            match self.scan_runtime(&name, &runtime).await {
                Ok(seen) => all.extend(seen),
                Err(error) => tracing::debug!(runtime = name, %error, "its objects were not listed"),
            }
        }
        if let Some(directory) = &self.settings.gc.state_dir {
            all.extend(files(directory, self.now()));
        }
        all
    }

    async fn scan_runtime(&self, name: &str, runtime: &Arc<dyn Runtime>) -> Result<Vec<Seen>, Error> {
        let cx = OpContext::new("gc").within(LONGEST);
        let mut all = Vec::new();
        for row in runtime.list(&cx, &Filter::owned_by(self.owner())).await? {
            let Some(identity) = row.identity.filter(|identity| identity.owner == self.owner()) else { continue };
            let object = Object {
                kind: ObjectKind::Instance,
                runtime: name.to_owned(),
                id: row.id.0,
                name: row.name,
                service: Some(identity.service.clone()),
            };
            all.push(Seen { object, identity: Some(identity), created: row.created });
        }
        if let Some(networks) = runtime.networks() {
            let listed = networks.list(&cx).await?.into_iter().map(|network| (network.name, network.labels));
            all.extend(self.owned_resources(ObjectKind::Network, name, listed));
        }
        if let Some(volumes) = runtime.volumes() {
            let listed = volumes.list(&cx).await?.into_iter().map(|volume| (volume.name, volume.labels));
            all.extend(self.owned_resources(ObjectKind::Volume, name, listed));
        }
        Ok(all)
    }

    fn owned_resources(
        &self,
        kind: ObjectKind,
        runtime: &str,
        listed: impl Iterator<Item = (String, BTreeMap<String, String>)>,
    ) -> Vec<Seen> {
        let ours = listed.filter(|(_, labels)| labels.get(OWNER).map(String::as_str) == Some(self.owner()));
        ours.filter_map(|(name, labels)| {
            let service = Some(labels.get(SERVICE)?.clone());
            let object = Object { kind, runtime: runtime.to_owned(), id: name.clone(), name, service };
            Some(Seen { object, identity: None, created: None })
        })
        .collect()
    }

    /// What is desired now. Read after the engines were listed: what they had by then was committed before.
    pub(super) fn wanted(&self) -> Result<Wanted, Error> {
        let records = self.services()?;
        let tombstones = self.store.tombstones().map_err(crate::store_error)?;
        let removing = records.iter().filter(|record| record.removing.is_some());
        let mut busy: std::collections::BTreeSet<String> = removing.map(|record| record.desired.name.clone()).collect();
        let running = self.operations.all()?.into_iter().filter(|operation| operation.state == OperationState::Running);
        busy.extend(running.map(|operation| operation.subject));
        let states = self.workloads();
        let mut services: std::collections::BTreeSet<String> =
            records.into_iter().map(|record| record.desired.name).collect();
        services.extend(states.iter().map(|state| state.desired.service.clone()));
        let workload = |state: &crate::WorkloadState| {
            let instances = state.observed.current.iter().chain(&state.observed.previous);
            let refer = instances.map(|one| (one.id.clone(), one.name.clone())).collect();
            WantedWorkload { generation: state.desired.generation, instances: refer }
        };
        Ok(Wanted {
            workloads: states.iter().map(|state| (state.desired.name.clone(), workload(state))).collect(),
            services,
            busy,
            undeployed: tombstones.into_iter().map(|stone| (stone.workload, stone.generation)).collect(),
        })
    }
}

/// Damaged databases that were set aside long ago.
fn files(directory: &Path, now: Timestamp) -> Vec<Seen> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(SET_ASIDE));
        named && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    let old = |at: &Timestamp| now.duration_since(*at) >= ASIDE;
    ours.filter_map(|entry| {
        let written = entry.metadata().ok()?.modified().ok()?;
        let created = Timestamp::try_from(written).ok().filter(old)?;
        let path = entry.path().display().to_string();
        let object =
            Object { kind: ObjectKind::File, runtime: String::new(), id: path.clone(), name: path, service: None };
        Some(Seen { object, identity: None, created: Some(created) })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use hythe_runtime::Clock;

    use super::*;

    #[test]
    fn only_old_files_that_were_set_aside_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let now = Clock::system().now();
        let long_ago = now - ASIDE - SignedDuration::from_mins(1);
        for (name, old) in [("hythe.damaged-1", true), ("hythe.damaged-2", false), ("hythe.db", true), ("owner", true)]
        {
            let file = std::fs::File::create(directory.path().join(name)).unwrap();
            if old {
                file.set_modified(long_ago.into()).unwrap();
            }
        }
        let seen: Vec<String> = files(directory.path(), now).into_iter().map(|seen| seen.object.name).collect();
        assert_eq!(seen, [directory.path().join("hythe.damaged-1").display().to_string()]);
    }
}
