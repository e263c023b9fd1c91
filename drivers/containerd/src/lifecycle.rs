//! Making, starting, stopping and removing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hythe_local::IoContext;
use hythe_local::image_volumes::{self, anonymous};
use hythe_local::instance_files::write_files;
use hythe_network::resolver::Resolver;
use hythe_oci_spec::{Command, Paths};
use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::name_in_use;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{Error, ErrorKind, Exit, Identity, ImageConfig, InstanceRef, Plan, PlanNetwork, Result, Stop};
use hythe_shim::files::replace_json;
use hythe_shim::record::RootMount;
use hythe_spec::Signal;
use serde_json::Value;

use crate::api_types::{
    Any, Container, ContainerRuntime, Empty, FieldMask, Mount, OfSnapshot, OfTask, OneContainer, PrepareSnapshot,
    SnapshotMounts, Status, UpdateContainer,
};
use crate::checks::{check, check_mounts};
use crate::context::{Context, SharedContext};
use crate::error::exec_code;
use crate::image_load::{fresh_id, lease};
use crate::record::{Found, NAME, Record, by_name, internal, own};
use crate::sweep::MAKING;
use crate::task::{self, Run};
use crate::translate::{Instance, config_of, supervisor_config};
use crate::{images, networks, seccomp, streams};

/// The type of a specification.
const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// Label by which containerd keeps the image's content.
const MANIFEST: &str = "containerd.io/gc.ref.content.image";
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
        manifest: image.manifest.clone(),
        command: Command::new(plan, &config),
        stop_signal: plan.stop_signal.or(config.stop_signal),
        volumes: image_volumes::declared(operation, plan, &declared_by(&image.config))?,
        seccomp: seccomp::profile(operation, plan)?,
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
    let directory = context.directory(&record.id);
    write_files(operation, &record.plan, &directory, Resolver::of_the_host)?;
    image_volumes::make(operation, record.volumes.len(), &directory)?;
    let instance = Instance {
        seccomp: record.seccomp.clone(),
        ..instance(context, &record.id, &record.plan, &record.volumes, Vec::new())
    };
    let spec = explained(context, operation, &record.plan, &record.command, &instance)?;
    let mut labels = record.plan.identity.labels();
    labels.insert(NAME.to_owned(), record.name.clone());
    // Another image may take its name.
    labels.insert(MANIFEST.to_owned(), record.manifest.clone());
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
    let lease = lease(context, operation, MAKING).await?;
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

fn declared_by(image: &Value) -> Vec<String> {
    image["config"]["Volumes"].as_object().into_iter().flatten().map(|(path, _)| path.clone()).collect()
}

fn instance(context: &Context, id: &str, plan: &Plan, volumes: &[String], rootfs: Vec<RootMount>) -> Instance {
    let directory = context.directory(id);
    let hosts = match (&plan.network, &context.networks) {
        (PlanNetwork::Networks { .. }, Some(networks)) => networks.hosts_file(id),
        _ => directory.at("hosts"),
    };
    Instance {
        id: id.to_owned(),
        paths: Paths {
            volumes: context.volumes(),
            anonymous: (0..).map(|at| anonymous(&directory, at)).zip(volumes.iter().cloned()).collect(),
            hosts,
            resolv_conf: directory.at("resolv.conf"),
            hostname: directory.at("hostname"),
            cgroup: PathBuf::from(task::group(id)),
        },
        rootfs,
        networks: context.networks_directory(),
        seccomp: Value::Null,
        init: context.init.clone(),
        log_segment: context.config.log_max_size.0,
    }
}

