//! Our one table of nf_tables, as the networks want it, and the way through the tables of others.
//!
//! The table is a pure function of the networks and replaced whole in one transaction; members and ports have no rule. Its comment carries
//! the fingerprint of what it was made from, so that one question tells whether somebody flushed it.

mod batch;
mod expression;
mod iptables;
mod other_tables;
mod rules;

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_netfilter::NetfilterProtoFamily as Family;
use netlink_packet_netfilter::nftables::{NfTablesMessage, TableAttribute, TableMessage};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;

use self::batch::{Batch, question};
pub(super) use self::rules::Bridge;
use super::netlink::Session;

/// The table inside an instance's network namespace.
const NAMES_TABLE: &str = "hythe_names";

/// The rules of one state directory.
#[derive(Debug)]
pub(super) struct Firewall<'a> {
    /// Name of the table.
    pub(super) table: &'a str,
    /// What the names of all our bridges begin with.
    pub(super) prefix: &'a str,
    /// What leaves is carried by a program of an unprivileged user's, which is asked for nothing of its own but names.
    pub(super) by_program: bool,
}

/// Redirects what is sent to a name server's address, within this thread's network namespace, to the ports of loopback where it listens.
pub(super) fn redirect_names(server: Ipv4Addr, udp: u16, tcp: u16) -> io::Result<()> {
    let mut batch = Batch::begin()?;
    batch.table(NAMES_TABLE, Vec::new());
    batch.drop_table(NAMES_TABLE);
    batch.table(NAMES_TABLE, Vec::new());
    batch.chain(NAMES_TABLE, rules::redirected_names(server, udp, tcp));
    batch.commit()
}

impl Firewall<'_> {
    /// Whether the table is there and made from exactly these networks.
    pub(super) fn is_current(&self, bridges: &[Bridge]) -> io::Result<bool> {
        let mut session = Session::open(NETLINK_NETFILTER)?;
        let named = NfTablesMessage::GetTable(TableMessage { attributes: vec![self.name()] });
        let answers = match session.ask(question(Family::Inet, named), 0) {
            Ok(answers) => answers,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
            Err(error) => return Err(error),
        };
        let wanted = TableAttribute::UserData(self.comment(bridges));
        Ok(answers.iter().filter_map(batch::table).any(|table| table.attributes.contains(&wanted)))
    }

    /// Replaces the table in one transaction; without networks there is none.
    pub(super) fn apply(&self, bridges: &[Bridge]) -> io::Result<()> {
        let mut batch = Batch::begin()?;
        batch.table(self.table, self.comment(bridges));
        batch.drop_table(self.table);
        if !bridges.is_empty() {
            batch.table(self.table, self.comment(bridges));
            for chain in rules::chains(self.prefix, bridges, self.by_program) {
                batch.chain(self.table, chain);
            }
        }
        batch.commit()
    }

    /// Whether the rules that [`Firewall::open_foreign`] makes are there, or need not be.
    pub(super) fn is_open(&self) -> io::Result<bool> {
        other_tables::is_open(self.prefix)
    }

    /// Lets what our bridges forward through the chains of iptables, whose policy may be to drop; our own table is what decides.
    pub(super) fn open_foreign(&self) -> io::Result<()> {
        other_tables::open(self.prefix)
    }

    /// Takes those rules away again.
    pub(super) fn close_foreign(&self) -> io::Result<()> {
        other_tables::close(self.prefix)
    }

    /// Chains of others that may stop what our bridges forward.
    pub(super) fn obstacles() -> io::Result<Vec<String>> {
        other_tables::obstacles()
    }

    fn comment(&self, bridges: &[Bridge]) -> Vec<u8> {
        rules::comment(bridges, self.by_program)
    }

    fn name(&self) -> TableAttribute {
        TableAttribute::Name(self.table.to_owned())
    }
}
