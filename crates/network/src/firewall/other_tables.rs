//! The chains of others that all forwarded packets pass.
//!
//! To accept in our table overrides no drop in another one, and where Docker ran, the policy of iptables' `FORWARD` is to drop, for packets between
//! members of one bridge too. So two rules go to the head of that chain: what comes from our bridges and what goes to them is left to our table.
//! They name our bridges, and read as `-i hythe…+ -j ACCEPT` and `-o hythe…+ -j ACCEPT`.

use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook, InetHookNumber, Meta,
    MetaKey, NfTablesMessage, RuleAttribute, RuleMessage,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily as Family};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::batch::{Batch, question, rule};
use super::expression::{Expression, Side, accept, counter, links};
use super::iptables;
use crate::netlink::Session;

const TABLE: &str = "filter";
const CHAIN: &str = "FORWARD";
const DROP: u32 = 0;
const SIDES: [Side; 2] = [Side::In, Side::Out];

/// A rule of ours in a chain of somebody else.
struct Ours {
    family: Family,
    side: Side,
    handle: u64,
}

pub(super) fn is_open(prefix: &str) -> io::Result<bool> {
    Ok(missing(prefix)?.is_empty() && !iptables::is_loaded())
}

pub(super) fn open(prefix: &str) -> io::Result<()> {
    let missing = missing(prefix)?;
    if !missing.is_empty() {
        let mut batch = Batch::begin()?;
        for (family, side) in missing {
            let expressions = [links(side, prefix), vec![counter(), accept()]].concat();
            // Without `NLM_F_APPEND` it becomes the first.
            batch.push(family, NfTablesMessage::NewRule(rule(TABLE, CHAIN, expressions)), NLM_F_CREATE);
        }
        batch.commit()?;
    }
    iptables::open(prefix)
}

fn missing(prefix: &str) -> io::Result<Vec<(Family, Side)>> {
    let (families, ours) = survey(prefix)?;
    let wanted = families.into_iter().flat_map(|family| SIDES.map(|side| (family, side)));
    Ok(wanted.filter(|(family, side)| !ours.iter().any(|rule| rule.family == *family && rule.side == *side)).collect())
}

pub(super) fn close(prefix: &str) -> io::Result<()> {
    let (_, ours) = survey(prefix)?;
    if !ours.is_empty() {
        let mut batch = Batch::begin()?;
        for Ours { family, handle, .. } in ours {
            let mut message = rule(TABLE, CHAIN, Vec::new());
            message.attributes.pop();
            message.attributes.push(RuleAttribute::Handle(handle));
            batch.push(family, NfTablesMessage::DeleteRule(message), 0);
        }
        batch.commit()?;
    }
    iptables::close(prefix)
}

/// The chains that may stop what our bridges forward and that we do not touch: `inet filter forward`.
pub(super) fn obstacles() -> io::Result<Vec<String>> {
    let chains = Session::open(NETLINK_NETFILTER)?.ask(all_chains(), NLM_F_DUMP)?;
    Ok(chains.iter().filter(|chain| forwarding(chain).is_none()).filter_map(obstacle).collect())
}

fn obstacle(answer: &NetfilterMessage) -> Option<String> {
    let family = match answer.header.family {
        Family::Inet => "inet",
        Family::IPv4 => "ip",
        Family::IPv6 => "ip6",
        _ => return None,
    };
    let chain = chain(answer)?;
    let (mut table, mut name, mut forwards, mut drops) = ("", "", false, false);
    for attribute in &chain.attributes {
        match attribute {
            ChainAttribute::Table(found) => table = found,
            ChainAttribute::Name(found) => name = found,
            ChainAttribute::Policy(policy) => drops = *policy == DROP,
            ChainAttribute::Hook(hook) => forwards = hook.contains(&Hook::Number(InetHookNumber::Forward.into())),
            _ => {}
        }
    }
    // firewalld's policy is to accept, and its last rule to reject.
    (forwards && (drops || table == "firewalld")).then(|| format!("{family} {table} {name}"))
}

/// The families whose chain is there, and the rules of ours in it.
fn survey(prefix: &str) -> io::Result<(Vec<Family>, Vec<Ours>)> {
    let mut session = Session::open(NETLINK_NETFILTER)?;
    let chains = session.ask(all_chains(), NLM_F_DUMP)?;
    let families: Vec<Family> = chains.iter().filter_map(forwarding).collect();
    let mut ours = Vec::new();
    for family in &families {
        let attributes = vec![RuleAttribute::Table(TABLE.to_owned()), RuleAttribute::Chain(CHAIN.to_owned())];
        let there = NfTablesMessage::GetRule(RuleMessage { attributes });
        let rules = session.ask(question(*family, there), NLM_F_DUMP)?;
        ours.extend(rules.iter().filter_map(|rule| is_ours(rule, *family, prefix)));
    }
    Ok((families, ours))
}

fn all_chains() -> NetfilterMessage {
    question(Family::Unspec, NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }))
}

fn chain(answer: &NetfilterMessage) -> Option<&ChainMessage> {
    match &answer.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) => Some(chain),
        _ => None,
    }
}

/// The family, where it is the chain that we put rules into.
fn forwarding(answer: &NetfilterMessage) -> Option<Family> {
    let chain = chain(answer)?;
    let has = |wanted: ChainAttribute| chain.attributes.contains(&wanted);
    let is_base = chain.attributes.iter().any(|attribute| matches!(attribute, ChainAttribute::Hook(_)));
    let family = matches!(answer.header.family, Family::IPv4 | Family::IPv6);
    let named = has(ChainAttribute::Table(TABLE.to_owned())) && has(ChainAttribute::Name(CHAIN.to_owned()));
    (family && is_base && named).then_some(answer.header.family)
}

fn is_ours(answer: &NetfilterMessage, family: Family, prefix: &str) -> Option<Ours> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = &answer.inner else { return None };
    let handle = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Handle(handle) => Some(*handle),
        _ => None,
    })?;
    let expressions = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Expressions(expressions) => Some(expressions),
        _ => None,
    })?;
    let named = expressions.iter().filter_map(compared).any(|bytes| bytes == prefix.as_bytes());
    let side = expressions.iter().find_map(side_of)?;
    named.then_some(Ours { family, side, handle })
}

/// Which side's name a step of a rule loads.
fn side_of(expression: &Expression) -> Option<Side> {
    parts(expression).find_map(|data| match data {
        Expressions::Meta(parts) if parts.contains(&Meta::Key(MetaKey::Iifname)) => Some(Side::In),
        Expressions::Meta(parts) if parts.contains(&Meta::Key(MetaKey::Oifname)) => Some(Side::Out),
        _ => None,
    })
}

/// What a step of a rule compares with.
fn compared(expression: &Expression) -> Option<&[u8]> {
    let comparisons = parts(expression).filter_map(|data| match data {
        Expressions::Cmp(parts) => Some(parts),
        _ => None,
    });
    comparisons.flatten().find_map(|part| match part {
        Cmp::Data(DataAttribute::Value(bytes)) => Some(&bytes[..]),
        _ => None,
    })
}

fn parts(expression: &Expression) -> impl Iterator<Item = &Expressions> {
    let attributes = match expression {
        Expression::Element(attributes) => &attributes[..],
        _ => &[],
    };
    attributes.iter().filter_map(|attribute| match attribute {
        ExpressionAttribute::Data(data) => Some(data),
        _ => None,
    })
}
