//! Subnets and the choice of free ones. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// How many subnets there are to choose from.
pub(super) const SUBNETS: u32 = 4096;
/// Host numbers of members: 0 is the network, 1 the bridge, the last the broadcast.
pub(super) const HOSTS: std::ops::RangeInclusive<u32> = 2..=1022;

const POOL: u32 = u32::from_be_bytes([10, 192, 0, 0]);
const PREFIX_V4: u8 = 22;
const PREFIX_V6: u8 = 64;

/// An address with the length of its network part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subnet {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl Subnet {
    /// The IPv4 subnet of that number: a /22 of 10.192.0.0/10.
    pub(super) fn v4(number: u32) -> Self {
        Self { address: Ipv4Addr::from(POOL + (number << (32 - PREFIX_V4))).into(), prefix: PREFIX_V4 }
    }

    /// The unique local IPv6 subnet of that number, below a random global id (RFC 4193).
    pub(super) fn v6(global: [u8; 5], number: u32) -> Self {
        let [a, b, c, d, e] = global;
        let [.., high, low] = number.to_be_bytes();
        let address = Ipv6Addr::from([0xfd, a, b, c, d, e, high, low, 0, 0, 0, 0, 0, 0, 0, 0]);
        Self { address: address.into(), prefix: PREFIX_V6 }
    }

    /// The address with that host number.
    pub(super) fn host(self, number: u32) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) + number).into(),
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) + u128::from(number)).into(),
        }
    }

    /// The bridge's own address.
    pub(super) fn gateway(self) -> IpAddr {
        self.host(1)
    }

    /// Whether an address is in both; a default route overlaps nothing.
    pub(super) fn overlaps(self, other: Self) -> bool {
        let prefix = self.prefix.min(other.prefix);
        prefix > 0 && self.network(prefix) == other.network(prefix)
    }

    /// The address's first bits, with the family.
    pub(super) fn network(self, prefix: u8) -> (bool, u128) {
        match self.address {
            IpAddr::V4(address) => {
                (false, u128::from(u32::from(address).checked_shr(32 - u32::from(prefix.min(32))).unwrap_or(0)))
            }
            IpAddr::V6(address) => (true, u128::from(address).checked_shr(128 - u32::from(prefix)).unwrap_or(0)),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The first number from `start` on whose IPv4 subnet none of ours has and no route of the machine covers.
pub(super) fn free_subnet(start: u32, ours: &[u32], routes: &[Subnet]) -> Option<u32> {
    let numbers = (0..SUBNETS).map(|step| (start + step) % SUBNETS);
    numbers
        .into_iter()
        .find(|number| !ours.contains(number) && !routes.iter().any(|route| Subnet::v4(*number).overlaps(*route)))
}

/// The next host number after `last` that is free: an address is not given again at once.
pub(super) fn free_host(last: u32, taken: &[u32]) -> Option<u32> {
    let (first, end) = (*HOSTS.start(), *HOSTS.end());
    let after = last.clamp(first - 1, end);
    (after + 1..=end).chain(first..=after).find(|number| !taken.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(address: &str, prefix: u8) -> Subnet {
        Subnet { address: address.parse().expect("an address"), prefix }
    }

    #[test]
    fn subnets_have_their_place_in_the_pool() {
        assert_eq!(Subnet::v4(0).to_string(), "10.192.0.0/22");
        assert_eq!(Subnet::v4(SUBNETS - 1).to_string(), "10.255.252.0/22");
        assert_eq!(Subnet::v4(1).gateway().to_string(), "10.192.4.1");
        assert_eq!(Subnet::v6([1, 2, 3, 4, 5], 258).host(2).to_string(), "fd01:203:405:102::2");
    }

    #[test]
    fn a_subnet_that_a_route_covers_is_not_taken() {
        assert_eq!(free_subnet(0, &[], &[]), Some(0));
        assert_eq!(free_subnet(0, &[0], &[subnet("10.192.4.0", 24)]), Some(2));
        assert_eq!(free_subnet(4095, &[4095], &[]), Some(0));
        assert_eq!(
            free_subnet(0, &[], &[subnet("0.0.0.0", 0)]),
            Some(0),
            "a default route covers everything and takes nothing"
        );
        assert_eq!(free_subnet(0, &[], &[subnet("10.0.0.0", 8)]), None);
        assert_eq!(free_subnet(0, &[], &[subnet("fd00::", 8)]), Some(0));
    }

    #[test]
    fn a_host_number_is_not_given_again_at_once() {
        assert_eq!(free_host(0, &[]), Some(2));
        assert_eq!(free_host(5, &[5]), Some(6));
        assert_eq!(free_host(1022, &[2]), Some(3));
        let all: Vec<u32> = HOSTS.collect();
        assert_eq!(free_host(9, &all), None);
    }
}
