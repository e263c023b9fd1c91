//! A plan as an OCI runtime specification.
//!
//! For: every driver whose engine runs OCI bundles. It translates a plan over its image into the typed specification, and reads, provides and compiles
//! seccomp profiles. It also gives what an instance reports of its plan.
//! Not for: where files are on the host, user namespaces, networks and devices of the host. The caller passes these in, or adds them to the result.
//! Pure: no I/O.

mod command;
mod mounts;
mod observed;
pub mod seccomp;
mod spec;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use command::Command;
pub use mounts::{FILES, volume_files};
pub use observed::observed;
pub use oci_spec::runtime::Spec;
pub use spec::{Host, Paths, spec};
