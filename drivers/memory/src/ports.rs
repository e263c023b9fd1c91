//! Host ports: the plan's, and a free one for each that names none.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hythe_runtime::{Error, ErrorKind, InstanceId, Result};
use hythe_spec::{Port, Protocol};

use crate::engine::World;

/// The plan's ports with free host ports for those that name none.
pub(crate) fn pick_ports(world: &mut World, operation: &'static str, id: &InstanceId) -> Result<Vec<Port>> {
    let taken: BTreeSet<(u16, Protocol, Option<IpAddr>)> = world
        .instances
        .values()
        .filter(|other| other.run.is_some() && other.id != *id)
        .flat_map(|other| &other.ports)
        .filter_map(|port| Some((port.host_port?, port.protocol, port.host_ip)))
        .collect();
    let mut ports = world.get(operation, id)?.plan.ports.clone();
    for port in &mut ports {
        let clashes = |number: u16| {
            let overlap = |ip: Option<IpAddr>| ip.is_none() || port.host_ip.is_none() || ip == port.host_ip;
            taken.iter().any(|(other, protocol, ip)| *other == number && *protocol == port.protocol && overlap(*ip))
        };
        match port.host_port {
            Some(number) if clashes(number) => {
                let words = format!("the host port `{port}` is taken");
                return Err(Error::new(ErrorKind::Conflict, operation, words));
            }
            Some(_) => {}
            None => {
                world.next_port = world.next_port.checked_add(1).unwrap_or(40_000);
                port.host_port = Some(world.next_port);
            }
        }
    }
    ports.sort();
    Ok(ports)
}
