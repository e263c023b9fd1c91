//! Telling names: to the hosts files of all who share a network.

use std::collections::{BTreeMap, BTreeSet};

use hythe_runtime::Result;

use super::Networks;
use super::hosts::{self, Named};
use super::store::{Definition, Locked, Member, Members};

/// Networks with their members, read once.
type Known = BTreeMap<String, Option<(Definition, Members)>>;

impl Networks {
    /// Marks the connections of an instance complete and tells them to the others.
    pub(super) fn publish(&self, instance: &str) -> Result<()> {
        let Some(about) = self.store.about(instance)? else { return Ok(()) };
        let lock = self.store.lock()?;
        for connection in &about.connections {
            let mut members = self.store.members(&connection.network)?;
            let incomplete = members.members.iter_mut().find(|member| member.instance == instance && !member.complete);
            if let Some(member) = incomplete {
                member.complete = true;
                members.changed += 1;
                lock.put_members(&connection.network, &members)?;
            }
        }
        drop(lock);
        self.step("marked");
        self.tell(about.connections.iter().map(|connection| connection.network.as_str()))
    }

    /// Brings the hosts files of all members of networks up to date. Of many who call at once, one does it for all who came before.
    pub(super) fn tell<'a>(&self, networks: impl Iterator<Item = &'a str>) -> Result<()> {
        let lock = self.store.lock()?;
        let mut known = Known::new();
        let mut concerned = BTreeSet::new();
        let mut news = Vec::new();
        for network in networks {
            if let Some((_, members)) = self.known(&mut known, network)?
                && members.told != members.changed
            {
                concerned.extend(members.members.iter().map(|member| member.instance.clone()));
                news.push((network.to_owned(), Members { told: members.changed, ..members.clone() }));
            }
        }
        concerned.iter().try_for_each(|instance| self.write(&lock, &mut known, instance, false))?;
        news.iter().try_for_each(|(network, members)| lock.put_members(network, members))
    }

    /// Writes the hosts file of one instance; with `make` also where it is absent.
    pub(super) fn write_hosts(&self, lock: &Locked<'_>, instance: &str, make: bool) -> Result<()> {
        self.write(lock, &mut Known::new(), instance, make)
    }

    fn write(&self, lock: &Locked<'_>, known: &mut Known, instance: &str, make: bool) -> Result<()> {
        let Some(about) = self.store.about(instance)? else { return Ok(()) };
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for connection in &about.connections {
            let Some((definition, members)) = self.known(known, &connection.network)? else { continue };
            let there = members.members.iter().filter(|member| member.complete && member.instance != instance);
            others.extend(there.map(|member| named(definition, member, &[])));
            own.extend(members.of(instance).map(|member| named(definition, member, &[&about.hostname])));
        }
        lock.put_hosts(instance, &hosts::text(&own, &about.extra, &others), make)
    }

    fn known<'a>(&self, known: &'a mut Known, network: &str) -> Result<Option<&'a (Definition, Members)>> {
        if !known.contains_key(network) {
            let definition = self.store.definition(network)?;
            let found = match definition {
                Some(definition) => Some((definition, self.store.members(network)?)),
                None => None,
            };
            known.insert(network.to_owned(), found);
        }
        Ok(known.get(network).and_then(Option::as_ref))
    }
}

fn named(definition: &Definition, member: &Member, first: &[&String]) -> Named {
    let mut names: Vec<String> = Vec::new();
    for name in first.iter().copied().chain(&member.aliases).filter(|name| !name.is_empty()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Named { addresses: definition.addresses(member.host), names }
}
