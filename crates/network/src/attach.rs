//! Connecting an instance to its networks.
//!
//! ```text
//! reserved    addresses are taken in the state directory, the hosts file is there
//! prepared    forwarding and rules
//! bridge      ┐
//! pair        │ for each network
//! inside      ┘
//! marked      the connections are complete
//! published   the others know the names
//! ```

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hythe_runtime::{Attachment, Error, ErrorKind, ObservedNetwork, Result};
use hythe_spec::{ExtraHost, HostAddress};

use super::Networks;
use super::cni::Place;
use super::links::{ContainerEnd, gateways, open_namespace};
use super::store::{AttachmentRecord, Connection, Definition, Locked, Member, check};
use super::subnet::free_host;

/// What to connect.
#[derive(Debug, Clone, Copy)]
pub struct AttachRequest<'a> {
    /// Names what is connected, in this state directory; letters, digits, `_`, `.`, `-`.
    pub instance: &'a str,
    /// A network namespace as a file: a bind mount or `/proc/<pid>/ns/net`.
    pub namespace: &'a Path,
    /// Networks with the names the instance resolves under there. The first that leads out has the default route.
    pub attachments: &'a [Attachment],
    /// The instance's own host name, for its own hosts file.
    pub hostname: &'a str,
    /// More lines for its hosts file.
    pub extra_hosts: &'a [ExtraHost],
}

/// What was connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The networks with addresses and names, in the order asked for.
    pub networks: Vec<ObservedNetwork>,
    /// The hosts file, to be mounted as a file (not copied: it is rewritten in place).
    pub hosts: PathBuf,
    /// The host as the instance reaches it, in its first network.
    pub gateways: Vec<IpAddr>,
}

impl Attached {
    /// Where a relay finds the instance: an IPv4 address of its first network, else an IPv6 one.
    pub fn address(&self) -> Option<IpAddr> {
        self.networks.first().and_then(|network| network.addresses.first().copied())
    }
}

impl Networks {
    /// Connects an instance. Connected already: success, with the same addresses. Of two
    /// calls for one instance, the second waits for the first. On failure everything is undone, except
    /// where it was connected already.
    ///
    /// # Errors
    /// `NotFound`: a network or the namespace. `Invalid`: a name, or one network twice. `Conflict`: it is connected to
    /// other networks. `Exhausted`: no address left. `Unsupported`: what the
    /// machine lacks. A failed clean-up is told in the context `clean-up`, and left to [`Networks::gc`].
    pub fn attach(&self, request: &AttachRequest<'_>) -> Result<Attached> {
        check("instance", request.instance)?;
        let _turn = self.store.lock_instance(request.instance)?;
        let was_whole = self.observe(request.instance)?.is_some();
        if self.is_connected_otherwise(request)? {
            if was_whole {
                let message = format!("instance `{}` is connected to other networks", request.instance);
                return Err(Error::new(ErrorKind::Conflict, "attach", message).hint("detach it first"));
            }
            self.release(request.instance)?;
        }
        self.connect(request).map_err(|error| if was_whole { error } else { self.undone(request.instance, error) })
    }

