//! Making, starting, stopping and removing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use hythe_oci::Stored;
use hythe_runtime::plan::{MASK, is_secret};
use hythe_runtime::{Error, ErrorKind, ImageConfig, InstanceId, Plan, PlanNetwork, Result, State, Stop};
use hythe_shim::files::replace_json;
use hythe_shim::journal::Kind;
use hythe_shim::outward::RESOLVER;
use hythe_shim::protocol::Request;
use hythe_shim::{Directory, Filter, Report};
use hythe_spec::{HostAddress, MountSource, Seccomp, Signal};
use jiff::Timestamp;

use crate::client;
use crate::core::{Core, Shared};
use crate::errand::Change;
use crate::error::{Doing, blocking, of_fault, of_store};
use crate::images::config_of;
use crate::instances::{Record, fresh_id, is_plain};
use crate::network::resolver::Resolver;
use crate::seccomp;
use crate::translate::{self, Places, volume_files};

/// Longest wait for a killed process to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// Time between two looks for a supervisor: the kernel tells of a dropped lock only who waits to take it, and taking it would lie to others.
const LOOK: Duration = Duration::from_millis(1);

/// Makes an instance, or finds it made.
pub(crate) fn create(core: &Core, operation: &'static str, plan: &Plan) -> Result<Record> {
    make(core, operation, plan, &plan.name(), plan.all_labels())
}

/// Makes one under any name with any labels.
pub(crate) fn make(
    core: &Core,
    operation: &'static str,
    plan: &Plan,
    name: &str,
    labels: std::collections::BTreeMap<String, String>,
) -> Result<Record> {
    if !is_plain(name) {
        return Err(Error::new(ErrorKind::Invalid, operation, format!("`{name}` is no name for an instance")));
    }
    if let Some(holder) = core.instances.holder(operation, name)? {
        return same_attempt(operation, holder, name, &labels);
    }
    let image = core.store.get(&plan.image).map_err(of_store(operation))?;
    check(core, operation, plan)?;
    let record = describe(operation, plan, name, labels, &image)?;
    let (made, _hand) = core.instances.making(operation, &record.id)?;
    let outcome = fill(core, operation, &record, &image, &made).and_then(|()| {
        let turn = core.instances.turn(operation)?;
        if let Some(holder) = core.instances.holder(operation, name)? {
            return same_attempt(operation, holder, name, &record.labels);
        }
        // Nobody removes an image without the turn; one that went meanwhile took its layers with it.
        core.store.get(&plan.image).map_err(of_store(operation))?;
        core.instances.publish(operation, &made, &record, &turn)?;
        Ok(record.clone())
    });
    // Published it is there no more.
    core.discard(operation, made.path(), "clean up")?;
    let found = outcome?;
    if found.id == record.id {
        core.event(&found, Kind::Created);
    }
    Ok(found)
}

fn same_attempt(
    operation: &'static str,
    holder: Record,
    name: &str,
    labels: &std::collections::BTreeMap<String, String>,
) -> Result<Record> {
    let wanted = hythe_runtime::Identity::from_labels(labels);
    if wanted.is_some() && holder.identity() == wanted {
        return Ok(holder);
    }
    let message = format!("the name `{name}` is held by another instance, `{}`", holder.id);
    Err(Error::new(ErrorKind::AlreadyExists, operation, message))
}

/// Everything that the plan names must be there.
fn check(core: &Core, operation: &'static str, plan: &Plan) -> Result<()> {
    for mount in &plan.mounts {
        match &mount.source {
            MountSource::Volume { name, .. } if !volume_files(&core.volumes(), name).is_dir() => {
                return Err(Error::new(ErrorKind::NotFound, operation, format!("no volume `{name}`")));
            }
            MountSource::Bind { path, .. } if fs::symlink_metadata(path).is_err() => {
                let message = format!("the host has no `{path}`");
                return Err(Error::new(ErrorKind::Invalid, operation, message).hint("make it first, or use a volume"));
            }
            MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => {}
        }
    }
    if let PlanNetwork::Bridged { attachments } = &plan.network {
        let known = core.networks(operation)?.list()?;
        if let Some(missing) = attachments.iter().find(|one| !known.iter().any(|network| network.name == one.network)) {
            return Err(Error::new(ErrorKind::NotFound, operation, format!("no network `{}`", missing.network)));
        }
    }
    Ok(())
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
        created: Timestamp::now(),
        labels: all,
        plan: plan.clone(),
        image_id: image.id.clone(),
        manifest: image.digest.clone(),
        chains: image.layers.iter().map(|layer| layer.chain_id.clone()).collect(),
        command: translate::command(plan, &config),
        stop_signal: plan.stop_signal.or(config.stop_signal),
    })
}

