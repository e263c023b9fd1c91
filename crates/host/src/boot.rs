//! The present boot.

use std::io;

/// Where the kernel has it.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's id of this boot: what a record of another boot says of processes, mounts and links is over.
///
/// # Errors
/// `/proc` is not mounted, or hides it.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn boot_id_is_one_word_and_stays() {
        let id = boot_id().unwrap();
        assert_eq!((id.len(), id.clone()), (36, boot_id().unwrap()), "{id}");
    }
}
