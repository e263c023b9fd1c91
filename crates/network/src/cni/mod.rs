//! Networks by the plugins of the Container Network Interface, where an operator wants these to make links and rules.
//!
//! Only that is theirs: a network is the plugin `bridge` with `firewall` after it. Addresses are ours (plugin `static`), and so are names and published
//! ports. Therefore what `DEL` has to be told is known from the record that was there before `ADD`, and a crash between the two loses nothing.
//!
//! Nothing of a member is known to its namespace alone, which is gone with a container that was killed: what `DEL` without it would leak is made for the
//! whole network instead (`rules`).

mod plugin;
mod rules;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use hythe_runtime::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use self::plugin::{Plugins, Request};
use super::error::kernel;
use super::host::HostState;
use super::links::{ContainerEnd, raise_loopback};
use super::namespace::within;
use super::netlink::Session;
use super::store::{Definition, Store};

const VERSION: &str = "1.0.0";
const NEEDED: [&str; 3] = ["bridge", "firewall", "static"];
const OPERATION: &str = "attach";

/// Whether the plugins are there, and what they run.
///
/// # Errors
/// `Unsupported`, naming what is missing.
pub fn plugins_supported(directory: &Path) -> Result<()> {
    for kind in NEEDED {
        let found = std::fs::metadata(directory.join(kind));
        let runs = found.and_then(|found| if found.is_file() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) });
        runs.map_err(|error| plugin::absent(directory, kind, error))?;
    }
    rules::supported()
}

impl Store {
    /// Connects a member by plugins; `step` is told what each has done. Connected already: success.
    pub(super) fn add_by_plugins(
        &self,
        plugins: &Path,
        place: &Place<'_>,
        inside: &ContainerEnd<'_>,
        outside: HostState,
        step: impl Fn(&'static str),
    ) -> Result<()> {
        let definition = place.definition;
        let address = self.scope().hardware_address(definition.number, place.host);
        let there = links(inside.namespace)?;
        if place.is_complete && there.iter().any(|(_, hardware)| *hardware == address) {
            return Ok(());
        }
        if place.is_known {
            self.del_by_plugins(plugins, place)?;
        }
        let link = free_name(&inside.link, &links(inside.namespace)?);
        let raised = within(inside.namespace, || raise_loopback(&mut Session::route()?));
        raised.map_err(|error| kernel(OPERATION, "link `lo`", error))?;
        let turn = Plugins::take(plugins, self.plugins_file())?;
        let path = through_us(inside.namespace);
        let request = Request { command: "ADD", container: place.instance, namespace: &path, link: &link };
        let mut bridge = self.bridge_config(place);
        bridge["mtu"] = json!(outside.mtu);
        bridge["isDefaultGateway"] = json!(inside.is_default);
        let result = turn.run(request, &bridge)?;
        step("pair");
        turn.run(request, &self.firewall_config(definition, result))?;
        let name = self.scope().bridge(definition.number);
        if !definition.internal {
            rules::masquerade(&name, definition.v4)?;
        }
        if !rules::is_apart(&name)? {
            let message = format!(
                "networks by CNI are unsupported because the plugin `firewall` in `{}` does not keep them apart",
                plugins.display()
            );
            return Err(Error::new(ErrorKind::Unsupported, OPERATION, message).hint("install plugins from 1.1.0 on"));
        }
        step("inside");
        Ok(())
    }

    /// Takes back all that plugins made for a member, finished or not, wherever its namespace is. Nothing made: success.
    pub(super) fn del_by_plugins(&self, plugins: &Path, place: &Place<'_>) -> Result<()> {
        let address = self.scope().hardware_address(place.definition.number, place.host);
        let turn = Plugins::take(plugins, self.plugins_file())?;
        // Opened only now: a plugin that outlived its caller may have made the link meanwhile.
        let living = place.namespace.and_then(|path| File::open(path).ok());
        let found = living.and_then(|namespace| {
            let link = links(namespace.as_fd()).ok()?.into_iter().find(|(_, hardware)| *hardware == address);
            link.map(|(name, _)| (through_us(namespace.as_fd()), name, namespace))
        });
        let (path, link) = match &found {
            Some((path, link, _)) => (path.clone(), link.as_str()),
            None => (PathBuf::new(), "eth0"),
        };
        let request = Request { command: "DEL", container: place.instance, namespace: &path, link };
        let address = place.address();
        let gateway = place.definition.v4.gateway();
        let result = json!({
            "cniVersion": VERSION,
            "interfaces": [{ "name": self.scope().bridge(place.definition.number) }, { "name": link, "sandbox": path }],
            "ips": [{ "interface": 1, "address": address, "gateway": gateway }],
            "dns": {},
        });
        turn.run(request, &self.firewall_config(place.definition, result))?;
        turn.run(request, &self.bridge_config(place)).map(drop)
    }

    /// Takes away what plugins leave of a network without members, except the bridge.
    pub(super) fn end_by_plugins(&self, plugins: &Path, definition: &Definition) -> Result<()> {
        let _turn = Plugins::take(plugins, self.plugins_file())?;
        rules::end(&self.scope().bridge(definition.number))
    }

    fn bridge_config(&self, place: &Place<'_>) -> Value {
        let definition = place.definition;
        let name = self.scope().bridge(definition.number);
        let hardware = self.scope().hardware_address(definition.number, place.host);
        let hardware: Vec<String> = hardware.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "cniVersion": VERSION,
            "name": name,
            "type": "bridge",
            "bridge": name,
            "isGateway": true,
            "runtimeConfig": { "mac": hardware.join(":") },
            "ipam": {
                "type": "static",
                "addresses": [{ "address": place.address(), "gateway": definition.v4.gateway() }],
            },
        })
    }

    fn firewall_config(&self, definition: &Definition, result: Value) -> Value {
        json!({
            "cniVersion": VERSION,
            "name": self.scope().bridge(definition.number),
            "type": "firewall",
            "backend": "iptables",
            "ingressPolicy": "same-bridge",
            "prevResult": result,
        })
    }
}

/// A member's place in a network, as it is recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) instance: &'a str,
    pub(super) definition: &'a Definition,
    pub(super) host: u32,
    /// Where its namespace was when it was connected.
    pub(super) namespace: Option<&'a Path>,
    /// It was recorded before this call.
    pub(super) is_known: bool,
    /// It was connected before this call.
    pub(super) is_complete: bool,
}

impl Place<'_> {
    fn address(&self) -> String {
        let subnet = self.definition.v4;
        let address: IpAddr = subnet.host(self.host);
        format!("{address}/{}", subnet.prefix)
    }
}

/// Names and hardware addresses of all links in a namespace.
fn links(namespace: BorrowedFd<'_>) -> Result<Vec<(String, [u8; 6])>> {
    let listed = within(namespace, || Session::route()?.links());
    let listed = listed.map_err(|error| kernel(OPERATION, "asking for the links in a namespace", error))?;
    Ok(listed.into_iter().map(|link| (link.name, link.hardware_address)).collect())
}

/// The name, or the first `ethN` that is free.
fn free_name(wanted: &str, taken: &[(String, [u8; 6])]) -> String {
    let is_free = |name: &String| taken.iter().all(|(other, _)| other != name);
    let others = (0..=taken.len()).map(|number| format!("eth{number}"));
    std::iter::once(wanted.to_owned()).chain(others).find(is_free).unwrap_or_else(|| wanted.to_owned())
}

/// A path to what we hold open, for a program that we start.
fn through_us(namespace: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd()))
}
