#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::File;
use std::io::{Cursor, Read};
use std::process::Command;

use mkext4::reader::Fs;
use tar::{Builder, EntryType, Header};

use super::*;

const SIZE: u64 = 32 << 20;
const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// An archive that is written entry by entry.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Sets the name itself: the library refuses hostile ones.
    fn entry(mut self, name: &str, kind: EntryType, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind.is_dir() { 0o750 } else { 0o640 });
        header.set_uid(1000);
        header.set_gid(70_000);
        header.set_mtime(1_600_000_000);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, EntryType::Regular, "", content.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, "", b"")
    }

    fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.0.append_pax_extensions([(&*format!("SCHILY.xattr.{name}"), value)]).unwrap();
        self
    }

    fn layer(self, name: &str) -> Layer {
        let bytes = self.0.into_inner().unwrap();
        Layer::new(name, move || Ok(Box::new(Cursor::new(bytes.clone()))))
    }
}

struct Disk {
    fs: Fs<File>,
    _cache: tempfile::TempDir,
}

/// Builds a disk and has it checked by `e2fsck` where that is installed.
fn disk(layers: Vec<Layer>) -> Disk {
    let cache = tempfile::tempdir().unwrap();
    let path = base_disk(cache.path(), DIGEST, layers, SIZE).unwrap();
    if let Ok(output) = Command::new("e2fsck").args(["-fn"]).arg(&path).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    Disk { fs: Fs::open(File::open(path).unwrap()).unwrap(), _cache: cache }
}

fn refused(layer: Layer) -> String {
    let cache = tempfile::tempdir().unwrap();
    let error = base_disk(cache.path(), DIGEST, vec![layer], SIZE).unwrap_err().to_string();
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "nothing is kept of a failure");
    error
}

impl Disk {
    fn text(&self, path: &str) -> Option<String> {
        let inode = self.fs.resolve(path).ok()?;
        Some(String::from_utf8(self.fs.read_file(inode).unwrap()).unwrap())
    }

    fn has(&self, path: &str) -> bool {
        self.fs.resolve(path).is_ok()
    }
}

#[test]
fn disk_of_layers_hides_what_whiteouts_name() {
    let lower = Tar::new()
        .directory("etc/")
        .file("etc/keep", "lower")
        .file("etc/gone", "lower")
        .file("var/opaque/old", "lower")
        .file("usr/dir/file", "lower")
        .file("replaced/file", "lower");
    let upper = Tar::new()
        .file("etc/.wh.gone", "")
        .file("etc/new", "upper")
        .file("var/opaque/.wh..wh..opq", "")
        .file("var/opaque/fresh", "upper")
        .file("usr/.wh.dir", "")
        .file("replaced", "a file now");
    let disk = disk(vec![lower.layer("lower"), upper.layer("upper")]);
    assert_eq!(disk.text("/etc/keep").as_deref(), Some("lower"));
    assert_eq!(disk.text("/etc/new").as_deref(), Some("upper"));
    assert_eq!(disk.text("/var/opaque/fresh").as_deref(), Some("upper"));
    assert_eq!(disk.text("/replaced").as_deref(), Some("a file now"));
    for gone in ["/etc/gone", "/etc/.wh.gone", "/var/opaque/old", "/usr/dir", "/var/opaque/.wh..wh..opq"] {
        assert!(!disk.has(gone), "{gone}");
    }
}

#[test]
fn disk_keeps_owners_modes_links_and_attributes() {
    let layer = Tar::new()
        .xattr("security.capability", b"\x01\0\0\x02")
        .file("bin/tool", "tool")
        .entry("bin/same", EntryType::Link, "bin/tool", b"")
        .entry("bin/sh", EntryType::Symlink, "/bin/tool", b"")
        .entry("dev/null", EntryType::Char, "", b"")
        .entry("pipe", EntryType::Fifo, "", b"");
    let disk = disk(vec![layer.layer("one")]);
    let (tool, same) = (disk.fs.resolve("/bin/tool").unwrap(), disk.fs.resolve("/bin/same").unwrap());
    assert_eq!(tool, same, "a hard link is a second name of one inode");
    let inode = disk.fs.inode(tool).unwrap();
    assert_eq!((inode.mode & 0o7777, inode.uid, inode.gid), (0o640, 1000, 70_000));
    assert!(disk.has("/dev/null") && disk.has("/pipe") && disk.has("/bin/sh"));
}

