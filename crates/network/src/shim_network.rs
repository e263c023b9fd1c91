//! What a container's shim does about networks: connects its namespace, holds its published ports, serves them, and answers its questions
//! for names.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hythe_runtime::{Attachment, Error, ErrorKind, ObservedNetwork, PlanNetwork};
use hythe_shim::record::Config;
use hythe_shim::{ShimError, ShimErrorKind};
use hythe_spec::{ExtraHost, Port};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dns::{NameServer, Upstream};
use crate::ports::Reserved;
use crate::relay::Relay;
use crate::resolver::Resolver;
use crate::{AttachRequest, Networks, dns, loopback, ports};

/// What a configuration says of networks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wanted {
    /// The state directory (see [`Networks::open`]).
    pub directory: PathBuf,
    /// The networks, with the names that the instance has there.
    pub attachments: Vec<Attachment>,
    /// The instance's own host name.
    pub hostname: String,
    /// More lines for its hosts file.
    pub extra_hosts: Vec<ExtraHost>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Its own name server; none in records of earlier versions.
    #[serde(default)]
    pub names: Option<Names>,
}

/// What the name server of an instance needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Names {
    /// The servers that it forwards to; absent: the host's.
    pub servers: Option<Vec<IpAddr>>,
    /// The `resolv.conf` that is mounted.
    pub file: PathBuf,
}

/// What a run says of networks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Connected {
    /// Networks with addresses and names.
    pub networks: Vec<ObservedNetwork>,
    /// Published ports; each has its host port.
    pub ports: Vec<Port>,
}

impl Connected {
    /// The same, with who is connected now: others may have come and gone since the instance was started.
    #[must_use]
    pub fn now(self, planned: &PlanNetwork, networks: Option<&Networks>, instance: &str) -> Self {
        let PlanNetwork::Networks { .. } = planned else { return self };
        let now = networks.and_then(|networks| networks.observe(instance).ok().flatten());
        Self { networks: now.map(|now| now.networks).unwrap_or_default(), ports: self.ports }
    }

