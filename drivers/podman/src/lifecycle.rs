//! Making, starting, stopping and removing instances, with as few requests as it takes.

mod interrupted;

use std::time::Duration;

use http::Method;
use hythe_runtime::identity::{ensure_owned, name_in_use};
use hythe_runtime::{Error, ErrorKind, InstanceId, InstanceRef, OpContext, Plan, PlanNetwork, Result, State, Stop};
use hythe_spec::{MountSource, Signal};

use crate::api_types::{Container, Created};
use crate::client::{About, Client, segment};
use crate::connect::answer_within;
use crate::driver::Podman;
use crate::translate::{self, Verb};
use crate::{error, workdir};

pub(crate) use self::interrupted::Interrupted;

/// Unmodelled the grace, for podman to kill, reap and tidy up.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// A name is taken a moment before its container can be inspected.
const ADOPT_TRIES: u32 = 40;
const ADOPT_PAUSE: Duration = Duration::from_millis(50);
/// A port may be taken at once, and a half-made container have the name.
const TRIES: u32 = 3;

impl Podman {
    /// One request to make it and one to start it where all goes well; what went wrong is found out afterwards.
    pub(crate) async fn make(&self, cx: &OpContext, plan: &Plan, verb: Verb) -> Result<InstanceId> {
        let name = plan.name();
        let about = About { operation: if verb == Verb::Run { "run" } else { "create" }, subject: &name };
        self.require_volumes(cx, plan).await?;
        let spec = translate::container_spec(plan, &self.settings())?;
        for _ in 0..TRIES {
            let began = hythe_runtime::Clock::system().now();
            let made: Result<Created> = self.client.post(cx, about, "/containers/create", &[], &spec).await;
            self.interrupted.note(&name, began, &made);
            let id = match made {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    match self.adopt(cx, about, plan, verb, error).await? {
                        Some(adopted) => return Ok(adopted),
                        None => continue,
                    }
                }
                made => InstanceId(made?.id),
            };
            match self.started(cx, about, &id, verb).await {
                Err(error) if lost_picked_port(plan, &error) => self.remove_instance(cx, &id.to_ref()).await?,
                outcome => return outcome.map(|()| id),
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            about.operation,
            format!("`{name}`: every host port podman picked was taken at once"),
        )
        .temporary(true))
    }

    async fn started(&self, cx: &OpContext, about: About<'_>, id: &InstanceId, verb: Verb) -> Result<()> {
        match verb {
            Verb::Create => Ok(()),
            Verb::Run => self.start_about(cx, about, &id.to_ref()).await,
        }
    }

    /// The instance that has the plan's name, if it is this very attempt; `None`: the name is free again.
    async fn adopt(
        &self,
        cx: &OpContext,
        about: About<'_>,
        plan: &Plan,
        verb: Verb,
        failure: Error,
    ) -> Result<Option<InstanceId>> {
        let Some(container) = self.owner_of_name(cx, about).await? else {
            let freed = self.remove_interrupted(cx, about).await?;
            return if freed { Ok(None) } else { Err(failure) };
        };
        if container.identity().as_ref() != Some(&plan.identity) {
            return Err(name_in_use(about.operation, about.subject, &container.id).source(failure));
        }
        let id = container.instance();
        // An attempt runs once.
        if verb == Verb::Run && container.started().is_none() {
            self.start_instance(cx, &id.to_ref()).await?;
        }
        Ok(Some(id))
    }

    async fn owner_of_name(&self, cx: &OpContext, about: About<'_>) -> Result<Option<Container>> {
        for _ in 0..ADOPT_TRIES {
            match self.container(cx, about.operation, &InstanceRef::name(about.subject)).await {
                Err(error) if error.is_not_found() => tokio::time::sleep(ADOPT_PAUSE).await,
                found => return found.map(Some),
            }
        }
        Ok(None)
    }

    /// Podman would make a missing volume by itself; the contract wants it named instead. A look at the directory, no request.
    async fn require_volumes(&self, cx: &OpContext, plan: &Plan) -> Result<()> {
        for mount in &plan.mounts {
            if let MountSource::Volume { name, .. } = &mount.source {
                let here = self.local.as_ref().is_some_and(|local| local.volumes.join(name).is_dir());
                if !here {
                    self.volume(cx, About { operation: "run", subject: name }).await?;
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn start_instance(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        self.start_about(cx, About { operation: "start", subject: instance.as_str() }, instance).await
    }

    async fn start_about(&self, cx: &OpContext, about: About<'_>, instance: &InstanceRef) -> Result<()> {
        let path = path(instance.as_str(), "/start");
        match self.client.act(cx, about, Method::POST, &path, &[]).await {
            Err(error) if error::lacks_workdir(error.message()) => workdir::create(self, cx, instance).await?,
            Err(error) if error::refused_start(error.message()) => {
                if !self.end_half_started(cx, about).await? {
                    return Err(error);
                }
            }
            started => return started.map(drop),
        }
        self.client.act(cx, about, Method::POST, &path, &[]).await.map(drop)
    }

    /// The same instance by its whole id, which costs no look where the caller has it. Podman itself takes the first digits of an id for a name.
    pub(crate) async fn whole(
        &self,
        cx: &OpContext,
        operation: &'static str,
        instance: &InstanceRef,
    ) -> Result<InstanceRef> {
        if matches!(instance, InstanceRef::Id(id) if is_whole(id)) {
            return Ok(instance.clone());
        }
        Ok(self.container(cx, operation, instance).await?.instance().into())
    }

    /// As [`Self::whole`], for what changes it: a name does not reach what carries no label of ours.
    pub(crate) async fn own(
        &self,
        cx: &OpContext,
        operation: &'static str,
        instance: &InstanceRef,
    ) -> Result<InstanceRef> {
        if matches!(instance, InstanceRef::Id(_)) {
            return self.whole(cx, operation, instance).await;
        }
        let container = self.container(cx, operation, instance).await?;
        ensure_owned(operation, instance, &container.config.labels)?;
        Ok(container.instance().into())
    }

    /// A stop of podman's where it can do what is asked; signals sent one by one where it cannot (another signal, fractions of a second).
    pub(crate) async fn stop_instance(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()> {
        let about = About { operation: "stop", subject: instance.as_str() };
        let container = self.container(cx, about.operation, instance).await?;
        ensure_owned(about.operation, instance, &container.config.labels)?;
        match container.state() {
            State::Created if container.may_have_started() => {
                let seconds = how.grace.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
                let stopping = self.podman_stop(cx, about, seconds);
                return answer_within(how.grace + STOP_MARGIN, about, stopping).await?;
            }
            State::Created | State::Pending | State::Exited | State::Removing => return Ok(()),
            State::Paused => self.unpause(cx, about).await?,
            State::Running | State::Stopping | State::Unknown => {}
        }
        let whole_seconds = how.grace.subsec_nanos() == 0;
        if how.signal.is_none() && whole_seconds {
            let stopping = self.podman_stop(cx, about, how.grace.as_secs());
            return answer_within(how.grace + STOP_MARGIN, about, stopping).await?;
        }
        let signal = how.signal.map_or_else(|| stop_signal(&container), |signal| signal.0.to_string());
        answer_within(how.grace + STOP_MARGIN, about, self.signalled_stop(cx, about, &signal, how.grace)).await?
    }

    async fn podman_stop(&self, cx: &OpContext, about: About<'_>, seconds: u64) -> Result<()> {
        let query = [("timeout", &*seconds.to_string())];
        self.client.act(cx, about, Method::POST, &path(about.subject, "/stop"), &query).await.map(drop)
    }

    async fn signalled_stop(&self, cx: &OpContext, about: About<'_>, signal: &str, grace: Duration) -> Result<()> {
        self.kill(cx, about, signal).await?;
        let ended = tokio::time::timeout(grace, self.wait(cx, about)).await;
        if let Ok(ended) = ended {
            return ended;
        }
        self.kill(cx, about, &Signal::KILL.0.to_string()).await?;
        self.wait(cx, about).await
    }

    /// Sends a signal; an instance that is not running any more needs none.
    async fn kill(&self, cx: &OpContext, about: About<'_>, signal: &str) -> Result<()> {
        match self.send(cx, about, signal).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            sent => sent,
        }
    }

    async fn send(&self, cx: &OpContext, about: About<'_>, signal: &str) -> Result<()> {
        let query = [("signal", signal)];
        self.client.act(cx, about, Method::POST, &path(about.subject, "/kill"), &query).await.map(drop)
    }

    /// A signal that somebody asks for. What is paused dies of KILL only once it goes on.
    pub(crate) async fn signal_instance(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()> {
        let about = About { operation: "signal", subject: instance.as_str() };
        self.send(cx, about, &signal.0.to_string()).await?;
        if signal != Signal::KILL {
            return Ok(());
        }
        match self.unpause(cx, about).await {
            Err(error) if error.is_not_found() => Ok(()),
            thawed => thawed,
        }
    }

    async fn wait(&self, cx: &OpContext, about: About<'_>) -> Result<()> {
        self.client.exit_code(cx, about).await.map(drop)
    }

    pub(crate) async fn unpause(&self, cx: &OpContext, about: About<'_>) -> Result<()> {
        match self.client.act(cx, about, Method::POST, &path(about.subject, "/unpause"), &[]).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            thawed => thawed.map(drop),
        }
    }

    pub(crate) async fn remove_instance(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let about = About { operation: "remove", subject: instance.as_str() };
        match self.client.act(cx, about, Method::DELETE, &path(about.subject, ""), &WITH_VOLUMES).await {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed.map(drop),
        }
    }
}

/// A container goes with its anonymous volumes: the API of Podman 4 has the one word, the documents the other.
const WITH_VOLUMES: [(&str, &str); 2] = [("volumes", "true"), ("v", "true")];

impl Client {
    /// Waits until the main process has ended.
    pub(crate) async fn exit_code(&self, cx: &OpContext, about: About<'_>) -> Result<i32> {
        let query = [("condition", "stopped"), ("condition", "exited"), ("interval", "50ms")];
        let path = path(about.subject, "/wait");
        let waited = async { self.send_json(about, Method::POST, &path, &query).await };
        cx.with_deadline(about.operation, waited).await
    }
}

/// Of a container.
pub(crate) fn path(instance: &str, below: &str) -> String {
    format!("/containers/{}{below}", segment(instance))
}

/// 64 hexadecimal digits: Podman takes fewer for the beginning of an id, or for a name.
fn is_whole(id: &InstanceId) -> bool {
    id.0.len() == 64 && id.0.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn stop_signal(container: &Container) -> String {
    match &container.config.stop_signal {
        serde_json::Value::Number(number) if number.as_u64() != Some(0) => number.to_string(),
        serde_json::Value::String(name) if !name.is_empty() => name.clone(),
        _ => Signal::TERM.0.to_string(),
    }
}

/// Whether podman lost a race for a host port that it picked itself.
fn lost_picked_port(plan: &Plan, error: &Error) -> bool {
    let bridged = matches!(plan.network, PlanNetwork::Networks { .. });
    let Some(taken) = error::taken_port(error.message()) else {
        return false;
    };
    bridged
        && plan.ports.iter().any(|port| port.host_port.is_none())
        && plan.ports.iter().all(|port| port.host_port != Some(taken))
}