#[test]
fn hard_link_across_layers_is_replaced_as_one_name() {
    let lower = Tar::new().file("a", "old").entry("b", EntryType::Link, "a", b"");
    let disk = disk(vec![lower.layer("lower"), Tar::new().file("a", "new").layer("upper")]);
    assert_eq!((disk.text("/a").unwrap(), disk.text("/b").unwrap()), ("new".to_owned(), "old".to_owned()));
}

#[test]
fn hostile_paths_end_inside_the_disk() {
    let layer = Tar::new()
        .file("../../outside", "a")
        .file("/absolute", "b")
        .entry("link", EntryType::Symlink, "/../../etc", b"")
        .directory("etc/")
        .file("link/through", "c")
        .entry("loop", EntryType::Symlink, "loop", b"")
        .file("loop/file", "d")
        .file("file", "e")
        .file("file/below", "f");
    let disk = disk(vec![layer.layer("one")]);
    for (path, text) in
        [("/outside", "a"), ("/absolute", "b"), ("/etc/through", "c"), ("/loop/file", "d"), ("/file/below", "f")]
    {
        assert_eq!(disk.text(path).as_deref(), Some(text), "{path}");
    }
}

#[test]
fn hostile_entries_are_refused_by_name() {
    let cases = [
        (Tar::new().entry("steal", EntryType::Link, "../../etc/shadow", b""), "steal"),
        (Tar::new().entry("odd", EntryType::new(b'Z'), "", b""), "odd"),
        (Tar::new().file("dir/.wh.", ""), "dir/.wh."),
        (Tar::new().entry("empty", EntryType::Symlink, "", b""), "empty"),
        (Tar::new().entry("holes", EntryType::GNUSparse, "", b""), "holes"),
    ];
    for (layer, name) in cases {
        let error = refused(layer.layer("sha256:bad"));
        assert!(error.contains(&format!("`{name}`")) && error.contains("sha256:bad"), "{error}");
    }
}

#[test]
fn damaged_and_oversized_layers_are_refused() {
    let whole = Tar::new().file("file", &"x".repeat(5000)).0.into_inner().unwrap();
    let cut = whole[..2000].to_vec();
    let error = refused(Layer::new("cut", move || Ok(Box::new(Cursor::new(cut.clone())) as Box<dyn Read>)));
    assert!(error.contains("`cut`"), "{error}");
    let mut header = Header::new_ustar();
    header.set_path("huge").unwrap();
    header.set_size(7 << 30);
    header.set_cksum();
    let huge = header.as_bytes().to_vec();
    let error = refused(Layer::new("huge", move || Ok(Box::new(Cursor::new(huge.clone())) as Box<dyn Read>)));
    assert!(error.contains("huge"), "{error}");
}

#[test]
fn image_larger_than_its_disk_is_too_small() {
    let cache = tempfile::tempdir().unwrap();
    let layer = Tar::new().file("file", &"x".repeat(40 << 20)).layer("one");
    let error = base_disk(cache.path(), DIGEST, vec![layer], SIZE).unwrap_err();
    assert!(matches!(error, GuestError::TooSmall { .. }), "{error}");
}

#[test]
fn disk_in_the_cache_is_not_built_again() {
    let cache = tempfile::tempdir().unwrap();
    let build = |layers| base_disk(cache.path(), DIGEST, layers, SIZE).unwrap();
    let path = build(vec![Tar::new().file("file", "x").layer("one")]);
    let unreadable = Layer::new("none", || Err(std::io::Error::other("it is not opened")));
    assert_eq!(build(vec![unreadable]), path);
    assert!(base_disk(cache.path(), "../../etc", Vec::new(), SIZE).is_err(), "a digest is no path");
}

#[test]
fn empty_volume_is_an_ext4_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    crate::volume_disk(&path, 64 << 20, "data").unwrap();
    assert_eq!(File::open(&path).unwrap().metadata().unwrap().len(), 64 << 20);
    if let Ok(output) = Command::new("e2fsck").args(["-fn"]).arg(&path).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let error = crate::volume_disk(&path, 64 << 20, "data").unwrap_err();
    assert!(matches!(error, GuestError::Io { .. }), "a volume is never replaced");
    assert!(matches!(crate::volume_disk(&path, 4096, "data"), Err(GuestError::Invalid(_))));
}
