//! What the state directory knows of names: those of the instances that share a network.

use std::net::IpAddr;

use super::message::{Answer, Question};
use crate::Networks;
use crate::store::{AttachmentRecord, Definition, Member, Members};

impl Networks {
    /// The answer for an instance, from the members of its networks. `None`: the name is nobody's here.
    pub(super) fn resolve(&self, instance: &str, question: &Question) -> Option<Answer> {
        let about = self.store.about(instance).ok().flatten()?;
        let networks = self.connected(&about);
        if let Some(address) = question.address() {
            return name_of(&networks, address).map(Answer::Pointer);
        }
        let mut addresses = Vec::new();
        for (definition, members) in &networks {
            let bare = question.name.strip_suffix(&format!(".{}", definition.name.to_ascii_lowercase()));
            for member in members.members.iter().filter(|member| member.complete || member.instance == instance) {
                let is_own = member.instance == instance && is_called(&about.hostname, &question.name);
                if is_own || [Some(&*question.name), bare].into_iter().flatten().any(|name| has_alias(member, name)) {
                    addresses.extend(definition.addresses(member.host));
                }
            }
        }
        let extra = about.extra.iter().filter(|(_, name)| is_called(name, &question.name));
        addresses.extend(extra.map(|(address, _)| *address));
        (!addresses.is_empty()).then_some(Answer::Addresses(addresses))
    }

    /// Whether what an instance asks for may leave its networks: not where all of them are internal.
    pub(super) fn leads_out(&self, instance: &str) -> bool {
        let about = self.store.about(instance).ok().flatten();
        about.is_some_and(|about| self.connected(&about).iter().any(|(definition, _)| !definition.internal))
    }

    fn connected(&self, about: &AttachmentRecord) -> Vec<(Definition, Members)> {
        let known = |network: &String| {
            let definition = self.store.definition(network).ok().flatten()?;
            Some((definition, self.store.members(network).ok()?))
        };
        about.connections.iter().filter_map(|connection| known(&connection.network)).collect()
    }
}

fn name_of(networks: &[(Definition, Members)], address: IpAddr) -> Option<String> {
    networks.iter().find_map(|(definition, members)| {
        let at_it = |member: &&Member| definition.addresses(member.host).contains(&address);
        let member = members.members.iter().filter(|member| member.complete).find(at_it)?;
        member.aliases.first().map(|alias| format!("{alias}.{}", definition.name))
    })
}

fn has_alias(member: &Member, name: &str) -> bool {
    member.aliases.iter().any(|alias| is_called(alias, name))
}

fn is_called(name: &str, asked: &str) -> bool {
    name.eq_ignore_ascii_case(asked)
}
