//! Archives on their way between a workload and this host.

pub(super) mod checksum;
pub(super) mod place;
pub(super) mod transfer;
