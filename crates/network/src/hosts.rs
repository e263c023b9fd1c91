//! The text of a hosts file. Pure.
//!
//! Names resolve by the hosts file of each instance, which is ours and mounted, and is rewritten in place when others come and go: no server that
//! could be dead. Only the agent connects and disconnects, so while it is dead nothing changes that would have to be told.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// Another instance or the instance itself, as one line per address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) names: Vec<String>,
}

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// First the instance itself, then what the user asked for, then the others, so that newcomers add lines at the end.
pub(super) fn text(own: &[Named], extra: &[(IpAddr, String)], others: &[Named]) -> String {
    let mut text = LOOPBACK.to_owned();
    let mut said = BTreeSet::new();
    let extra = extra.iter().map(|(address, name)| Named { addresses: vec![*address], names: vec![name.clone()] });
    for named in own.iter().cloned().chain(extra).chain(others.iter().cloned()) {
        if named.names.is_empty() {
            continue;
        }
        for address in named.addresses {
            let line = format!("{address}\t{}\n", named.names.join(" "));
            if said.insert(line.clone()) {
                // Writing to text cannot fail.
                let _ = text.write_str(&line);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_adds_a_line_at_the_end() {
        let named = |address: &str, name: &str| Named {
            addresses: vec![address.parse().expect("an address")],
            names: vec![name.to_owned()],
        };
        let own = [named("10.192.0.2", "web")];
        let before = text(&own, &[], &[named("10.192.0.3", "db")]);
        let after = text(&own, &[], &[named("10.192.0.3", "db"), named("10.192.0.4", "cache")]);
        assert!(after.starts_with(&before));
        assert!(after.ends_with("10.192.0.3\tdb\n10.192.0.4\tcache\n"));
    }
}
