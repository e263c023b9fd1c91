//! Which ports have listeners.

use std::fs;

use crate::protocol::{Port, Protocol};

const LISTEN: &str = "0A";
const LOOPBACK_4: &str = "0100007F";
const LOOPBACK_6: &str = "00000000000000000000000001000000";

/// Ports that nothing listens on yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    ports: Vec<Port>,
}

impl Waiting {
    pub(crate) fn new(ports: &[Port]) -> Self {
        Self { ports: ports.to_vec() }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ports.is_empty()
    }

    /// Those that have a listener now; each is reported once.
    pub(crate) fn found(&mut self) -> Vec<Port> {
        let read =
            |names: [&str; 2]| names.map(|name| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
        let (tcp, udp) = (read(["tcp", "tcp6"]), read(["udp", "udp6"]));
        let has = |port: &Port| match port.protocol {
            Protocol::Tcp => tcp.iter().any(|table| has_socket(table, port.port, Some(LISTEN))),
            Protocol::Udp => udp.iter().any(|table| has_socket(table, port.port, None)),
        };
        let (found, waiting) = self.ports.iter().partition(|port| has(port));
        self.ports = waiting;
        found
    }
}

/// A socket on the loopback alone cannot be reached from outside.
fn has_socket(table: &str, port: u16, state: Option<&str>) -> bool {
    let suffix = format!("{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(_), Some(found)) = (fields.next(), fields.next(), fields.next()) else { return false };
        let Some((address, number)) = local.split_once(':') else { return false };
        let is_loopback = address == LOOPBACK_4 || address == LOOPBACK_6;
        number == suffix && !is_loopback && state.is_none_or(|state| state == found)
    })
}
