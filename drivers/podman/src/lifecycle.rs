//! Making, starting, stopping and removing instances, with as few podman processes as it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use hythe_runtime::{
    Error, ErrorKind, Exit, Filter, InstanceId, Listed, Observed, OpContext, Plan, PlanNetwork, Result, State, Stop,
};
use hythe_spec::{MountSource, Signal};

use crate::client::{About, Finished};
use crate::connect::bounded;
use crate::document::{Container, Row};
use crate::driver::Podman;
use crate::translate::{self, Verb};
use crate::{error, evidence, limits, workdir};

/// Beyond the grace, for podman to kill, reap and tidy up.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// A name is taken a moment before its container can be inspected.
const ADOPT_TRIES: u32 = 40;
const ADOPT_PAUSE: Duration = Duration::from_millis(50);
const PORT_TRIES: u32 = 3;

impl Podman {
    /// One podman process where all goes well; what went wrong is found out afterwards.
    pub(crate) async fn make(&self, cx: &OpContext, plan: &Plan, verb: Verb) -> Result<InstanceId> {
        let name = plan.name();
        let about = About { operation: if verb == Verb::Run { "run" } else { "create" }, subject: &name };
        self.require_volumes(cx, plan).await?;
        let invocation = translate::invocation(verb, plan, &self.settings())?;
        for _ in 0..PORT_TRIES {
            let finished = self.client.act(cx, about, invocation.clone()).await?;
            if finished.code == 0 {
                return Ok(InstanceId(finished.first_line()));
            }
            if !lost_picked_port(plan, &finished) {
                return self.after_failure(cx, about, plan, verb, finished).await;
            }
            self.remove_instance(cx, &InstanceId(name.clone())).await?;
        }
        Err(Error::new(
            ErrorKind::Conflict,
            about.operation,
            format!("`{name}`: every host port podman picked was taken at once"),
        )
        .temporary(true))
    }

    async fn after_failure(
        &self,
        cx: &OpContext,
        about: About<'_>,
        plan: &Plan,
        verb: Verb,
        finished: Finished,
    ) -> Result<InstanceId> {
        if error::lacks_workdir(&finished.stderr) {
            let id = self.container(cx, about).await?.instance();
            self.start_instance(cx, &id).await?;
            return Ok(id);
        }
        let failure = finished.error(about);
        if failure.kind() == ErrorKind::AlreadyExists {
            return self.adopt(cx, about, plan, verb, failure).await;
        }
        Err(failure)
    }

    /// The instance that holds the plan's name, if it is this very attempt.
    async fn adopt(
        &self,
        cx: &OpContext,
        about: About<'_>,
        plan: &Plan,
        verb: Verb,
        failure: Error,
    ) -> Result<InstanceId> {
        let Some(container) = self.holder(cx, about).await? else {
            return Err(failure);
        };
        if container.identity().as_ref() != Some(&plan.identity) {
            return Err(failure.with("holder", &container.id));
        }
        let id = container.instance();
        // An attempt runs once.
        if verb == Verb::Run && container.started().is_none() {
            self.start_instance(cx, &id).await?;
        }
        Ok(id)
    }

    async fn holder(&self, cx: &OpContext, about: About<'_>) -> Result<Option<Container>> {
        for _ in 0..ADOPT_TRIES {
            match self.container(cx, about).await {
                Err(error) if error.is_not_found() => tokio::time::sleep(ADOPT_PAUSE).await,
                found => return found.map(Some),
            }
        }
        Ok(None)
    }

    /// Podman would make a missing volume by itself; the contract wants it named instead. A look at the directory, no process.
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

    pub(crate) async fn start_instance(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let about = About { operation: "start", subject: &id.0 };
        let finished = self.client.act(cx, about, ["start", &id.0]).await?;
        if !error::lacks_workdir(&finished.stderr) {
            return finished.success(about).map(drop);
        }
        workdir::create(self, cx, id).await?;
        self.client.act(cx, about, ["start", &id.0]).await?.success(about).map(drop)
    }

    /// A name does not reach what carries no label of ours; its whole id does, and costs no look.
    pub(crate) async fn leave_foreign(&self, cx: &OpContext, operation: &'static str, id: &InstanceId) -> Result<()> {
        if is_whole_id(&id.0) {
            return Ok(());
        }
        let about = About { operation, subject: &id.0 };
        let container = match self.container(cx, about).await {
            Err(error) if error.is_not_found() => return Ok(()),
            found => found?,
        };
        own(about, &container)
    }

