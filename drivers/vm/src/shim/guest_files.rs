//! The document that the guest boots with, completed by what only the start knows: names and name servers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use hythe_guest::protocol::{Config, Dns, Host};
use hythe_network::resolver::Resolver;
use hythe_shim::files::replace_json;
use hythe_shim::{Directory, Doing as _, ShimError};

use crate::translate::Launch;

/// QEMU's own name server, as the guest sees it; it asks those of QEMU's `resolv.conf`.
const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 3));

/// Writes it.
pub(super) fn write(directory: &Directory, launch: &Launch) -> Result<(), ShimError> {
    let mut guest = launch.machine.guest.clone();
    complete(&mut guest, launch.machine.hosts.as_path(), &directory.at("resolv.conf"));
    replace_json(&directory.at("guest.json"), &guest, false).doing("write what the guest boots with")
}

fn complete(guest: &mut Config, hosts: &Path, resolv_conf: &Path) {
    let text = fs::read_to_string(hosts).unwrap_or_default();
    guest.hosts = hosts_of(&text);
    let resolver = Resolver::all_of(resolv_conf);
    let behind_qemu = !guest.network.is_empty() && !resolver.nameservers.is_empty();
    let servers = if behind_qemu { vec![NAME_SERVER] } else { resolver.nameservers };
    guest.dns = Some(Dns { servers, search: resolver.search, options: resolver.options });
}

/// Entries of a hosts file, without those that every guest has itself.
fn hosts_of(text: &str) -> Vec<Host> {
    let entry = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let names: Vec<String> = words.map(str::to_owned).collect();
        (!names.is_empty() && names.iter().all(|name| name != "localhost")).then_some(Host { address, names })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_is_read_without_the_loopback() {
        let text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n# none\n10.1.0.2\tdb shop-db # peer\nbroken\n";
        let wanted = Host {
            address: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2)),
            names: ["db", "shop-db"].map(str::to_owned).to_vec(),
        };
        assert_eq!(hosts_of(text), [wanted]);
    }
}
