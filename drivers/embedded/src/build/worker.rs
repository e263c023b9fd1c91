//! The instance that a build's instructions change.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use futures_util::StreamExt;
use hythe_oci::Stored;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{
    Attachment, Identity, InstanceRef, LogOptions, Logs, NetworkSpec, OpContext, Plan, PlanNetwork, Progress,
    ProgressSink, Result,
};
use hythe_shim::files::{read_json, replace_json};
use hythe_shim::record::Config;
use hythe_shim::{Directory, Report};
use hythe_spec::{BuildNetwork, ImageRef, Millis};

use super::dockerfile::invalid;
use crate::context::{Context, SharedContext};
use crate::driver::Embedded;
use crate::error::{IoContext, from_shim};
use crate::instances::{Record, fresh_id};
use crate::userns_exec::{Change, Files};
use crate::{client, lifecycle, observe, translate};

/// What the names of such instances begin with; those that do not run are remains.
pub(crate) const PREFIX: &str = "hythe-build-";
/// Lines of a failing step that are quoted.
const QUOTED: usize = 20;
/// See the module.
#[derive(Debug)]
pub(super) struct Worker {
    context: SharedContext,
    record: Record,
    image: ImageRef,
    /// The network that is there for this build alone.
    network: Option<String>,
}

/// Isolated like any workload: the standard permissions, which a plain plan has.
fn plan(id: &str, image: ImageRef, network: PlanNetwork) -> Plan {
    let identity = Identity {
        owner: String::new(),
        service: PREFIX.to_owned(),
        component: id.to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: String::new(),
    };
    Plan {
        entrypoint: Some(Vec::new()),
        command: Some(Vec::new()),
        hostname: "build".to_owned(),
        network,
        stop_grace: Millis(0),
        init: true,
        ..Plan::plain(image, identity)
    }
}

/// A network for one build; `None`: it wants none, or there are none here.
fn own_network(context: &Context, name: &str, wanted: BuildNetwork) -> Result<Option<String>> {
    if wanted != BuildNetwork::Default || context.networks.is_none() {
        return Ok(None);
    }
    let spec = NetworkSpec { name: name.to_owned(), labels: BTreeMap::new(), internal: false };
    context.change_networks("build", Change::Ensure(spec))?;
    Ok(Some(name.to_owned()))
}

/// Removes networks of builds that nobody finished, once their instances are gone.
pub(crate) fn sweep_networks(context: &Context, operation: &'static str) -> Result<()> {
    if context.networks.is_none() {
        return Ok(());
    }
    let known = context.networks(operation)?.list()?;
    let records = context.instances.all(operation)?;
    let is_over = |name: &str| name.starts_with(PREFIX) && !records.iter().any(|record| record.name == name);
    for network in known.into_iter().filter(|network| is_over(&network.name)) {
        context.change_networks(operation, Change::Remove(network.name))?;
    }
    Ok(())
}

impl Worker {
    pub(super) async fn new(embedded: &Embedded, base: &Stored, wanted: BuildNetwork) -> Result<Self> {
        let (context, digest) = (embedded.context.clone(), base.id.clone());
        run_blocking("build", move || {
            let id = fresh_id("build")?;
            let named = |text: String| {
                let image: std::result::Result<ImageRef, _> = text.parse();
                image.map_err(|error| invalid(format!("`{text}`: {error}")))
            };
            let name = format!("{PREFIX}{id}");
            let image = named(format!("localhost/{name}:1"))?;
            let network = own_network(&context, &name, wanted)?;
            let made = match (&network, wanted) {
                (Some(network), _) => {
                    let attachment = Attachment { network: network.clone(), aliases: Vec::new() };
                    PlanNetwork::Networks { attachments: vec![attachment] }
                }
                (None, BuildNetwork::Host) => PlanNetwork::Host,
                (None, BuildNetwork::None | BuildNetwork::Default) => PlanNetwork::None,
            };
            // By its id, whatever becomes of its name.
            let outcome = named(format!("localhost/build@{digest}")).and_then(|base| {
                lifecycle::make(
                    &context,
                    "build",
                    &plan(&id, base, made),
                    &name,
                    BTreeMap::new(),
                    lifecycle::ImageVolumes::None,
                )
            });
            if let (Err(_), Some(network)) = (&outcome, &network) {
                // What cannot be removed now is removed by the next agent.
                let _ = context.change_networks("build", Change::Remove(network.clone()));
            }
            Ok(Self { context, record: outcome?, image, network })
        })
        .await
    }

