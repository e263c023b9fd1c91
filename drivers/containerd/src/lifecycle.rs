//! Making, starting, stopping and removing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hythe_local::IoContext;
use hythe_oci_spec::{Command, Paths};
use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::name_in_use;
use hythe_runtime::layers::kernel_mount;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{Error, ErrorKind, Exit, Identity, ImageConfig, InstanceRef, Plan, Result, Stop};
use hythe_shim::files::replace_json;
use hythe_shim::record::RootMount;
use hythe_spec::{Device, MountSource, Signal};
use serde_json::Value;

use crate::api_types::{
    Any, Container, ContainerRuntime, Empty, FieldMask, Kill, Mount, OfSnapshot, OfTask, OneContainer, PrepareSnapshot,
    SnapshotMounts, Status, UpdateContainer, Waited,
};
use crate::context::{Context, SharedContext};
use crate::error::exec_code;
use crate::image_load::{fresh_id, lease};
use crate::instance_files::write_files;
use crate::record::{Found, NAME, Record, by_name, internal, own};
use crate::task::{self, Run};
use crate::translate::{Instance, config_of, supervisor_config};
use crate::{images, streams, volumes};

/// The type of a specification.
const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// Longest wait for a killed process to be gone.
const KILLED: Duration = Duration::from_secs(10);

/// Makes an instance, or finds it made.
pub(crate) async fn create(context: &Context, operation: &'static str, plan: &Plan) -> Result<Found> {
    let _lock = context.lock(operation).await?;
    let name = plan.name();
    if let Some(found) = by_name(context, operation, &name).await? {
        let wanted = Some(&plan.identity);
        return match Identity::from_labels(&found.labels()).as_ref() == wanted {
            true => Ok(found),
            false => Err(name_in_use(operation, &name, found.id())),
        };
    }
    let image = images::get(context, operation, &plan.image).await?;
    check(context, operation, plan)?;
    let config = config_of(&image.config);
    let mut labels = config.labels.clone();
    labels.extend(plan.labels_and_annotations());
    let record = Record {
        id: fresh_id(operation)?,
        name,
        created: hythe_runtime::Clock::system().now(),
        labels,
        plan: plan.clone(),
        image_id: image.id.clone(),
        command: Command::new(plan, &config),
        stop_signal: plan.stop_signal.or(config.stop_signal),
    };
    check_workdir(operation, &record.command.workdir)?;
    let directory = context.directory(&record.id);
    fs::create_dir_all(directory.path()).context(operation, "make the instance's directory")?;
    let made = make(context, operation, &record, &image.chain).await;
    if made.is_err() {
        // Nobody knows of it.
        let _ = fs::remove_dir_all(directory.path());
    }
    made
}

async fn make(context: &Context, operation: &'static str, record: &Record, chain: &str) -> Result<Found> {
    write_files(operation, &record.plan, &context.directory(&record.id))?;
    let spec = explained(context, operation, &record.plan, &record.command, &record.id)?;
    let mut labels = record.plan.identity.labels();
    labels.insert(NAME.to_owned(), record.name.clone());
    let container = Container {
        id: record.id.clone(),
        labels: labels.into_iter().collect(),
        image: record.plan.image.to_string(),
        runtime: Some(ContainerRuntime { name: context.config.runtime_class.clone() }),
        spec: Some(document(operation, &spec["spec"])?),
        snapshotter: context.config.snapshotter.clone(),
        snapshot_key: record.id.clone(),
        created_at: None,
        extensions: [record.extension(operation)?].into(),
    };
    // Until the container refers to it, the lease keeps the snapshot; where it is never made, it goes with the lease.
    let lease = lease(context, operation).await?;
    let request = PrepareSnapshot {
        snapshotter: context.config.snapshotter.clone(),
        key: record.id.clone(),
        parent: chain.to_owned(),
        ..PrepareSnapshot::default()
    };
    let client = &context.client;
    let prepare = "snapshots.v1.Snapshots/Prepare";
    let prepared = client.call_leased::<SnapshotMounts>(operation, prepare, &request, Some(&lease)).await;
    let made = match prepared {
        Ok(_) => {
            let request = OneContainer { container: Some(container) };
            client
                .call_leased::<OneContainer>(operation, "containers.v1.Containers/Create", &request, Some(&lease))
                .await
        }
        Err(error) => Err(error),
    };
    let released = crate::api_types::DeleteLease { id: lease };
    let released = client.call::<Empty>(operation, "leases.v1.Leases/Delete", &released).await;
    let made = made?.container.ok_or_else(|| internal(operation, &"containerd made no container"))?;
    released?;
    Ok(Found::of(made))
}

