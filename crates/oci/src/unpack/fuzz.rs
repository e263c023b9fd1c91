//! Archives with random damage: whatever they say, unpacking ends with an answer and stays in its directory.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::*;

const ROUNDS: u64 = 1500;
const BLOCK: usize = 512;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

/// Something of everything.
fn archive() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let kinds = [
        (EntryType::Directory, "d/", ""),
        (EntryType::Regular, "d/file", ""),
        (EntryType::Symlink, "link", "../../d"),
        (EntryType::Regular, "link/through", ""),
        (EntryType::Link, "hard", "d/file"),
        (EntryType::Fifo, "pipe", ""),
        (EntryType::Regular, "d/.wh.gone", ""),
        (EntryType::Regular, "d/.wh..wh..opq", ""),
        (EntryType::GNUSparse, "sparse", ""),
        (EntryType::GNULongName, "././@LongLink", ""),
        (EntryType::Regular, "short", ""),
    ];
    for (kind, name, link) in kinds {
        builder.append_pax_extensions([("mtime", b"1.5".as_slice()), ("SCHILY.xattr.user.x", b"y")]).unwrap();
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(if kind.is_file() || kind.is_gnu_longname() || kind.is_gnu_sparse() { 20 } else { 0 });
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        if let Some(gnu) = header.as_gnu_mut().filter(|_| kind.is_gnu_sparse()) {
            gnu.set_real_size(4096);
            gnu.sparse[0].set_offset(1000);
            gnu.sparse[0].set_length(20);
        }
        header.set_cksum();
        let size = usize::try_from(header.entry_size().unwrap()).unwrap();
        builder.append(&header, &b"content of a file..."[..size]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Damages some bytes, and makes most headers pass their check again.
fn damaged(mut bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.roll(6) {
        let (at, kind) = (dice.roll(bytes.len()), dice.roll(3));
        bytes[at] = match kind {
            0 => b"0123456789xgLKSDVM./\0\xff\x80"[dice.roll(23)],
            1 => u8::try_from(dice.roll(256)).unwrap(),
            _ => bytes[dice.roll(at + 1)],
        };
    }
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        let mut header = Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
    if dice.roll(10) == 0 {
        bytes.truncate(dice.roll(bytes.len()));
    }
    bytes
}

fn names(path: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn every_archive_gets_an_answer_and_stays_inside() {
    let whole = archive();
    let blob = Digest::of(b"");
    let options = Options {
        limits: Limits { bytes: 1 << 20, entries: 100, image_bytes: 1 << 20 },
        rights: OwnershipMode::User,
        ..Options::default()
    };
    let outside = tempfile::tempdir().unwrap();
    let mut complete = 0;
    for seed in 1..=ROUNDS {
        let bytes = damaged(whole.clone(), &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let home = outside.path().join("home");
        let files = home.join("fs");
        std::fs::create_dir_all(&files).unwrap();
        let diff = Digest::of(&bytes);
        let outcome = unpack(bytes.as_slice(), &home, &files, (&blob, &diff), (&options, &Budget::new(1 << 20)));
        complete += u64::from(outcome.is_ok());
        assert_eq!(
            names(outside.path()),
            [home.file_name().unwrap()].map(std::ffi::OsStr::to_owned)[..usize::from(outcome.is_ok())],
            "seed {seed}"
        );
    }
    assert!((ROUNDS / 10..ROUNDS).contains(&complete), "{complete} of {ROUNDS} were unpacked");
}
