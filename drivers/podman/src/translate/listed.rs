//! A listed container in the seam's words.

use hythe_runtime::{Identity, InstanceId, Listed};
use hythe_spec::{Port, Protocol};

use super::{address, state, time};
use crate::api_types::{ContainerRow, ContainerRowPort};

impl ContainerRow {
    pub(crate) fn listed(self) -> Listed {
        let mut ports: Vec<Port> = self.ports.iter().flat_map(ContainerRowPort::spread).collect();
        ports.sort();
        let mut networks = self.networks;
        networks.sort();
        Listed {
            id: InstanceId(self.id),
            name: self.names.into_iter().next().unwrap_or_default(),
            identity: Identity::from_labels(&self.labels),
            labels: self.labels,
            image: self.image,
            state: state(&self.state),
            exit_code: self.exited.then_some(self.exit_code),
            created: time(self.created.as_deref()),
            ports,
            networks,
        }
    }
}

impl ContainerRowPort {
    fn spread(&self) -> impl Iterator<Item = Port> {
        let protocols = self.protocol.split(',').filter_map(|protocol| protocol.parse::<Protocol>().ok());
        protocols.flat_map(move |protocol| {
            (0..self.range.max(1)).map(move |step| Port {
                host_ip: address(&self.host_ip),
                host_port: self.host_port.checked_add(step).filter(|port| *port != 0),
                container_port: self.container_port.saturating_add(step),
                protocol,
            })
        })
    }
}