fn fill(core: &Core, operation: &'static str, record: &Record, image: &Stored, made: &Directory) -> Result<()> {
    let plan = &record.plan;
    let layers = core.store.layers(image).map_err(of_store(operation))?;
    let filters = filters(operation, plan)?;
    // Where it will be once it is made.
    let places = places(core, record, layers);
    write_files(core, operation, plan, made)?;
    let launch = translate::launch(plan, &record.command, filters, &places, &core.machine);
    replace_json(&made.launch(), &launch, true).doing(operation, "write what to start")
}

/// Where things of an instance are.
pub(crate) fn places(core: &Core, record: &Record, layers: Vec<PathBuf>) -> Places {
    let directory = core.instances.directory(&record.id);
    let hosts = match (&record.plan.network, &core.networks) {
        (PlanNetwork::Bridged { .. }, Some(networks)) => networks.hosts_file(&record.id),
        _ => directory.at("hosts"),
    };
    Places {
        id: record.id.clone(),
        about: record.about(),
        layers,
        journal: core.instances.journal(),
        volumes: core.volumes(),
        networks: core.networks_directory(),
        hosts,
        resolv: directory.at("resolv.conf"),
        hostname: directory.at("hostname"),
    }
}

/// The system call filters of a plan.
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
    profile.and_then(seccomp::Profile::compile).map_err(|reason| {
        Error::new(ErrorKind::Invalid, operation, format!("system call filter {what} cannot be used: {reason}"))
    })
}

