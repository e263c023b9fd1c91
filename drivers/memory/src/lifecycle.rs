//! Create, start, stop, signal, remove; the life of a main process.

use std::path::Path;
use std::sync::Arc;

use hythe_runtime::{
    Capability, Error, ErrorKind, EventKind, Exit, Feature, InstanceId, InstanceRef, OpContext, Plan, PlanNetwork,
    Result, State, StdStream, Stop, check_signal, identity,
};
use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{MountSource, Signal};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use crate::catalogue::Content;
use crate::console::Console;
use crate::engine::{Engine, World};
use crate::error::{missing, not_running};
use crate::files::{FileError, SharedTree, View};
use crate::instance::{Input as Stdin, Instance};
use crate::mounts::view_of;
use crate::ports::pick_ports;
use crate::process::Run;
use crate::scheduling;
use crate::shell::{self, Input, NotExecutable, Setup, Sink};

/// A name does not reach an instance that is not managed by Hythe; its id does.
pub(crate) fn ensure_owned(engine: &Engine, operation: &'static str, instance: &InstanceRef) -> Result<()> {
    let world = engine.world();
    match world.find(operation, instance) {
        Ok(found) => identity::ensure_owned(operation, instance, &found.labels),
        Err(_) => Ok(()),
    }
}

/// What has run starts again only where the runtime is configured so.
pub(crate) fn ensure_restartable(engine: &Engine, capability: &Capability, instance: &InstanceRef) -> Result<()> {
    let has_run = engine.world().find("start", instance)?.started.is_some();
    if has_run && !capability.supports(Feature::RestartInPlace) {
        let words = format!("`{instance}` has run, and this runtime starts nothing again");
        return Err(Error::new(ErrorKind::Unsupported, "start", words));
    }
    Ok(())
}

/// Starts an instance that is not managed by Hythe.
pub(crate) fn run_foreign(engine: &Arc<Engine>, name: &str, plan: &Plan) -> Result<InstanceId> {
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
    start(engine, "control", &id.to_ref())?;
    Ok(id)
}

pub(crate) fn create(engine: &Engine, operation: &'static str, plan: &Plan) -> Result<InstanceId> {
    let mut world = engine.world();
    let name = plan.name();
    if let Some(held) = world.by_name(&name) {
        let same = held.identity.as_ref() == Some(&plan.identity);
        return if same { Ok(held.id.clone()) } else { Err(identity::name_in_use(operation, &name, &held.id.0)) };
    }
    let content = requirements(&world, operation, plan)?;
    let instance = record(&mut world, plan, &content);
    let (id, created) = (instance.id.clone(), instance.created);
    engine.events.report(&instance, created, EventKind::Created);
    world.instances.insert(id.clone(), instance);
    Ok(id)
}

/// Creates, and starts what has never run.
pub(crate) async fn run(engine: &Arc<Engine>, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
    let id = create(engine, "run", plan)?;
    let has_run = engine.world().get("run", &id)?.started.is_some();
    if !has_run {
        scheduling::start(engine, cx, "run", &id.to_ref()).await?;
    }
    Ok(id)
}

