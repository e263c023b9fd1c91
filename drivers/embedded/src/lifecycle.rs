//! Making, starting, stopping and removing.

use std::fs;
use std::path::PathBuf;

use hythe_local::host_paths;
use hythe_local::image_volumes::{self, anonymous};
use hythe_local::instance_files::write_files;
use hythe_local::supervised::{Supervised, is_under_way, until_let_go};
use hythe_oci::Stored;
use hythe_oci_spec::{Command, Paths, seccomp};
use hythe_runtime::identity::name_in_use;
use hythe_runtime::{Error, ErrorKind, ImageConfig, Plan, PlanNetwork, Result, State};
use hythe_shim::files::replace_json;
use hythe_shim::journal::Kind;
use hythe_shim::{Directory, Filter, Report};
use hythe_spec::Seccomp;

use crate::checks::{check, check_command};
use crate::client;
use crate::context::Context;
use crate::error::{IoContext, from_shim, of_store};
use crate::instances::{Record, fresh_id, is_plain};
use crate::name_servers::{name_servers, reachable};
use crate::translate::{self, Instance, config_of};
use crate::userns_exec::Change;

impl Supervised for Context {
    fn instances(&self) -> &crate::instances::Instances {
        &self.instances
    }

    fn state(&self, operation: &'static str, record: &Record) -> Result<State> {
        Ok(crate::observe::state(self, operation, record)?.state)
    }
}

/// What becomes of the paths that an image declares as volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageVolumes {
    /// Each is a volume of the instance's own, gone with it.
    Own,
    /// They are directories like others: what a build writes there is in its image.
    None,
}

/// Makes an instance, or finds it made.
pub(crate) fn create(context: &Context, operation: &'static str, plan: &Plan) -> Result<Record> {
    make(context, operation, plan, &plan.name(), plan.labels_and_annotations(), ImageVolumes::Own)
}

/// Makes one under any name with any labels.
pub(crate) fn make(
    context: &Context,
    operation: &'static str,
    plan: &Plan,
    name: &str,
    labels: std::collections::BTreeMap<String, String>,
    volumes: ImageVolumes,
) -> Result<Record> {
    if !is_plain(name) {
        return Err(Error::new(ErrorKind::Invalid, operation, format!("`{name}` is no name for an instance")));
    }
    if let Some(owner) = context.instances.owner_of_name(operation, name)? {
        return same_attempt(operation, owner, name, &labels);
    }
    let image = context.store.get(&plan.image).map_err(of_store(operation))?;
    check(context, operation, plan)?;
    let mut record = describe(operation, plan, name, labels, &image)?;
    if volumes == ImageVolumes::Own {
        record.volumes = image_volumes::declared(operation, plan, declared_by(&image))?;
    }
    check_command(operation, plan, &record)?;
    let (made, _claim) = context.instances.making(operation, &record.id)?;
    let outcome = fill(context, operation, &record, &image, &made).and_then(|()| {
        let lock = context.instances.lock(operation)?;
        if let Some(owner) = context.instances.owner_of_name(operation, name)? {
            return same_attempt(operation, owner, name, &record.labels);
        }
        // Nobody removes an image without the lock; one that went meanwhile took its layers with it.
        context.store.get(&plan.image).map_err(of_store(operation))?;
        context.instances.publish(operation, &made, &record, &lock)?;
        Ok(record.clone())
    });
    // Published it is there no more.
    context.discard(operation, made.path(), "clean up")?;
    let found = outcome?;
    if found.id == record.id {
        context.event(&found, Kind::Created);
    }
    Ok(found)
}

fn same_attempt(
    operation: &'static str,
    owner: Record,
    name: &str,
    labels: &std::collections::BTreeMap<String, String>,
) -> Result<Record> {
    let wanted = hythe_runtime::Identity::from_labels(labels);
    if wanted.is_some() && owner.identity() == wanted {
        return Ok(owner);
    }
    Err(name_in_use(operation, name, &owner.id))
}

fn declared_by(image: &Stored) -> impl Iterator<Item = &String> {
    let found = image.config.config().as_ref().and_then(|config| config.volumes().as_ref());
    found.into_iter().flatten()
}

