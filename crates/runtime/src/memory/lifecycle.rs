//! The runtime itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use hythe_spec::{MountSource, Port, Protocol};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::Memory;
use super::catalogue::Content;
use super::console::Console;
use super::engine::{Engine, Volume, World};
use super::events;
use super::files::{FileError, MountPoint, Place, SharedTree, View};
use super::instance::{Input as Stdin, Instance};
use super::process::Run;
use super::shell::{self, Input, NotExecutable, Setup, Sink};
use crate::plan::{MASK, is_secret};
use crate::{
    Capability, Cursor, Error, ErrorKind, EventKind, EventStream, Exec, Exit, Filter, Health, Images, InstanceId,
    Listed, Logs, Networks, Observed, OpContext, Plan, PlanNetwork, Result, Runtime, RuntimeInfo, Snapshots, State,
    Stats, StdStream, Stop, Volumes,
};

#[async_trait]
impl Runtime for Memory {
    fn info(&self) -> &RuntimeInfo {
        &self.info
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        let health = Health { version: self.info.version.clone(), warnings: Vec::new() };
        self.engine.answer(cx, "probe", async { Ok(health) }).await
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        self.engine.answer(cx, "create", async { create(&self.engine, "create", plan) }).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let act = async {
            let id = create(&self.engine, "run", plan)?;
            let ran = self.engine.world().find("run", &id)?.started.is_some();
            if !ran {
                start(&self.engine, "run", &id)?;
            }
            Ok(id)
        };
        self.engine.answer(cx, "run", act).await
    }

    async fn start(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let act = async {
            leave_foreign(&self.engine, "start", id)?;
            start(&self.engine, "start", id)
        };
        self.engine.answer(cx, "start", act).await
    }

    async fn stop(&self, cx: &OpContext, id: &InstanceId, how: &Stop) -> Result<()> {
        let act = async {
            leave_foreign(&self.engine, "stop", id)?;
            stop(&self.engine, id, how).await
        };
        self.engine.answer(cx, "stop", act).await
    }

    async fn remove(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let act = async {
            leave_foreign(&self.engine, "remove", id)?;
            remove(&self.engine, id)
        };
        self.engine.answer(cx, "remove", act).await
    }

