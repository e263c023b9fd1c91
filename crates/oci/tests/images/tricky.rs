//! A layer as GNU tar writes it, with everything that a file system can have, comes out as GNU tar unpacks it.

use std::path::Path;
use std::process::Command;

use hythe_oci::{Limits, Options};

use crate::support::*;
use crate::unpack::{Unpacked, unpack, unpack_image};

const MAKE: &str = r#"
set -e
mkdir -p tree/dir/sub tree/sticky tree/secret
cd tree
printf hello >dir/file; ln dir/file dir/hard; ln -s ../etc/passwd dir/soft; ln -s dangling dir/sub/none
chmod 4755 dir/file; chmod 1777 sticky; chmod 2750 secret; chown 1234:4321 secret dir/sub
mkfifo -m 640 pipe
printf x >"$(printf 'odd\nname \377')"; printf y >"$(printf 'l%.0s' $(seq 200))"
mkdir -p "$(printf 'd%.0s' $(seq 120))/$(printf 'e%.0s' $(seq 120))"; printf z >"$(printf 'd%.0s' $(seq 120))/$(printf 'e%.0s' $(seq 120))/f"
truncate -s 3M holes; printf mid | dd of=holes bs=1 seek=1500000 conv=notrunc status=none; printf end | dd of=holes bs=1 seek=3145725 conv=notrunc status=none
truncate -s 1M allhole; : >empty
i=0; truncate -s 8M many; while [ $i -lt 60 ]; do printf $i | dd of=many bs=1 seek=$((i*131072)) conv=notrunc status=none; i=$((i+1)); done
touch -d '1970-01-02 03:04:05.678901' dir/file; touch -h -d '2001-02-03 04:05:06.25' dir/soft; touch -d '1960-01-01' empty
touch -d '2010-01-01 00:00:00' dir secret .
"#;

/// Every file with all that can be seen of it.
const LIST: &str = r#"
cd "$1"; find . -printf '%p|%y|%m|%U|%G|%s|%n|%T@|%l\n' | sed 's/^\(\.[^|]*|d|[^|]*|[^|]*|[^|]*|\)[0-9]*|[0-9]*/\1/' | LC_ALL=C sort
find . -type f -exec sha256sum {} + | LC_ALL=C sort
"#;

fn shell(script: &str, directory: &Path, words: &[&str]) -> String {
    let output = Command::new("bash").args(["-c", script, "bash"]).args(words).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_tree_equals_what_tar_makes_of_it() {
    let home = tempfile::tempdir().unwrap();
    let has_tar =
        Command::new("tar").arg("--version").output().is_ok_and(|output| output.stdout.starts_with(b"tar (GNU"));
    if !has_tar || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: GNU tar is not installed, or the tests do not run as root");
        return;
    }
    shell(MAKE, home.path(), &[]);
    let forms = [
        "--format=gnu",
        "--format=gnu --sparse",
        "--format=posix",
        "--format=posix --sparse --sparse-version=1.0",
        "--format=posix --sparse --sparse-version=0.1",
        "--format=posix --sparse --sparse-version=0.0",
    ];
    for form in forms {
        let script = format!(
            "rm -rf theirs; mkdir theirs; tar {form} --numeric-owner -C tree -cf it.tar . && tar --numeric-owner -xpf it.tar -C theirs"
        );
        shell(&script, home.path(), &[]);
        let unpacked = unpack(&[std::fs::read(home.path().join("it.tar")).unwrap()]).unwrap();
        let theirs = shell(LIST, home.path(), &[home.path().join("theirs").to_str().unwrap()]);
        let ours = shell(LIST, home.path(), &[unpacked.layers[0].to_str().unwrap()]);
        assert!(ours.lines().count() > 25);
        assert_eq!(ours, theirs, "{form}");
        if form.contains("sparse") {
            let blocks = shell("stat -c %b holes allhole many", &unpacked.layers[0], &[]);
            let blocks: u64 = blocks.lines().map(|line| line.parse::<u64>().unwrap()).sum();
            assert!(blocks * 512 < 2 << 20, "holes stay holes: {blocks} blocks");
        }
    }
}

/// As the kernel stacks them, layers show what the image means.
#[test]
fn layers_stacked_by_overlayfs_show_what_the_image_means() {
    let layers = [
        Archive::new()
            .directory("keep")
            .file("keep/low", b"1")
            .directory("opaque")
            .file("opaque/low", b"1")
            .file("gone", b"1")
            .directory("dir")
            .file("dir/x", b"1"),
        Archive::new()
            .file(".wh.gone", b"")
            .directory("opaque")
            .file("opaque/.wh..wh..opq", b"")
            .file("opaque/mid", b"2")
            .file("keep/mid", b"2")
            .file(".wh.dir", b""),
        Archive::new().file("gone/back", b"3").file("dir/new", b"3"),
    ];
    let unpacked = unpack(&layers.map(Archive::finish)).unwrap();
    let Some(seen) = stacked(&unpacked) else { return };
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        ["./dir/new", "./gone/back", "./keep/low", "./keep/mid", "./opaque/mid"]
    );
}

/// The files that overlayfs shows of an image, sorted; `None` where it cannot be mounted.
fn stacked(unpacked: &Unpacked) -> Option<String> {
    let home = tempfile::tempdir().unwrap();
    let lower: Vec<_> = unpacked.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let options = format!("ro,lowerdir={}", lower.join(":"));
    let mounted = Command::new("mount").args(["-t", "overlay", "none", "-o", &options]).arg(home.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: overlayfs cannot be mounted here");
        return None;
    }
    let seen = shell("find . -type f | sort", home.path(), &[]);
    assert!(Command::new("umount").arg(home.path()).status().unwrap().success());
    Some(seen)
}

#[test]
fn layer_that_an_image_repeats_is_unpacked_once_and_hides_the_same() {
    let repeated = || {
        Archive::new()
            .file(".wh.gone", b"")
            .directory("opaque")
            .file("opaque/.wh..wh..opq", b"")
            .file("opaque/own", b"1")
            .directory("dir")
            .file("dir/own", b"1")
    };
    let between = Archive::new().file("gone", b"2").file("opaque/between", b"2").file("dir/between", b"2");
    let below = Archive::new().file("gone", b"0").file("dir/below", b"0");
    let layers = [below, repeated(), between, repeated(), repeated()];
    let unpacked = unpack(&layers.map(Archive::finish)).unwrap();
    assert_eq!(unpacked.layers.len(), 3);
    assert_eq!(std::fs::read_dir(unpacked.home.path().join("store/layers")).unwrap().count(), 3);
    let Some(seen) = stacked(&unpacked) else { return };
    let files: Vec<_> = seen.split_whitespace().collect();
    assert_eq!(files, ["./dir/below", "./dir/between", "./dir/own", "./opaque/own"]);
}

#[test]
fn layer_that_an_image_repeats_hundreds_of_times_takes_its_room_once() {
    let layer = Archive::new().file("large", &vec![7; 1 << 20]).finish();
    let options = Options { limits: Limits { image_bytes: 2 << 20, ..Limits::default() }, ..Options::default() };
    let unpacked = unpack_image(&Image::of(&vec![layer; 400]), options).unwrap();
    assert_eq!(unpacked.layers.len(), 1);
}
