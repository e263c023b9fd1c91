//! A short walk over the real podman that `HYTHE_TEST_ENV` names; the large suite is `tests/conformance`.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod arguments;
mod bench;
mod facets;
mod lifecycle;
mod rotation;
mod service;
mod ssh;