    async fn inspect(&self, cx: &OpContext, id: &InstanceId) -> Result<Observed> {
        let act = async { self.engine.world().find("inspect", id).map(Instance::observed) };
        self.engine.answer(cx, "inspect", act).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        let act = async {
            let world = self.engine.world();
            let matches =
                |instance: &&Instance| filter.labels.iter().all(|(key, value)| instance.labels.get(key) == Some(value));
            let mut rows: Vec<Listed> =
                world.instances.values().filter(matches).map(|instance| instance.observed().listed()).collect();
            rows.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(rows)
        };
        self.engine.answer(cx, "list", act).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        self.engine.answer(cx, "watch", async { events::watch(&self.engine, &from) }).await
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        Some(self)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        Some(self)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        Some(self)
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn explain(&self, plan: &Plan) -> Result<serde_json::Value> {
        let mut shown = plan.clone();
        shown.env.iter_mut().filter(|(key, _)| is_secret(key)).for_each(|(_, value)| *value = MASK.to_owned());
        Ok(serde_json::json!({ "name": plan.name(), "labels": plan.all_labels(), "plan": shown }))
    }
}

/// A name does not reach what carries no label of ours; its id does.
fn leave_foreign(engine: &Engine, operation: &'static str, id: &InstanceId) -> Result<()> {
    let world = engine.world();
    match world.find(operation, id) {
        Ok(found) if found.identity.is_none() && found.id != *id => {
            let words = format!("`{id}` carries no labels of Hythe; it is left alone");
            Err(Error::new(ErrorKind::Conflict, operation, words))
        }
        _ => Ok(()),
    }
}

/// Starts an instance that carries no label of ours.
pub(super) fn run_foreign(engine: &Arc<Engine>, name: &str, plan: &Plan) -> Result<InstanceId> {
    let id = {
        let mut world = engine.world();
        let content = requirements(&world, "control", plan)?;
        let mut instance = record(&mut world, plan, &content);
        instance.name = name.to_owned();
        instance.labels.clear();
        instance.identity = None;
        let (id, created) = (instance.id.clone(), instance.created);
        engine.events.report(&instance, created, EventKind::Created);
        world.instances.insert(id.clone(), instance);
        id
    };
    start(engine, "control", &id)?;
    Ok(id)
}

fn create(engine: &Engine, operation: &'static str, plan: &Plan) -> Result<InstanceId> {
    let mut world = engine.world();
    let name = plan.name();
    if let Some(held) = world.by_name(&name) {
        let same = held.identity.as_ref() == Some(&plan.identity);
        let words = format!("the name `{name}` is held by instance `{}`", held.id);
        return if same { Ok(held.id.clone()) } else { Err(Error::new(ErrorKind::AlreadyExists, operation, words)) };
    }
    let content = requirements(&world, operation, plan)?;
    let instance = record(&mut world, plan, &content);
    let (id, created) = (instance.id.clone(), instance.created);
    engine.events.report(&instance, created, EventKind::Created);
    world.instances.insert(id.clone(), instance);
    Ok(id)
}

/// Everything the plan names is there; gives the image.
fn requirements(world: &World, operation: &'static str, plan: &Plan) -> Result<Content> {
    let missing = |what: &str, name: &str| Error::new(ErrorKind::NotFound, operation, format!("no {what} `{name}`"));
    let found = world.images.find(&plan.image);
    let (_, content) = found.ok_or_else(|| missing("image", &plan.image.to_string()))?;
    if let PlanNetwork::Bridged { attachments } = &plan.network {
        for attachment in attachments {
            world.networks.get(&attachment.network).ok_or_else(|| missing("network", &attachment.network))?;
        }
    }
    for mount in &plan.mounts {
        match &mount.source {
            MountSource::Volume { name, .. } => {
                world.volumes.get(name).ok_or_else(|| missing("volume", name))?;
            }
            MountSource::Bind { path, .. } if !Path::new(path).exists() => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    operation,
                    format!("the host path `{path}` does not exist"),
                ));
            }
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => {}
        }
    }
    Ok(content)
}

fn record(world: &mut World, plan: &Plan, content: &Content) -> Instance {
    let id = InstanceId(world.next_id());
    let number = u8::try_from(world.made() % 250 + 2).unwrap_or(2);
    let mut ports = plan.ports.clone();
    ports.sort();
    Instance {
        id,
        name: plan.name(),
        labels: plan.all_labels(),
        identity: Some(plan.identity.clone()),
        plan: plan.clone(),
        image_id: content.id(),
        config: content.config.clone(),
        root: SharedTree::new(content.tree.clone().into()),
        console: Arc::new(Console::default()),
        created: world.now(),
        started: None,
        finished: None,
        exit: None,
        run: None,
        stdin: None,
        paused: false,
        stopping: false,
        oom: false,
        ports,
        number,
    }
}

fn start(engine: &Arc<Engine>, operation: &'static str, id: &InstanceId) -> Result<()> {
    let mut world = engine.world();
    let instance = world.find(operation, id)?;
    if instance.run.is_some() {
        return Ok(());
    }
    let id = instance.id.clone();
    let setup = match prepare(&mut world, operation, &id) {
        Ok(setup) => setup,
        Err((error, exit)) => {
            let now = world.now();
            let instance = world.find_mut(operation, &id)?;
            instance.exit = exit;
            instance.finished = instance.exit.is_some().then_some(now);
            return Err(error);
        }
    };
    let now = world.now();
    let instance = world.find_mut(operation, &id)?;
    instance.started = Some(now);
    instance.finished = None;
    instance.exit = None;
    instance.run = Some(Arc::clone(&setup.run));
    engine.events.report(instance, now, EventKind::Started);
    drop(world);
    tokio::spawn(live(Arc::clone(engine), id, setup));
    Ok(())
}

type Refused = (Error, Option<Exit>);

