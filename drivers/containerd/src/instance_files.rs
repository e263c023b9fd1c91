//! The files that every instance has of its own: `hosts`, `resolv.conf`, `hostname`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hythe_local::IoContext;
use hythe_runtime::{Plan, PlanNetwork, Result};
use hythe_shim::Directory;
use hythe_spec::HostAddress;

/// Writes them into the instance's directory.
pub(crate) fn write_files(operation: &'static str, plan: &Plan, directory: &Directory) -> Result<()> {
    let is_host = matches!(plan.network, PlanNetwork::Host);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let name = &plan.hostname;
    let mut hosts = match is_host {
        true => read("/etc/hosts"),
        false => format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n"),
    };
    for extra in &plan.extra_hosts {
        if let HostAddress::Ip(address) = extra.address {
            hosts.push_str(&format!("{address}\t{}\n", extra.name));
        }
    }
    let resolv = resolv_conf(plan, if is_host { read("/etc/resolv.conf") } else { String::new() });
    let files = [("hosts", hosts), ("resolv.conf", resolv), ("hostname", format!("{name}\n"))];
    for (name, text) in files {
        let what = || format!("write `{name}`");
        fs::write(directory.at(name), text).context(operation, what())?;
        // Everybody inside reads them, whatever the agent's mask is.
        fs::set_permissions(directory.at(name), fs::Permissions::from_mode(0o644)).context(operation, what())?;
    }
    Ok(())
}

/// What the plan says in place of what is there.
fn resolv_conf(plan: &Plan, there: String) -> String {
    let mut text = String::new();
    let kept = |word: &str| {
        let lines = there.lines().filter(|line| line.split_whitespace().next() == Some(word));
        lines.fold(String::new(), |all, line| all + line + "\n")
    };
    match plan.dns.is_empty() {
        true => text.push_str(&kept("nameserver")),
        false => plan.dns.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n"))),
    }
    let search: Vec<&str> = plan.dns_search.iter().map(String::as_str).filter(|domain| *domain != ".").collect();
    match (plan.dns_search.is_empty(), search.is_empty()) {
        (true, _) => text.push_str(&(kept("search") + &kept("domain"))),
        (false, false) => text.push_str(&format!("search {}\n", search.join(" "))),
        (false, true) => {}
    }
    match plan.dns_options.is_empty() {
        true => text.push_str(&kept("options")),
        false => text.push_str(&format!("options {}\n", plan.dns_options.join(" "))),
    }
    text
}
