//! The workspace as data: which packages there are, what they depend on, what their files say.
//!
//! For: `tests/rules`, which hold the tree to ARCHITECTURE.md. It reads the checkout and runs nothing.
//! Not for: anything that can be asked of the compiler, of clippy or of a crate's own tests.

mod manifest;
mod source;

pub use manifest::{Package, packages, shared_dependencies};
pub use source::{Source, root, sources, sources_below};
