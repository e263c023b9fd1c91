//! What every runtime must do, as trials that run against any `Arc<dyn Runtime>`.
//!
//! For: proving the contract of the seam on the in-process runtime first, then judging the drivers on real engines.
//! A trial declares what it needs; where a runtime lacks that, the trial is skipped, with the reason, and counted.
//! Not for: one driver's inner workings (its own tests), nor the agent (`tests/e2e`).
//!
//! `cargo test -p hythe-conformance -- podman::stop` runs the stop trials on podman. Engines are found through
//! `HYTHE_TEST_ENV`, the description that `cargo xtask env up` writes; without it only `memory` is judged.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a trial fails by panicking, and the suite talks to the person who runs it"
)]

mod echo;
mod engine_cli;
mod engines;
mod environment;
mod failure;
mod fixture;
mod isolation;
mod matrix;
mod need;
mod rootless;
mod share;
mod subject;
mod suite;
mod trial;
mod trials;

pub use suite::main;
