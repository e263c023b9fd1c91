//! Pulling: what is fetched, in which order things appear, and what happens when the registry misbehaves.

use std::sync::{Arc, Mutex};

use hythe_oci::{Kind, Phase, Store};

use crate::support::*;

fn two_layers() -> Image {
    let base = Archive::new().directory("etc").file("etc/base", b"base").file("gone", b"x").finish();
    let top = Archive::new().file("etc/top", &noise(1, 300_000)).file(".wh.gone", b"").finish();
    Image::of(&[base, top])
}

#[tokio::test]
async fn a_pull_gives_unpacked_layers_and_the_same_digests() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    let (_directory, store) = store();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let stored = store.pull(&registry(), &name, move |progress| log.lock().unwrap().push(progress)).await.unwrap();
    assert_eq!(stored.digest, image.digest());
    assert_eq!(stored.id, digest(&image.config));
    assert_eq!(stored.names, [name.to_string()]);
    let layers = store.layers(&stored).unwrap();
    assert_eq!(std::fs::read(layers[0].join("etc/base")).unwrap(), b"base");
    assert_eq!(std::fs::read(layers[1].join("etc/top")).unwrap(), noise(1, 300_000));
    let done: Vec<_> = seen.lock().unwrap().iter().filter(|seen| seen.phase == Phase::Done).cloned().collect();
    assert_eq!(done.len(), 2);
    assert!(done.iter().all(|done| done.current == done.total && done.total > 0));
    assert_eq!(store.get(&name).unwrap(), stored);
    assert_eq!(store.find(&stored.id[7..19]).unwrap(), stored);
    assert!(names(&store.root().join("ingest")).is_empty());
    let before = hub.asked("/blobs/").len();
    store.pull(&registry(), &name, |_| ()).await.unwrap();
    assert_eq!(hub.asked("/blobs/").len(), before, "nothing is fetched twice");
}

#[tokio::test]
async fn an_interrupted_download_goes_on_where_it_ended() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    let path = blob_path(&image.layers[1]);
    hub.fail(&path, &[Fault::Cut(100_000), Fault::Cut(50_000)]);
    let (_directory, store) = store();
    let stored = store.pull(&registry(), &name, |_| ()).await.unwrap();
    let asked = hub.asked(&path);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[0].ends_with(' ') && asked[1].contains("bytes=") && asked[2].contains("bytes="), "{asked:?}");
    assert_eq!(std::fs::read(store.layers(&stored).unwrap()[1].join("etc/top")).unwrap(), noise(1, 300_000));
}

#[tokio::test]
async fn a_later_pull_goes_on_where_an_ended_one_was() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    let path = blob_path(&image.layers[1]);
    let (directory, store) = store();
    // What a killed process leaves: some bytes under the digest's name.
    let partial = directory.path().join("ingest").join(&digest(&image.layers[1])[7..]);
    std::fs::write(&partial, &image.layers[1][..200_000]).unwrap();
    store.pull(&registry(), &name, |_| ()).await.unwrap();
    assert_eq!(hub.asked(&path), [format!("GET {path} bytes=200000-")]);
}

#[tokio::test]
async fn damaged_parts_and_registries_without_ranges_are_begun_anew() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    let path = blob_path(&image.layers[1]);
    for faults in [&[][..], &[Fault::NoRange]] {
        let (directory, store) = store();
        hub.fail(&path, faults);
        let partial = directory.path().join("ingest").join(&digest(&image.layers[1])[7..]);
        std::fs::write(&partial, noise(9, 200_000)).unwrap();
        let stored = store.pull(&registry(), &name, |_| ()).await.unwrap();
        assert_eq!(std::fs::read(store.layers(&stored).unwrap()[1].join("etc/top")).unwrap(), noise(1, 300_000));
    }
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_is_refused() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    for blob in [&image.layers[0], &image.layers[1], &image.config] {
        let (directory, store) = store();
        hub.fail(&blob_path(blob), &[Fault::Flip]);
        let error = store.pull(&registry(), &name, |_| ()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.to_string().contains(&digest(blob)), "{error}");
        assert!(store.list().unwrap().is_empty());
        assert!(!directory.path().join("blobs/sha256").join(&digest(blob)[7..]).exists());
        store.pull(&registry(), &name, |_| ()).await.unwrap();
    }
}

#[tokio::test]
async fn two_pulls_at_once_both_succeed() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    let (directory, store) = store();
    let other = Store::open(directory.path()).unwrap();
    let registry = registry();
    let (a, b) = tokio::join!(store.pull(&registry, &name, |_| ()), other.pull(&registry, &name, |_| ()));
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(hub.asked(&blob_path(&image.layers[1])).len(), 1, "one download serves both");
}

#[tokio::test]
async fn a_pull_that_is_dropped_frees_what_it_held_and_is_gone_on_with() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    let path = blob_path(&image.layers[1]);
    hub.fail(&path, &[Fault::Cut(100_000), Fault::Hold]);
    let (directory, store) = store();
    let registry = registry();
    let partial = directory.path().join("ingest").join(&digest(&image.layers[1])[7..]);
    let resumed = format!("{path} bytes=");
    tokio::select! {
        pulled = store.pull(&registry, &name, |_| ()) => panic!("{pulled:?}"),
        () = hub.until_asked(&resumed) => {}
    }
    hub.release();
    assert!(std::fs::metadata(&partial).unwrap().len() > 0);
    let stored = store.pull(&registry, &name, |_| ()).await.unwrap();
    assert_eq!(std::fs::read(store.layers(&stored).unwrap()[1].join("etc/top")).unwrap(), noise(1, 300_000));
    let asked = hub.asked(&path);
    assert!(asked.len() == 3 && asked[2].contains("bytes="), "{asked:?}");
    assert!(!store.gc(|_| false).unwrap().postponed, "nothing is held any more");
}

#[tokio::test]
async fn a_registry_that_lacks_content_is_reported_by_its_name() {
    let (hub, image) = (Hub::start(), two_layers());
    let name = hub.add("1", &image);
    hub.take(&blob_path(&image.layers[0]));
    let (_directory, store) = store();
    let error = store.pull(&registry(), &name, |_| ()).await.unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("/app:1"), "{error}");
    assert_eq!(store.pull(&registry(), &hub.name("2"), |_| ()).await.unwrap_err().kind(), Kind::NotFound);
    assert!(store.list().unwrap().is_empty());
}

/// Drivers hand such futures on as trait objects: this is about compiling.
#[test]
fn a_pull_can_be_handed_to_another_thread() {
    fn pull<'a>(
        store: &'a Store,
        registry: &'a hythe_oci::Registry,
        name: &'a hythe_spec::ImageRef,
        seen: &'a Mutex<u64>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<hythe_oci::Stored, hythe_oci::Error>> + Send + 'a>> {
        Box::pin(async move { store.pull(registry, name, |progress| *seen.lock().unwrap() += progress.current).await })
    }
    let _ = pull;
}
