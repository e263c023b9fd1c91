//! Killed at any moment: what is there afterwards is whole, and the next attempt succeeds.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hythe_oci::{Format, Kind, Store};
use hythe_spec::ImageRef;

use crate::support::*;

const WORK: &str = "HYTHE_TEST_CRASH_WORK";
const ROUNDS: u64 = 16;

fn image() -> Image {
    let layers = (0..5).map(|at| {
        let archive = Archive::new().directory("d").file("d/shared", &at.to_string().repeat(5000).into_bytes());
        (0..40)
            .fold(archive, |archive, file| archive.file(&format!("d/{at}-{file}"), &noise(at * 100 + file, 20_000)))
            .finish()
    });
    Image::of(&layers.collect::<Vec<_>>())
}

/// What the child process does; by itself this is no test.
#[tokio::test]
async fn child() {
    let Ok(work) = std::env::var(WORK) else { return };
    let words: Vec<_> = work.split(' ').collect();
    let [verb, root, source] = words.as_slice() else { panic!("{work}") };
    let store = Store::open(Path::new(root)).unwrap();
    match *verb {
        "pull" => drop(store.pull(&registry(), &source.parse().unwrap(), |_| ()).await.unwrap()),
        "import" => drop(store.import(Path::new(source), None).await.unwrap()),
        _ => panic!("{work}"),
    }
}

/// Runs the child and kills it after a while; says whether it was killed before it ended.
fn killed(work: &str, after: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child"])
        .env(WORK, work)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The moment is what varies; nothing is waited for.
    std::thread::sleep(after);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}");
    status.signal().is_some()
}

/// Nothing half is to be seen: what has a name can be read and unpacked in full, and every blob is what it is called.
fn look(root: &Path, name: &ImageRef) -> bool {
    let store = Store::open(root).unwrap();
    for blob in names(&root.join("blobs/sha256")) {
        assert_eq!(digest(&std::fs::read(root.join("blobs/sha256").join(&blob)).unwrap())[7..], blob);
    }
    for layer in names(&root.join("layers")) {
        assert_eq!(names(&root.join("layers").join(layer).join("fs/d")).len(), 41);
    }
    match store.get(name) {
        Ok(stored) => {
            assert_eq!(store.layers(&stored).unwrap().len(), 5);
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::NotFound, "{error}");
            false
        }
    }
}

/// Kills more and more of a run, until one comes through; then everything is there.
fn survive(verb: &str, source: &str, name: &ImageRef) {
    let mut kills = 0;
    for round in 0..ROUNDS {
        let root = tempfile::tempdir().unwrap();
        let work = format!("{verb} {} {source}", root.path().display());
        // Twice into the same store: the second goes on from what the first left.
        for turn in 0..2 {
            let ended = !killed(&work, Duration::from_millis(5 + round * 10 + turn * 3));
            kills += u64::from(!ended);
            assert!(look(root.path(), name) || !ended);
            assert!(names(&root.path().join("tmp")).is_empty(), "what the killed process left is swept");
        }
        let store = Store::open(root.path()).unwrap();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match verb {
            "pull" => drop(tokio.block_on(store.pull(&registry(), name, |_| ())).unwrap()),
            _ => drop(tokio.block_on(store.import(Path::new(source), None)).unwrap()),
        }
        drop(store);
        assert!(look(root.path(), name));
    }
    assert!(kills >= ROUNDS / 4, "only {kills} runs were killed before their end");
}

#[test]
fn a_pull_that_is_killed_leaves_nothing_half() {
    let hub = Hub::start();
    let name = hub.add("1", &image());
    survive("pull", &name.to_string(), &name);
}

#[test]
fn an_import_that_is_killed_leaves_nothing_half() {
    let (hub, directory) = (Hub::start(), tempfile::tempdir().unwrap());
    let pulled = hub.add("1", &image());
    let archive = directory.path().join("image.tar");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_home, store) = store();
    tokio.block_on(store.pull(&registry(), &pulled, |_| ())).unwrap();
    tokio.block_on(store.export(&pulled, &archive, Format::OciArchive)).unwrap();
    survive("import", archive.to_str().unwrap(), &pulled);
}
