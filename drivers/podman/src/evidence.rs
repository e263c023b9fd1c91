//! Traces on this host that say more than podman does: why a start failed, and whether the kernel killed for want of memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hythe_runtime::Exit;
use serde::Deserialize;

/// Largest record the kernel hands out in one read of its log.
const KERNEL_RECORD: usize = 8192;
const KILLED: i32 = 137;

/// How a failed start would have ended in a shell: 127 absent, 126 not executable, with the OCI runtime's words.
///
/// Podman itself leaves such an instance `created` with exit code 0.
pub(crate) fn failed_start(runtime_log: &Path) -> Option<Exit> {
    let text = fs::read_to_string(runtime_log).ok()?;
    let message = text.lines().rev().find_map(error_line)?;
    let code = command_code(&message)?;
    Some(Exit { error: Some(message), ..Exit::from_code(code) })
}

fn error_line(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    (line.level == "error").then_some(line.msg)
}

fn command_code(message: &str) -> Option<i32> {
    let lower = message.to_lowercase();
    let command = lower.contains("exec: \"")
        || lower.contains("executable file")
        || lower.contains("open executable")
        || lower.contains("exec container process");
    if !command {
        return None;
    }
    Some(if lower.contains("permission denied") || lower.contains("is a directory") { 126 } else { 127 })
}

/// The same exit with `oom` set where the kernel's log says that it killed in this instance's cgroup.
///
/// Podman 4 says `OOMKilled: false` on cgroup v1. The kernel's log is readable by root and forgets with time.
pub(crate) fn with_oom(exit: Exit, id: &str) -> Exit {
    let oom = exit.oom || (exit.code == KILLED && killed_for_memory(id).unwrap_or(false));
    Exit { oom, ..exit }
}

fn killed_for_memory(id: &str) -> io::Result<bool> {
    let non_blocking = rustix::fs::OFlags::NONBLOCK.bits();
    let mut log = File::options().read(true).custom_flags(non_blocking.cast_signed()).open("/dev/kmsg")?;
    let scope = format!("libpod-{id}");
    let mut record = [0; KERNEL_RECORD];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(false),
            Ok(length) if is_oom(&String::from_utf8_lossy(&record[..length]), &scope) => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(gap) if gap.kind() == io::ErrorKind::BrokenPipe || gap.kind() == io::ErrorKind::Interrupted => {}
            Err(end) if end.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(other) => return Err(other),
        }
    }
}

fn is_oom(record: &str, scope: &str) -> bool {
    record.contains("oom-kill:") && record.contains(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_follows_the_runtimes_words() {
        let absent = r#"runc create failed: unable to start container process: exec: "/no/such": stat /no/such: no such file or directory"#;
        let directory = r#"runc create failed: unable to start container process: exec: "/etc": permission denied"#;
        assert_eq!(command_code(absent), Some(127));
        assert_eq!(command_code(directory), Some(126));
        assert_eq!(command_code("executable file `x` not found in $PATH: No such file or directory"), Some(127));
        assert_eq!(command_code("error setting rlimit type 7: operation not permitted"), None);
    }

    #[test]
    fn only_this_instances_memory_counts() {
        let record = "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/libpod_parent/libpod-abc,task=sh";
        assert!(is_oom(record, "libpod-abc"));
        assert!(!is_oom(record, "libpod-abd"));
    }
}
