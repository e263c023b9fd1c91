//! Transactions of nf_tables.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily as Family,
};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::expression::Expression;
use super::rules::Chain;
use crate::netlink::Session;

/// The number of nf_tables among the subsystems of netfilter.
const SUBSYSTEM: u16 = 10;

/// Changes that happen all or not at all.
#[derive(Debug)]
pub(super) struct Batch {
    session: Session,
    messages: Vec<(Family, NfTablesMessage, u16)>,
}

impl Batch {
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self { session: Session::open(NETLINK_NETFILTER)?, messages: Vec::new() })
    }

    /// Makes a table; there already: success.
    pub(super) fn table(&mut self, name: &str, comment: Vec<u8>) {
        let attributes = vec![TableAttribute::Name(name.to_owned()), TableAttribute::UserData(comment)];
        self.push(Family::Inet, NfTablesMessage::NewTable(TableMessage { attributes }), NLM_F_CREATE);
    }

    pub(super) fn drop_table(&mut self, name: &str) {
        let attributes = vec![TableAttribute::Name(name.to_owned())];
        self.push(Family::Inet, NfTablesMessage::DeleteTable(TableMessage { attributes }), 0);
    }

    /// Makes a base chain with its rules.
    pub(super) fn chain(&mut self, table: &str, chain: Chain) {
        let attributes = vec![
            ChainAttribute::Table(table.to_owned()),
            ChainAttribute::Name(chain.name.to_owned()),
            ChainAttribute::Type(chain.kind.to_owned()),
            ChainAttribute::Hook(vec![
                Hook::Number(chain.hook.into()),
                Hook::Priority(u32::from_ne_bytes(chain.priority.to_ne_bytes())),
            ]),
        ];
        self.push(Family::Inet, NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE);
        for expressions in chain.rules {
            let message = rule(table, chain.name, expressions);
            self.push(Family::Inet, NfTablesMessage::NewRule(message), NLM_F_CREATE | NLM_F_APPEND);
        }
    }

    pub(super) fn push(&mut self, family: Family, message: NfTablesMessage, flags: u16) {
        self.messages.push((family, message, flags));
    }

    pub(super) fn commit(mut self) -> io::Result<()> {
        let control = |message| control_message(message);
        let mut bytes = self.session.encode(control(ControlMessage::BatchBegin), 0);
        let last = self.messages.len().saturating_sub(1);
        for (at, (family, message, flags)) in std::mem::take(&mut self.messages).into_iter().enumerate() {
            // One acknowledgement: the first thing heard is it, or what failed first.
            let flags = if at == last { flags | NLM_F_ACK } else { flags };
            bytes.extend(self.session.encode(question(family, message), flags));
        }
        bytes.extend(self.session.encode(control(ControlMessage::BatchEnd), 0));
        self.session.make_room(bytes.len() * 2)?;
        self.session.confirm::<NetfilterMessage>(&bytes)
    }
}

/// A rule of a chain.
pub(super) fn rule(table: &str, chain: &str, expressions: Vec<Expression>) -> RuleMessage {
    RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(expressions),
        ],
    }
}

/// A message about tables of a family.
pub(super) fn question(family: Family, message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}

/// The table that an answer tells of.
pub(super) fn table(answer: &NetfilterMessage) -> Option<&TableMessage> {
    match &answer.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) => Some(table),
        _ => None,
    }
}

fn control_message(message: ControlMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(Family::Unspec, 0, SUBSYSTEM), message)
}