/// Checks and takes everything a start needs.
fn prepare(world: &mut World, operation: &'static str, id: &InstanceId) -> std::result::Result<Setup, Refused> {
    let plain = |error: Error| (error, None);
    let view = view_of(world, operation, id).map_err(plain)?;
    let ports = pick_ports(world, operation, id).map_err(plain)?;
    let instance = world.find_mut(operation, id).map_err(plain)?;
    let user = shell::find_user(&view, instance.user().as_deref()).map_err(|name| {
        plain(Error::new(ErrorKind::Invalid, operation, format!("no user or group `{name}` in the image")))
    })?;
    let workdir = instance.workdir().map(|path| path.trim_end_matches('/').to_owned()).unwrap_or_default();
    match view.make_directory(&workdir) {
        Ok(()) | Err(FileError::Exists | FileError::ReadOnly) => {}
        Err(error) => {
            let words = format!("the working directory `{workdir}` cannot be made: {error}");
            return Err(plain(Error::new(ErrorKind::Invalid, operation, words)));
        }
    }
    let (entrypoint, command) = instance.arguments();
    let arguments = [entrypoint, command].concat();
    check_command(&view, operation, &workdir, &arguments)?;
    let run = Run::new(instance.plan.init);
    let stdin = open_stdin(instance);
    let console = |stream| Sink::Console(Arc::clone(&instance.console), stream);
    let stderr = if instance.plan.tty { StdStream::Stdout } else { StdStream::Stderr };
    let setup = Setup {
        arguments,
        env: instance.env(),
        workdir,
        user,
        hostname: instance.plan.hostname.clone(),
        view,
        pid: run.main_pid(),
        mailbox: Arc::clone(&run.main),
        run,
        terminal: instance.plan.tty,
        stdin,
        stdout: console(StdStream::Stdout),
        stderr: console(stderr),
    };
    instance.ports = ports;
    Ok(setup)
}

fn check_command(
    view: &View,
    operation: &'static str,
    workdir: &str,
    arguments: &[String],
) -> std::result::Result<(), Refused> {
    let Some(program) = arguments.first() else {
        let words = "neither the plan nor the image names a command";
        return Err((Error::new(ErrorKind::Invalid, operation, words), None));
    };
    let cannot = |why: NotExecutable| {
        let words = format!("cannot execute `{program}`: {}", why.words());
        let exit = Exit { code: why.code(), signal: None, oom: false, error: Some(words.clone()) };
        (Error::new(ErrorKind::Invalid, operation, words), Some(exit))
    };
    shell::look_up(view, workdir, program).map(drop).map_err(cannot)
}

fn open_stdin(instance: &mut Instance) -> Input {
    if !instance.plan.stdin {
        instance.stdin = None;
        return Input::empty();
    }
    let (sender, receiver) = mpsc::channel::<Stdin>(16);
    instance.stdin = Some(sender);
    let bytes = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let bytes = receiver.recv().await.flatten()?;
        Some((std::io::Result::Ok(bytes), receiver))
    });
    Input::new(StreamReader::new(Box::pin(bytes)))
}

/// The files of an instance, with what the image has copied up to fresh volumes.
pub(super) fn view_of(world: &mut World, operation: &'static str, id: &InstanceId) -> Result<View> {
    let instance = world.find(operation, id)?;
    let (root, read_only, mounts) = (Arc::clone(&instance.root), instance.plan.read_only, instance.plan.mounts.clone());
    let mut points = Vec::new();
    for mount in mounts {
        let place = match mount.source {
            MountSource::Bind { path, .. } => Place::Host(path.into()),
            MountSource::Tmpfs { .. } => Place::Tree(SharedTree::default()),
            MountSource::Volume { name, .. } => {
                let missing = || Error::new(ErrorKind::NotFound, operation, format!("no volume `{name}`"));
                let volume = world.volumes.get_mut(&name).ok_or_else(missing)?;
                copy_up(volume, &root, &mount.target);
                Place::Tree(Arc::clone(&volume.tree))
            }
        };
        points.push(MountPoint { target: mount.target, place, read_only: mount.read_only });
    }
    Ok(View::new(root, read_only, points))
}

fn copy_up(volume: &mut Volume, root: &SharedTree, target: &str) {
    if !volume.used {
        let image = root.lock().unwrap_or_else(std::sync::PoisonError::into_inner).below(target);
        *volume.tree.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = image;
        volume.used = true;
    }
}