fn describe(
    operation: &'static str,
    plan: &Plan,
    name: &str,
    labels: std::collections::BTreeMap<String, String>,
    image: &Stored,
) -> Result<Record> {
    let config = config_of(image);
    let mut all = config.labels.clone();
    all.extend(labels);
    Ok(Record {
        id: fresh_id(operation)?,
        name: name.to_owned(),
        created: hythe_runtime::Clock::system().now(),
        labels: all,
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
    let plan = &record.plan;
    let layers = context.store.layers(image).map_err(of_store(operation))?;
    let filters = filters(operation, plan)?;
    // Where it will be once it is made.
    let instance = instance(context, record, layers);
    write_files(operation, plan, made, || reachable(context))?;
    image_volumes::make(operation, record.volumes.len(), made)?;
    let config = translate::shim_config(operation, plan, &record.command, filters, &instance, &context.host)?;
    replace_json(&made.config(), &config, true).context(operation, "write what to start")
}

/// The instance that a plan is translated for.
pub(crate) fn instance(context: &Context, record: &Record, layers: Vec<PathBuf>) -> Instance {
    let directory = context.instances.directory(&record.id);
    let hosts = match (&record.plan.network, &context.networks) {
        (PlanNetwork::Networks { .. }, Some(networks)) => networks.hosts_file(&record.id),
        _ => directory.at("hosts"),
    };
    Instance {
        id: record.id.clone(),
        metadata: record.metadata(),
        layers,
        journal: context.instances.journal(),
        paths: Paths {
            volumes: context.volumes(),
            anonymous: (0..).map(|at| anonymous(&directory, at)).zip(record.volumes.iter().cloned()).collect(),
            hosts,
            resolv_conf: directory.at("resolv.conf"),
            hostname: directory.at("hostname"),
            cgroup: cgroup(context, &record.id),
        },
        networks: context.networks_directory(),
        name_servers: name_servers(context),
    }
}

/// The cgroup of an instance: right below the root of each hierarchy, or below the delegated one; else none.
fn cgroup(context: &Context, id: &str) -> PathBuf {
    context.host.cgroups.as_deref().map(|above| above.join(format!("hythe-{id}"))).unwrap_or_default()
}

/// The compiled seccomp profile of a plan.
pub(crate) fn filters(operation: &'static str, plan: &Plan) -> Result<Vec<Filter>> {
    let security = &plan.security;
    if security.privileged {
        return Ok(Vec::new());
    }
    let (what, profile) = match &security.seccomp {
        Seccomp::Unconfined => return Ok(Vec::new()),
        Seccomp::Default => ("the default".to_owned(), seccomp::standard(&security.capabilities)),
        Seccomp::File(path) => {
            let text = fs::read_to_string(path).map_err(|error| error.to_string());
            (format!("`{path}`"), text.and_then(|text| seccomp::parse(&text, &security.capabilities)))
        }
    };
    let programs = profile.and_then(seccomp::Profile::compile).map_err(|reason| {
        Error::new(ErrorKind::Invalid, operation, format!("seccomp profile {what} cannot be used: {reason}"))
    })?;
    Ok(programs.iter().map(packed).collect())
}

/// As the shim keeps it on disk: each instruction is a number.
fn packed(program: &seccomp::BpfProgram) -> Filter {
    let instructions = program.iter().map(|instruction| {
        let [c0, c1] = instruction.code.to_le_bytes();
        let [k0, k1, k2, k3] = instruction.k.to_le_bytes();
        u64::from_le_bytes([c0, c1, instruction.jt, instruction.jf, k0, k1, k2, k3])
    });
    Filter(instructions.collect())
}

/// Starts an instance and waits until its main process is executed.
pub(crate) fn start(context: &Context, operation: &'static str, record: &Record) -> Result<()> {
    let _lock = context.instances.lock_instance(operation, &record.id)?;
    let directory = context.instances.directory(&record.id);
    while !is_under_way(operation, &directory)? {
        host_paths::check(operation, &record.plan)?;
        match client::shim(&context.shim, "start", &directory, operation)? {
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
    is_under_way(operation, &context.instances.directory(&record.id))?;
    let state = crate::observe::state(context, operation, record)?.state;
    if matches!(state, State::Running | State::Paused) {
        let message = format!("`{}` is running", record.name);
        return Err(Error::new(ErrorKind::Conflict, operation, message).hint("stop it first"));
    }
    until_let_go(operation, &record.name, &context.instances.directory(&record.id))?;
    // What a killed supervisor could not give back.
    if let (PlanNetwork::Networks { .. }, Some(_)) = (&record.plan.network, &context.networks) {
        context.change_networks(operation, Change::Detach(record.id.clone()))?;
    }
    let trash = {
        let lock = context.instances.lock(operation)?;
        match context.instances.read(operation, &record.id)? {
            // Renamed meanwhile, perhaps.
            Some(now) => context.instances.discard(operation, &now, &lock)?,
            None => return Ok(()),
        }
    };
    drop(instance_lock);
    context.event(record, Kind::Removed);
    context.discard(operation, &trash, format_args!("remove the files of `{}`", record.name))
}

/// The native form of a plan, for an image nobody has looked at.
pub(crate) fn explain(context: &Context, plan: &Plan) -> Result<serde_json::Value> {
    let command = Command::new(plan, &ImageConfig::default());
    let unknown = PathBuf::from(format!("<{}>", plan.image));
    let directory = context.root.join("instances").join("<id>");
    let instance = Instance {
        id: "<id>".to_owned(),
        metadata: serde_json::json!({ "name": plan.name(), "identity": plan.identity }),
        layers: vec![unknown],
        journal: context.instances.journal(),
        paths: Paths {
            volumes: context.volumes(),
            anonymous: Vec::new(),
            hosts: directory.join("hosts"),
            resolv_conf: directory.join("resolv.conf"),
            hostname: directory.join("hostname"),
            cgroup: cgroup(context, "<id>"),
        },
        networks: context.networks_directory(),
        name_servers: name_servers(context),
    };
    // The compiled filters say nothing to people.
    let config = translate::shim_config("explain", plan, &command, Vec::new(), &instance, &context.host)?;
    serde_json::to_value(config).map_err(|error| Error::new(ErrorKind::Internal, "explain", error.to_string()))
}
