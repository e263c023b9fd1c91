//! Which ports have listeners.

use std::collections::BTreeSet;
use std::fs;

use crate::protocol::{Port, Protocol};

const LISTEN: &str = "0A";
const LOOPBACK_4: &str = "0100007F";
const LOOPBACK_6: &str = "00000000000000000000000001000000";
/// Above are the ports of clients, which for UDP look like those of servers.
const LAST_OF_SERVERS: u16 = 32_767;

/// Ports that nothing listens on yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    ports: Vec<Port>,
    /// Those that were reported, where every port is to be.
    seen: Option<BTreeSet<(bool, u16)>>,
}

impl Waiting {
    pub(crate) fn new(ports: &[Port]) -> Self {
        let every = ports.iter().any(|port| port.port == 0);
        Self { ports: ports.to_vec(), seen: every.then(BTreeSet::new) }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ports.is_empty() && self.seen.is_none()
    }

    /// Those that have a listener now; each is reported once.
    pub(crate) fn found(&mut self) -> Vec<Port> {
        let read =
            |names: [&str; 2]| names.map(|name| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
        let (tcp, udp) = (read(["tcp", "tcp6"]), read(["udp", "udp6"]));
        let tcp: BTreeSet<u16> = tcp.iter().flat_map(|table| sockets(table, Some(LISTEN))).collect();
        let udp: BTreeSet<u16> = udp.iter().flat_map(|table| sockets(table, None)).collect();
        let Some(seen) = &mut self.seen else {
            let has = |port: &Port| match port.protocol {
                Protocol::Tcp => tcp.contains(&port.port),
                Protocol::Udp => udp.contains(&port.port),
            };
            let (found, waiting) = self.ports.iter().partition(|port| has(port));
            self.ports = waiting;
            return found;
        };
        let named = |port: u16| self.ports.iter().any(|one| one.port == port && one.protocol == Protocol::Udp);
        let udp = udp.into_iter().filter(|port| *port <= LAST_OF_SERVERS || named(*port));
        let all = tcp.into_iter().map(|port| (Protocol::Tcp, port)).chain(udp.map(|port| (Protocol::Udp, port)));
        let new = all.filter(|(protocol, port)| seen.insert((*protocol == Protocol::Udp, *port)));
        new.map(|(protocol, port)| Port { port, protocol }).collect()
    }
}

/// Ports of a table's sockets. One on the loopback alone cannot be reached from outside.
fn sockets<'a>(table: &'a str, state: Option<&'a str>) -> impl Iterator<Item = u16> + 'a {
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, found) = (fields.next()?, fields.next()?, fields.next()?);
        let (address, number) = local.split_once(':')?;
        let is_reachable = address != LOOPBACK_4 && address != LOOPBACK_6;
        (is_reachable && state.is_none_or(|state| state == found)).then(|| u16::from_str_radix(number, 16).ok())?
    })
}
