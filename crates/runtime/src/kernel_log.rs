//! Whether the kernel's log says that an instance was OOM-killed, for engines that do not report it (podman on cgroup v1).
//!
//! The log is readable by root on the engine's own host, and forgets with time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use hythe_spec::Signal;
use rustix::fs::OFlags;

use crate::Exit;

const LOG: &str = "/dev/kmsg";
/// Longest record that the kernel gives in one read.
const RECORD: usize = 8 << 10;

/// The same exit, OOM-killed where the kernel's log says that it killed in a cgroup whose path has `scope` in it. Blocks.
pub fn with_oom(exit: Exit, scope: &str) -> Exit {
    let oom = exit.signal == Some(Signal::KILL) && oom_killed(scope).unwrap_or(false);
    exit.oom_killed(oom)
}

fn oom_killed(scope: &str) -> io::Result<bool> {
    let non_blocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut log = File::options().read(true).custom_flags(non_blocking).open(LOG)?;
    let mut record = [0; RECORD];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(false),
            Ok(length) if is_oom_kill(&String::from_utf8_lossy(&record[..length]), scope) => return Ok(true),
            Ok(_) => {}
            // Records were overwritten while reading.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn is_oom_kill(record: &str, scope: &str) -> bool {
    record.contains("oom-kill:") && record.contains(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_kill_counts_only_in_its_own_cgroup() {
        let record = "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/libpod_parent/libpod-abc,task=sh";
        assert!(is_oom_kill(record, "libpod-abc"));
        assert!(!is_oom_kill(record, "libpod-abd"));
        assert!(!is_oom_kill("6,1,2,-;libpod-abc is fine", "libpod-abc"));
    }
}
