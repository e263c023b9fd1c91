//! Making, starting and removing.

use std::path::Path;

use hythe_guest::{Layer, base_disk, initrd, overlay, protocol};
use hythe_local::instance_files::write_files;
use hythe_local::instances::{Record, fresh_id, is_plain};
use hythe_local::supervised::{is_under_way, until_let_go};
use hythe_local::{from_shim, image::config_of};
use hythe_network::resolver::Resolver;
use hythe_oci::Stored;
use hythe_oci_spec::Command;
use hythe_runtime::identity::name_in_use;
use hythe_runtime::{Error, ErrorKind, Identity, ImageConfig, Plan, PlanNetwork, Result, State};
use hythe_shim::files::replace_json;
use hythe_shim::journal::Kind;
use hythe_shim::{Directory, Report};
use hythe_spec::Signal;

use crate::checks::{check, check_command};
use crate::client;
use crate::context::Context;
use crate::error::{IoContext, of_guest, of_store};
use crate::shim::START;
use crate::translate::{self, Instance};

/// Makes an instance, or finds it made.
pub(crate) fn create(context: &Context, operation: &'static str, plan: &Plan) -> Result<Record> {
    let name = plan.name();
    if !is_plain(&name) {
        return Err(Error::new(ErrorKind::Invalid, operation, format!("`{name}` is no name for an instance")));
    }
    if let Some(owner) = context.instances.owner_of_name(operation, &name)? {
        return same_attempt(operation, owner, plan);
    }
    let image = context.store.get(&plan.image).map_err(of_store(operation))?;
    check(context, operation, plan)?;
    let record = describe(operation, plan, &image)?;
    check_command(operation, plan, &record)?;
    let (made, _claim) = context.instances.making(operation, &record.id)?;
    let outcome = fill(context, operation, &record, &image, &made).and_then(|()| {
        let lock = context.instances.lock(operation)?;
        if let Some(owner) = context.instances.owner_of_name(operation, &name)? {
            return same_attempt(operation, owner, plan);
        }
        // Nobody removes an image without the lock.
        context.store.get(&plan.image).map_err(of_store(operation))?;
        context.instances.publish(operation, &made, &record, &lock)?;
        Ok(record.clone())
    });
    // Published it is there no more.
    Context::discard(operation, made.path(), "clean up")?;
    let found = outcome?;
    if found.id == record.id {
        context.event(&found, Kind::Created);
    }
    Ok(found)
}

fn same_attempt(operation: &'static str, owner: Record, plan: &Plan) -> Result<Record> {
    let wanted = Identity::from_labels(&plan.identity.labels());
    if wanted.is_some() && owner.identity() == wanted {
        return Ok(owner);
    }
    Err(name_in_use(operation, &plan.name(), &owner.id))
}

fn describe(operation: &'static str, plan: &Plan, image: &Stored) -> Result<Record> {
    let config = config_of(image);
    let mut labels = config.labels.clone();
    labels.extend(plan.labels_and_annotations());
    Ok(Record {
        id: fresh_id(operation)?,
        name: plan.name(),
        created: hythe_runtime::Clock::system().now(),
        labels,
        plan: plan.clone(),
        image_id: image.id.clone(),
        manifest: image.digest.clone(),
        chains: image.layers.iter().map(|layer| layer.chain_id.clone()).collect(),
        command: Command::new(plan, &config),
        stop_signal: plan.stop_signal.or(config.stop_signal),
        volumes: Vec::new(),
    })
}

fn fill(context: &Context, operation: &'static str, record: &Record, image: &Stored, made: &Directory) -> Result<()> {
    let size = context.config.disk_size.0;
    let mut layers = Vec::new();
    for layer in &image.layers {
        let blob = context.store.layer_blob(layer).map_err(of_store(operation))?;
        layers.push(Layer::of_blob(layer.digest.clone(), &blob));
    }
    let base = base_disk(&context.cache(), &image.id, layers, size).map_err(of_guest(operation))?;
    overlay(&made.at("disk.qcow2"), &base, size).map_err(of_guest(operation))?;
    let boot = initrd(&context.cache(), &context.kernel).map_err(of_guest(operation))?;
    write_files(operation, &record.plan, made, Resolver::of_the_host)?;
    let instance = instance(context, record, image, &boot);
    let stop_signal = i32::from(record.stop_signal.unwrap_or(Signal::TERM).0);
    let launch = translate::launch(&record.plan, &record.command, stop_signal, &instance, &context.host);
    replace_json(&made.config(), &launch, true).context(operation, "write what to start")
}

