//! What a probe checks, and where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hythe_runtime::{InstanceId, Runtime};
use hythe_spec::{Health, HttpProbe, Network, Probe, Protocol};
use hythe_store::InstanceRecord;
use tokio::net::TcpStream;
use tokio::time::Duration;

use super::reason::Reason;
use super::{exec, grpc, http, tls};

/// How long a runtime may take to end a probe's process whose time is over.
const ENDING: Duration = Duration::from_secs(10);

/// One instance, as its probes reach it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: InstanceId,
    /// Its component's name, which a certificate is expected to be for.
    pub(super) name: String,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) runtime: Arc<dyn Runtime>,
    /// Read once: the authorities that the host trusts are many.
    pub(super) tls: Option<Result<tls::Connector, Reason>>,
}

impl Target {
    pub(super) fn new(id: InstanceId, instance: &InstanceRecord, probe: &Probe, runtime: Arc<dyn Runtime>) -> Self {
        let tls = match probe {
            Probe::Http(HttpProbe { tls: Some(how), .. }) => Some(tls::connector(*how)),
            Probe::Http(_) | Probe::Tcp { .. } | Probe::Grpc { .. } | Probe::Exec { .. } => None,
        };
        let name = instance.spec.component.name.clone();
        Self { id, name, addresses: addresses(instance, probe), runtime, tls }
    }

    pub(super) async fn probe(&self, health: &Health) -> Result<(), Reason> {
        let mut longest = health.timeout.duration();
        if let Probe::Exec { .. } = health.probe {
            // The runtime ends the process in time; who went away before that would leave it, and one more with every try.
            longest += ENDING;
        }
        match tokio::time::timeout(longest, self.try_once(health)).await {
            Ok(result) => result,
            Err(_) => Err(Reason::NoAnswer(health.timeout)),
        }
    }

    async fn try_once(&self, health: &Health) -> Result<(), Reason> {
        match &health.probe {
            Probe::Tcp { .. } => self.connect().await.map(drop),
            Probe::Http(probe) => self.http(probe).await,
            Probe::Grpc { service, .. } => {
                let stream = self.connect().await?;
                grpc::check(stream, service.as_deref().unwrap_or_default()).await
            }
            Probe::Exec { command } => exec::run(self.runtime.as_ref(), &self.id, command, health.timeout).await,
        }
    }

    async fn http(&self, probe: &HttpProbe) -> Result<(), Reason> {
        let stream = self.connect().await?;
        let address = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
        let host = probe.server_name.clone().unwrap_or(address);
        let Some(connector) = &self.tls else { return http::get(stream, &host, probe).await };
        let name = probe.server_name.as_ref().unwrap_or(&self.name);
        let stream = tls::connect(connector.as_ref().map_err(Clone::clone)?, name, stream).await?;
        http::get(stream, &host, probe).await
    }

    async fn connect(&self) -> Result<TcpStream, Reason> {
        let mut reason = Reason::NoWay;
        for address in &self.addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => reason = Reason::no_connection(*address, &error),
            }
        }
        Err(reason)
    }
}

/// Where the port of a probe may be reached from the agent: in its networks, else where it is published.
fn addresses(instance: &InstanceRecord, probe: &Probe) -> Vec<SocketAddr> {
    let port = match probe {
        Probe::Http(HttpProbe { port, .. }) | Probe::Tcp { port } | Probe::Grpc { port, .. } => *port,
        Probe::Exec { .. } => return Vec::new(),
    };
    let published =
        instance.ports.iter().filter(|p| p.container_port == port && p.protocol == Protocol::Tcp).filter_map(|p| {
            let ip = p.host_ip.filter(|ip| !ip.is_unspecified()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            p.host_port.map(|port| SocketAddr::new(ip, port))
        });
    let inside = instance.addresses.iter().map(|(_, ip)| SocketAddr::new(*ip, port));
    let host = instance.spec.component.network == Network::Host;
    let local = host.then_some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    inside.chain(published).chain(local).collect()
}
