//! For tests: what a host's owner does to instances past the seam, for which the other engines have a command line of their own.
//! It pauses, signals, renames them, and makes them without our labels.

use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::name_in_use;
use hythe_runtime::{Attachment, Error, ErrorKind, InstanceId, InstanceRef, Plan, PlanNetwork, Result};
use hythe_shim::journal::Kind;
use hythe_shim::protocol::Request;
use hythe_spec::Signal;

use crate::client;
use crate::context::Context;
use crate::driver::Embedded;
use crate::userns_exec::{Change, Join};

use crate::instances::Record;
use crate::{lifecycle, volumes};

const OPERATION: &str = "testing";

/// As on a command line: the id or the name of an instance.
fn find(context: &Context, named: &str) -> Result<Record> {
    match context.instances.find(OPERATION, &InstanceRef::id(named)) {
        Err(error) if error.is_not_found() => context.instances.find(OPERATION, &InstanceRef::name(named)),
        found => found,
    }
}

impl Embedded {
    /// Makes and starts an instance under a name and with labels that no plan gives.
    ///
    /// # Errors
    /// As [`hythe_runtime::Runtime::run`].
    pub async fn run_foreign(&self, name: &str, plan: &Plan) -> Result<InstanceId> {
        let (context, name, plan) = (self.context.clone(), name.to_owned(), plan.clone());
        let work = run_blocking(OPERATION, move || {
            let record = lifecycle::make(
                &context,
                OPERATION,
                &plan,
                &name,
                plan.annotations.clone(),
                lifecycle::ImageVolumes::Own,
            )?;
            lifecycle::start(&context, OPERATION, &record)?;
            Ok(InstanceId(record.id))
        });
        hythe_runtime::OpContext::default().run_detached(OPERATION, work).await
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
    pub async fn kill(&self, instance: &str, signal: Signal) -> Result<()> {
        self.request(instance, Request::Kill { signal: i32::from(signal.0), told: true }).await
    }

    async fn request(&self, instance: &str, request: Request) -> Result<()> {
        let (context, named) = (self.context.clone(), instance.to_owned());
        let directory = run_blocking(OPERATION, move || {
            let record = find(&context, &named)?;
            Ok(context.instances.directory(&record.id))
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
        let (context, named) = (self.context.clone(), instance.to_owned());
        let found = run_blocking(OPERATION, move || find(&context, &named)).await;
        let record = match found {
            Err(error) if error.is_not_found() => return Ok(()),
            found => found?,
        };
        let whole = InstanceRef::id(record.id.clone());
        let how = hythe_runtime::Stop { signal: Some(Signal::KILL), grace: std::time::Duration::from_secs(10) };
        hythe_local::supervised::stop(&self.context, OPERATION, &whole, how).await?;
        let context = self.context.clone();
        run_blocking(OPERATION, move || lifecycle::remove(&context, OPERATION, &record)).await
    }

    /// Gives an instance another name.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` where the name is held.
    pub async fn rename(&self, instance: &str, name: &str) -> Result<()> {
        let (context, named, name) = (self.context.clone(), instance.to_owned(), name.to_owned());
        run_blocking(OPERATION, move || {
            let record = find(&context, &named)?;
            let lock = context.instances.lock(OPERATION)?;
            if let Some(owner) = context.instances.owner_of_name(OPERATION, &name)? {
                return Err(name_in_use(OPERATION, &name, &owner.id));
            }
            let renamed = context.instances.rename(OPERATION, record, &name, &lock)?;
            context.event(&renamed, Kind::Updated("rename".to_owned()));
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
        self.rewire(instance, "network connect", move |context, record, pid, attachments| {
            let attachment = Attachment { network: network.clone(), aliases };
            attachments.push(attachment);
            let join = Join {
                instance: record.id.clone(),
                namespace: format!("/proc/{pid}/ns/net").into(),
                attachments: attachments.clone(),
                hostname: record.plan.hostname.clone(),
                extra_hosts: record.plan.extra_hosts.clone(),
            };
            context.change_networks(OPERATION, Change::Join(join))?;
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
        self.rewire(instance, "network disconnect", move |context, record, _pid, attachments| {
            attachments.retain(|attachment| attachment.network != network);
            let (instance, network) = (record.id.clone(), network);
            context.change_networks(OPERATION, Change::Leave { instance, network: network.clone() })?;
            Ok(network)
        })
        .await
    }

    async fn rewire(
        &self,
        instance: &str,
        what: &'static str,
        change: impl FnOnce(&Context, &Record, i32, &mut Vec<Attachment>) -> Result<String> + Send + 'static,
    ) -> Result<()> {
        let (context, named) = (self.context.clone(), instance.to_owned());
        run_blocking(OPERATION, move || {
            let found = find(&context, &named)?;
            let _lock = context.instances.lock_instance(OPERATION, &found.id)?;
            let mut record = context.instances.find(OPERATION, &InstanceRef::id(found.id))?;
            let pid = crate::observe::state(&context, OPERATION, &record)?.recorded.and_then(|recorded| recorded.pid);
            let conflict = |why| Error::new(ErrorKind::Conflict, OPERATION, format!("`{}` {why}", record.name));
            let pid = pid.ok_or_else(|| conflict("is not running"))?;
            let PlanNetwork::Networks { mut attachments } = record.plan.network.clone() else {
                return Err(conflict("is in no network that it could share"));
            };
            let network = change(&context, &record, pid, &mut attachments)?;
            record.plan.network = PlanNetwork::Networks { attachments };
            context.instances.rewrite(OPERATION, &record)?;
            context.event(&record, Kind::Updated(format!("{what} {network}")));
            Ok(())
        })
        .await
    }

    /// Makes a volume without labels.
    ///
    /// # Errors
    /// As [`hythe_runtime::Volumes::ensure`].
    pub async fn foreign_volume(&self, name: &str) -> Result<()> {
        let (context, name) = (self.context.clone(), name.to_owned());
        let spec = hythe_runtime::VolumeSpec { name, labels: std::collections::BTreeMap::new() };
        run_blocking(OPERATION, move || volumes::ensure(&context, OPERATION, &spec)).await
    }

    /// Removes a network, whosever it is.
    ///
    /// # Errors
    /// As [`hythe_runtime::Networks::remove`], but for the owner.
    pub async fn remove_network(&self, name: &str) -> Result<()> {
        let (context, name) = (self.context.clone(), name.to_owned());
        run_blocking(OPERATION, move || context.change_networks(OPERATION, Change::Remove(name))).await
    }

    /// Removes a volume, whosever it is.
    ///
    /// # Errors
    /// As [`hythe_runtime::Volumes::remove`], but for the owner.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let (context, name) = (self.context.clone(), name.to_owned());
        run_blocking(OPERATION, move || volumes::remove_where(&context, OPERATION, &name, |_| Ok(()))).await
    }
}
