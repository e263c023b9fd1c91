//! Labels that tell other tools how to announce, reach or probe an instance: ours (`hythe.*`), koi's, Traefik's and Caddy's.
//!
//! A field is taken from the first that names it: `hythe.*`, `koi.*`, `koi.announce`, the variable `KOI_MDNS_ANNOUNCE`, Traefik, Caddy.
//! Whoever is opted out is not read any further. Nothing here decides anything; [`Hints::sources`] says where each field is from.

mod caddy;
mod keys;
mod service_type;
mod traefik;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hythe_runtime::labels::Labels;
use hythe_spec::{Millis, Protocol};
use serde::{Deserialize, Serialize};

pub use service_type::service_type;

use values::Values;

/// Short form of an announcement in an instance's environment.
const ANNOUNCE: &str = "KOI_MDNS_ANNOUNCE";

/// What the labels of an instance hint at; a field that nobody names is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// `false`: opted out, also where the label cannot be read as yes or no. `true`: asked for, by a label of its own or a proxy's.
    pub enabled: Option<bool>,
    /// Name for people.
    pub name: Option<String>,
    /// Host name.
    pub dns_name: Option<String>,
    /// DNS-SD type, `_http._tcp`.
    pub service_type: Option<String>,
    /// Port inside the instance that serves it.
    pub port: Option<u16>,
    /// Port for a proxy in front of it to listen on.
    pub proxy_port: Option<u16>,
    /// Whether that proxy is for other machines too.
    pub proxy_remote: Option<bool>,
    /// Whether it wants a certificate of koi's mesh.
    pub certmesh: Option<bool>,
    /// How to probe it.
    pub health: HealthHint,
    /// Every host name that a proxy routes to it, in the order in which routers are read.
    pub hosts: Vec<String>,
    /// Further facts to announce.
    pub txt: BTreeMap<String, String>,
    /// Field to the label, or variable, it was read from.
    pub sources: BTreeMap<String, String>,
    /// Labels that cannot be read, in words.
    pub problems: Vec<String>,
}

/// How to probe an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthHint {
    /// Way of probing.
    pub kind: Option<HealthKind>,
    /// Path of an HTTP probe.
    pub path: Option<String>,
    /// Time between two probes.
    pub interval: Option<Millis>,
    /// Time a probe may take.
    pub timeout: Option<Millis>,
}

/// Way of probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    /// An HTTP request.
    Http,
    /// A TCP connection.
    Tcp,
}

impl Hints {
    /// What labels and environment hint at.
    pub fn read(labels: &Labels, env: &BTreeMap<String, String>) -> Self {
        let mut values = Values::default();
        keys::read("hythe", labels, &mut values);
        keys::unknown(labels, &mut values);
        keys::read("koi", labels, &mut values);
        for (source, name) in [("koi.announce", labels.get("koi.announce")), (ANNOUNCE, env.get(ANNOUNCE))] {
            if let Some(name) = name.map(|name| name.trim()).filter(|name| !name.is_empty()) {
                values.announce(source, name);
            }
        }
        if values.hints.enabled != Some(false) {
            for route in [traefik::read(labels, &mut values), caddy::read(labels)] {
                values.route(route);
            }
        }
        values.hints
    }

    /// The DNS-SD type of one of its ports: what is hinted, else what such a port usually is; `None` where nobody can tell.
    pub fn type_of_port(&self, container_port: u16, protocol: Protocol) -> Option<String> {
        let hinted = self.service_type.as_ref().filter(|hinted| {
            self.port.is_none_or(|port| port == container_port) && service_type::transport(hinted) == Some(protocol)
        });
        hinted.cloned().or_else(|| service_type(container_port, protocol).map(str::to_owned))
    }
}