    /// `podman stop` where it can do what is asked; signals sent one by one where it cannot (another signal, fractions of a second).
    pub(crate) async fn stop_instance(&self, cx: &OpContext, id: &InstanceId, how: &Stop) -> Result<()> {
        let about = About { operation: "stop", subject: &id.0 };
        let container = self.container(cx, about).await?;
        own(about, &container)?;
        match container.state() {
            State::Created | State::Exited | State::Removing => return Ok(()),
            State::Paused => self.unpause(cx, about).await?,
            State::Running | State::Stopping | State::Unknown => {}
        }
        let whole_seconds = how.grace.subsec_nanos() == 0;
        if how.signal.is_none() && whole_seconds {
            let stopping = self.podman_stop(cx, about, how.grace.as_secs());
            return bounded(how.grace + STOP_MARGIN, about, stopping).await?;
        }
        let signal = how.signal.map_or_else(|| stop_signal(&container), |signal| signal.0.to_string());
        bounded(how.grace + STOP_MARGIN, about, self.signalled_stop(cx, about, &signal, how.grace)).await?
    }

    async fn podman_stop(&self, cx: &OpContext, about: About<'_>, seconds: u64) -> Result<()> {
        let grace = format!("--time={seconds}");
        let stopped = self.client.act(cx, about, ["stop", &grace, about.subject]).await?;
        stopped.success(about).map(drop)
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
        let signal = format!("--signal={signal}");
        match self.client.act(cx, about, ["kill", &signal, about.subject]).await?.success(about) {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            sent => sent.map(drop),
        }
    }

    async fn wait(&self, cx: &OpContext, about: About<'_>) -> Result<()> {
        let waited = self.client.read(cx, about, ["wait", "--interval=50ms", about.subject]).await?;
        waited.success(about).map(drop)
    }

    async fn unpause(&self, cx: &OpContext, about: About<'_>) -> Result<()> {
        match self.client.act(cx, about, ["unpause", about.subject]).await?.success(about) {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            thawed => thawed.map(drop),
        }
    }

    pub(crate) async fn remove_instance(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let about = About { operation: "remove", subject: &id.0 };
        match self.client.act(cx, about, ["rm", "--volumes", &id.0]).await?.success(about) {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// The full document of one container, never of an image of that name.
    pub(crate) async fn container(&self, cx: &OpContext, about: About<'_>) -> Result<Container> {
        let documents: Vec<Container> =
            self.client.document(cx, about, ["container", "inspect", about.subject]).await?;
        documents.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Internal, about.operation, format!("`{}`: podman's answer is empty", about.subject))
        })
    }

    /// The document in the seam's words, with what this host knows beyond it.
    pub(crate) async fn observed(&self, container: Container) -> Observed {
        let exit = self.exit(&container).await;
        let cgroup = container.state.cgroup_path.clone();
        let mut observed = container.observed(exit);
        if self.local.is_some() && matches!(observed.state, State::Running | State::Paused) {
            let read = tokio::task::spawn_blocking(move || limits::in_force(&cgroup)).await;
            read.unwrap_or_default().apply(&mut observed);
        }
        observed
    }

    async fn exit(&self, container: &Container) -> Option<Exit> {
        self.local.as_ref()?;
        let (state, log, id, exit) =
            (container.state(), container.runtime_log(), container.id.clone(), container.exit());
        let found = tokio::task::spawn_blocking(move || match exit {
            Some(exit) => Some(evidence::with_oom(exit, &id)),
            None if state == State::Created => evidence::failed_start(&log?),
            None => None,
        });
        found.await.ok().flatten().or_else(|| container.exit())
    }

    pub(crate) async fn list_instances(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        let about = About { operation: "list", subject: "podman" };
        let mut args: Vec<String> = ["ps", "--all", "--no-trunc", "--format=json"].map(str::to_owned).to_vec();
        args.extend(filter.labels.iter().map(|(key, value)| format!("--filter=label={key}={value}")));
        let rows: Vec<Row> = self.client.listing(cx, about, args).await?;
        let mut listed: Vec<Listed> =
            rows.into_iter().map(Row::listed).filter(|row| carries(&row.labels, &filter.labels)).collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }
}

/// It is ours, or it was adopted and is therefore named by its whole id.
fn own(about: About<'_>, container: &Container) -> Result<()> {
    if container.identity().is_some() || container.id == about.subject {
        return Ok(());
    }
    let message = format!("`{}` carries no labels of Hythe; it is left alone", about.subject);
    Err(Error::new(ErrorKind::Conflict, about.operation, message))
}

/// 64 hexadecimal digits; a name of that form would be an odd one.
fn is_whole_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn stop_signal(container: &Container) -> String {
    match &container.config.stop_signal {
        serde_json::Value::Number(number) if number.as_u64() != Some(0) => number.to_string(),
        serde_json::Value::String(name) if !name.is_empty() => name.clone(),
        _ => Signal::TERM.0.to_string(),
    }
}

/// Whether podman lost a race for a host port that it picked itself.
fn lost_picked_port(plan: &Plan, finished: &Finished) -> bool {
    let bridged = matches!(plan.network, PlanNetwork::Bridged { .. });
    let Some(taken) = error::taken_port(&finished.stderr) else {
        return false;
    };
    bridged
        && plan.ports.iter().any(|port| port.host_port.is_none())
        && plan.ports.iter().all(|port| port.host_port != Some(taken))
}
