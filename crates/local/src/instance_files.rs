//! The files that every instance has of its own: `hosts`, `resolv.conf`, `hostname`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hythe_network::resolver::Resolver;
use hythe_runtime::{Plan, PlanNetwork, Result};
use hythe_shim::Directory;
use hythe_spec::HostAddress;

use crate::IoContext;

/// Writes them into an instance's directory. `reachable` gives the name servers that instances in networks reach.
///
/// # Errors
/// The disk.
pub fn write_files(
    operation: &'static str,
    plan: &Plan,
    directory: &Directory,
    reachable: impl FnOnce() -> Resolver,
) -> Result<()> {
    let is_host = matches!(plan.network, PlanNetwork::Host);
    let mut hosts = if is_host {
        fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        let name = &plan.hostname;
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n")
    };
    for extra in &plan.extra_hosts {
        match extra.address {
            HostAddress::Ip(address) => hosts.push_str(&format!("{address}\t{}\n", extra.name)),
            HostAddress::HostGateway if is_host => hosts.push_str(&format!("127.0.0.1\t{}\n", extra.name)),
            HostAddress::HostGateway => {}
        }
    }
    let resolv = match resolver(plan, reachable) {
        Some(resolver) => resolver.text(),
        None => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    let files = [("hosts", hosts), ("resolv.conf", resolv), ("hostname", format!("{}\n", plan.hostname))];
    for (name, text) in files {
        let what = || format!("write `{name}`");
        fs::write(directory.at(name), text).context(operation, what())?;
        // Everybody inside reads them, whatever the agent's mask is.
        fs::set_permissions(directory.at(name), fs::Permissions::from_mode(0o644)).context(operation, what())?;
    }
    Ok(())
}

/// What its `resolv.conf` says; `None`: what the host's says.
fn resolver(plan: &Plan, reachable: impl FnOnce() -> Resolver) -> Option<Resolver> {
    let has_words = !plan.dns_search.is_empty() || !plan.dns_options.is_empty();
    let mut resolver = match plan.network {
        PlanNetwork::Host if plan.dns.is_empty() && has_words => Some(Resolver::all_of(Path::new("/etc/resolv.conf"))),
        PlanNetwork::Host if plan.dns.is_empty() => None,
        PlanNetwork::Host | PlanNetwork::None => Some(Resolver::default()),
        PlanNetwork::Networks { .. } => Some(reachable()),
    }?;
    if !plan.dns.is_empty() {
        resolver.nameservers = plan.dns.clone();
    }
    if !plan.dns_search.is_empty() {
        resolver.search = plan.dns_search.iter().filter(|domain| *domain != ".").cloned().collect();
    }
    if !plan.dns_options.is_empty() {
        resolver.options = plan.dns_options.clone();
    }
    Some(resolver)
}
