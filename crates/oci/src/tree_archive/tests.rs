#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use rustix::fs::{CWD, Mode};

use super::*;
use crate::store::OwnershipMode;

fn root(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, locate::HANDLE, Mode::empty()).unwrap()
}

fn rights() -> OwnershipMode {
    if rustix::process::geteuid().is_root() { OwnershipMode::Root } else { OwnershipMode::User }
}

fn archive(at: &Path, path: &str, named: Named<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    read(root(at), Read { path: Path::new(path), named, owner: Owner::Kept }, &mut out).unwrap();
    out
}

fn unpack(at: &Path, into: &str, rename: Option<&str>, archive: &[u8]) -> Result<Totals, Error> {
    let rename = rename.map(std::ffi::OsStr::new);
    extract(root(at), Extract { into: Path::new(into), rename, owner: Owner::Kept, rights: rights() }, archive)
}

fn sample(at: &Path) {
    fs::create_dir_all(at.join("d/e")).unwrap();
    fs::write(at.join("d/e/f"), "hello").unwrap();
    fs::hard_link(at.join("d/e/f"), at.join("d/hard")).unwrap();
    symlink("../nowhere", at.join("d/link")).unwrap();
    fs::write(at.join("d/.wh.kept"), "not a whiteout").unwrap();
    fs::write(at.join(format!("d/{}", "n".repeat(200))), "long").unwrap();
    fs::set_permissions(at.join("d/e/f"), fs::Permissions::from_mode(0o4751)).unwrap();
    let sparse = fs::File::create(at.join("d/sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
}

#[test]
fn round_trip_keeps_modes_links_names_and_holes() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(from.path());
    let tar = archive(from.path(), "/d", Named::Relative);
    let totals = unpack(to.path(), "/", Some("copy"), &tar).unwrap();
    assert_eq!((totals.entries, totals.bytes), (8, 5 + 14 + 4 + (8 << 20)));
    let at = |path: &str| to.path().join("copy").join(path);
    assert_eq!(fs::read(at("e/f")).unwrap(), b"hello");
    assert_eq!(fs::metadata(at("e/f")).unwrap().mode() & 0o7777, 0o4751);
    assert_eq!(fs::metadata(at("e/f")).unwrap().ino(), fs::metadata(at("hard")).unwrap().ino());
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("../nowhere"));
    assert!(at(".wh.kept").exists() && at(&"n".repeat(200)).exists());
    let sparse = fs::metadata(at("sparse")).unwrap();
    assert_eq!((sparse.len(), sparse.blocks()), (8 << 20, 0));
    let mtime = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(mtime(&from.path().join("d/e")), mtime(&at("e")));
}

#[test]
fn extract_of_path_that_leads_out_is_refused() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("in")).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../escape");
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, &b"x"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    assert_eq!(unpack(&home.path().join("in"), "/", None, &tar).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!home.path().join("escape").exists());
    assert_eq!(pass(tar.as_slice(), Pass::To, Vec::new()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn extract_through_a_link_in_the_way_is_conflict() {
    let (home, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(home.path().join("root")).unwrap();
    fs::create_dir_all(home.path().join("outside")).unwrap();
    symlink("../outside", home.path().join("root/d")).unwrap();
    fs::create_dir_all(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/f"), "x").unwrap();
    let tar = archive(from.path(), "/", Named::Relative);
    assert_eq!(unpack(&home.path().join("root"), "/", None, &tar).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!home.path().join("outside/f").exists());
}

#[test]
fn extract_over_a_directory_by_a_file_is_conflict_and_leaves_it() {
    let (home, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(home.path().join("x")).unwrap();
    fs::write(from.path().join("x"), "file").unwrap();
    let tar = archive(from.path(), "/x", Named::Relative);
    assert_eq!(unpack(home.path(), "/", None, &tar).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(home.path().join("x").is_dir());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing unfinished stays");
}

#[test]
fn extract_of_a_truncated_archive_is_invalid_and_leaves_the_old_file() {
    let (home, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(home.path().join("f"), "old").unwrap();
    fs::write(from.path().join("f"), vec![b'x'; 4000]).unwrap();
    let tar = archive(from.path(), "/f", Named::Relative);
    assert_eq!(unpack(home.path(), "/", None, &tar[..1500]).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(home.path().join("f")).unwrap(), b"old");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn read_of_a_link_outwards_stays_in_its_root() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("root/etc")).unwrap();
    fs::write(home.path().join("root/etc/own"), "own").unwrap();
    fs::create_dir_all(home.path().join("etc")).unwrap();
    symlink("../../etc", home.path().join("root/up")).unwrap();
    let at = home.path().join("root");
    assert_eq!(look(root(&at), Path::new("/up")).unwrap().kind, Kind::Symlink);
    assert_eq!(look(root(&at), Path::new("/up/own")).unwrap().size, 3);
    assert_eq!(look(root(&at), Path::new("/up/passwd")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(look(root(Path::new("/")), Path::new("/proc/self/status")).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn pass_from_an_engine_takes_the_name_of_the_directory_off() {
    let from = tempfile::tempdir().unwrap();
    sample(from.path());
    let engines = archive(from.path(), "/d", Named::As(std::ffi::OsStr::new("d")));
    let mut passed = Vec::new();
    pass(engines.as_slice(), Pass::From(std::ffi::OsStr::new("d")), &mut passed).unwrap();
    assert_eq!(passed, archive(from.path(), "/d", Named::Relative));
}
