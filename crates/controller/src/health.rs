//! Health probes: one task per running instance tries, the workload's task counts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use hythe_runtime::{ExecRequest, InstanceId, OpContext, Runtime};
use hythe_spec::{Health, Network, Probe, Protocol};
use hythe_store::{HealthState, InstanceRecord};
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use crate::Controller;
use crate::worker::{Message, reference};

/// While no probe has succeeded yet they come at least this often, so that a quick start is seen quickly.
const EAGER: Duration = Duration::from_millis(250);
/// Bytes of a failing command's output that are kept.
const KEPT_OUTPUT: usize = 512;

/// Counts results. Pure but for the clock it was started with.
#[derive(Debug)]
pub(crate) struct Tracker {
    since: Instant,
    state: HealthState,
    failures: u32,
}

impl Default for Tracker {
    fn default() -> Self {
        Self { since: Instant::now(), state: HealthState::Starting, failures: 0 }
    }
}

impl Tracker {
    /// Of an instance that was known to be healthy before the agent was restarted.
    pub(crate) fn healthy() -> Self {
        Self { state: HealthState::Healthy, ..Self::default() }
    }

    /// The new state and why, when this result changes it.
    pub(crate) fn take(
        &mut self,
        health: &Health,
        result: Result<(), String>,
    ) -> Option<(HealthState, Option<String>)> {
        let early = self.state == HealthState::Starting && self.since.elapsed() < health.start_period.duration();
        let next = match &result {
            Ok(()) => {
                self.failures = 0;
                HealthState::Healthy
            }
            Err(_) if early => self.state,
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= health.retries.max(1) { HealthState::Unhealthy } else { self.state }
            }
        };
        if next == self.state {
            return None;
        }
        self.state = next;
        Some((next, result.err().map(|reason| format!("probe failed {} times: {reason}", self.failures))))
    }
}

/// The probing of one instance; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Prober {
    id: InstanceId,
    started: Option<Timestamp>,
    task: JoinHandle<()>,
}

impl Prober {
    /// Begins with an instance whose id is known.
    pub(crate) fn start(
        controller: &Controller,
        health: Health,
        instance: &InstanceRecord,
        runtime: Arc<dyn Runtime>,
        inbox: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let id = reference(instance);
        let target = Target { id: id.clone(), addresses: addresses(instance, &health.probe), runtime };
        let task = controller.spawn(async move {
            let mut healthy = false;
            let since = Instant::now();
            loop {
                let result = target.tried(&health).await;
                healthy |= result.is_ok();
                let eager = !healthy && since.elapsed() < health.start_period.duration();
                if inbox.send(Message::Probed(target.id.clone(), result)).is_err() {
                    return;
                }
                let interval = health.interval.duration();
                tokio::time::sleep(if eager { interval.min(EAGER) } else { interval }).await;
            }
        });
        Self { id, started: instance.started, task }
    }

    pub(crate) fn is_for(&self, id: &InstanceId, started: Option<Timestamp>) -> bool {
        self.id == *id && self.started == started
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Target {
    id: InstanceId,
    addresses: Vec<SocketAddr>,
    runtime: Arc<dyn Runtime>,
}

impl Target {
    async fn tried(&self, health: &Health) -> Result<(), String> {
        match tokio::time::timeout(health.timeout.duration(), self.try_once(&health.probe)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} ms", health.timeout.0)),
        }
    }

    async fn try_once(&self, probe: &Probe) -> Result<(), String> {
        match probe {
            Probe::Tcp { .. } => self.connect().await.map(drop),
            Probe::Http { path, .. } => http_get(self.connect().await?, path).await,
            Probe::Exec { command } => self.exec(command).await,
        }
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let mut reason = "the agent has no way to its network: publish the port or use an exec probe".to_owned();
        for address in &self.addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => reason = format!("{address}: {error}"),
            }
        }
        Err(reason)
    }

    async fn exec(&self, command: &[String]) -> Result<(), String> {
        let exec = self.runtime.exec().ok_or("the runtime cannot run a process inside")?;
        let request = ExecRequest { command: command.to_vec(), ..ExecRequest::default() };
        let context = OpContext::new(format!("health {}", self.id));
        let session = exec.exec(&context, &self.id, &request).await.map_err(|error| error.message().to_owned())?;
        let mut output = session.output;
        let mut kept = Vec::new();
        while let Some(Ok((_, bytes))) = output.next().await {
            let room = KEPT_OUTPUT.saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        match session.exit.await {
            Ok(0) => Ok(()),
            Ok(code) => Err(format!("exit code {code}: {}", String::from_utf8_lossy(&kept).trim())),
            Err(error) => Err(error.message().to_owned()),
        }
    }
}

/// Where the port of a probe may be reached from the agent: in its networks, else where it is published.
fn addresses(instance: &InstanceRecord, probe: &Probe) -> Vec<SocketAddr> {
    let port = match probe {
        Probe::Http { port, .. } | Probe::Tcp { port } => *port,
        Probe::Exec { .. } => return Vec::new(),
    };
    let published =
        instance.ports.iter().filter(|p| p.container_port == port && p.protocol == Protocol::Tcp).filter_map(|p| {
            let ip = p.host_ip.filter(|ip| !ip.is_unspecified()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            p.host_port.map(|port| SocketAddr::new(ip, port))
        });
    let inside = instance.addresses.iter().map(|(_, ip)| SocketAddr::new(*ip, port));
    let host = instance.recipe.component.network == Network::Host;
    let local = host.then_some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    inside.chain(published).chain(local).collect()
}

async fn http_get(stream: TcpStream, path: &str) -> Result<(), String> {
    let host = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let driving = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", host)
        .header("user-agent", concat!("hythe/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(text);
    driving.abort();
    let status = response?.status();
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("status {status}")) }
}

#[cfg(test)]
mod tests {
    use hythe_spec::{Millis, OnFailure};

    use super::*;

    fn health(retries: u32, start_period: u64) -> Health {
        Health {
            probe: Probe::Tcp { port: 1 },
            interval: Millis(1000),
            timeout: Millis(1000),
            retries,
            start_period: Millis(start_period),
            on_failure: OnFailure::None,
        }
    }

    fn states(health: &Health, results: &[bool]) -> Vec<Option<HealthState>> {
        let mut tracker = Tracker::default();
        let result = |ok: &bool| if *ok { Ok(()) } else { Err("no".to_owned()) };
        results.iter().map(|ok| tracker.take(health, result(ok)).map(|(state, _)| state)).collect()
    }

    #[test]
    fn unhealthy_takes_as_many_failures_in_a_row_as_asked() {
        let seen = states(&health(2, 0), &[true, false, true, false, false, true]);
        let expected =
            [Some(HealthState::Healthy), None, None, None, Some(HealthState::Unhealthy), Some(HealthState::Healthy)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        assert_eq!(
            states(&health(1, 60_000), &[false, false, true, false]),
            [None, None, Some(HealthState::Healthy), Some(HealthState::Unhealthy)]
        );
    }
}
