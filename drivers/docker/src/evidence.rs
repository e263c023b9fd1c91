//! What the kernel knows and the engine does not say: whether it killed a container for want of memory.
//!
//! Podman 4 says `OOMKilled: false` on cgroup v1. The kernel's log tells, to root on the engine's own machine, and forgets with time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

const LOG: &str = "/dev/kmsg";
/// Longest record that the kernel gives in one read.
const RECORD: usize = 8 << 10;

/// Whether the kernel's log says so; false where it cannot be read.
pub(crate) async fn killed_for_memory(id: &str) -> bool {
    let scope = format!("libpod-{id}");
    let searched = tokio::task::spawn_blocking(move || search(&scope).unwrap_or(false)).await;
    searched.unwrap_or(false)
}

fn search(scope: &str) -> io::Result<bool> {
    let non_blocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut log = File::options().read(true).custom_flags(non_blocking).open(LOG)?;
    let mut record = [0; RECORD];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(false),
            Ok(length) if tells(&String::from_utf8_lossy(&record[..length]), scope) => return Ok(true),
            Ok(_) => {}
            // Records were overwritten while reading.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn tells(record: &str, scope: &str) -> bool {
    record.contains("oom-kill:") && record.contains(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_death_counts() {
        let record = "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/libpod_parent/libpod-abc,task=sh";
        assert!(tells(record, "libpod-abc"));
        assert!(!tells(record, "libpod-abd"));
        assert!(!tells("6,1,2,-;libpod-abc is fine", "libpod-abc"));
    }
}
