//! Permission profiles: built in, in a file, or inline. Whatever cannot be read is an error, never "allow".

mod capabilities;
mod mounts;

use std::ops::Range;

use super::context::Context;
use crate::file::decode::{At, Decode};
use crate::file::findings::{Findings, Place};
use crate::file::json;
use crate::file::raw::{NetworkFile, OutboundFile, PermissionsFile};
use crate::file::shapes::Or;
use crate::file::tree::{self, Node};
use crate::{Inbound, Outbound, Permissions, Seccomp};

/// The permissions that a component's `permissions` asks for; nothing where it has none or it is wrong.
pub(super) fn permissions(raw: Option<&At<Or<String, PermissionsFile>>>, cx: &mut Context<'_>) -> Option<Permissions> {
    let At { value, place } = raw?;
    match value {
        Or::First(name) => match Permissions::built_in(name) {
            Some(profile) => Some(profile),
            None => from_file(&At { value: name.clone(), place: place.clone() }, cx),
        },
        Or::Second(table) => resolve("inline", table, cx),
    }
}

/// Reads a profile file; its errors are reported where the service file names it.
fn from_file(path: &At<String>, cx: &mut Context<'_>) -> Option<Permissions> {
    let full = cx.resolve(path)?;
    let text = match cx.files.read(&full) {
        Ok(text) => text,
        Err(error) => {
            let finding =
                cx.findings.error(&path.place, format!("cannot read the permission profile `{full}`: {error}"));
            finding.hint("one of `standard`, `none`, `network`, or the path of a profile");
            return None;
        }
    };
    let mut inner = Findings::default();
    let table =
        read(&full, &text, &path.place.span, &mut inner).and_then(|node| PermissionsFile::read(&node, &mut inner));
    let base = full.rsplit_once('/').map_or("/", |(directory, _)| directory).to_owned();
    let permissions = table.and_then(|table| {
        let mut cx = Context::new(cx.files, &mut inner, super::places::Places::default());
        cx.base = base;
        resolve(&path.value, &table, &mut cx)
    });
    adopt(inner, path, cx);
    permissions
}

fn read(path: &str, text: &str, span: &Range<usize>, findings: &mut Findings) -> Option<Node> {
    if !path.ends_with(".json") {
        return tree::from_toml(text, findings);
    }
    let place = Place { path: String::new(), span: span.clone() };
    match json::parse(text, span) {
        Ok(node) => node,
        Err(error) => {
            findings.error(&place, error.to_string());
            None
        }
    }
}

fn adopt(inner: Findings, path: &At<String>, cx: &mut Context<'_>) {
    for mut finding in inner.into_all() {
        let key = if finding.place.path.is_empty() { String::new() } else { format!(", `{}`", finding.place.path) };
        finding.message = format!("in the permission profile `{}`{key}: {}", path.value, finding.message);
        finding.place = path.place.clone();
        finding.related.clear();
        cx.findings.push(finding);
    }
}

/// A table on top of its base profile.
fn resolve(name: &str, table: &PermissionsFile, cx: &mut Context<'_>) -> Option<Permissions> {
    let options = ["none", "network", "standard"].map(|name| (name, Permissions::built_in(name)));
    let base = match &table.profile {
        Some(profile) => cx.choose(profile, "built-in profile", &options)?,
        None => Permissions::built_in("none"),
    };
    let mut permissions = base?;
    permissions.profile = table.name.as_ref().map_or(name, |name| &name.value).to_owned();
    permissions.privileged = table.privileged.as_ref().is_some_and(|privileged| privileged.value);
    capabilities::apply(table, &mut permissions, cx);
    if let Some(network) = &table.network {
        apply_network(&network.value, &mut permissions, cx);
    }
    permissions.mounts = mounts::mounts(table, cx);
    if let Some(seccomp) = &table.seccomp {
        permissions.seccomp = filter(seccomp, cx)?;
    }
    if let Some(flag) = &table.no_new_privileges {
        permissions.no_new_privileges = flag.value;
    }
    Some(permissions)
}

fn filter(seccomp: &At<String>, cx: &mut Context<'_>) -> Option<Seccomp> {
    match seccomp.value.as_str() {
        "default" => Some(Seccomp::Default),
        "unconfined" => Some(Seccomp::Unconfined),
        _ => {
            let full = cx.resolve(seccomp)?;
            match cx.files.read(&full) {
                Ok(_) => Some(Seccomp::File(full)),
                Err(error) => {
                    let finding =
                        cx.findings.error(&seccomp.place, format!("cannot read the seccomp profile `{full}`: {error}"));
                    finding.hint("`default`, `unconfined`, or the path of a profile");
                    None
                }
            }
        }
    }
}

fn apply_network(network: &NetworkFile, permissions: &mut Permissions, cx: &mut Context<'_>) {
    if let Some(outbound) = &network.outbound {
        permissions.outbound = Some(opened(&outbound.value, cx));
    }
    if let Some(inbound) = &network.inbound {
        let hosts = inbound.value.allow_host.iter().flat_map(|list| &list.value);
        permissions.inbound = Inbound { allow_host: hosts.map(|host| host.value.clone()).collect() };
    }
    let Some(mode) = &network.mode else { return };
    let closed = cx.choose(mode, "network mode", &[("none", true), ("bridge", false), ("default", false)]);
    if closed == Some(true) {
        if network.outbound.is_some() && permissions.opens_network() {
            cx.findings.error(&mode.place, "`mode = \"none\"` closes what `outbound` opens");
        }
        permissions.outbound = Some(Outbound::default());
    }
}

fn opened(raw: &OutboundFile, cx: &mut Context<'_>) -> Outbound {
    let mut allow_port = Vec::new();
    for port in raw.allow_port.iter().flat_map(|list| &list.value) {
        allow_port.extend(cx.number(Some(port), 1..=u16::MAX, "a port"));
    }
    let all = raw.insecure_allow_all.as_ref().filter(|all| all.value);
    let listed = !allow_port.is_empty() || raw.allow_host.as_ref().is_some_and(|list| !list.value.is_empty());
    if let Some(all) = all.filter(|_| listed) {
        let finding =
            cx.findings.warn(&all.place, "everything may be reached, so `allow_host` and `allow_port` limit nothing");
        finding.hint("remove `insecure_allow_all`, or the lists");
    }
    let hosts = raw.allow_host.iter().flat_map(|list| &list.value);
    Outbound {
        insecure_allow_all: raw.insecure_allow_all.as_ref().is_some_and(|all| all.value),
        allow_host: hosts.map(|host| host.value.clone()).collect(),
        allow_port,
    }
}