/// The plan's ports with free host ports for those that name none.
fn pick_ports(world: &mut World, operation: &'static str, id: &InstanceId) -> Result<Vec<Port>> {
    let taken: BTreeSet<(u16, Protocol, Option<IpAddr>)> = world
        .instances
        .values()
        .filter(|other| other.run.is_some() && other.id != *id)
        .flat_map(|other| &other.ports)
        .filter_map(|port| Some((port.host_port?, port.protocol, port.host_ip)))
        .collect();
    let mut ports = world.find(operation, id)?.plan.ports.clone();
    for port in &mut ports {
        let clashes = |number: u16| {
            let overlap = |ip: Option<IpAddr>| ip.is_none() || port.host_ip.is_none() || ip == port.host_ip;
            taken.iter().any(|(other, protocol, ip)| *other == number && *protocol == port.protocol && overlap(*ip))
        };
        match port.host_port {
            Some(number) if clashes(number) => {
                let words = format!("the host port `{port}` is taken");
                return Err(Error::new(ErrorKind::Conflict, operation, words));
            }
            Some(_) => {}
            None => {
                world.next_port = world.next_port.checked_add(1).unwrap_or(40_000);
                port.host_port = Some(world.next_port);
            }
        }
    }
    ports.sort();
    Ok(ports)
}

/// The life of a main process, and the record of its end.
async fn live(engine: Arc<Engine>, id: InstanceId, setup: Setup) {
    let run = Arc::clone(&setup.run);
    let mailbox = Arc::clone(&setup.mailbox);
    let code = shell::execute(setup).await;
    run.ending.cancel();
    let killed = mailbox.died_of();
    let mut world = engine.world();
    let now = world.now();
    if let Ok(instance) = world.find_mut("watch", &id) {
        settle(&engine, instance, now, code, killed);
    }
    drop(world);
    run.ended.cancel();
}

fn settle(engine: &Engine, instance: &mut Instance, now: Timestamp, code: i32, killed: Option<u8>) {
    let mut exit = Exit::from_code(code);
    exit.signal = killed.map(hythe_spec::Signal).or(exit.signal);
    exit.oom = std::mem::take(&mut instance.oom);
    instance.console.close();
    instance.run = None;
    instance.stdin = None;
    instance.paused = false;
    instance.stopping = false;
    instance.finished = Some(now);
    instance.exit = Some(exit.clone());
    engine.events.report(instance, now, EventKind::Stopped { exit });
}

async fn stop(engine: &Engine, id: &InstanceId, how: &Stop) -> Result<()> {
    let (run, signal) = {
        let mut world = engine.world();
        let now = world.now();
        let instance = world.find_mut("stop", id)?;
        let Some(run) = instance.run.clone() else { return Ok(()) };
        if std::mem::take(&mut instance.paused) {
            engine.events.report(instance, now, EventKind::Unpaused);
        }
        instance.stopping = true;
        (run, how.signal.unwrap_or_else(|| instance.stop_signal()))
    };
    run.freeze(false);
    run.main.deliver(signal.0);
    let (dying, grace) = (run.clone(), how.grace);
    // The engine goes on with it whether or not the caller waits.
    tokio::spawn(async move {
        if tokio::time::timeout(grace, dying.ended.cancelled()).await.is_err() {
            dying.main.deliver(hythe_spec::Signal::KILL.0);
        }
    });
    run.ended.cancelled().await;
    Ok(())
}

fn remove(engine: &Engine, id: &InstanceId) -> Result<()> {
    let mut world = engine.world();
    let Ok(instance) = world.find("remove", id) else { return Ok(()) };
    let (id, state) = (instance.id.clone(), instance.state());
    if !matches!(state, State::Created | State::Exited) {
        let words = format!("instance `{}` runs", instance.name);
        return Err(Error::new(ErrorKind::Conflict, "remove", words).hint("stop it first"));
    }
    let now = world.now();
    if let Some(instance) = world.instances.remove(&id) {
        engine.events.report(&instance, now, EventKind::Removed);
    }
    Ok(())
}
