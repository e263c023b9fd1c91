//! What a container's shim does about networks: connects its namespace, holds its published ports, and serves them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use hythe_runtime::{Attachment, Error, ObservedNetwork};
use hythe_shim::record::Launch;
use hythe_shim::{Fault, FaultKind};
use hythe_spec::{ExtraHost, Port};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::to_fault;
use crate::network::ports::Reserved;
use crate::network::relay::Relay;
use crate::network::{AttachRequest, Networks, loopback, ports};

/// What a launch says of networks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) directory: PathBuf,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) hostname: String,
    pub(crate) extra_hosts: Vec<ExtraHost>,
    pub(crate) ports: Vec<Port>,
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
}

fn wanted(launch: &Launch) -> Result<Wanted, Fault> {
    serde_json::from_value(launch.network.clone())
        .map_err(|error| Fault::new(FaultKind::Internal, format!("the launch says nothing of networks: {error}")))
}

fn told(error: Error) -> Fault {
    to_fault(&error)
}

impl hythe_shim::Network for Hook {
    fn reserve(&mut self, launch: &Launch) -> Result<(), Fault> {
        self.reserved = ports::reserve(&wanted(launch)?.ports).map_err(told)?;
        Ok(())
    }

    fn attach(&mut self, launch: &Launch, namespace: &Path) -> Result<Value, Fault> {
        let wanted = wanted(launch)?;
        if wanted.attachments.is_empty() {
            loopback(namespace).map_err(told)?;
            return Ok(json!(Connected::default()));
        }
        let reserved = std::mem::take(&mut self.reserved);
        let networks = Networks::open(&wanted.directory).map_err(told)?;
        let request = AttachRequest {
            instance: &launch.id,
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
            let failed = |error| Fault::new(FaultKind::Exhausted, format!("cannot serve the published ports: {error}"));
            self.relay = Some(relay.map_err(failed)?);
        }
        Ok(json!(Connected { networks: attached.networks, ports: taken }))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.relay.as_ref().map(AsFd::as_fd)
    }

    fn turn(&mut self) -> io::Result<()> {
        match &mut self.relay {
            Some(relay) => relay.turn().inspect_err(|_| self.relay = None),
            None => Ok(()),
        }
    }

    fn detach(&mut self, launch: &Launch) -> Result<(), Fault> {
        (self.reserved, self.relay) = (Vec::new(), None);
        let wanted = wanted(launch)?;
        if wanted.attachments.is_empty() {
            return Ok(());
        }
        Networks::open(&wanted.directory).and_then(|networks| networks.detach(&launch.id)).map_err(told)
    }
}
