//! What the kernel executes in place of a file: the interpreter of a script, the loader of a linked program.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// Scripts of scripts that the kernel follows.
const DEEPEST: usize = 5;
/// Bytes of a file in which the kernel looks for an interpreter.
const HEAD: u64 = 256;
/// The longest path of a loader that is read.
const LONGEST: u64 = 4096;
/// Headers of a program that are looked through.
const MOST: u16 = 64;
/// The kind of the header that names the loader.
const LOADER: u32 = 3;

/// Each helper in turn, the file's own first; none where it runs by itself or cannot be read.
pub(super) fn chain(file: &Path) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    while found.len() < DEEPEST {
        let current = found.last().map_or(file, Path::new);
        let Some(next) = helper(current) else { break };
        found.push(next);
    }
    found
}

/// Of a regular file alone: another may block, or do anything.
fn helper(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let is_file = std::fs::metadata(path).is_ok_and(|about| about.is_file());
    let mut file = is_file.then(|| open(path, flags, Mode::empty()).ok()).flatten().map(File::from)?;
    let mut head = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut head).ok()?;
    match head.strip_prefix(b"#!") {
        Some(line) => script(line),
        None => loader(&mut file, &head),
    }
}

fn script(line: &[u8]) -> Option<String> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0));
    let name = words.into_iter().find(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Of a 64-bit program in this host's order of bytes, which the kernels that we run on have.
fn loader(file: &mut File, head: &[u8]) -> Option<String> {
    if !head.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let (table, size, count) = (long(head, 32)?, short(head, 54)?, short(head, 56)?.min(MOST));
    for number in 0..count {
        let mut header = [0; 56];
        file.seek(SeekFrom::Start(table.checked_add(u64::from(number) * u64::from(size))?)).ok()?;
        file.read_exact(&mut header).ok()?;
        if word(&header, 0)? == LOADER {
            let (at, length) = (long(&header, 8)?, long(&header, 32)?.min(LONGEST));
            let mut name = Vec::new();
            file.seek(SeekFrom::Start(at)).ok()?;
            file.take(length).read_to_end(&mut name).ok()?;
            let name = name.split(|byte| *byte == 0).next()?;
            return Some(String::from_utf8_lossy(name).into_owned()).filter(|name| !name.is_empty());
        }
    }
    None
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

fn short(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_ne_bytes)
}

fn word(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_ne_bytes)
}

fn long(from: &[u8], at: usize) -> Option<u64> {
    bytes(from, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_followed_to_the_loader_of_their_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let write = |name: &str, text: String| std::fs::write(at(name), text).unwrap();
        write("plain", "echo".to_owned());
        write("windows", "#! /bin/sh\r\necho".to_owned());
        write("inner", "#!/no/such/program -x\n".to_owned());
        write("outer", format!("#!{}\n", at("inner").display()));
        write("self", format!("#!{}\n", at("self").display()));
        assert_eq!(chain(&at("plain")), Vec::<String>::new());
        assert_eq!(chain(&at("windows")), ["/bin/sh\r"]);
        assert_eq!(chain(&at("outer")), [at("inner").display().to_string(), "/no/such/program".to_owned()]);
        assert_eq!(chain(&at("self")).len(), DEEPEST);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(chain(&at("pipe")), Vec::<String>::new());
    }

    #[test]
    fn loader_of_this_program_is_read_and_a_damaged_one_is_none() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let found = chain(Path::new("/proc/self/exe"));
        assert!(found.first().is_some_and(|loader| loader.contains("ld-")), "{found:?}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("damaged");
        for length in [5, 40, 60, 100] {
            std::fs::write(&path, &own[..length]).unwrap();
            assert_eq!(chain(&path), Vec::<String>::new(), "{length}");
        }
    }
}
