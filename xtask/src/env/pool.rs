//! The private address range every network of one environment is cut from.
//!
//! What carries an address of the pool is ours: that is how bridges and firewall rules are found again.

use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::state::State;
use crate::failure::{Failure, Result};
use crate::run;

/// A /16; the lower half is docker's, the upper half podman's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool(u8, u8);

/// Ranges that later `network create` calls take /24s from, in the third byte of the lower half.
const CREATED: [(u8, u8); 3] = [(16, 20), (32, 19), (64, 18)];
const PODMAN: u8 = 128;

impl Pool {
    /// A range that no route, address or other environment of this machine overlaps.
    pub(crate) fn choose(layout: &Layout) -> Result<Self> {
        let taken = taken(layout);
        let first = u8::from_str_radix(&layout.id()[..2], 16).unwrap_or(0) % 128;
        let tens = (0..128).map(|step| Self(10, 64 + (first + step) % 128));
        let others = (20..32).map(|second| Self(172, second));
        tens.chain(others)
            .find(|pool| !taken.iter().any(|network| network.overlaps(pool.network())))
            .ok_or_else(|| Failure::new("no free private address range for the engines' networks"))
    }

    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        self.network().contains(address)
    }

    /// Address and prefix of docker's default bridge.
    pub(crate) fn docker_bridge(self) -> String {
        self.at(0, 1, 20)
    }

    /// Ranges docker cuts created networks from, each into /24s.
    pub(crate) fn docker_created(self) -> [String; 3] {
        CREATED.map(|(third, prefix)| self.at(third, 0, prefix))
    }

    /// Podman's default network.
    pub(crate) fn podman_default(self) -> String {
        self.at(PODMAN, 0, 20)
    }

    pub(crate) fn podman_gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(self.0, self.1, PODMAN, 1)
    }

    /// Ranges podman cuts created networks from, each into /24s.
    pub(crate) fn podman_created(self) -> [String; 3] {
        CREATED.map(|(third, prefix)| self.at(PODMAN + third, 0, prefix))
    }

    fn network(self) -> Network {
        Network { address: Ipv4Addr::new(self.0, self.1, 0, 0), prefix: 16 }
    }

    fn at(self, third: u8, fourth: u8, prefix: u8) -> String {
        format!("{}.{}.{third}.{fourth}/{prefix}", self.0, self.1)
    }
}

#[derive(Clone, Copy)]
struct Network {
    address: Ipv4Addr,
    prefix: u8,
}

impl Network {
    fn contains(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
        let mask = mask.unwrap_or(0);
        self.address.to_bits() & mask == address.to_bits() & mask
    }

    fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// `10.0.0.1`, `10.0.0.0/8`; a default route is not a network.
    fn parse(word: &str) -> Option<Self> {
        let (address, prefix) = word.split_once('/').unwrap_or((word, "32"));
        let network = Self { address: address.parse().ok()?, prefix: prefix.parse().ok()? };
        (1..=32).contains(&network.prefix).then_some(network)
    }
}

fn taken(layout: &Layout) -> Vec<Network> {
    let mut ip = run::command("ip");
    let routes = run::output(ip.args(["-4", "route", "show", "table", "all"])).unwrap_or_default();
    let routes = routes.split_whitespace().filter_map(Network::parse);
    routes.chain(neighbours(layout)).collect()
}

/// Pools of other environments, which may have no bridge up at this moment.
fn neighbours(layout: &Layout) -> Vec<Network> {
    let Some(parent) = layout.root().parent() else {
        return Vec::new();
    };
    std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|root| root != layout.root() && is_environment(root))
        .filter_map(|root| State::load(&root.join("state.json")))
        .map(|state| state.pool.network())
        .collect()
}

fn is_environment(root: &Path) -> bool {
    root.file_name().is_some_and(|name| name.to_string_lossy().starts_with("hythe-env-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_hold_their_own_networks_and_no_others() {
        let pool = Pool(10, 70);
        for network in pool.docker_created().iter().chain(&pool.podman_created()) {
            assert!(Network::parse(network).is_some_and(|network| network.overlaps(pool.network())));
        }
        assert!(pool.contains(pool.podman_gateway()));
        assert!(!pool.contains(Ipv4Addr::new(10, 71, 0, 1)));
    }

    #[test]
    fn created_ranges_do_not_overlap() {
        let pool = Pool(172, 20);
        let all: Vec<_> = pool
            .docker_created()
            .into_iter()
            .chain(pool.podman_created())
            .chain([pool.docker_bridge(), pool.podman_default()])
            .filter_map(|word| Network::parse(&word))
            .collect();
        assert_eq!(all.len(), 8);
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].iter().any(|other| one.overlaps(*other)));
        }
    }

    #[test]
    fn a_default_route_takes_nothing() {
        assert!(Network::parse("0.0.0.0/0").is_none());
        assert!(Network::parse("default").is_none());
    }
}
