//! The seccomp profile of a plan, as `linux.seccomp` of the specification.

use std::fs;

use hythe_oci_spec::seccomp::{document, standard_document};
use hythe_runtime::{Error, ErrorKind, Plan, Result};
use hythe_spec::Seccomp;
use serde_json::Value;

/// The profile; null: none. One from a file is read now.
pub(crate) fn profile(operation: &'static str, plan: &Plan) -> Result<Value> {
    let security = &plan.security;
    match &security.seccomp {
        _ if security.privileged => Ok(Value::Null),
        Seccomp::Unconfined => Ok(Value::Null),
        Seccomp::Default => Ok(standard_document(&security.capabilities)),
        Seccomp::File(path) => {
            let text = fs::read_to_string(path).map_err(|error| error.to_string());
            let document = text.and_then(|text| document(&text, &security.capabilities));
            document.map_err(|reason| {
                let message = format!("seccomp profile `{path}` cannot be used: {reason}");
                Error::new(ErrorKind::Invalid, operation, message)
            })
        }
    }
}