fn document(operation: &'static str, spec: &Value) -> Result<Any> {
    let value = serde_json::to_vec(spec).map_err(|error| internal(operation, &error))?;
    Ok(Any { type_url: SPEC.to_owned(), value })
}

/// What the plan names must be there.
fn check(context: &Context, operation: &'static str, plan: &Plan) -> Result<()> {
    if let Some(target) = plan.kernel_mount() {
        return Err(kernel_mount(operation, target));
    }
    check_mounts(context, operation, plan)
}

/// What is mounted or granted must be there, at every start: it may have gone since it was made.
fn check_mounts(context: &Context, operation: &'static str, plan: &Plan) -> Result<()> {
    let absent = |path: &str| fs::symlink_metadata(path).is_err();
    for mount in &plan.all_mounts() {
        volumes::check(context, operation, &mount.source)?;
        if let MountSource::Bind { path, .. } = &mount.source
            && absent(path)
        {
            let message = format!("the host has no `{path}`");
            return Err(Error::new(ErrorKind::Invalid, operation, message).hint("make it first"));
        }
    }
    for device in &plan.devices {
        if let Device::Path { path, .. } = device
            && absent(path)
        {
            let message = format!("the host has no device `{path}`");
            return Err(Error::new(ErrorKind::Invalid, operation, message).hint("load the module that makes it"));
        }
    }
    Ok(())
}

fn instance(context: &Context, id: &str, rootfs: Vec<RootMount>) -> Instance {
    let directory = context.directory(id);
    Instance {
        id: id.to_owned(),
        paths: Paths {
            volumes: context.volumes(),
            anonymous: Vec::new(),
            hosts: directory.at("hosts"),
            resolv_conf: directory.at("resolv.conf"),
            hostname: directory.at("hostname"),
            cgroup: PathBuf::from(task::group(id)),
        },
        rootfs,
        log_segment: context.config.log_max_size.0,
    }
}

/// Starts an instance and waits until its main process is executed. One that has run is left alone where `once` is set.
pub(crate) async fn start(context: &Context, operation: &'static str, found: &Found, once: bool) -> Result<()> {
    let record = ours(operation, found)?;
    let _lock = context.lock_instance(operation, &record.id).await?;
    let run = Run::read(context, &record.id);
    let has_run = run.as_ref().is_some_and(|run| run.started.is_some());
    if let Some(process) = task::get(context, operation, &record.id).await? {
        if matches!(process.status(), Status::Running | Status::Paused | Status::Pausing) || (once && has_run) {
            return Ok(());
        }
        task::settle(context, operation, &process, &mut run.unwrap_or_default())?;
        delete(context, operation, &record.id).await?;
    } else if once && has_run {
        return Ok(());
    }
    let directory = context.directory(&record.id);
    let ending = directory.clone();
    run_blocking(operation, move || streams::end(&ending, operation)).await?;
    check_mounts(context, operation, &record.plan)?;
    write_files(operation, &record.plan, &directory)?;
    let request =
        OfSnapshot { snapshotter: context.config.snapshotter.clone(), key: found.container.snapshot_key.clone() };
    let mounts: SnapshotMounts = context.client.call(operation, "snapshots.v1.Snapshots/Mounts", &request).await?;
    let rootfs = mounts.mounts.iter().map(|mount| RootMount {
        kind: mount.kind.clone(),
        source: mount.source.clone(),
        options: mount.options.clone(),
    });
    let instance = instance(context, &record.id, rootfs.collect());
    let config = supervisor_config(operation, &record.plan, &record.command, &instance, &context.host)?;
    replace_json(&directory.config(), &config, true).context(operation, "write what to start")?;
    let (program, starting) = (context.config.shim.clone(), directory.clone());
    run_blocking(operation, move || streams::start(program.as_deref(), &starting, operation)).await?;
    let begun = begin(context, operation, record, mounts.mounts).await;
    let Err(error) = begun else { return Ok(()) };
    let ended = run_blocking(operation, move || streams::end(&directory, operation)).await;
    let deleted = delete(context, operation, &record.id).await;
    let mut run = Run::begun();
    let told = match exec_code(error.message()) {
        Some(code) => {
            run.exit = Some(Exit::never_started(code, error.message()));
            Error::new(ErrorKind::Invalid, operation, error.message())
                .hint("check the command and entrypoint against the files of the image")
        }
        None => error,
    };
    let written = run.write(context, operation, &record.id);
    let cleanup = [ended, deleted, written].into_iter().filter_map(Result::err);
    Err(cleanup.fold(told, |told, also| told.with("clean-up", also)))
}

