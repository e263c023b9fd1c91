//! Speaking to supervisors.

pub(crate) use hythe_local::shim_client::{Asked, ask, shim};
