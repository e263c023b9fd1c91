//! The name servers that instances get; the files are written by `hythe_local`.

use std::net::IpAddr;

use hythe_network::resolver::Resolver;
use hythe_shim::rootless_net::RESOLVER;

use crate::context::Context;

/// The name servers that instances and an unprivileged user's shims reach.
pub(crate) fn reachable(context: &Context) -> Resolver {
    Resolver::of_the_host().or(context.host.outward.then_some(RESOLVER))
}

/// For the instance's own name server: none for root, whose shims ask the host's servers as they are then, those on its loopback too.
pub(crate) fn name_servers(context: &Context) -> Option<Vec<IpAddr>> {
    context.host.user_namespace.is_some().then(|| reachable(context).nameservers)
}
