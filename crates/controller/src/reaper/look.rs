//! Looking: what of ours the engines and the state directory have, and what is wanted. One list call per kind and runtime.

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

/// A look never waits longer for one engine.
const LONGEST: Duration = Duration::from_secs(20);
/// A damaged database is kept so long.
const ASIDE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Beginning of its name.
const SET_ASIDE: &str = "hythe.damaged-";

impl Controller {
    /// Everything of ours. An engine that does not answer, or not whole, is left out: what is not seen is not judged.
    pub(super) async fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for name in self.runtimes.names() {
            let Ok(runtime) = self.reading(&name) else { continue };
            match self.seen_on(&name, &runtime).await {
                Ok(seen) => all.extend(seen),
                Err(error) => tracing::debug!(runtime = name, %error, "what is left behind was not looked for"),
            }
        }
        if let Some(directory) = &self.settings.gc.state_dir {
            all.extend(files(directory));
        }
        all
    }

    async fn seen_on(&self, name: &str, runtime: &Arc<dyn Runtime>) -> Result<Vec<Seen>, Error> {
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
            all.extend(self.belongings(ObjectKind::Network, name, listed));
        }
        if let Some(volumes) = runtime.volumes() {
            let listed = volumes.list(&cx).await?.into_iter().map(|volume| (volume.name, volume.labels));
            all.extend(self.belongings(ObjectKind::Volume, name, listed));
        }
        Ok(all)
    }

    fn belongings(
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

    /// What is wanted now. Asked after the engines were: whatever they had by then was intended before.
    pub(super) fn wanted(&self) -> Result<Wanted, Error> {
        let records = self.services()?;
        let tombstones = self.store.tombstones().map_err(crate::store_error)?;
        let removing = records.iter().filter(|record| record.removing.is_some());
        let mut busy: std::collections::BTreeSet<String> = removing.map(|record| record.desired.name.clone()).collect();
        let running = self.operations.all()?.into_iter().filter(|operation| operation.state == OperationState::Running);
        busy.extend(running.map(|operation| operation.subject));
        let cells = self.workloads();
        let mut services: std::collections::BTreeSet<String> =
            records.into_iter().map(|record| record.desired.name).collect();
        services.extend(cells.iter().map(|cell| cell.desired.service.clone()));
        let workload = |cell: &crate::Cell| {
            let instances = cell.observed.current.iter().chain(&cell.observed.previous);
            let refer = instances.map(|one| (one.id.clone(), one.name.clone())).collect();
            WantedWorkload { generation: cell.desired.generation, instances: refer }
        };
        Ok(Wanted {
            workloads: cells.iter().map(|cell| (cell.desired.name.clone(), workload(cell))).collect(),
            services,
            busy,
            forgotten: tombstones.into_iter().map(|stone| (stone.workload, stone.generation)).collect(),
        })
    }
}

/// Databases that were set aside because they were damaged, once nobody will look into them any more.
fn files(directory: &Path) -> Vec<Seen> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(SET_ASIDE));
        named && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    let old = |at: &Timestamp| Timestamp::now().duration_since(*at) >= ASIDE;
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

    use super::*;

    #[test]
    fn only_old_files_that_were_set_aside_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let long_ago = Timestamp::now() - ASIDE - SignedDuration::from_mins(1);
        for (name, old) in [("hythe.damaged-1", true), ("hythe.damaged-2", false), ("hythe.db", true), ("owner", true)]
        {
            let file = std::fs::File::create(directory.path().join(name)).unwrap();
            if old {
                file.set_modified(long_ago.into()).unwrap();
            }
        }
        let seen: Vec<String> = files(directory.path()).into_iter().map(|seen| seen.object.name).collect();
        assert_eq!(seen, [directory.path().join("hythe.damaged-1").display().to_string()]);
    }
}
