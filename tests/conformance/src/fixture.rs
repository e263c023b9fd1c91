//! One trial's own corner of a runtime: names nobody else uses, everyday helpers, and the cleaning up.

use std::collections::BTreeMap;
use std::process::id as process_id;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use hythe_runtime::identity::OWNER;
use hythe_runtime::{
    Archives, Attachment, ErrorKind, Exec, ExecRequest, Filter, Identity, Images, InstanceId, InstanceRef, LogLine,
    LogOptions, Logs, NetworkSpec, Networks, Observed, OpContext, Plan, PlanNetwork, Runtime, Session, Snapshot,
    SnapshotRequest, Snapshots, State, StdStream, Stop, VolumeSpec, Volumes,
};
use hythe_spec::{ImageRef, Mount, MountSource};

use crate::engine_cli::EngineCli;
use crate::failure::{Failure, Outcome};
use crate::subject::{Breakable, Subject};

/// Between two looks at an instance; the events are themselves on trial and cannot be what trials wait by.
const LOOK: Duration = Duration::from_millis(100);

/// Longest wait for an instance to be as wanted.
const PATIENCE: Duration = Duration::from_secs(60);

static MADE: AtomicU64 = AtomicU64::new(0);

/// Things made past the driver, or without an owner's label.
#[derive(Debug, Default)]
struct Strays {
    instances: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
    images: Vec<ImageRef>,
}

/// See the module.
pub(crate) struct Fixture {
    pub(crate) subject: Arc<Subject>,
    pub(crate) cx: OpContext,
    pub(crate) owner: String,
    /// Name of the trial's service; with `-` and a word behind it, of anything else it makes.
    pub(crate) service: String,
    strays: Mutex<Strays>,
}

/// What a finished instance left.
pub(crate) struct Finished {
    pub(crate) observed: Observed,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn code(&self) -> i32 {
        self.observed.exit.as_ref().unwrap().code.unwrap()
    }
}

/// What an executed process left.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Executed {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

impl Fixture {
    pub(crate) fn new(subject: &Arc<Subject>) -> Self {
        let service = format!("t{:x}-{:x}", process_id(), MADE.fetch_add(1, Ordering::Relaxed));
        Self {
            subject: Arc::clone(subject),
            cx: OpContext::new(service.clone()),
            owner: format!("conformance-{service}"),
            service,
            strays: Mutex::default(),
        }
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        self.subject.runtime.as_ref()
    }

    pub(crate) fn engine_cli(&self) -> &dyn EngineCli {
        self.subject.engine_cli.as_deref().unwrap()
    }

    /// A connection of its own that can be broken.
    pub(crate) async fn breakable(&self) -> Outcome<Breakable> {
        self.subject.breakable.as_ref().unwrap()().await
    }

    pub(crate) fn logs(&self) -> &dyn Logs {
        self.runtime().logs().unwrap()
    }

    pub(crate) fn exec_facet(&self) -> &dyn Exec {
        self.runtime().exec().unwrap()
    }

    pub(crate) fn images(&self) -> &dyn Images {
        self.runtime().images().unwrap()
    }

    pub(crate) fn networks(&self) -> &dyn Networks {
        self.runtime().networks().unwrap()
    }

    pub(crate) fn volumes(&self) -> &dyn Volumes {
        self.runtime().volumes().unwrap()
    }

    pub(crate) fn archives(&self) -> &dyn Archives {
        self.runtime().archives().unwrap()
    }

    pub(crate) fn snapshots(&self) -> &dyn Snapshots {
        self.runtime().snapshots().unwrap()
    }

    /// Keeps the files of an instance of this trial under a name of it.
    pub(crate) async fn commit(&self, id: &InstanceId, plan: &Plan, image: &ImageRef) -> Outcome<Snapshot> {
        let request = SnapshotRequest { image: image.clone(), identity: plan.identity.clone() };
        Ok(self.snapshots().commit(&self.cx, &id.to_ref(), &request).await?)
    }

