//! Create, start, stop and remove: the calls that change containers, and what makes each of them repeatable.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use bollard::errors::Error as Native;
use bollard::models::{EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::{RemoveContainerOptions, StopContainerOptions};
use futures_util::future::try_join_all;
use http::Method;
use hythe_runtime::identity::name_in_use;
use hythe_runtime::{Error, ErrorKind, Exit, Identity, InstanceId, InstanceRef, Plan, PlanNetwork, Result, Stop};
use hythe_spec::{MountSource, Signal};
use tokio::time::{Instant, sleep, timeout};

use crate::api_types::{Container, Created, Network, Volume};
use crate::client::{ApiVersion, segment};
use crate::context::Context;
use crate::error::{exit_code, has_status, is_absent, said, translate};
use crate::translate::{self, Engine};

/// Between a name that is taken and its owner becoming visible, or a removal that another caller began and its end.
const SETTLE_STEP: Duration = Duration::from_millis(50);
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// What an engine may take beyond the grace to kill and to clear away.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// First version whose stop takes a signal.
const STOP_SIGNAL: ApiVersion = ApiVersion(1, 42);

/// The container of an attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: InstanceId,
    /// An earlier call has started it, whatever became of it.
    pub(crate) has_run: bool,
}

impl Context {
    /// Makes the container, or finds the one that an earlier call of this attempt made.
    pub(crate) async fn create(&self, operation: &'static str, plan: &Plan) -> Result<Attempt> {
        let around = self.surroundings(operation, plan)?;
        self.check_binds(operation, plan).await?;
        self.check_volumes(operation, plan).await?;
        let body = translate::create(plan, &around);
        let later = translate::later_networks(plan, &around);
        let (name, platform) = (plan.name(), translate::platform(plan, &around));
        let mut query = vec![("name", name.as_str())];
        query.extend(platform.as_deref().map(|platform| ("platform", platform)));
        let give_up = Instant::now() + SETTLE_LIMIT;
        loop {
            let create = async { Ok(self.client.post::<Created>("/containers/create", &query, &body).await) };
            // dockerd only looks for networks at start; asked at the same time, this costs no time.
            let (made, networks) = tokio::join!(create, self.check_networks(operation, plan));
            match made? {
                Ok(created) => return self.finish(operation, plan, created, networks, &later).await,
                Err(error) if is_taken(&error) => {
                    if let Some(attempt) = self.earlier(operation, plan, &later).await? {
                        return Ok(attempt);
                    }
                    if Instant::now() > give_up {
                        return Err(translate(operation, &name, error).temporary(true));
                    }
                    sleep(SETTLE_STEP).await;
                }
                Err(error) => return Err(translate(operation, &plan.image.to_string(), error)),
            }
        }
    }

    /// What is left to do on a container just made; undone where it fails, so that nothing half-made stays.
    async fn finish(
        &self,
        operation: &'static str,
        plan: &Plan,
        created: Created,
        networks: Result<()>,
        later: &BTreeMap<String, EndpointSettings>,
    ) -> Result<Attempt> {
        for warning in &created.warnings {
            tracing::warn!(instance = plan.name(), warning, "the engine warns");
        }
        let rest = async {
            networks?;
            self.connect_all(operation, &created.id, later).await
        };
        match rest.await {
            Ok(()) => Ok(Attempt { id: InstanceId(created.id), has_run: false }),
            Err(error) => Err(match self.delete(&created.id, true).await {
                Ok(()) => error,
                Err(left) => error.with("left_behind", left),
            }),
        }
    }