/// Checks that everything the plan names exists; gives the image.
fn requirements(world: &World, operation: &'static str, plan: &Plan) -> Result<Content> {
    let found = world.images.find(&plan.image);
    let (_, content) = found.ok_or_else(|| missing(operation, "image", &plan.image.to_string()))?;
    if let PlanNetwork::Networks { attachments } = &plan.network {
        for attachment in attachments {
            world
                .networks
                .get(&attachment.network)
                .ok_or_else(|| missing(operation, "network", &attachment.network))?;
        }
    }
    for mount in &plan.all_mounts() {
        match &mount.source {
            MountSource::Volume { name, .. } => {
                world.volumes.get(name).ok_or_else(|| missing(operation, "volume", name))?;
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
        labels: plan.labels_and_annotations(),
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
        pending: None,
        start_failure: None,
        run: None,
        stdin: None,
        paused: false,
        stopping: false,
        oom: false,
        ports,
        number,
    }
}

pub(crate) fn start(engine: &Arc<Engine>, operation: &'static str, instance: &InstanceRef) -> Result<()> {
    let mut world = engine.world();
    let instance = world.find(operation, instance)?;
    if instance.run.is_some() {
        return Ok(());
    }
    let id = instance.id.clone();
    let setup = match prepare(&mut world, operation, &id) {
        Ok(setup) => setup,
        Err((error, exit)) => {
            let now = world.now();
            let instance = world.get_mut(operation, &id)?;
            instance.exit = exit;
            instance.finished = instance.exit.is_some().then_some(now);
            return Err(error);
        }
    };
    let now = world.now();
    let instance = world.get_mut(operation, &id)?;
    instance.started = Some(now);
    instance.finished = None;
    instance.exit = None;
    instance.run = Some(Arc::clone(&setup.run));
    engine.events.report(instance, now, EventKind::Started);
    drop(world);
    tokio::spawn(supervise(Arc::clone(engine), id, setup));
    Ok(())
}

type Refused = (Error, Option<Exit>);

/// Checks and takes everything a start needs.
fn prepare(world: &mut World, operation: &'static str, id: &InstanceId) -> std::result::Result<Setup, Refused> {
    let plain = |error: Error| (error, None);
    let view = view_of(world, operation, id).map_err(plain)?;
    let ports = pick_ports(world, operation, id).map_err(plain)?;
    let instance = world.get_mut(operation, id).map_err(plain)?;
    let user = shell::find_user(&view, instance.user().as_deref()).map_err(|name| {
        plain(Error::new(ErrorKind::Invalid, operation, format!("no user or group `{name}` in the image")))
    })?;
    let workdir = instance.workdir().map(|path| path.trim_end_matches('/').to_owned()).unwrap_or_default();
    match view.make_directory(&workdir) {
        Ok(()) | Err(FileError::Exists | FileError::ReadOnly) => {}
        Err(error) => {
            let words = format!("the working directory `{workdir}` cannot be created: {error}");
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
        let exit = Exit::never_started(why.code(), words.clone());
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

/// Runs the main process to its end and records how it ended.
async fn supervise(engine: Arc<Engine>, id: InstanceId, setup: Setup) {
    let run = Arc::clone(&setup.run);
    let mailbox = Arc::clone(&setup.mailbox);
    let code = shell::execute(setup).await;
    run.ending.cancel();
    let killed = mailbox.died_of();
    let mut world = engine.world();
    let now = world.now();
    if let Ok(instance) = world.get_mut("watch", &id) {
        record_exit(&engine, instance, now, code, killed);
    }
    drop(world);
    run.ended.cancel();
}

fn record_exit(engine: &Engine, instance: &mut Instance, now: Timestamp, code: i32, killed: Option<u8>) {
    let mut exit = Exit::from_code(code);
    if let Some(signal) = killed.map(hythe_spec::Signal) {
        exit = Exit { cause: ExitCause::Signal, signal: Some(signal), ..exit };
    }
    exit = exit.oom_killed(std::mem::take(&mut instance.oom));
    instance.console.close();
    instance.run = None;
    instance.stdin = None;
    instance.paused = false;
    instance.stopping = false;
    instance.finished = Some(now);
    instance.exit = Some(exit.clone());
    engine.events.report(instance, now, EventKind::Stopped { exit });
}

pub(crate) async fn stop(engine: &Engine, instance: &InstanceRef, how: &Stop) -> Result<()> {
    let (run, signal) = {
        let mut world = engine.world();
        let now = world.now();
        let instance = world.find_mut("stop", instance)?;
        instance.pending = None;
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

/// Sends a signal to the main process, whoever asks.
pub(crate) fn send(engine: &Engine, operation: &'static str, instance: &InstanceRef, signal: Signal) -> Result<()> {
    check_signal(operation, signal)?;
    let mut world = engine.world();
    let now = world.now();
    let instance = world.find_mut(operation, instance)?;
    let run = instance.run.clone().ok_or_else(|| not_running(operation, instance))?;
    engine.events.report(instance, now, EventKind::Signalled { signal: signal.to_string() });
    if signal == Signal::KILL && std::mem::take(&mut instance.paused) {
        engine.events.report(instance, now, EventKind::Unpaused);
        run.freeze(false);
    }
    run.main.deliver(signal.0);
    Ok(())
}

pub(crate) fn remove(engine: &Engine, instance: &InstanceRef) -> Result<()> {
    let mut world = engine.world();
    let Ok(instance) = world.find("remove", instance) else { return Ok(()) };
    let (id, state) = (instance.id.clone(), instance.state());
    if !matches!(state, State::Created | State::Exited) {
        let words = format!("instance `{}` is {state}", instance.name);
        return Err(Error::new(ErrorKind::Conflict, "remove", words).hint("stop it first"));
    }
    let now = world.now();
    if let Some(instance) = world.instances.remove(&id) {
        engine.events.report(&instance, now, EventKind::Removed);
    }
    Ok(())
}
