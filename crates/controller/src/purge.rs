//! Forgetting the services that nothing describes any more. What runs is never purged: that takes a stop, which a person says.

use std::collections::BTreeSet;
use std::sync::Arc;

use hythe_runtime::identity::{OWNER, SERVICE};
use hythe_runtime::layers::{Layered, ReadOnly};
use hythe_runtime::{Error, ErrorKind, OpContext, Runtime, State};
use hythe_store::{Phase, ServiceRecord};

use crate::directory::Cell;
use crate::worker::reference;
use crate::{Controller, OperationHandle};

const OPERATION: &str = "purge";

/// What a purge does or would do.
#[derive(Debug)]
pub struct Purged {
    /// Every service that is not described, by name.
    pub services: Vec<PurgedService>,
}

/// One service that is not described.
#[derive(Debug)]
pub struct PurgedService {
    /// Its name.
    pub name: String,
    /// Its workloads.
    pub workloads: Vec<String>,
    /// Its own volumes, where they would go too.
    pub volumes: Vec<String>,
    /// Why it stays; `None`: it goes.
    pub refusal: Option<Error>,
    /// The operation that removes it; absent in a dry run and where it stays.
    pub operation: Option<Arc<OperationHandle>>,
}

impl Controller {
    /// Removes every service that is known, not among the described ones, and at rest; names those that run and leaves them.
    /// A dry run is given engines that cannot be written to.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn purge(self: &Arc<Self>, described: &[String], volumes: bool, dry_run: bool) -> Result<Purged, Error> {
        let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
        let mut services = Vec::new();
        for record in self.services()?.into_iter().filter(|record| !described.contains(record.desired.name.as_str())) {
            let mut purged = self.look_at(&record, volumes).await;
            if !dry_run && purged.refusal.is_none() {
                match self.undeploy_at_rest(&purged.name, volumes) {
                    Ok(operation) => purged.operation = Some(operation),
                    Err(error) => purged.refusal = Some(error),
                }
            }
            services.push(purged);
        }
        Ok(Purged { services })
    }

    /// What would go with a service, and whether it may; its engines are the witnesses.
    async fn look_at(&self, record: &ServiceRecord, with_volumes: bool) -> PurgedService {
        let name = record.desired.name.clone();
        let cells = self.workloads_of(&name);
        let mut runtimes: BTreeSet<String> = cells.iter().map(|cell| cell.desired.placement.runtime.clone()).collect();
        runtimes.extend(record.removing.iter().flat_map(|removing| removing.runtimes.clone()));
        let mut refusal = must_be_at_rest(&name, &cells).and(self.engines_agree(&cells).await).err();
        let mut volumes = Vec::new();
        if with_volumes {
            for runtime in &runtimes {
                match self.volumes_of(runtime, &name).await {
                    Ok(found) => volumes.extend(found),
                    Err(error) => refusal = refusal.or(Some(error)),
                }
            }
        }
        let workloads = cells.into_iter().map(|cell| cell.desired.name).collect();
        PurgedService { name, workloads, volumes, refusal, operation: None }
    }

    /// What was started by hand runs, whatever is known of it.
    async fn engines_agree(&self, cells: &[Cell]) -> Result<(), Error> {
        for cell in cells {
            for instance in cell.observed.current.iter().chain(&cell.observed.previous) {
                let runtime = self.reading(&instance.runtime)?;
                match runtime.inspect(&OpContext::new(OPERATION), &reference(instance)).await {
                    Ok(seen) if matches!(seen.state, State::Created | State::Exited) => {}
                    Ok(_) => return Err(alive(&cell.desired.service, std::slice::from_ref(&cell.desired.name))),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn volumes_of(&self, runtime: &str, service: &str) -> Result<Vec<String>, Error> {
        let runtime = self.reading(runtime)?;
        let Some(volumes) = runtime.volumes() else { return Ok(Vec::new()) };
        let listed = volumes.list(&OpContext::new(OPERATION)).await?;
        let ours = listed.into_iter().filter(|volume| {
            volume.labels.get(OWNER).map(String::as_str) == Some(self.owner())
                && volume.labels.get(SERVICE).map(String::as_str) == Some(service)
        });
        Ok(ours.map(|volume| volume.name).collect())
    }

    /// The runtime, unable to write.
    pub(crate) fn reading(&self, runtime: &str) -> Result<Arc<dyn Runtime>, Error> {
        Ok(Layered::around(self.runtimes.get(runtime)?, ReadOnly))
    }
}

/// `Conflict` that names the workloads which run, may run or are about to.
pub(crate) fn must_be_at_rest(service: &str, cells: &[Cell]) -> Result<(), Error> {
    let at_rest = |cell: &&Cell| {
        matches!(cell.observed.phase, Phase::Stopped | Phase::Completed | Phase::Failed | Phase::Removing)
    };
    let awake: Vec<String> = cells.iter().filter(|cell| !at_rest(cell)).map(|cell| cell.desired.name.clone()).collect();
    if awake.is_empty() { Ok(()) } else { Err(alive(service, &awake)) }
}

fn alive(service: &str, workloads: &[String]) -> Error {
    let verb = if workloads.len() == 1 { "runs" } else { "run" };
    let text = format!("service `{service}` is not purged: `{}` {verb}", workloads.join("`, `"));
    Error::new(ErrorKind::Conflict, OPERATION, text).hint(format!("`hythe stop {service}` stops it, or describe it"))
}