fn write_files(core: &Core, operation: &'static str, plan: &Plan, made: &Directory) -> Result<()> {
    let is_host = matches!(plan.network, PlanNetwork::Host);
    let mut hosts = if is_host {
        fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        let name = &plan.hostname;
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n")
    };
    for extra in &plan.extra_hosts {
        match extra.address {
            HostAddress::Ip(address) => hosts.push_str(&format!("{address}\t{}\n", extra.name)),
            HostAddress::HostGateway if is_host => hosts.push_str(&format!("127.0.0.1\t{}\n", extra.name)),
            HostAddress::HostGateway => {}
        }
    }
    let mut resolver = match plan.network {
        PlanNetwork::Host => None,
        PlanNetwork::None => Some(Resolver::default()),
        PlanNetwork::Bridged { .. } => Some(Resolver::of_the_machine().or(core.machine.outward.then_some(RESOLVER))),
    };
    if !plan.dns.is_empty() {
        resolver.get_or_insert_default().nameservers = plan.dns.clone();
    }
    let resolv = match resolver {
        Some(resolver) => resolver.text(),
        None => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    let files = [("hosts", hosts), ("resolv.conf", resolv), ("hostname", format!("{}\n", plan.hostname))];
    for (name, text) in files {
        let what = || format!("write `{name}`");
        fs::write(made.at(name), text).doing(operation, what())?;
        // Everybody inside reads them, whatever the agent's mask is.
        fs::set_permissions(made.at(name), fs::Permissions::from_mode(0o644)).doing(operation, what())?;
    }
    Ok(())
}

/// Starts an instance and waits until its main process is executed.
pub(crate) fn start(core: &Core, operation: &'static str, record: &Record) -> Result<()> {
    let _turn = core.instances.turn_of(operation, &record.id)?;
    let directory = core.instances.directory(&record.id);
    while !is_under_way(operation, &directory)? {
        match client::shim(&core.shim, "start", &directory, operation)? {
            Report::Done => break,
            // Somebody who died had started one just before.
            Report::Held => {}
            Report::Failed(fault) => return Err(of_fault(operation, &fault)),
        }
    }
    Ok(())
}

/// Whether a supervisor runs the instance. One that is still starting it, for a caller who died meanwhile, is waited for, and so is one that is leaving.
fn is_under_way(operation: &'static str, directory: &Directory) -> Result<bool> {
    while directory.shim().doing(operation, "look for the supervisor")?.is_some() {
        let run: Option<hythe_shim::record::Run> = hythe_shim::files::read_json(&directory.run()).ok();
        if run.is_some_and(|run| run.phase == hythe_shim::record::Phase::Running) {
            return Ok(true);
        }
        std::thread::sleep(LOOK);
    }
    Ok(false)
}

/// Signal, grace, KILL.
pub(crate) async fn stop(core: &Shared, operation: &'static str, id: &InstanceId, how: Stop) -> Result<()> {
    let (record, state) = {
        let (core, id) = (core.clone(), id.clone());
        blocking(operation, move || {
            let record = core.instances.own(operation, &id)?;
            // Whoever starts it is waited for, also where only the supervisor is left of that.
            let turn = core.instances.turn_of(operation, &record.id)?;
            is_under_way(operation, &core.instances.directory(&record.id))?;
            drop(turn);
            let state = crate::observe::state(&core, operation, &record)?;
            Ok((record, state.state))
        })
        .await?
    };
    if !matches!(state, State::Running | State::Paused) {
        return Ok(());
    }
    let directory = core.instances.directory(&record.id);
    let signal = how.signal.or(record.stop_signal).unwrap_or(Signal::TERM);
    let polite = end_by(operation, &directory, signal, state == State::Paused, how.grace).await?;
    if !polite && !end_by(operation, &directory, Signal::KILL, state == State::Paused, KILLED).await? {
        let message = format!("`{}` is killed and does not end", record.name);
        return Err(Error::new(ErrorKind::Timeout, operation, message));
    }
    let core = core.clone();
    // A supervisor that died meanwhile is settled here.
    blocking(operation, move || crate::observe::state(&core, operation, &record).map(drop)).await
}

/// Whether it ended within the time.
async fn end_by(
    operation: &'static str,
    directory: &Directory,
    signal: Signal,
    paused: bool,
    grace: Duration,
) -> Result<bool> {
    use client::Asked;
    let waiting = match client::ask(operation, directory, &Request::Wait, &[]).await? {
        Ok(Asked::Done(stream, _)) => stream,
        Ok(Asked::Gone) => return Ok(true),
        Err(fault) => return Err(of_fault(operation, &fault)),
    };
    let mut waiting = waiting;
    if !client::tell(operation, directory, &Request::Kill { signal: i32::from(signal.0), told: false }).await? {
        return Ok(true);
    }
    if paused {
        client::tell(operation, directory, &Request::Freeze(false)).await?;
    }
    // It ends with a word or without: either way the shim has let go.
    Ok(tokio::time::timeout(grace, client::end(&mut waiting)).await.is_ok())
}

/// Removes an instance that does not run.
pub(crate) fn remove(core: &Core, operation: &'static str, record: &Record) -> Result<()> {
    let turn_of = match core.instances.turn_of(operation, &record.id) {
        Err(error) if error.is_not_found() => return Ok(()),
        turn => turn?,
    };
    is_under_way(operation, &core.instances.directory(&record.id))?;
    let state = crate::observe::state(core, operation, record)?.state;
    if matches!(state, State::Running | State::Paused) {
        let message = format!("`{}` is running", record.name);
        return Err(Error::new(ErrorKind::Conflict, operation, message).hint("stop it first"));
    }
    until_let_go(core, operation, record)?;
    // What a killed supervisor could not give back.
    if let (PlanNetwork::Bridged { .. }, Some(_)) = (&record.plan.network, &core.networks) {
        core.change_networks(operation, Change::Detach(record.id.clone()))?;
    }
    let trash = {
        let turn = core.instances.turn(operation)?;
        match core.instances.read(operation, &record.id)? {
            // Renamed meanwhile, perhaps.
            Some(now) => core.instances.discard(operation, &now, &turn)?,
            None => return Ok(()),
        }
    };
    drop(turn_of);
    core.event(record, Kind::Removed);
    core.discard(operation, &trash, format_args!("remove the files of `{}`", record.name))
}

/// A supervisor that has recorded the end still tells it; what comes after must be told after.
fn until_let_go(core: &Core, operation: &'static str, record: &Record) -> Result<()> {
    let directory = core.instances.directory(&record.id);
    let began = std::time::Instant::now();
    while directory.shim().doing(operation, "look for the supervisor")?.is_some() {
        if began.elapsed() > KILLED {
            let message = format!("the supervisor of `{}` does not let go", record.name);
            return Err(Error::new(ErrorKind::Timeout, operation, message));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The native form of a plan, for an image nobody has looked at.
pub(crate) fn explain(core: &Core, plan: &Plan) -> Result<serde_json::Value> {
    let mut shown = plan.clone();
    shown.env.iter_mut().filter(|(key, _)| is_secret(key)).for_each(|(_, value)| *value = MASK.to_owned());
    let plan = &shown;
    let command = translate::command(plan, &ImageConfig::default());
    let unknown = PathBuf::from(format!("<{}>", plan.image));
    let directory = core.root.join("instances").join("<id>");
    let places = Places {
        id: "<id>".to_owned(),
        about: serde_json::json!({ "name": plan.name(), "identity": plan.identity }),
        layers: vec![unknown],
        journal: core.instances.journal(),
        volumes: core.volumes(),
        networks: core.networks_directory(),
        hosts: directory.join("hosts"),
        resolv: directory.join("resolv.conf"),
        hostname: directory.join("hostname"),
    };
    // The compiled filters say nothing to people.
    let launch = translate::launch(plan, &command, Vec::new(), &places, &core.machine);
    serde_json::to_value(launch).map_err(|error| Error::new(ErrorKind::Internal, "explain", error.to_string()))
}
