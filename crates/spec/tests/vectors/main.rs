//! The string formats against what the field's own parsers answered (`tests/data`, each file names its source).
//!
//! Every row is either equal or listed as a difference with its reason; the same reasons stand in `docs/reference/parsing.md`.

mod env_files;
mod images;
mod mounts;
mod ports;
mod support;
mod units;
