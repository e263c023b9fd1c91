//! What becomes of archives, honest and hostile, once they are unpacked.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hythe_oci::{Error, Kind, Limits, Options, OwnershipMode, Store};
use tar::EntryType;

use crate::support::*;

/// Layers of an image, unpacked, in a directory that holds nothing but a store.
pub(crate) struct Unpacked {
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) home: tempfile::TempDir,
}

impl Unpacked {
    pub(crate) fn top(&self, below: &str) -> PathBuf {
        self.layers.last().unwrap().join(below)
    }
}

pub(crate) fn unpack_image(image: &Image, options: Options) -> Result<Unpacked, Error> {
    let hub = Hub::start();
    let name = hub.add("1", image);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "untouched").unwrap();
    let store = Store::open_with(&home.path().join("store"), options).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = tokio.block_on(store.pull(&registry(), &name, |_| ())).and_then(|stored| store.layers(&stored));
    assert_eq!(names(home.path()), ["file", "store"], "nothing is written outside the store");
    assert_eq!(std::fs::read(home.path().join("file")).unwrap(), b"untouched");
    outcome.map(|layers| Unpacked { layers, home })
}

pub(crate) fn unpack(archives: &[Vec<u8>]) -> Result<Unpacked, Error> {
    unpack_image(&Image::of(archives), Options::default())
}

fn one(archive: Archive) -> Unpacked {
    unpack(&[archive.finish()]).unwrap()
}

fn refused(archive: Archive, kind: Kind, words: &str) {
    let error = unpack(&[archive.finish()]).err().unwrap();
    assert!(error.kind() == kind && error.to_string().contains(words), "{error}");
}

pub(crate) fn is_whiteout(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
}

/// An extended attribute as text.
pub(crate) fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

pub(crate) fn is_opaque(path: &Path) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let key = if is_root { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    attribute(path, key) == Some(b"y".to_vec())
}

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../data/unpack_hostile.json")).unwrap()
}

fn rows(section: &str) -> Vec<serde_json::Value> {
    vectors()[section].as_array().unwrap().clone()
}

#[test]
fn names_that_climb_stay_inside() {
    for row in rows("path_sanitise") {
        let unpacked = one(Archive::new().file(row["entry_name"].as_str().unwrap(), b"new"));
        assert_eq!(std::fs::read(unpacked.top("file")).unwrap(), b"new");
    }
    let unpacked = one(Archive::new().file("/etc/absolute", b"new").file("a/../../../b", b"b"));
    assert!(unpacked.top("etc/absolute").exists() && unpacked.top("b").exists());
}

#[test]
fn links_to_the_outside_are_resolved_inside() {
    for row in rows("symlink_scoping") {
        let (link, to) = row["pre_existing_symlink"].as_str().unwrap().split_once(" -> ").unwrap();
        let unpacked = one(Archive::new().symlink(link, to).file(row["entry_name"].as_str().unwrap(), b"new"));
        assert_eq!(std::fs::read(unpacked.top("file")).unwrap(), b"new", "{row}");
        assert_eq!(std::fs::read_link(unpacked.top("link")).unwrap(), Path::new(to));
    }
}

#[test]
fn missing_parents_are_made_and_files_in_the_way_give_way() {
    let unpacked = one(Archive::new().file("a/b/c/file", b"x").file("nondir", b"x").file("nondir/foo/bar/baz", b"y"));
    assert!(unpacked.top("a/b/c/file").exists());
    assert_eq!(std::fs::read(unpacked.top("nondir/foo/bar/baz")).unwrap(), b"y");
    let dangling = one(Archive::new().symlink("link", "/nowhere").file("link/file", b"x"));
    assert_eq!(std::fs::read(dangling.top("link/file")).unwrap(), b"x");
}

#[test]
fn whiteouts_become_what_overlayfs_reads() {
    for row in rows("whiteout") {
        let path = row["path"].as_str().unwrap();
        let (parent, name) = path.rsplit_once('/').map_or(("", path), |(parent, name)| (parent, name));
        let marker = if parent.is_empty() { format!(".wh.{name}") } else { format!("{parent}/.wh.{name}") };
        let archive = Archive::new().file(&marker, b"");
        if row["expect"] == "error invalid whiteout" {
            refused(archive, Kind::Invalid, "invalid whiteout");
        } else {
            let unpacked = one(archive);
            assert!(is_whiteout(&unpacked.top(path)) && !unpacked.top(&marker).exists(), "{row}");
        }
    }
    for marker in [".wh..", ".wh...", "a/.wh..."] {
        refused(Archive::new().file(marker, b""), Kind::Invalid, "invalid whiteout");
    }
    assert!(names(&one(Archive::new().directory("d").file("d/.wh..wh.aufs", b"")).top("d")).is_empty());
}

