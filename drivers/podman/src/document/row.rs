//! `podman ps`.

use std::collections::BTreeMap;

use hythe_runtime::{Identity, InstanceId, Listed};
use hythe_spec::{Port, Protocol};
use jiff::Timestamp;
use serde::Deserialize;

use super::{address, nullable, state};

/// One element of `podman ps --format json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Row {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    exited: bool,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    created: i64,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<RowPort>,
    #[serde(default, deserialize_with = "nullable")]
    networks: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RowPort {
    #[serde(default)]
    host_ip: String,
    container_port: u16,
    #[serde(default)]
    host_port: u16,
    #[serde(default)]
    range: u16,
    #[serde(default)]
    protocol: String,
}

impl Row {
    pub(crate) fn listed(self) -> Listed {
        let mut ports: Vec<Port> = self.ports.iter().flat_map(RowPort::spread).collect();
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
            created: Timestamp::from_second(self.created).ok().filter(|time| time.as_second() > 0),
            ports,
            networks,
        }
    }
}

impl RowPort {
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