    /// The connections of an instance; `None`: it has none, or they are not complete.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn observe(&self, instance: &str) -> Result<Option<Attached>> {
        let Some(about) = self.store.about(instance)? else { return Ok(None) };
        let mut places = Vec::new();
        for connection in &about.connections {
            let Some(definition) = self.store.definition(&connection.network)? else { return Ok(None) };
            match self.store.members(&connection.network)?.of(instance) {
                Some(member) if member.complete => places.push((definition, member.clone())),
                _ => return Ok(None),
            }
        }
        Ok(Some(self.attached(instance, &places)))
    }

    /// Whether an earlier call, finished or not, connected the instance to other networks.
    fn is_connected_otherwise(&self, request: &AttachRequest<'_>) -> Result<bool> {
        let Some(before) = self.store.about(request.instance)? else { return Ok(false) };
        let (before, now) = (before.connections.iter(), request.attachments.iter());
        Ok(before.map(|connection| &connection.network).ne(now.map(|attachment| &attachment.network)))
    }

    pub(super) fn connect(&self, request: &AttachRequest<'_>) -> Result<Attached> {
        let namespace = open_namespace(request.namespace)?;
        let before = self.store.about(request.instance)?;
        let places = self.reserve(request)?;
        self.step("reserved");
        let outside = self.store.prepare()?;
        self.step("prepared");
        let default = places.iter().position(|(definition, _)| !definition.internal);
        for (at, (definition, member)) in places.iter().enumerate() {
            let inside = ContainerEnd {
                namespace: namespace.as_fd(),
                link: format!("eth{at}"),
                host: member.host,
                is_default: default == Some(at),
            };
            if let Some(plugins) = &definition.plugins {
                let known = before.iter().flat_map(|about| &about.connections);
                let place = Place {
                    instance: request.instance,
                    definition,
                    host: member.host,
                    namespace: Some(request.namespace),
                    is_known: known.into_iter().any(|connection| connection.network == definition.name),
                    is_complete: member.complete,
                };
                self.store.add_by_plugins(plugins, &place, &inside, outside, |step| self.step(step))?;
                continue;
            }
            self.store.raise_bridge(definition, outside)?;
            self.step("bridge");
            self.store.connect_pair(definition, &inside)?;
            self.step("pair");
            self.store.configure(definition, &inside, outside)?;
            self.step("inside");
        }
        self.publish(request.instance)?;
        self.step("published");
        Ok(self.attached(request.instance, &places))
    }

    /// Takes an address in each network, the one it has where it has one, and writes the hosts file.
    fn reserve(&self, request: &AttachRequest<'_>) -> Result<Vec<(Definition, Member)>> {
        check_names(request)?;
        let lock = self.store.lock()?;
        let definitions = self.wanted(request.attachments)?;
        lock.put_about(request.instance, &self.about(request, &definitions))?;
        let mut places = Vec::new();
        for (definition, attachment) in definitions.into_iter().zip(request.attachments) {
            let member = self.place(&lock, request.instance, &definition, sorted(&attachment.aliases))?;
            places.push((definition, member));
        }
        self.write_hosts(&lock, request.instance, true)?;
        Ok(places)
    }

    /// The member's place in a network: the one it has, or a new one.
    fn place(
        &self,
        lock: &Locked<'_>,
        instance: &str,
        definition: &Definition,
        aliases: Vec<String>,
    ) -> Result<Member> {
        let mut members = self.store.members(&definition.name)?;
        let there = members.members.iter_mut().find(|member| member.instance == instance);
        let member = match there {
            Some(member) if member.aliases == aliases => return Ok(member.clone()),
            Some(member) => {
                member.aliases = aliases;
                let member = member.clone();
                members.changed += 1;
                member
            }
            None => {
                let taken: Vec<u32> = members.members.iter().map(|member| member.host).collect();
                let host = free_host(members.last, &taken).ok_or_else(|| full(definition))?;
                let member = Member { instance: instance.to_owned(), host, aliases, complete: false };
                members.last = host;
                members.members.push(member.clone());
                member
            }
        };
        lock.put_members(&definition.name, &members)?;
        Ok(member)
    }

    fn wanted(&self, attachments: &[Attachment]) -> Result<Vec<Definition>> {
        let mut definitions: Vec<Definition> = Vec::new();
        for Attachment { network, aliases: _ } in attachments {
            if definitions.iter().any(|definition| definition.name == *network) {
                return Err(Error::new(ErrorKind::Invalid, "attach", format!("network `{network}` is named twice")));
            }
            let found = self.store.definition(network)?;
            definitions.push(
                found.ok_or_else(|| Error::new(ErrorKind::NotFound, "attach", format!("no network `{network}`")))?,
            );
        }
        Ok(definitions)
    }

    fn about(&self, request: &AttachRequest<'_>, definitions: &[Definition]) -> AttachmentRecord {
        let host = definitions.first().and_then(|definition| gateways(definition).first().copied());
        let address = |extra: &ExtraHost| match extra.address {
            HostAddress::Ip(address) => Some((address, extra.name.clone())),
            HostAddress::HostGateway => host.map(|host| (host, extra.name.clone())),
        };
        let connection = |attachment: &Attachment| Connection {
            network: attachment.network.clone(),
            aliases: sorted(&attachment.aliases),
        };
        AttachmentRecord {
            boot: self.store.boot().to_owned(),
            namespace: Some(seen_by_all(request.namespace)),
            hostname: request.hostname.to_owned(),
            extra: request.extra_hosts.iter().filter_map(address).collect(),
            connections: request.attachments.iter().map(connection).collect(),
        }
    }

    fn attached(&self, instance: &str, places: &[(Definition, Member)]) -> Attached {
        let network = |(definition, member): &(Definition, Member)| ObservedNetwork {
            name: definition.name.clone(),
            addresses: definition.addresses(member.host),
            aliases: Some(member.aliases.clone()),
        };
        Attached {
            networks: places.iter().map(network).collect(),
            hosts: self.store.hosts_file(instance),
            gateways: places.first().map(|(definition, _)| gateways(definition)).unwrap_or_default(),
        }
    }

    /// The error, after what was begun is undone.
    fn undone(&self, instance: &str, error: Error) -> Error {
        match self.release(instance) {
            Ok(()) => error,
            Err(also) => error.with("clean-up", also),
        }
    }
}

/// Names become words of hosts files.
fn check_names(request: &AttachRequest<'_>) -> Result<()> {
    let aliases = request.attachments.iter().flat_map(|attachment| &attachment.aliases);
    let extra = request.extra_hosts.iter().map(|host| &host.name);
    let names = aliases.chain(extra).map(String::as_str).chain([request.hostname]);
    let wrong =
        |name: &&str| name.contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == '#');
    match names.into_iter().find(wrong) {
        Some(name) => {
            Err(Error::new(ErrorKind::Invalid, "attach", format!("`{}` is no host name", name.escape_debug())))
        }
        None => Ok(()),
    }
}

/// The path as other processes can follow it.
fn seen_by_all(namespace: &Path) -> PathBuf {
    match namespace.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(std::process::id().to_string()).join(rest),
        Err(_) => namespace.to_owned(),
    }
}

fn full(definition: &Definition) -> Error {
    let message = format!("network `{}` has no address left in {}", definition.name, definition.v4);
    Error::new(ErrorKind::Exhausted, "attach", message)
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}