    /// Networks as the seam reports them: those of the plan where none is connected.
    pub fn networks_of(self, planned: &PlanNetwork) -> Vec<ObservedNetwork> {
        let mut networks = match planned {
            PlanNetwork::None | PlanNetwork::Host => Vec::new(),
            PlanNetwork::Networks { .. } if !self.networks.is_empty() => self.networks,
            PlanNetwork::Networks { attachments } => {
                let one = |attachment: &Attachment| ObservedNetwork {
                    name: attachment.network.clone(),
                    addresses: Vec::new(),
                    aliases: Some(attachment.aliases.clone()),
                };
                attachments.iter().map(one).collect()
            }
        };
        for network in &mut networks {
            network.addresses.sort();
            if let Some(aliases) = &mut network.aliases {
                aliases.sort();
            }
        }
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        networks
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct ShimNetwork {
    reserved: Vec<Reserved>,
    relay: Option<Relay>,
    names: Option<NameServer>,
    /// Readable where one of both has something to do.
    either: Option<OwnedFd>,
}

fn wanted(config: &Config) -> Result<Wanted, ShimError> {
    serde_json::from_value(config.network.clone()).map_err(|error| {
        ShimError::new(ShimErrorKind::Internal, format!("the configuration says nothing of networks: {error}"))
    })
}

impl ShimNetwork {
    /// Starts the name server and names it in the `resolv.conf`. Where the kernel cannot redirect to it, hosts files have to do, as before.
    fn serve_names(&mut self, networks: Networks, config: &Config, namespace: &Path, names: &Names) {
        let upstream = names.servers.clone().map_or(Upstream::Host, Upstream::Servers);
        let server = match NameServer::start(networks, &config.id, namespace, upstream) {
            Ok(server) => server,
            Err(error) => return tracing::warn!(%error, "peers are found by `/etc/hosts` only"),
        };
        let text = fs::read_to_string(&names.file).unwrap_or_default();
        let resolver = Resolver::parse(&text).by_own_server(dns::ADDRESS.into());
        // Replaced in place, since it is mounted as a file.
        if fs::write(&names.file, resolver.text()).is_ok() {
            self.names = Some(server);
        }
    }

    /// One descriptor for all that is served.
    fn join(&mut self) -> io::Result<()> {
        let served = [self.relay.as_ref().map(AsFd::as_fd), self.names.as_ref().map(AsFd::as_fd)];
        if served.iter().all(Option::is_none) {
            return Ok(());
        }
        let either = epoll::create(CreateFlags::CLOEXEC)?;
        for one in served.into_iter().flatten() {
            epoll::add(&either, one, EventData::new_u64(0), EventFlags::IN)?;
        }
        self.either = Some(either);
        Ok(())
    }
}

/// What the seam's vocabulary says, inside a shim.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn told(error: Error) -> ShimError {
    let kind = match error.kind() {
        ErrorKind::NotFound => ShimErrorKind::NotFound,
        ErrorKind::Invalid => ShimErrorKind::Invalid,
        ErrorKind::Conflict | ErrorKind::AlreadyExists => ShimErrorKind::Conflict,
        ErrorKind::Unsupported => ShimErrorKind::Unsupported,
        ErrorKind::Unauthorized => ShimErrorKind::Unauthorized,
        ErrorKind::Exhausted => ShimErrorKind::Exhausted,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Cancelled | ErrorKind::Internal => {
            ShimErrorKind::Internal
        }
    };
    let fault = ShimError::new(kind, error.message());
    match error.next_step() {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

impl hythe_shim::Network for ShimNetwork {
    fn reserve(&mut self, config: &Config) -> Result<(), ShimError> {
        self.reserved = ports::reserve(&wanted(config)?.ports).map_err(told)?;
        Ok(())
    }

    fn attach(&mut self, config: &Config, namespace: &Path) -> Result<Value, ShimError> {
        let wanted = wanted(config)?;
        if wanted.attachments.is_empty() {
            loopback(namespace).map_err(told)?;
            return Ok(json!(Connected::default()));
        }
        let reserved = std::mem::take(&mut self.reserved);
        let networks = Networks::open(&wanted.directory).map_err(told)?;
        let request = AttachRequest {
            instance: &config.id,
            namespace,
            attachments: &wanted.attachments,
            hostname: &wanted.hostname,
            extra_hosts: &wanted.extra_hosts,
        };
        let attached = networks.attach(&request).map_err(told)?;
        let taken = reserved.iter().map(|one| one.port.clone()).collect();
        if !reserved.is_empty() {
            let address = attached.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let relay = Relay::new(reserved, address);
            let failed =
                |error| ShimError::new(ShimErrorKind::Exhausted, format!("cannot serve the published ports: {error}"));
            self.relay = Some(relay.map_err(failed)?);
        }
        if let Some(names) = &wanted.names {
            self.serve_names(networks, config, namespace, names);
        }
        let failed = |error| ShimError::new(ShimErrorKind::Exhausted, format!("cannot serve ports and names: {error}"));
        self.join().map_err(failed)?;
        Ok(json!(Connected { networks: attached.networks, ports: taken }))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.either.as_ref().map(AsFd::as_fd)
    }

    fn turn(&mut self) -> io::Result<()> {
        // What cannot go on closes its sockets; the other goes on.
        let relay = self.relay.as_mut().map_or(Ok(()), Relay::turn).inspect_err(|_| self.relay = None);
        let names = self.names.as_mut().map_or(Ok(()), NameServer::turn).inspect_err(|_| self.names = None);
        relay.and(names)
    }

    fn detach(&mut self, config: &Config) -> Result<(), ShimError> {
        *self = Self::default();
        let wanted = wanted(config)?;
        if wanted.attachments.is_empty() {
            return Ok(());
        }
        Networks::open(&wanted.directory).and_then(|networks| networks.detach(&config.id)).map_err(told)
    }
}
