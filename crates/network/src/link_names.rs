//! The names of what we make in the kernel. Pure.
//!
//! All begin with `hythe` and the first digits of the state directory's id, so that a look tells whose they are and two state directories
//! on one machine keep out of each other's way: `hythe1a2b` + `b17` is a bridge, `hythe1a2b` + `v3k9z` the host's end of a veth pair.

use serde::{Deserialize, Serialize};

/// Who we are among those who use this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameScope {
    id: [u8; 5],
}

const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl NameScope {
    pub(super) fn new(id: [u8; 5]) -> Self {
        Self { id }
    }

    /// Random bits for addresses.
    pub(super) fn id(self) -> [u8; 5] {
        self.id
    }

    /// Where the search for a free subnet begins: different ones for different realms.
    pub(super) fn start(self) -> u32 {
        u32::from_be_bytes([0, 0, self.id[3], self.id[4]])
    }

    /// What the names of all links begin with.
    pub(super) fn prefix(self) -> String {
        format!("hythe{}", self.digits())
    }

    /// Name of the table of rules.
    pub(super) fn table(self) -> String {
        format!("hythe_{}", self.digits())
    }

    fn digits(self) -> String {
        let number = u32::from_be_bytes([0, self.id[0], self.id[1], self.id[2]]);
        format!("{:0>4}", base36(number % 36_u32.pow(4)))
    }

    /// Name of the bridge of a subnet.
    pub(super) fn bridge(self, subnet: u32) -> String {
        format!("{}b{subnet}", self.prefix())
    }

    /// Name of the host's end of a member's pair.
    pub(super) fn pair(self, subnet: u32, host: u32) -> String {
        format!("{}v{}", self.prefix(), base36(subnet * 1024 + host))
    }

    /// A hardware address that belongs to the member's address, so that a successor at that address is found at once.
    pub(super) fn hardware_address(self, subnet: u32, host: u32) -> [u8; 6] {
        let [_, high, mid, low] = (subnet * 1024 + host).to_be_bytes();
        // Locally administered, one station.
        [0x02, self.id[0], self.id[1], high, mid, low]
    }
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[(number % 36) as usize]));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::{HOSTS, SUBNETS};

    #[test]
    fn no_name_is_too_long_for_the_kernel() {
        let scope = NameScope::new([0xab, 0xcd, 1, 2, 3]);
        assert_eq!(scope.bridge(17), "hythepbltb17");
        assert_eq!(NameScope::new([0, 0, 5, 0, 0]).prefix(), "hythe0005");
        for name in [scope.bridge(SUBNETS - 1), scope.pair(SUBNETS - 1, *HOSTS.end())] {
            assert!(name.len() <= 15, "{name}");
        }
        assert_eq!(scope.pair(0, 37), "hythepbltv11");
    }
}
