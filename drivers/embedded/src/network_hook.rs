//! What a container's shim does about networks: connects its namespace, holds its published ports, serves them, and answers its questions for names.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hythe_network::dns::{NameServer, Upstream};
use hythe_network::ports::Reserved;
use hythe_network::relay::Relay;
use hythe_network::resolver::Resolver;
use hythe_network::{AttachRequest, Networks, dns, loopback, ports};
use hythe_runtime::{Attachment, Error, ObservedNetwork};
use hythe_shim::record::Config;
use hythe_shim::{ShimError, ShimErrorKind};
use hythe_spec::{ExtraHost, Port};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::to_shim;

/// What a configuration says of networks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) directory: PathBuf,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) hostname: String,
    pub(crate) extra_hosts: Vec<ExtraHost>,
    pub(crate) ports: Vec<Port>,
    /// Its own name server; none in records of earlier versions.
    #[serde(default)]
    pub(crate) names: Option<Names>,
}

/// What the name server of an instance needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Names {
    /// The servers that it forwards to; absent: the host's.
    pub(crate) servers: Option<Vec<IpAddr>>,
    /// The `resolv.conf` that is mounted.
    pub(crate) file: PathBuf,
}

/// What a run says of networks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Connected {
    pub(crate) networks: Vec<ObservedNetwork>,
    pub(crate) ports: Vec<Port>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hook {
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

impl Hook {
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

fn told(error: Error) -> ShimError {
    to_shim(&error)
}

impl hythe_shim::Network for Hook {
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