/// Makes the task and executes its main process.
async fn begin(context: &Context, operation: &'static str, record: &Record, rootfs: Vec<Mount>) -> Result<()> {
    let directory = context.directory(&record.id);
    let path = directory.at("config.json");
    let spec = fs::read(&path).context(operation, format_args!("read `{}`", path.display()))?;
    let container = Container {
        id: record.id.clone(),
        spec: Some(Any { type_url: SPEC.to_owned(), value: spec }),
        ..Container::default()
    };
    let update_mask = Some(FieldMask { paths: vec!["spec".to_owned()] });
    let request = UpdateContainer { container: Some(container), update_mask };
    context.client.call::<OneContainer>(operation, "containers.v1.Containers/Update", &request).await?;
    let request = streams::connected(operation, &directory, record, rootfs)?;
    context.client.call::<Empty>(operation, "tasks.v1.Tasks/Create", &request).await?;
    let request = OfTask { container_id: record.id.clone(), exec_id: String::new() };
    // Written before: who dies here must not take it for one that never ran.
    let mut run = Run::begun();
    run.started = Some(hythe_runtime::Clock::system().now());
    run.write(context, operation, &record.id)?;
    context.client.call::<Empty>(operation, "tasks.v1.Tasks/Start", &request).await.map(drop)
}

/// Deletes a task. None there: success.
async fn delete(context: &Context, operation: &'static str, id: &str) -> Result<()> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    match context.client.call::<Empty>(operation, "tasks.v1.Tasks/Delete", &request).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn ours<'a>(operation: &'static str, found: &'a Found) -> Result<&'a Record> {
    found.record.as_ref().ok_or_else(|| {
        let message = format!("`{}` was not made by Hythe, which does not know how to start it", found.name());
        Error::new(ErrorKind::Unsupported, operation, message).hint("start it with `ctr tasks start`")
    })
}

/// Signal, grace, KILL.
pub(crate) async fn stop(
    context: &SharedContext,
    operation: &'static str,
    instance: &InstanceRef,
    how: Stop,
) -> Result<()> {
    let found = own(context, operation, instance).await?;
    // Whoever starts it is waited for.
    drop(context.lock_instance(operation, found.id()).await?);
    let Some(process) = task::get(context, operation, found.id()).await? else { return Ok(()) };
    let is_paused = matches!(process.status(), Status::Paused | Status::Pausing);
    if !is_paused && process.status() != Status::Running {
        return Ok(());
    }
    let signal = how.signal.or(found.record.as_ref().and_then(|record| record.stop_signal)).unwrap_or(Signal::TERM);
    let polite = end_by(context, operation, found.id(), signal, is_paused, how.grace).await?;
    if !polite && !end_by(context, operation, found.id(), Signal::KILL, false, KILLED).await? {
        let message = format!("`{}` is killed and does not end", found.name());
        return Err(Error::new(ErrorKind::Timeout, operation, message));
    }
    let directory = context.directory(found.id());
    run_blocking(operation, move || streams::drained(&directory, operation)).await?;
    crate::observe::settled(context, operation, found.id()).await.map(drop)
}

