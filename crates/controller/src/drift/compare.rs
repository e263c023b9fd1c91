//! What a plan asks for against what an engine says. Pure.
//!
//! Only what was asked for is compared, and what is clearly an addition: engines and images bring variables, mounts, labels and
//! limits of their own.

use hythe_runtime::{Image, Observed, Plan, PlanNetwork};
use hythe_spec::Signal;
use hythe_spec::vocabulary::DriftCause;
use serde_json::json;

use super::found::Found;
use super::image::Inherited;
use super::{grants, image, limits, mounts, network, security, variables};
use crate::model::Difference;

/// Where an instance differs from its plan. `image` is what the plan's image name means in that engine now.
///
/// The plan is taken apart without `..`, so that a new field has to be compared.
pub(super) fn compare(plan: &Plan, seen: &Observed, image: Option<&Image>) -> Vec<Difference> {
    let Plan {
        identity: _,
        image: name,
        entrypoint,
        command,
        env,
        annotations: _,
        ports,
        mounts: _,
        secrets: _,
        user,
        workdir,
        hostname,
        network,
        dns,
        extra_hosts,
        dns_search,
        dns_options,
        group_add,
        sysctls,
        devices,
        logs,
        // Which image the name means is compared by its id.
        platform: _,
        // The agent probes; engines are given no check.
        health: _,
        stop_signal,
        stop_grace,
        resources,
        read_only,
        init,
        tty,
        stdin,
        security,
        // What cannot be enforced is refused before anything is made.
        outbound: _,
        inbound: _,
    } = plan;
    let mut found = Found::default();
    image::moved(name, seen, image, &mut found);
    let inherited = Inherited::of(seen, image);
    if let Some(desired) = inherited.entrypoint(entrypoint.as_ref()) {
        found.same("entrypoint", desired, &seen.entrypoint);
    }
    if let Some(desired) = inherited.command(entrypoint.is_some(), command.as_ref()) {
        found.same("command", &desired, &seen.command);
    }
    variables::env(env, seen, &inherited, &mut found);
    variables::labels(&plan.labels_and_annotations(), seen, &inherited, &mut found);
    if let Some(desired) = inherited.user(user.as_ref()) {
        found.same("user", &desired, &seen.user);
    }
    if let Some(desired) = inherited.workdir(workdir.as_ref()) {
        found.same("workdir", &desired, &image::directory(seen.workdir.as_ref()));
    }
    if *network != PlanNetwork::Host {
        found.same_if_reported("hostname", hostname, seen.hostname.as_ref());
    }
    network::networks(network, seen, &mut found);
    network::ports(network, ports, seen, &mut found);
    network::dns(network, dns, seen, &mut found);
    network::hosts(extra_hosts, seen, &mut found);
    network::resolver(network, dns_search, dns_options, seen, &mut found);
    found.same_if_reported("group_add", group_add, seen.group_add.as_ref());
    grants::sysctls(sysctls, seen, &mut found);
    grants::devices(devices, seen, &mut found);
    grants::logs(logs.as_ref(), seen, &mut found);
    mounts::mounts(&plan.all_mounts(), seen, &mut found);
    if let Some(desired) = inherited.stop_signal(*stop_signal) {
        let observed = seen.stop_signal.unwrap_or(Signal::TERM);
        found.same("stop_signal", &desired.to_string(), &observed.to_string());
    }
    let grace = seen.stop_grace.map(|grace| grace.seconds());
    found.same_if_reported("stop_grace", &stop_grace.seconds(), grace.as_ref());
    limits::limits(resources, seen, &mut found);
    found.same("read_only", read_only, &seen.read_only);
    found.same_if_reported("init", init, seen.init.as_ref());
    found.same_if_reported("tty", tty, seen.tty.as_ref());
    found.same_if_reported("stdin", stdin, seen.stdin.as_ref());
    security::security(security, &seen.security, &mut found);
    if let Some(policy) = seen.engine_restart.as_ref().filter(|policy| *policy != "no") {
        // The agent restarts instances; the engine's own policy is `no`.
        found.push("restart", json!("no"), json!(policy), DriftCause::Modified);
    }
    found.done()
}