#[test]
fn a_whiteout_hides_only_what_is_below_its_layer() {
    let unpacked =
        one(Archive::new().file("f", b"own").file(".wh.f", b"").directory("d").file("d/own", b"").file(".wh.d", b""));
    assert_eq!(std::fs::read(unpacked.top("f")).unwrap(), b"own");
    assert!(is_opaque(&unpacked.top("d")) && unpacked.top("d/own").exists());
    let unpacked = one(Archive::new().file(".wh.d", b"").file("d/own", b"").file(".wh.e", b"").directory("e"));
    assert!(is_opaque(&unpacked.top("d")) && is_opaque(&unpacked.top("e")));
}

#[test]
fn opaque_directories_are_marked_in_either_order() {
    let unpacked =
        one(Archive::new().directory("a").file("a/.wh..wh..opq", b"").file("b/.wh..wh..opq", b"").file("b/x", b""));
    assert!(is_opaque(&unpacked.top("a")) && is_opaque(&unpacked.top("b")));
    assert_eq!(names(&unpacked.top("b")), ["x"]);
    assert!(is_opaque(&one(Archive::new().file(".wh..wh..opq", b"")).top("")));
}

#[test]
fn times_of_directories_survive_what_is_put_into_them() {
    let unpacked =
        one(Archive::new().directory("d").file("d/x", b"").file("d/.wh.gone", b"").directory("d/e").file("d/e/f", b""));
    for path in ["d", "d/e", "d/x"] {
        assert_eq!(unpacked.top(path).metadata().unwrap().mtime(), 1_600_000_000, "{path}");
    }
}

#[test]
fn hard_links_reach_only_what_is_in_the_layer() {
    let unpacked = one(Archive::new().file("a/x", b"x").hard_link("y", "/a/x").hard_link("a/x", "a/x"));
    assert_eq!(unpacked.top("y").metadata().unwrap().ino(), unpacked.top("a/x").metadata().unwrap().ino());
    for to in ["/etc/passwd", "../../../../../etc/passwd", "missing", "/"] {
        refused(Archive::new().hard_link("y", to), Kind::Invalid, "not in the layer");
    }
    refused(Archive::new().symlink("d", "/etc").hard_link("y", "d/passwd"), Kind::Invalid, "not in the layer");
    let link = one(Archive::new().symlink("l", "/etc/passwd").hard_link("y", "l"));
    assert!(link.top("y").symlink_metadata().unwrap().is_symlink(), "the link itself, not what it names");
}

#[test]
fn nothing_is_written_or_dressed_through_a_link() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "old").unwrap();
    let to = victim.to_str().unwrap();
    let unpacked = one(Archive::new().symlink("f", to).file("f", b"new").symlink("s", to).entry(
        EntryType::Regular,
        "s",
        0o777,
        "",
        b"",
    ));
    assert_eq!(std::fs::read(unpacked.top("f")).unwrap(), b"new");
    assert_eq!(std::fs::read(&victim).unwrap(), b"old");
    let unpacked = one(Archive::new().symlink("d", "/").entry(EntryType::Directory, "d", 0o700, "", b""));
    assert!(unpacked.top("d").symlink_metadata().unwrap().is_dir());
    let outside_too = Archive::new().symlink("d", outside.path().to_str().unwrap()).file("d/new", b"");
    assert!(one(outside_too).home.path().exists() && names(outside.path()) == ["victim"]);
}