    /// A plan without network that runs this.
    pub(crate) fn plan(&self, command: &[&str]) -> Plan {
        let mut plan = bare_plan(&self.owner, &self.service, self.subject.image.clone());
        plan.command = Some(words(command));
        plan
    }

    /// A plan that runs this script.
    pub(crate) fn script(&self, script: &str) -> Plan {
        self.plan(&["sh", "-c", script])
    }

    /// A plan that runs until it is stopped, and stops at once.
    pub(crate) fn server(&self) -> Plan {
        self.script("trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done")
    }

    pub(crate) async fn create(&self, plan: &Plan) -> Outcome<InstanceId> {
        Ok(self.runtime().create(&self.cx, plan).await?)
    }

    pub(crate) async fn run(&self, plan: &Plan) -> Outcome<InstanceId> {
        Ok(self.runtime().run(&self.cx, plan).await?)
    }

    pub(crate) async fn start(&self, instance: impl Into<InstanceRef>) -> Outcome {
        Ok(self.runtime().start(&self.cx, &instance.into()).await?)
    }

    /// Stops with this grace in milliseconds; gives how long it took.
    pub(crate) async fn stop(&self, instance: impl Into<InstanceRef>, grace: u64) -> Outcome<Duration> {
        let began = Instant::now();
        let how = Stop { signal: None, grace: Duration::from_millis(grace) };
        self.runtime().stop(&self.cx, &instance.into(), &how).await?;
        Ok(began.elapsed())
    }

    pub(crate) async fn remove(&self, instance: impl Into<InstanceRef>) -> Outcome {
        Ok(self.runtime().remove(&self.cx, &instance.into()).await?)
    }

    pub(crate) async fn inspect(&self, instance: impl Into<InstanceRef>) -> Outcome<Observed> {
        Ok(self.runtime().inspect(&self.cx, &instance.into()).await?)
    }

    pub(crate) async fn state(&self, id: &InstanceId) -> Outcome<State> {
        Ok(self.inspect(id).await?.state)
    }

