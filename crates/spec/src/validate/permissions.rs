//! Permissions of a service from the wire: nothing in them that no profile could say.

use super::Problem;
use crate::permissions::CAPABILITIES;
use crate::{Component, Seccomp};

pub(super) fn check(path: &str, component: &Component) -> Vec<Problem> {
    let path = format!("{path}.permissions");
    let permissions = &component.permissions;
    let unknown = permissions.capabilities.iter().find(|name| !CAPABILITIES.contains(&name.as_str()));
    let mut problems: Vec<Problem> =
        unknown.map(|name| Problem::new(&path, format!("`{name}` is not a capability"))).into_iter().collect();
    if let Seccomp::File(file) = &permissions.seccomp
        && (!file.starts_with('/') || file.contains('\0'))
    {
        problems.push(Problem::new(&path, format!("`{}` is not an absolute path", file.escape_default())));
    }
    let outbound = permissions.outbound.iter().flat_map(|outbound| &outbound.allow_host);
    let hosts = outbound.chain(&permissions.inbound.allow_host);
    problems.extend(
        hosts
            .filter(|host| !is_host(host))
            .map(|host| Problem::new(&path, format!("`{}` is not a host name", host.escape_default()))),
    );
    problems
}

/// A host name or address; a leading dot includes its subdomains.
fn is_host(text: &str) -> bool {
    let name = text.strip_prefix('.').unwrap_or(text);
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    plain || name.parse::<std::net::IpAddr>().is_ok()
}
