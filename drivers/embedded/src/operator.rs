//! What whoever owns the machine does to instances past the seam: it pauses, signals, renames and makes them without our labels.

use hythe_runtime::{Attachment, Error, ErrorKind, InstanceId, Plan, PlanNetwork, Result};
use hythe_shim::journal::Kind;
use hythe_shim::protocol::Request;
use hythe_spec::Signal;

use crate::client;
use crate::core::Core;
use crate::driver::Embedded;
use crate::errand::{Change, Join};
use crate::error::{blocking, carried};
use crate::instances::Record;
use crate::{lifecycle, volumes};

const OPERATION: &str = "operator";

impl Embedded {
    /// Makes and starts an instance under a name and with labels that no plan gives.
    ///
    /// # Errors
    /// As [`hythe_runtime::Runtime::run`].
    pub async fn run_foreign(&self, name: &str, plan: &Plan) -> Result<InstanceId> {
        let (core, name, plan) = (self.core.clone(), name.to_owned(), plan.clone());
        let work = blocking(OPERATION, move || {
            let record = lifecycle::make(&core, OPERATION, &plan, &name, plan.labels.clone())?;
            lifecycle::start(&core, OPERATION, &record)?;
            Ok(InstanceId(record.id))
        });
        carried(&hythe_runtime::OpContext::default(), OPERATION, work).await
    }

    /// Freezes or thaws an instance.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where it does not run.
    pub async fn freeze(&self, instance: &str, frozen: bool) -> Result<()> {
        self.request(instance, Request::Freeze(frozen)).await
    }

    /// Sends a signal to an instance's main process.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where it does not run.
    pub async fn signal(&self, instance: &str, signal: Signal) -> Result<()> {
        self.request(instance, Request::Kill { signal: i32::from(signal.0), told: true }).await
    }

    async fn request(&self, instance: &str, request: Request) -> Result<()> {
        let (core, id) = (self.core.clone(), InstanceId(instance.to_owned()));
        let directory = blocking(OPERATION, move || {
            let (record, _) = core.instances.find(OPERATION, &id)?;
            Ok(core.instances.directory(&record.id))
        })
        .await?;
        if client::tell(OPERATION, &directory, &request).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, OPERATION, format!("`{instance}` is not running")))
    }

    /// Removes an instance, running or not, whoever's it is. Absent: success.
    ///
    /// # Errors
    /// It cannot be stopped or removed.
    pub async fn destroy(&self, instance: &str) -> Result<()> {
        let (core, id) = (self.core.clone(), InstanceId(instance.to_owned()));
        let found = blocking(OPERATION, move || core.instances.find(OPERATION, &id)).await;
        let record = match found {
            Err(error) if error.is_not_found() => return Ok(()),
            found => found?.0,
        };
        let whole = InstanceId(record.id.clone());
        let how = hythe_runtime::Stop { signal: Some(Signal::KILL), grace: std::time::Duration::from_secs(10) };
        lifecycle::stop(&self.core, OPERATION, &whole, how).await?;
        let core = self.core.clone();
        blocking(OPERATION, move || lifecycle::remove(&core, OPERATION, &record)).await
    }

    /// Gives an instance another name.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` where the name is held.
    pub async fn rename(&self, instance: &str, name: &str) -> Result<()> {
        let (core, id, name) = (self.core.clone(), InstanceId(instance.to_owned()), name.to_owned());
        blocking(OPERATION, move || {
            let (record, _) = core.instances.find(OPERATION, &id)?;
            let turn = core.instances.turn(OPERATION)?;
            if let Some(holder) = core.instances.holder(OPERATION, &name)? {
                let message = format!("the name `{name}` is held by `{}`", holder.id);
                return Err(Error::new(ErrorKind::AlreadyExists, OPERATION, message));
            }
            let renamed = core.instances.rename(OPERATION, record, &name, &turn)?;
            core.event(&renamed, Kind::Updated("rename".to_owned()));
            Ok(())
        })
        .await
    }

    /// Joins a running instance to one more network, where it has these names.
    ///
    /// # Errors
    /// `NotFound`: the instance or the network. `Conflict`: it does not run, or has no network of its own to join to others.
    pub async fn join(&self, instance: &str, network: &str, aliases: &[String]) -> Result<()> {
        let (network, aliases) = (network.to_owned(), aliases.to_vec());
        self.rewire(instance, "network connect", move |core, record, pid, attachments| {
            let attachment = Attachment { network: network.clone(), aliases };
            attachments.push(attachment);
            let join = Join {
                instance: record.id.clone(),
                namespace: format!("/proc/{pid}/ns/net").into(),
                attachments: attachments.clone(),
                hostname: record.plan.hostname.clone(),
                extra_hosts: record.plan.extra_hosts.clone(),
            };
            core.change_networks(OPERATION, Change::Join(join))?;
            Ok(network)
        })
        .await
    }

    /// Takes a running instance out of a network.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub async fn leave(&self, instance: &str, network: &str) -> Result<()> {
        let network = network.to_owned();
        self.rewire(instance, "network disconnect", move |core, record, _pid, attachments| {
            attachments.retain(|attachment| attachment.network != network);
            let (instance, network) = (record.id.clone(), network);
            core.change_networks(OPERATION, Change::Leave { instance, network: network.clone() })?;
            Ok(network)
        })
        .await
    }

    async fn rewire(
        &self,
        instance: &str,
        what: &'static str,
        change: impl FnOnce(&Core, &Record, i32, &mut Vec<Attachment>) -> Result<String> + Send + 'static,
    ) -> Result<()> {
        let (core, id) = (self.core.clone(), InstanceId(instance.to_owned()));
        blocking(OPERATION, move || {
            let (found, _) = core.instances.find(OPERATION, &id)?;
            let _turn = core.instances.turn_of(OPERATION, &found.id)?;
            let mut record = core.instances.find(OPERATION, &InstanceId(found.id))?.0;
            let pid = crate::observe::state(&core, OPERATION, &record)?.run.and_then(|run| run.pid);
            let conflict = |why| Error::new(ErrorKind::Conflict, OPERATION, format!("`{}` {why}", record.name));
            let pid = pid.ok_or_else(|| conflict("is not running"))?;
            let PlanNetwork::Bridged { mut attachments } = record.plan.network.clone() else {
                return Err(conflict("is in no network that it could share"));
            };
            let network = change(&core, &record, pid, &mut attachments)?;
            record.plan.network = PlanNetwork::Bridged { attachments };
            core.instances.rewrite(OPERATION, &record)?;
            core.event(&record, Kind::Updated(format!("{what} {network}")));
            Ok(())
        })
        .await
    }

    /// Makes a volume without labels.
    ///
    /// # Errors
    /// As [`hythe_runtime::Volumes::ensure`].
    pub async fn foreign_volume(&self, name: &str) -> Result<()> {
        let (core, name) = (self.core.clone(), name.to_owned());
        let spec = hythe_runtime::VolumeSpec { name, labels: std::collections::BTreeMap::new() };
        blocking(OPERATION, move || volumes::ensure(&core, OPERATION, &spec)).await
    }
}