/// Whether it ended within the time. The wait stands before the signal is sent.
async fn end_by(
    context: &SharedContext,
    operation: &'static str,
    id: &str,
    signal: Signal,
    is_paused: bool,
    grace: Duration,
) -> Result<bool> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    let mut waiting = context.client.stream(operation, "tasks.v1.Tasks/Wait", &request, None).await?;
    kill(context, operation, id, signal).await?;
    if is_paused {
        resume(context, operation, id).await?;
    }
    match tokio::time::timeout(grace, waiting.next::<Waited>()).await {
        Ok(Ok(_)) => Ok(true),
        // Somebody has deleted it.
        Ok(Err(error)) if error.is_not_found() => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Whether there was a process to send it to.
async fn kill(context: &Context, operation: &'static str, id: &str, signal: Signal) -> Result<bool> {
    let request = Kill { container_id: id.to_owned(), exec_id: String::new(), signal: u32::from(signal.0) };
    match context.client.call::<Empty>(operation, "tasks.v1.Tasks/Kill", &request).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() || error.message().contains("already finished") => Ok(false),
        Err(error) => Err(error),
    }
}

async fn resume(context: &Context, operation: &'static str, id: &str) -> Result<()> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    match context.client.call::<Empty>(operation, "tasks.v1.Tasks/Resume", &request).await {
        // It has ended, or goes on already.
        Err(error) if error.is_not_found() || error.message().contains("not paused") => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Sends a signal to the main process. What is paused dies of KILL only once it goes on.
pub(crate) async fn signal(
    context: &SharedContext,
    operation: &'static str,
    instance: &InstanceRef,
    signal: Signal,
) -> Result<()> {
    let found = own(context, operation, instance).await?;
    let status = task::get(context, operation, found.id()).await?.map(|process| process.status());
    let is_paused = matches!(status, Some(Status::Paused | Status::Pausing));
    let runs = is_paused || status == Some(Status::Running);
    if !runs || !kill(context, operation, found.id(), signal).await? {
        let words = format!("`{}` is not running", found.name());
        return Err(Error::new(ErrorKind::Conflict, operation, words));
    }
    if is_paused && signal == Signal::KILL {
        resume(context, operation, found.id()).await?;
    }
    Ok(())
}

/// Removes an instance that does not run: its task first, then the container, then the snapshot and the files.
pub(crate) async fn remove(context: &Context, operation: &'static str, found: &Found) -> Result<()> {
    let id = found.id();
    let _lock = context.lock_instance(operation, id).await?;
    let _making = context.lock(operation).await?;
    if let Some(process) = task::get(context, operation, id).await? {
        if matches!(process.status(), Status::Running | Status::Paused | Status::Pausing) {
            let message = format!("`{}` is running", found.name());
            return Err(Error::new(ErrorKind::Conflict, operation, message).hint("stop it first"));
        }
        delete(context, operation, id).await?;
    }
    let directory = context.directory(id);
    let ending = directory.clone();
    run_blocking(operation, move || streams::end(&ending, operation)).await?;
    let absent = |outcome: Result<Empty>| match outcome {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    };
    let client = &context.client;
    let request = crate::api_types::ById { id: id.to_owned() };
    absent(client.call(operation, "containers.v1.Containers/Delete", &request).await)?;
    if !found.container.snapshot_key.is_empty() {
        let (snapshotter, key) = (found.container.snapshotter.clone(), found.container.snapshot_key.clone());
        let request = OfSnapshot { snapshotter, key };
        absent(client.call(operation, "snapshots.v1.Snapshots/Remove", &request).await)?;
    }
    match fs::remove_dir_all(directory.path()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.context(operation, format_args!("remove the files of `{}`", found.name())),
    }
}

fn explained(context: &Context, operation: &'static str, plan: &Plan, command: &Command, id: &str) -> Result<Value> {
    let config = supervisor_config(operation, plan, command, &instance(context, id, Vec::new()), &context.host)?;
    serde_json::to_value(config).map_err(|error| internal(operation, &error))
}

/// The native form of a plan, for an image nobody has looked at.
pub(crate) fn explain(context: &Context, plan: &Plan) -> Result<Value> {
    let mut explained = explained(context, "explain", plan, &Command::new(plan, &ImageConfig::default()), "<id>")?;
    explained["about"] = serde_json::json!({ "name": plan.name(), "identity": plan.identity });
    Ok(explained)
}