#[test]
fn looks_are_kept_and_overlay_attributes_are_not() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may give files away");
        return;
    }
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 6] = [
        ("uid", b"1234"),
        ("mtime", b"1500000000.25"),
        ("SCHILY.xattr.user.note", b"with\nlines"),
        ("SCHILY.xattr.security.capability", capability),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
    ];
    let unpacked = one(Archive::new().extended(&records).entry(EntryType::Regular, "tool", 0o6755, "", b"x"));
    let (path, found) = (unpacked.top("tool"), unpacked.top("tool").metadata().unwrap());
    assert_eq!((found.uid(), found.mode() & 0o7777), (1234, 0o6755));
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_500_000_000, 250_000_000));
    assert_eq!(attribute(&path, "user.note"), Some(b"with\nlines".to_vec()));
    assert_eq!(attribute(&path, "security.capability"), Some(capability.to_vec()));
    assert_eq!(attribute(&path, "trusted.overlay.opaque").or(attribute(&path, "user.overlay.redirect")), None);
    let unpacked = one(Archive::new().entry(EntryType::Fifo, "pipe", 0o600, "", b""));
    assert!(unpacked.top("pipe").metadata().unwrap().file_type().is_fifo());
}

#[test]
fn unpack_of_device_nodes_leaves_them_out() {
    let archive = Archive::new()
        .entry(EntryType::Char, "null", 0o666, "", b"")
        .entry(EntryType::Block, "disk", 0o666, "", b"")
        .entry(EntryType::Link, "also", 0o666, "disk", b"")
        .file("file", b"x");
    let unpacked = one(archive);
    let there = |name: &str| unpacked.top(name).symlink_metadata().is_ok();
    assert!(there("file") && !there("null") && !there("disk") && !there("also"));
}

#[test]
fn without_privileges_owners_and_devices_are_left_out() {
    let archive = Archive::new()
        .extended(&[("uid", b"1234")])
        .entry(EntryType::Directory, "locked", 0o500, "", b"")
        .file("locked/in", b"x")
        .entry(EntryType::Char, "null", 0o666, "", b"")
        .file("locked/.wh..wh..opq", b"")
        .file(".wh.gone", b"");
    let options = Options { rights: OwnershipMode::User, ..Options::default() };
    let unpacked = unpack_image(&Image::of(&[archive.finish()]), options).unwrap();
    let found = unpacked.top("locked").metadata().unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (rustix::process::geteuid().as_raw(), 0o500));
    assert_eq!(attribute(&unpacked.top("locked"), "user.overlay.opaque"), Some(b"y".to_vec()));
    assert!(!unpacked.top("null").exists() && is_whiteout(&unpacked.top("gone")));
    // So that the directory can be removed by an unprivileged user.
    std::fs::set_permissions(unpacked.top("locked"), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn long_names_arrive_whole_and_endless_ones_are_refused() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
    let unpacked = one(Archive::new().extended(&[("path", long.as_bytes())]).file("short", b"x"));
    assert_eq!(std::fs::read(unpacked.top(&long)).unwrap(), b"x");
    let gnu = Archive::new().entry(EntryType::GNULongName, "././@LongLink", 0, "", format!("{long}\0").as_bytes());
    assert_eq!(std::fs::read(one(gnu.file("short", b"y")).top(&long)).unwrap(), b"y");
    let endless = "f".repeat(300);
    refused(Archive::new().extended(&[("path", endless.as_bytes())]).file("short", b""), Kind::Invalid, "entry `fff");
}

#[test]
fn directories_missing_in_a_layer_look_as_below() {
    let base = Archive::new().entry(EntryType::Directory, "a", 0o711, "", b"").entry(
        EntryType::Directory,
        "a/b",
        0o1777,
        "",
        b"",
    );
    let middle = Archive::new().file("other", b"");
    let unpacked =
        unpack(&[base.finish(), middle.finish(), Archive::new().file("a/b/f", b"").file("n/f", b"").finish()]).unwrap();
    let mode = |path: &str| unpacked.top(path).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/b"), mode("n")), (0o711, 0o1777, 0o755));
    assert_eq!(unpacked.top("a/b").metadata().unwrap().mtime(), 1_600_000_000);
}

