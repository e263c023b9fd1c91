//! Kernel parameters of a container, looked for before anything is made: libcontainer does not say which one there is not.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::error::{Doing, ShimError};

/// Refuses a parameter that the container's network, or this kernel, has not.
pub(crate) fn check(spec: &Value, network: Option<&OwnedFd>) -> Result<(), ShimError> {
    let Some(wanted) = spec.pointer("/linux/sysctl").and_then(Value::as_object) else { return Ok(()) };
    // Those of the network are the ones of whoever looks.
    let outside = File::open("/proc/self/ns/net").doing("open a network namespace")?;
    let enter = |namespace: Option<&OwnedFd>| namespace.map_or(Ok(()), |one| setns(one, CloneFlags::CLONE_NEWNET));
    enter(network).doing("enter the container's network")?;
    let absent = wanted.keys().find(|name| !Path::new("/proc/sys").join(name.replace('.', "/")).exists());
    setns(outside, CloneFlags::CLONE_NEWNET).doing("go back to the network")?;
    let Some(name) = absent else { return Ok(()) };
    let fault = ShimError::invalid(format!("a container has no kernel parameter `{name}` on this host"));
    Err(fault.hint("`sysctl -a` lists what the kernel has; a module may have to be loaded first"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_parameter_is_named() {
        let spec = |name: &str| json!({ "linux": { "sysctl": { "kernel.sem": "1 2 3 4", (name): "1" } } });
        assert_eq!(check(&json!({}), None), Ok(()));
        let fault = check(&spec("net.no.such"), None).expect_err("there is none");
        assert!(fault.message.contains("`net.no.such`"), "{}", fault.message);
    }
}
