//! Forgetting the services that nothing describes any more. What runs is never purged: that takes a stop, which a person says.

use std::collections::BTreeSet;
use std::sync::Arc;

use hythe_runtime::identity::{OWNER, SERVICE};
use hythe_runtime::{Error, OpContext, State};
use hythe_store::ServiceRecord;

use crate::lookup::inspect;
use crate::model::WorkloadState;
use crate::service::{must_be_at_rest, still_runs};
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

    /// What a purge of a service removes, and whether it may; asks its engines.
    async fn look_at(&self, record: &ServiceRecord, with_volumes: bool) -> PurgedService {
        let name = record.desired.name.clone();
        let states = self.workloads_of(&name);
        let mut runtimes: BTreeSet<String> =
            states.iter().map(|state| state.desired.placement.runtime.clone()).collect();
        runtimes.extend(record.removing.iter().flat_map(|removing| removing.runtimes.clone()));
        let mut refusal = must_be_at_rest(&name, &states).and(self.engines_agree(&states).await).err();
        let mut volumes = Vec::new();
        if with_volumes {
            for runtime in &runtimes {
                match self.volumes_of(runtime, &name).await {
                    Ok(found) => volumes.extend(found),
                    Err(error) => refusal = refusal.or(Some(error)),
                }
            }
        }
        let workloads = states.into_iter().map(|state| state.desired.name).collect();
        PurgedService { name, workloads, volumes, refusal, operation: None }
    }

    /// An instance that was started out of band runs, whatever the records say.
    async fn engines_agree(&self, states: &[WorkloadState]) -> Result<(), Error> {
        for state in states {
            for instance in state.observed.current.iter().chain(&state.observed.previous) {
                let runtime = self.reading(&instance.runtime)?;
                match inspect(runtime.as_ref(), &OpContext::new(OPERATION), self.owner(), instance).await {
                    Ok(seen) if matches!(seen.state, State::Created | State::Exited) => {}
                    Ok(_) => return Err(still_runs(&state.desired.service, std::slice::from_ref(&state.desired.name))),
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
}