    /// Names of this trial's instances.
    pub(crate) async fn names(&self) -> Outcome<Vec<String>> {
        let rows = self.runtime().list(&self.cx, &Filter::owned_by(&self.owner)).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    /// States of this trial's instances.
    pub(crate) async fn states(&self) -> Outcome<Vec<State>> {
        let rows = self.runtime().list(&self.cx, &Filter::owned_by(&self.owner)).await?;
        Ok(rows.into_iter().map(|row| row.state).collect())
    }

    /// Looks until the instance is as wanted.
    pub(crate) async fn until(&self, id: &InstanceId, wanted: impl Fn(&Observed) -> bool) -> Outcome<Observed> {
        let began = Instant::now();
        loop {
            let observed = self.inspect(id).await?;
            if wanted(&observed) {
                return Ok(observed);
            }
            if began.elapsed() > PATIENCE {
                return Err(Failure::new(format!("not as wanted after {} s: {observed:?}", PATIENCE.as_secs())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn until_exited(&self, id: &InstanceId) -> Outcome<Observed> {
        self.until(id, |observed| observed.state == State::Exited).await
    }

    /// Runs a plan to its end.
    pub(crate) async fn finish(&self, plan: &Plan) -> Outcome<Finished> {
        let id = self.run(plan).await?;
        let observed = self.until_exited(&id).await?;
        let lines = self.lines(&id, &LogOptions::default()).await?;
        let text = |stream| {
            let lines = lines.iter().filter(|line| line.stream == stream);
            lines.map(|line| String::from_utf8_lossy(&line.line).into_owned() + "\n").collect::<String>()
        };
        Ok(Finished { observed, stdout: text(StdStream::Stdout), stderr: text(StdStream::Stderr) })
    }

    /// What a script prints; it must succeed.
    pub(crate) async fn output(&self, plan: &Plan) -> Outcome<String> {
        let finished = self.finish(plan).await?;
        assert_eq!(finished.code(), 0, "stdout: {}\nstderr: {}", finished.stdout, finished.stderr);
        Ok(finished.stdout)
    }

    pub(crate) async fn lines(&self, id: &InstanceId, options: &LogOptions) -> Outcome<Vec<LogLine>> {
        Ok(self.logs().logs(&self.cx, &id.to_ref(), options).await?.try_collect().await?)
    }

    /// Follows the log until a line has this text.
    pub(crate) async fn until_line(&self, id: &InstanceId, text: &str) -> Outcome {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut lines = self.logs().logs(&self.cx, &id.to_ref(), &options).await?;
        while let Some(line) = lines.next().await {
            if String::from_utf8_lossy(&line?.line).contains(text) {
                return Ok(());
            }
        }
        Err(Failure::new(format!("the log ended without `{text}`")))
    }

    /// Runs a server and waits until it serves.
    pub(crate) async fn ready(&self, plan: &Plan) -> Outcome<InstanceId> {
        let id = self.run(plan).await?;
        self.until_line(&id, "ready").await?;
        Ok(id)
    }

    /// Runs a process without stdin to its end.
    pub(crate) async fn exec(&self, id: &InstanceId, command: &[&str]) -> Outcome<Executed> {
        self.exec_with(id, ExecRequest { command: words(command), ..ExecRequest::default() }).await
    }

    pub(crate) async fn exec_with(&self, id: &InstanceId, request: ExecRequest) -> Outcome<Executed> {
        let session = self.exec_facet().exec(&self.cx, &id.to_ref(), &request).await?;
        drain(session).await
    }

    /// Makes a network of ours.
    pub(crate) async fn network(&self, word: &str) -> Outcome<String> {
        let name = format!("{}-{word}", self.service);
        self.networks().ensure(&self.cx, &self.network_spec(&name)).await?;
        Ok(name)
    }

    pub(crate) fn network_spec(&self, name: &str) -> NetworkSpec {
        NetworkSpec { name: name.to_owned(), labels: self.owned(), internal: false }
    }

    /// Makes a volume of ours.
    pub(crate) async fn volume(&self, word: &str) -> Outcome<String> {
        let name = format!("{}_{word}", self.service);
        self.volumes().ensure(&self.cx, &self.volume_spec(&name)).await?;
        Ok(name)
    }

    pub(crate) fn volume_spec(&self, name: &str) -> VolumeSpec {
        VolumeSpec { name: name.to_owned(), labels: self.owned() }
    }

    fn owned(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(OWNER.to_owned(), self.owner.clone())])
    }

    /// A name for an image of this trial, removed at the end.
    pub(crate) fn image_name(&self, word: &str) -> ImageRef {
        self.image_at("localhost", word)
    }

    pub(crate) fn image_at(&self, host: &str, word: &str) -> ImageRef {
        let image: ImageRef = format!("{host}/{}-{word}:1", self.service).parse().unwrap();
        self.stray(|strays| strays.images.push(image.clone()));
        image
    }

    /// A name for something made past the driver, removed at the end.
    pub(crate) fn foreign_instance(&self, name: impl Into<String>) -> String {
        let name = name.into();
        self.stray(|strays| strays.instances.push(name.clone()));
        name
    }

    pub(crate) fn foreign_network(&self) -> String {
        let name = format!("{}-foreign", self.service);
        self.stray(|strays| strays.networks.push(name.clone()));
        name
    }

    pub(crate) fn foreign_volume(&self) -> String {
        let name = format!("{}_foreign", self.service);
        self.stray(|strays| strays.volumes.push(name.clone()));
        name
    }

    fn stray(&self, note: impl FnOnce(&mut Strays)) {
        note(&mut self.strays.lock().unwrap());
    }

    /// Removes everything the trial made; says what it could not.
    pub(crate) async fn clean(&self) -> Outcome {
        let mut troubles = Vec::new();
        let mut note = |what: &str, outcome: Outcome| {
            troubles.extend(outcome.err().map(|failure| format!("{what}: {failure}")));
        };
        let strays = std::mem::take(&mut *self.strays.lock().unwrap());
        for name in &strays.instances {
            note(name, self.engine_cli().remove(name).await);
        }
        note("instances", self.clean_instances().await);
        note("networks", self.clean_networks(&strays).await);
        note("volumes", self.clean_volumes(&strays).await);
        for image in &strays.images {
            note("images", self.images().remove(&self.cx_for_cleaning(), image).await.map_err(Failure::from));
        }
        if troubles.is_empty() { Ok(()) } else { Err(Failure::new(troubles.join("\n"))) }
    }

    fn cx_for_cleaning(&self) -> OpContext {
        OpContext::new(format!("{}-clean", self.service))
    }

    async fn clean_instances(&self) -> Outcome {
        let (cx, runtime) = (self.cx_for_cleaning(), self.runtime());
        let how = Stop { signal: None, grace: Duration::ZERO };
        for row in runtime.list(&cx, &Filter::owned_by(&self.owner)).await? {
            match runtime.stop(&cx, &row.id.to_ref(), &how).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => runtime.remove(&cx, &row.id.to_ref()).await?,
            }
        }
        Ok(())
    }

    async fn clean_networks(&self, strays: &Strays) -> Outcome {
        for name in &strays.networks {
            self.engine_cli().remove_network(name).await?;
        }
        let Some(networks) = self.runtime().networks() else { return Ok(()) };
        let cx = self.cx_for_cleaning();
        for network in networks.list(&cx).await? {
            if network.labels.get(OWNER) == Some(&self.owner) {
                networks.remove(&cx, &network.name, &self.owner).await?;
            }
        }
        Ok(())
    }

    async fn clean_volumes(&self, strays: &Strays) -> Outcome {
        for name in &strays.volumes {
            self.engine_cli().remove_volume(name).await?;
        }
        let Some(volumes) = self.runtime().volumes() else { return Ok(()) };
        let cx = self.cx_for_cleaning();
        for volume in volumes.list(&cx).await? {
            if volume.labels.get(OWNER) == Some(&self.owner) {
                volumes.remove(&cx, &volume.name, &self.owner).await?;
            }
        }
        Ok(())
    }
}

/// Reads a session to its end.
pub(crate) async fn drain(mut session: Session) -> Outcome<Executed> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(piece) = session.output.next().await {
        let (stream, bytes): (StdStream, Bytes) = piece?;
        match stream {
            StdStream::Stdout => stdout.extend_from_slice(&bytes),
            StdStream::Stderr => stderr.extend_from_slice(&bytes),
        }
    }
    Ok(Executed { code: session.exit.await?, stdout, stderr })
}

pub(crate) fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(ToString::to_string).collect()
}

/// A network connection under the usual aliases.
pub(crate) fn connected(networks: &[&str], alias: &str) -> PlanNetwork {
    let attach = |network: &&str| Attachment { network: (*network).to_owned(), aliases: vec![alias.to_owned()] };
    PlanNetwork::Networks { attachments: networks.iter().map(attach).collect() }
}

/// A volume mounted to be written to.
pub(crate) fn volume_mount(volume: &str, target: &str) -> Mount {
    let source = MountSource::Volume { name: volume.to_owned(), external: false };
    Mount { target: target.to_owned(), source, read_only: false }
}

/// A host path mounted to be written to.
pub(crate) fn bind_mount(path: &std::path::Path, target: &str) -> Mount {
    let path = path.to_str().unwrap().to_owned();
    let source = MountSource::Bind { path, propagation: None, selinux: None };
    Mount { target: target.to_owned(), source, read_only: false }
}

/// The first attempt of a component `web`, with the standard permissions and no network.
pub(crate) fn bare_plan(owner: &str, service: &str, image: ImageRef) -> Plan {
    let identity = Identity {
        owner: owner.to_owned(),
        service: service.to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: "0123456789abcdef".to_owned(),
    };
    Plan::plain(image, identity)
}