    /// The container under the attempt's name, if it is this attempt; `None` while it is not visible yet.
    async fn earlier(
        &self,
        operation: &'static str,
        plan: &Plan,
        later: &BTreeMap<String, EndpointSettings>,
    ) -> Result<Option<Attempt>> {
        let name = plan.name();
        let owner = match self.container(operation, &InstanceRef::name(&name)).await {
            Ok(owner) => owner,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        if Identity::from_labels(&owner.config.labels).as_ref() != Some(&plan.identity) {
            return Err(name_in_use(operation, &name, &owner.id));
        }
        if owner.state.status == "created" {
            let missing: BTreeMap<_, _> = later
                .iter()
                .filter(|(network, _)| !owner.network_settings.networks.contains_key(*network))
                .map(|(network, settings)| (network.clone(), settings.clone()))
                .collect();
            self.connect_all(operation, &owner.id, &missing).await?;
        }
        Ok(Some(Attempt { id: InstanceId(owner.id), has_run: owner.state.status != "created" }))
    }

    async fn connect_all(
        &self,
        operation: &'static str,
        id: &str,
        networks: &BTreeMap<String, EndpointSettings>,
    ) -> Result<()> {
        for (network, settings) in networks {
            let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(settings.clone()) };
            if let Err(error) = self.client.docker().connect_network(&segment(network), request).await {
                let error = translate(operation, network, error);
                // A racing call of the same attempt was first.
                if !error.message().contains("already exists in network") {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// dockerd would make missing volumes silently.
    async fn check_volumes(&self, operation: &'static str, plan: &Plan) -> Result<()> {
        let names = plan.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(name),
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        });
        try_join_all(names.map(|name| async move {
            let found = self.client.get::<Volume>(&format!("/volumes/{}", segment(name)), &[]).await;
            found.map(drop).map_err(|error| translate(operation, name, error))
        }))
        .await
        .map(drop)
    }

    async fn check_networks(&self, operation: &'static str, plan: &Plan) -> Result<()> {
        let PlanNetwork::Networks { attachments } = &plan.network else { return Ok(()) };
        try_join_all(attachments.iter().map(|attachment| async move {
            let name = &attachment.network;
            let found = self.client.get::<Network>(&format!("/networks/{}", segment(name)), &[]).await;
            found.map(drop).map_err(|error| translate(operation, name, error))
        }))
        .await
        .map(drop)
    }

    /// Refuses missing bind sources where the engine would make them: Podman's API always, dockerd for binds with an SELinux label.
    async fn check_binds(&self, operation: &'static str, plan: &Plan) -> Result<()> {
        for mount in &plan.all_mounts() {
            let MountSource::Bind { path, selinux, .. } = &mount.source else { continue };
            if self.engine == Engine::Podman && path.contains(',') {
                let message = format!("Podman's Docker API cannot mount `{path}`: it treats the comma as a separator");
                return Err(Error::new(ErrorKind::Unsupported, operation, message).hint("use the runtime `podman`"));
            }
            if self.engine == Engine::Docker && !(self.selinux && selinux.is_some()) {
                continue;
            }
            if !self.local {
                let message = format!(
                    "`{path}` cannot be checked on an engine on another host, which would create it where it is missing"
                );
                return Err(Error::new(ErrorKind::Unsupported, operation, message));
            }
            if let Err(error) = tokio::fs::symlink_metadata(path).await {
                return Err(Error::new(ErrorKind::Invalid, operation, format!("bind source `{path}` does not exist"))
                    .source(error));
            }
        }
        Ok(())
    }

    /// Starts it; running already is success.
    pub(crate) async fn start(&self, operation: &'static str, instance: &InstanceRef) -> Result<()> {
        let started = self
            .client
            .docker()
            .start_container(instance.as_str(), None)
            .await
            .map_err(|error| translate(operation, instance.as_str(), error));
        self.note_start(instance.as_str(), started.as_ref().err());
        started
    }

    /// Podman forgets why a start failed; it is remembered here for `inspect` as long as this process lives.
    fn note_start(&self, id: &str, failed: Option<&Error>) {
        let mut failures = self.failed_starts.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(id);
        let Some(error) = failed.filter(|_| self.engine == Engine::Podman) else { return };
        if let Some(code) = exit_code(error) {
            failures.insert(id.to_owned(), Exit::never_started(code, error.message()));
        }
    }

    /// Stops it; not running is success, and no call is made.
    pub(crate) async fn stop(&self, instance: &InstanceRef, how: Stop) -> Result<()> {
        let own = self.own("stop", instance).await?;
        match own.state.status.as_str() {
            "running" | "restarting" | "stopping" => {}
            // Podman refuses to stop what is paused; dockerd thaws it itself.
            "paused" if self.engine == Engine::Podman => self.unpause(&own.id).await?,
            "paused" => {}
            _ => return Ok(()),
        }
        let _mark = Stopping::mark(self, &own.id);
        let limit = how.grace + KILL_LIMIT;
        let stopped = timeout(limit, self.stop_running(&own, how)).await;
        stopped.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "stop", format!("`{instance}` still runs after KILL")))
        })
    }

    async fn unpause(&self, id: &str) -> Result<()> {
        match self.client.docker().unpause_container(id).await {
            Err(error) if !has_status(&error, 409) && !has_status(&error, 500) => Err(translate("stop", id, error)),
            // Thawed by another call meanwhile; the stop will tell.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn stop_running(&self, own: &Container, how: Stop) -> Result<()> {
        let takes_signal = self.engine == Engine::Docker && self.client.version() >= STOP_SIGNAL;
        if let (Some(signal), false) = (how.signal, takes_signal) {
            return self.stop_by_signals(&own.id, signal, how.grace).await;
        }
        let options = StopContainerOptions {
            signal: how.signal.map(|signal| signal.to_string()),
            t: Some(i32::try_from(whole_seconds(how.grace)).unwrap_or(i32::MAX)),
        };
        match self.client.docker().stop_container(&own.id, Some(options)).await {
            Err(error) if is_stopped(&error) => Ok(()),
            done => done.map_err(|error| translate("stop", &own.id, error)),
        }
    }

    /// For engines whose stop knows only the signal that the container was made with.
    async fn stop_by_signals(&self, id: &str, signal: Signal, grace: Duration) -> Result<()> {
        self.kill(id, signal).await?;
        if let Ok(gone) = timeout(grace, self.gone(id)).await {
            return gone;
        }
        self.kill(id, Signal::KILL).await?;
        self.gone(id).await
    }

    async fn kill(&self, id: &str, signal: Signal) -> Result<()> {
        match self.send(id, signal).await {
            Err(error) if is_stopped(&error) => Ok(()),
            done => done.map_err(|error| translate("stop", id, error)),
        }
    }

    async fn send(&self, id: &str, signal: Signal) -> std::result::Result<(), Native> {
        let path = format!("/containers/{}/kill", segment(id));
        self.client.act(Method::POST, &path, &[("signal", &signal.to_string())]).await.map(drop)
    }

    /// A signal that somebody asks for.
    pub(crate) async fn signal(&self, instance: &InstanceRef, signal: Signal) -> Result<()> {
        let own = self.own("signal", instance).await?;
        self.send(&own.id, signal).await.map_err(|error| translate("signal", instance.as_str(), error))?;
        // dockerd lets it go on by itself.
        if signal == Signal::KILL && own.state.status == "paused" && self.engine == Engine::Podman {
            self.unpause(&own.id).await?;
        }
        Ok(())
    }

    /// Waits until the main process is gone.
    pub(crate) async fn gone(&self, id: &str) -> Result<()> {
        let path = format!("/containers/{}/wait", segment(id));
        let waited = self.client.post::<serde_json::Value>(&path, &[("condition", "not-running")], &()).await;
        match waited {
            Err(error) if is_absent(&error) => Ok(()),
            done => done.map(drop).map_err(|error| translate("wait", id, error)),
        }
    }

    /// Removes it and its anonymous volumes; absent is success.
    pub(crate) async fn remove(&self, instance: &InstanceRef) -> Result<()> {
        let own = match self.own("remove", instance).await {
            Ok(own) => own,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        if matches!(own.state.status.as_str(), "running" | "paused" | "restarting" | "stopping") {
            let message = format!("`{instance}` is {}", own.state.status);
            return Err(Error::new(ErrorKind::Conflict, "remove", message).hint("stop it first"));
        }
        self.delete(&own.id, false).await
    }

    async fn delete(&self, id: &str, force: bool) -> Result<()> {
        let give_up = Instant::now() + SETTLE_LIMIT;
        loop {
            let options = RemoveContainerOptions { v: true, force, link: false };
            match self.client.docker().remove_container(id, Some(options)).await {
                Ok(()) => break,
                Err(error) if is_absent(&error) => break,
                // Another caller is removing it; gone is what both want.
                Err(error) if is_being_removed(&error) && Instant::now() < give_up => sleep(SETTLE_STEP).await,
                Err(error) => return Err(translate("remove", id, error)),
            }
        }
        self.note_start(id, None);
        Ok(())
    }
}

/// Marks a container as being stopped by us, as long as it lives.
struct Stopping<'a> {
    context: &'a Context,
    id: String,
}

impl<'a> Stopping<'a> {
    fn mark(context: &'a Context, id: &str) -> Self {
        context.stopping.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        Self { context, id: id.to_owned() }
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.context.stopping.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

fn words(error: &Native) -> &str {
    match error {
        Native::DockerResponseServerError { message, .. } => message,
        _ => "",
    }
}

fn is_taken(error: &Native) -> bool {
    matches!(error, Native::DockerResponseServerError { message, status_code }
        if said("create", "", message, Some(*status_code)).kind() == ErrorKind::AlreadyExists)
}

fn is_stopped(error: &Native) -> bool {
    let words = words(error);
    has_status(error, 304)
        || words.contains("is not running")
        || words.contains("container state improper")
        || words.contains("can only kill running")
}

fn is_being_removed(error: &Native) -> bool {
    let words = words(error);
    words.contains("removal of container") && words.contains("in progress")
}

/// The API counts grace in whole seconds; never less than asked for.
fn whole_seconds(grace: Duration) -> u64 {
    grace.as_secs() + u64::from(grace.subsec_nanos() != 0)
}