/// Starts an instance and waits until its main process is executed. One that has run is left alone where `once` is set.
pub(crate) async fn start(context: &SharedContext, operation: &'static str, found: &Found, once: bool) -> Result<()> {
    let record = ours(operation, found)?;
    let _lock = context.lock_instance(operation, &record.id).await?;
    let run = Run::read(context, &record.id);
    let has_run = run.as_ref().is_some_and(|run| run.started.is_some());
    if let Some(process) = task::get(context, operation, &record.id).await? {
        if matches!(process.status(), Status::Running | Status::Paused | Status::Pausing) || (once && has_run) {
            return Ok(());
        }
        task::settle(context, operation, &process, &mut run.unwrap_or_default())?;
        task::delete(context, operation, &record.id).await?;
    } else if once && has_run {
        return Ok(());
    }
    let directory = context.directory(&record.id);
    end_streams(context, operation, record, streams::LEAVING).await?;
    check_mounts(context, operation, &record.plan)?;
    write_files(operation, &record.plan, &directory, Resolver::of_the_host)?;
    let request =
        OfSnapshot { snapshotter: context.config.snapshotter.clone(), key: found.container.snapshot_key.clone() };
    let mounts: SnapshotMounts = context.client.call(operation, "snapshots.v1.Snapshots/Mounts", &request).await?;
    let rootfs = mounts.mounts.iter().map(|mount| RootMount {
        kind: mount.kind.clone(),
        source: mount.source.clone(),
        options: mount.options.clone(),
    });
    let instance = Instance {
        seccomp: record.seccomp.clone(),
        ..instance(context, &record.id, &record.plan, &record.volumes, rootfs.collect())
    };
    let config = supervisor_config(operation, &record.plan, &record.command, &instance, &context.host)?;
    replace_json(&directory.config(), &config, true).context(operation, "write what to start")?;
    let (program, starting) = (context.config.shim.clone(), directory.clone());
    run_blocking(operation, move || streams::start(program.as_deref(), &starting, operation)).await?;
    let begun = begin(context, operation, record, mounts.mounts).await;
    let Err(error) = begun else { return Ok(()) };
    let ended = end_streams(context, operation, record, Duration::ZERO).await;
    let deleted = task::delete(context, operation, &record.id).await;
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
    let polite = task::end_by(context, operation, found.id(), signal, is_paused, how.grace).await?;
    if !polite && !task::end_by(context, operation, found.id(), Signal::KILL, false, KILLED).await? {
        let message = format!("`{}` is killed and does not end", found.name());
        return Err(Error::new(ErrorKind::Timeout, operation, message));
    }
    let directory = context.directory(found.id());
    run_blocking(operation, move || streams::drained(&directory, operation)).await?;
    crate::observe::settled(context, operation, found.id()).await.map(drop)
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
    if !runs || !task::kill(context, operation, found.id(), signal).await? {
        let words = format!("`{}` is not running", found.name());
        return Err(Error::new(ErrorKind::Conflict, operation, words));
    }
    if is_paused && signal == Signal::KILL {
        task::resume(context, operation, found.id()).await?;
    }
    Ok(())
}

/// Removes an instance that does not run: its task first, then the container, then the snapshot and the files.
pub(crate) async fn remove(context: &SharedContext, operation: &'static str, found: &Found) -> Result<()> {
    let id = found.id();
    let _lock = context.lock_instance(operation, id).await?;
    let _making = context.lock(operation).await?;
    if let Some(process) = task::get(context, operation, id).await? {
        if matches!(process.status(), Status::Running | Status::Paused | Status::Pausing) {
            let message = format!("`{}` is running", found.name());
            return Err(Error::new(ErrorKind::Conflict, operation, message).hint("stop it first"));
        }
        task::delete(context, operation, id).await?;
    }
    let directory = context.directory(id);
    match &found.record {
        Some(record) => end_streams(context, operation, record, streams::LEAVING).await?,
        None => {
            let directory = directory.clone();
            run_blocking(operation, move || streams::end(&directory, operation, Duration::ZERO).map(drop)).await?;
        }
    }
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

/// Ends the supervisor of a run that has ended, and takes back what it could not.
async fn end_streams(
    context: &SharedContext,
    operation: &'static str,
    record: &Record,
    leaving: Duration,
) -> Result<()> {
    let directory = context.directory(&record.id);
    let ending = directory.clone();
    let killed = run_blocking(operation, move || streams::end(&ending, operation, leaving)).await?;
    if killed || directory.connected().exists() {
        networks::detach(context, operation, &record.id).await?;
        // Absent is what is wanted.
        let _ = fs::remove_file(directory.connected());
    }
    Ok(())
}

fn explained(
    context: &Context,
    operation: &'static str,
    plan: &Plan,
    command: &Command,
    instance: &Instance,
) -> Result<Value> {
    let config = supervisor_config(operation, plan, command, instance, &context.host)?;
    serde_json::to_value(config).map_err(|error| internal(operation, &error))
}

/// The native form of a plan, for an image nobody has looked at.
pub(crate) fn explain(context: &Context, plan: &Plan) -> Result<Value> {
    let seccomp = seccomp::profile("explain", plan)?;
    let instance = Instance { seccomp, ..instance(context, "<id>", plan, &[], Vec::new()) };
    let command = Command::new(plan, &ImageConfig::default());
    let mut explained = explained(context, "explain", plan, &command, &instance)?;
    explained["image"] = plan.image.to_string().into();
    explained["about"] = serde_json::json!({ "name": plan.name(), "identity": plan.identity });
    Ok(explained)
}
