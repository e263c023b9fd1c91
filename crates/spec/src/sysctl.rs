//! Kernel parameters that a workload may have of its own.

use crate::ParseError;

/// Those of the ipc namespace; all others of `kernel.` are the host's.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];
const QUEUES: &str = "fs.mqueue.";
const NETWORK: &str = "net.";

/// Whether it belongs to the network namespace.
pub fn is_of_network(name: &str) -> bool {
    name.starts_with(NETWORK)
}

/// Whether a workload can have this parameter to itself.
///
/// # Errors
/// A name that is none, a parameter of the whole host, a value that is no line.
pub fn check(name: &str, value: &str) -> Result<(), ParseError> {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if !name.split('.').all(part) {
        let error = ParseError::new(format!("`{}` is not a kernel parameter", name.escape_debug()));
        return Err(error.hint("write its name with dots: `net.core.somaxconn`"));
    }
    let is_own = IPC.contains(&name) || name.starts_with(QUEUES) || is_of_network(name);
    if !is_own {
        return Err(ParseError::new(format!("`{name}` is one for the whole host, not for each container"))
            .hint("set it on the host with `sysctl`; containers have `net.*`, `fs.mqueue.*`, `kernel.msg*`, `kernel.sem` and `kernel.shm*`"));
    }
    if value.is_empty() || value.contains(|c: char| c.is_control() && c != '\t') {
        return Err(ParseError::new(format!("the value of `{name}` is not one line of text")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_parameter_of_the_host_is_refused() {
        for name in ["net.core.somaxconn", "kernel.sem", "kernel.shm_rmid_forced", "fs.mqueue.msg_max"] {
            assert_eq!(check(name, "1"), Ok(()), "{name}");
        }
        let wrong = [
            "kernel.core_pattern",
            "vm.swappiness",
            "fs.file-max",
            "net",
            "net.",
            "net..x",
            "net/core/somaxconn",
            "net.a/../../kernel",
            "",
        ];
        for name in wrong {
            assert!(check(name, "1").is_err(), "{name}");
        }
        assert!(check("kernel.sem", "250 32000\t32 128").is_ok());
        assert!(check("kernel.sem", "").is_err() && check("kernel.sem", "1\n2").is_err());
    }
}
