//! The document that makes a container, for people.

use hythe_runtime::{Error, ErrorKind, Result};

use crate::api_types::ContainerSpec;

/// The request as it is sent.
///
/// # Errors
/// `Internal` where it cannot be written.
pub(crate) fn explained(spec: &ContainerSpec) -> Result<serde_json::Value> {
    let body = serde_json::to_value(spec)
        .map_err(|cause| Error::new(ErrorKind::Internal, "explain", "the document cannot be written").source(cause))?;
    Ok(serde_json::json!({ "method": "POST", "path": "/libpod/containers/create", "body": body }))
}