/// The instance that a plan is translated for, where it will be once it is made.
fn instance(context: &Context, record: &Record, image: &Stored, initrd: &Path) -> Instance {
    let directory = context.instances.directory(&record.id);
    let hosts = match (&record.plan.network, &context.networks) {
        (PlanNetwork::Networks { .. }, Some(networks)) => networks.hosts_file(&record.id),
        _ => directory.at("hosts"),
    };
    Instance {
        id: record.id.clone(),
        metadata: record.metadata(),
        directory: directory.path().to_owned(),
        initrd: initrd.to_owned(),
        journal: context.instances.journal(),
        volumes: context.volumes(),
        networks: context.networks_directory(),
        hosts,
        exposed: exposed(image),
    }
}

/// `80/tcp` of an image's configuration, as the guest is asked to watch it.
fn exposed(image: &Stored) -> Vec<protocol::Port> {
    let written = image.config.config().as_ref().and_then(|config| config.exposed_ports().as_ref());
    let port = |text: &String| {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol {
            "tcp" => protocol::Protocol::Tcp,
            "udp" => protocol::Protocol::Udp,
            _ => return None,
        };
        Some(protocol::Port { port: number.parse().ok()?, protocol })
    };
    written.into_iter().flatten().filter_map(port).collect()
}

/// Starts an instance and waits until its main process is executed in the guest.
pub(crate) fn start(context: &Context, operation: &'static str, record: &Record) -> Result<()> {
    let _lock = context.instances.lock_instance(operation, &record.id)?;
    let directory = context.instances.directory(&record.id);
    while !is_under_way(operation, &directory)? {
        match client::shim(&context.shim, START, &directory, operation)? {
            Report::Done => break,
            // Somebody who died had started one just before.
            Report::Locked => {}
            Report::Failed(fault) => return Err(from_shim(operation, &fault)),
        }
    }
    Ok(())
}

/// Removes an instance that does not run.
pub(crate) fn remove(context: &Context, operation: &'static str, record: &Record) -> Result<()> {
    let instance_lock = match context.instances.lock_instance(operation, &record.id) {
        Err(error) if error.is_not_found() => return Ok(()),
        lock => lock?,
    };
    let directory = context.instances.directory(&record.id);
    is_under_way(operation, &directory)?;
    let state = crate::observe::state(context, operation, record)?.state;
    if matches!(state, State::Running | State::Paused) {
        let message = format!("`{}` is running", record.name);
        return Err(Error::new(ErrorKind::Conflict, operation, message).hint("stop it first"));
    }
    until_let_go(operation, &record.name, &directory)?;
    // What a killed supervisor could not give back.
    if let (PlanNetwork::Networks { .. }, Some(networks)) = (&record.plan.network, &context.networks) {
        networks.detach(&record.id)?;
    }
    let trash = {
        let lock = context.instances.lock(operation)?;
        match context.instances.read(operation, &record.id)? {
            Some(now) => context.instances.discard(operation, &now, &lock)?,
            None => return Ok(()),
        }
    };
    drop(instance_lock);
    context.event(record, Kind::Removed);
    Context::discard(operation, &trash, &format!("remove the files of `{}`", record.name))
}

/// The native form of a plan, for an image nobody has looked at.
pub(crate) fn explain(context: &Context, plan: &Plan) -> Result<serde_json::Value> {
    let command = Command::new(plan, &ImageConfig::default());
    let directory = context.root.join("instances").join("<id>");
    let instance = Instance {
        id: "<id>".to_owned(),
        metadata: serde_json::json!({ "name": plan.name(), "identity": plan.identity }),
        hosts: directory.join("hosts"),
        directory,
        initrd: context.cache().join("<initrd>"),
        journal: context.instances.journal(),
        volumes: context.volumes(),
        networks: context.networks_directory(),
        exposed: Vec::new(),
    };
    let stop_signal = i32::from(plan.stop_signal.unwrap_or(Signal::TERM).0);
    let launch = translate::launch(plan, &command, stop_signal, &instance, &context.host);
    serde_json::to_value(launch).map_err(|error| Error::new(ErrorKind::Internal, "explain", error.to_string()))
}