    /// A name that the image has until it is whole.
    pub(super) fn image(&self) -> &ImageRef {
        &self.image
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.directory().upper()
    }

    fn directory(&self) -> Directory {
        self.context.instances.directory(&self.record.id)
    }

    async fn change(&self, files: Files) -> Result<()> {
        let (context, directory) = (self.context.clone(), self.directory());
        run_blocking("build", move || context.change_files("build", &directory, files)).await
    }

    pub(super) async fn make_directory(&self, path: String) -> Result<()> {
        self.change(Files::MakeDirectory(path)).await
    }

    pub(super) async fn copy(&self, copies: Vec<(PathBuf, String)>) -> Result<()> {
        self.change(Files::Copy(copies)).await
    }

    /// Runs a command to its end; its output is progress.
    pub(super) async fn run(
        &self,
        embedded: &Embedded,
        progress: &ProgressSink,
        arguments: Vec<String>,
        env: BTreeMap<String, String>,
        user: Option<String>,
        workdir: String,
    ) -> Result<()> {
        let (context, record) = (self.context.clone(), self.record.clone());
        let shown = arguments.last().cloned().unwrap_or_default();
        run_blocking("build", move || {
            let directory = context.instances.directory(&record.id);
            let config: Config = read_json(&directory.config()).context("build", "read the instance")?;
            let mut command = record.command.clone();
            command.env.extend(env);
            command.entrypoint = arguments;
            (command.user, command.workdir) = (user, workdir);
            let instance = lifecycle::instance(&context, &record, config.layers.clone());
            let filters = config.process.filters.clone();
            let config = translate::shim_config("build", &record.plan, &command, filters, &instance, &context.host)?;
            replace_json(&directory.config(), &config, false).context("build", "write what to start")?;
            // Each step's output is its own.
            match std::fs::remove_dir_all(directory.logs()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).context("build", "clear the log")
                }
                _ => lifecycle::start(&context, "build", &record),
            }
        })
        .await?;
        let last = self.follow(embedded, progress).await?;
        let code = self.settled().await?;
        if code == 0 {
            return Ok(());
        }
        let lines: Vec<String> = last.into();
        Err(invalid(format!("`{shown}` ended with {code}: {}", lines.join("\n"))))
    }

    async fn follow(&self, embedded: &Embedded, progress: &ProgressSink) -> Result<VecDeque<String>> {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let instance = InstanceRef::id(self.record.id.clone());
        let mut lines = embedded.logs(&OpContext::new("build"), &instance, &options).await?;
        let mut last = VecDeque::new();
        while let Some(line) = lines.next().await {
            let status = String::from_utf8_lossy(&line?.line).into_owned();
            last.push_back(status.clone());
            if last.len() > QUOTED {
                last.pop_front();
            }
            // A full channel drops the report.
            let _ = progress.try_send(Progress { item: String::new(), status, current: None, total: None });
        }
        Ok(last)
    }

    /// Waits until the shim has let go of the file system; the exit code.
    async fn settled(&self) -> Result<i32> {
        let (context, record) = (self.context.clone(), self.record.clone());
        run_blocking("build", move || {
            let report = client::shim(&context.shim, "recover", &context.instances.directory(&record.id), "build")?;
            if let Report::Failed(fault) = report {
                return Err(from_shim("build", &fault));
            }
            let seen = observe::state(&context, "build", &record)?;
            Ok(seen.recorded.and_then(|recorded| recorded.exit).map_or(0, |end| end.code))
        })
        .await
    }

    /// Why its commands have no network although one was wanted.
    pub(super) fn lacks_network(&self, wanted: BuildNetwork) -> Option<String> {
        if wanted != BuildNetwork::Default || self.network.is_some() {
            return None;
        }
        self.context.networks("build").err().map(|error| error.message().to_owned())
    }

    /// Removes the instance and its network; their own failure is told only where there is no other.
    pub(super) async fn discard<T>(self, embedded: &Embedded, outcome: Result<T>) -> Result<T> {
        let mut removed = embedded.destroy(&self.record.id).await;
        if let Some(network) = self.network {
            let context = self.context;
            let gone = run_blocking("build", move || context.change_networks("build", Change::Remove(network))).await;
            removed = removed.and(gone);
        }
        outcome.and_then(|done| removed.map(|()| done))
    }
}
