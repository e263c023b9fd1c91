//! Writing a tar archive: plain ustar entries, owner and mode given, time always zero.

const BLOCK: usize = 512;

/// An archive under construction.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

struct Entry<'a> {
    path: &'a str,
    kind: u8,
    mode: u32,
    owner: u32,
    size: usize,
    target: &'a str,
}

impl Archive {
    /// A directory owned by user and group `owner`.
    pub(crate) fn directory(&mut self, path: &str, mode: u32, owner: u32) {
        self.header(&Entry { path: &format!("{path}/"), kind: b'5', mode, owner, size: 0, target: "" });
    }

    /// A regular file owned by root.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.header(&Entry { path, kind: b'0', mode, owner: 0, size: content.len(), target: "" });
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// A symbolic link owned by root.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        self.header(&Entry { path, kind: b'2', mode: 0o777, owner: 0, size: 0, target });
    }

    /// The whole archive, closed.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn header(&mut self, entry: &Entry<'_>) {
        let mut block = [0; BLOCK];
        put(&mut block, 0, entry.path);
        put(&mut block, 100, &format!("{:07o}", entry.mode));
        put(&mut block, 108, &format!("{:07o}", entry.owner));
        put(&mut block, 116, &format!("{:07o}", entry.owner));
        put(&mut block, 124, &format!("{:011o}", entry.size));
        put(&mut block, 136, &format!("{:011o}", 0));
        put(&mut block, 148, "        ");
        block[156] = entry.kind;
        put(&mut block, 157, entry.target);
        put(&mut block, 257, "ustar\u{0}00");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut block, 148, &format!("{sum:06o}\u{0} "));
        self.bytes.extend_from_slice(&block);
    }
}

/// Paths here are short; one that did not fit its field would panic, not corrupt the archive.
fn put(block: &mut [u8; BLOCK], at: usize, text: &str) {
    block[at..at + text.len()].copy_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::run;

    #[test]
    fn tar_reads_what_was_written() {
        let mut archive = Archive::default();
        archive.directory("tmp", 0o1777, 0);
        archive.file("etc/passwd", 0o644, b"root\n");
        archive.symlink("bin/sh", "busybox");
        let listing =
            run::filter(run::command("tar").args(["--numeric-owner", "--utc", "-tvf", "-"]), &archive.finish())
                .unwrap();
        let listing = String::from_utf8(listing).unwrap();
        let lines: Vec<_> = listing.lines().collect();
        assert!(lines[0].starts_with("drwxrwxrwt 0/0"), "{listing}");
        assert!(lines[1].starts_with("-rw-r--r-- 0/0") && lines[1].ends_with("etc/passwd"));
        assert!(lines[2].ends_with("bin/sh -> busybox"));
    }
}
