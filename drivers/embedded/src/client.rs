//! Speaking to shims.

pub(crate) use hythe_local::shim_client::{Asked, ask, end, shim, tell};