#[test]
fn a_deep_tree_can_be_replaced_and_deeper_ones_are_refused() {
    let deep = "d/".repeat(1500);
    let unpacked = one(Archive::new().extended(&[("path", deep.as_bytes())]).directory("x").file("d", b"file"));
    assert_eq!(std::fs::read(unpacked.top("d")).unwrap(), b"file");
    // Through a link a name leads deeper than any name could.
    let link = deep.trim_end_matches('/');
    let below = format!("l/{deep}");
    let archive = Archive::new()
        .extended(&[("path", deep.as_bytes())])
        .directory("x")
        .extended(&[("linkpath", link.as_bytes())])
        .symlink("l", "x")
        .extended(&[("path", below.as_bytes())])
        .directory("x");
    refused(archive, Kind::Invalid, "too long");
    let deepest = one(Archive::new().extended(&[("path", "d/".repeat(2000).as_bytes())]).directory("x"));
    let store = Store::open(&deepest.home.path().join("store")).unwrap();
    let name = store.list().unwrap()[0].names[0].parse().unwrap();
    store.remove(&name).unwrap();
    assert_eq!(store.gc(|_| false).unwrap().layers, 1);
}

#[test]
fn bombs_are_stopped_at_the_bounds() {
    let limits = Limits { bytes: 1 << 20, entries: 10, image_bytes: 2 << 20 };
    let within =
        |archive: Archive| unpack_image(&Image::of(&[archive.finish()]), Options { limits, ..Options::default() });
    let stopped = |archive: Archive, words: &str| {
        let error = within(archive).err().unwrap();
        assert!(error.kind() == Kind::Exhausted && error.to_string().contains(words), "{error}");
        assert!(error.next_step().is_some());
    };
    within(Archive::new().file("f", &vec![0; 1 << 19])).unwrap();
    // Many layers, none of them too large.
    let layer = |at: u8| Archive::new().file("f", &vec![at; 1 << 19]).finish();
    let image = |layers: u8| Image::of(&(0..layers).map(layer).collect::<Vec<_>>());
    let unpacked = |layers| unpack_image(&image(layers), Options { limits, ..Options::default() });
    unpacked(3).unwrap();
    let error = unpacked(5).err().unwrap();
    assert!(error.kind() == Kind::Exhausted && error.to_string().contains("or its image to more than"), "{error}");
    stopped(Archive::new().file("f", &vec![0; 2 << 20]), "bytes");
    stopped((0..11).fold(Archive::new(), |archive, at| archive.file(&format!("f{at}"), b"")), "more than 10 entries");
    let sparse: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"0"), ("GNU.sparse.realsize", b"1152921504606846976"), ("GNU.sparse.map", b"0,1")];
    stopped(Archive::new().extended(&sparse).file("f", b"x"), "of 1152921504606846976 bytes");
    // Names are kept in memory while they are read, so they have bounds of their own.
    let name = vec![b'n'; 5 << 20];
    let error =
        unpack(&[Archive::new().entry(EntryType::GNULongName, "././@LongLink", 0, "", &name).file("f", b"").finish()]);
    assert!(error.err().unwrap().to_string().contains("oversized headers"));
}

#[test]
fn damaged_archives_are_refused() {
    let whole = Archive::new().file("f", &noise(3, 100_000)).finish();
    let cut = whole[..50_000].to_vec();
    assert_eq!(unpack(&[cut]).err().unwrap().kind(), Kind::Invalid);
    assert_eq!(unpack(&[noise(4, 5000)]).err().unwrap().kind(), Kind::Invalid);
    let squeezed = gzip(&whole);
    let truncated = squeezed[..squeezed.len() / 2].to_vec();
    for (plain, stored) in [(whole.clone(), truncated), (b"other".to_vec(), squeezed)] {
        let error = unpack_image(&Image::with(vec![(plain, stored, GZIP_LAYER)]), Options::default()).err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
}

#[test]
fn every_compression_gives_the_same_tree() {
    let plain = Archive::new().file("f", &noise(5, 200_000)).finish();
    let (first, second) = plain.split_at(100_000);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let skippable = [&[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    let forms = [
        plain.clone(),
        gzip(&plain),
        [gzip(first), gzip(second)].concat(),
        zstd(&plain),
        [zstd(first), skippable.clone(), zstd(second), skippable.clone()].concat(),
        [skippable, zstd(&plain)].concat(),
    ];
    for stored in forms {
        let image = Image::with(vec![(plain.clone(), stored, GZIP_LAYER)]);
        let unpacked = unpack_image(&image, Options::default()).unwrap();
        assert_eq!(std::fs::read(unpacked.top("f")).unwrap(), noise(5, 200_000));
    }
}
