//! The instance that a build's instructions change.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use futures_util::StreamExt;
use hythe_oci::Stored;
use hythe_runtime::{
    Identity, InstanceId, LogOptions, Logs, OpContext, Plan, PlanNetwork, Progress, ProgressSink, Result, Security,
};
use hythe_shim::files::{read_json, replace_json};
use hythe_shim::record::Launch;
use hythe_shim::{Directory, Report};
use hythe_spec::{ImageRef, Millis, Permissions, Seccomp};

use super::dockerfile::invalid;
use crate::core::Shared;
use crate::driver::Embedded;
use crate::errand::Files;
use crate::error::{Doing, blocking, of_fault};
use crate::instances::{Record, fresh_id};
use crate::{client, lifecycle, observe, translate};

/// What the names of such instances begin with; those that do not run are remains.
pub(crate) const PREFIX: &str = "hythe-build-";
/// Lines of a failing step that are quoted.
const QUOTED: usize = 20;
/// Docker's set.
const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// See the module.
#[derive(Debug)]
pub(super) struct Worker {
    core: Shared,
    record: Record,
    image: ImageRef,
}

fn plan(id: &str, image: ImageRef) -> Plan {
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
        network: PlanNetwork::Host,
        stop_grace: Millis(0),
        init: true,
        security: Security {
            capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
            seccomp: Seccomp::Default,
            no_new_privileges: false,
            privileged: false,
        },
        ..Plan::plain(image, identity)
    }
}

impl Worker {
    pub(super) async fn new(embedded: &Embedded, base: &Stored) -> Result<Self> {
        debug_assert!(Permissions::standard().capabilities.iter().all(|one| CAPABILITIES.contains(&one.as_str())));
        let (core, digest) = (embedded.core.clone(), base.id.clone());
        blocking("build", move || {
            let id = fresh_id("build")?;
            let named = |text: String| {
                let image: std::result::Result<ImageRef, _> = text.parse();
                image.map_err(|error| invalid(format!("`{text}`: {error}")))
            };
            // By its id, whatever becomes of its name.
            let plan = plan(&id, named(format!("localhost/build@{digest}"))?);
            let image = named(format!("localhost/{PREFIX}{id}:1"))?;
            let record = lifecycle::make(&core, "build", &plan, &format!("{PREFIX}{id}"), BTreeMap::new())?;
            Ok(Self { core, record, image })
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
        self.core.instances.directory(&self.record.id)
    }

    async fn change(&self, files: Files) -> Result<()> {
        let (core, directory) = (self.core.clone(), self.directory());
        blocking("build", move || core.change_files("build", &directory, files)).await
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
        let (core, record) = (self.core.clone(), self.record.clone());
        let shown = arguments.last().cloned().unwrap_or_default();
        blocking("build", move || {
            let directory = core.instances.directory(&record.id);
            let launch: Launch = read_json(&directory.launch()).doing("build", "read the instance")?;
            let mut command = record.command.clone();
            command.env.extend(env);
            command.entrypoint = arguments;
            (command.user, command.workdir) = (user, workdir);
            let places = lifecycle::places(&core, &record, launch.layers.clone());
            let filters = launch.process.filters.clone();
            let launch = translate::launch(&record.plan, &command, filters, &places, &core.machine);
            replace_json(&directory.launch(), &launch, false).doing("build", "write what to start")?;
            // Each step's output is its own.
            match std::fs::remove_dir_all(directory.logs()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).doing("build", "clear the log")
                }
                _ => lifecycle::start(&core, "build", &record),
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
        let id = InstanceId(self.record.id.clone());
        let mut lines = embedded.logs(&OpContext::new("build"), &id, &options).await?;
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
        let (core, record) = (self.core.clone(), self.record.clone());
        blocking("build", move || {
            let report = client::shim(&core.shim, "settle", &core.instances.directory(&record.id), "build")?;
            if let Report::Failed(fault) = report {
                return Err(of_fault("build", &fault));
            }
            let seen = observe::state(&core, "build", &record)?;
            Ok(seen.run.and_then(|run| run.end).map_or(0, |end| end.code))
        })
        .await
    }

    /// Removes the instance; its own failure is told only where there is no other.
    pub(super) async fn discard<T>(self, embedded: &Embedded, outcome: Result<T>) -> Result<T> {
        let removed = embedded.destroy(&self.record.id).await;
        outcome.and_then(|done| removed.map(|()| done))
    }
}
