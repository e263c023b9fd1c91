//! Names, removal and garbage collection.

use std::collections::BTreeSet;

use hythe_oci::{Kind, Store};
use hythe_spec::ImageRef;

use crate::support::*;

fn image(seed: u64) -> Image {
    let base = Archive::new().file("base", b"shared by all").finish();
    Image::of(&[base, Archive::new().file("own", &noise(seed, 2000)).finish()])
}

async fn pulled(hub: &Hub, store: &Store, tag: &str, image: &Image) -> ImageRef {
    let name = hub.add(tag, image);
    store.pull(&registry(), &name, |_| ()).await.unwrap();
    name
}

fn blobs(store: &Store) -> BTreeSet<String> {
    names(&store.root().join("blobs/sha256")).into_iter().collect()
}

#[tokio::test]
async fn an_image_goes_with_its_last_name_and_takes_only_what_is_its_own() {
    let (hub, (_directory, store)) = (Hub::start(), store());
    let first = pulled(&hub, &store, "1", &image(1)).await;
    let second = pulled(&hub, &store, "2", &image(2)).await;
    let extra: ImageRef = "extra.test/name:1".parse().unwrap();
    store.tag(&first, &extra).unwrap();
    assert_eq!(store.get(&extra).unwrap().names, [first.to_string(), extra.to_string()]);
    store.remove(&first).unwrap();
    assert_eq!(store.gc(|_| false).unwrap().images, 0);
    assert_eq!(store.get(&first).unwrap_err().kind(), Kind::NotFound);
    store.remove(&extra).unwrap();
    let before = blobs(&store);
    let freed = store.gc(|_| false).unwrap();
    assert_eq!((freed.images, freed.blobs, freed.layers, freed.postponed), (1, 3, 1, false));
    assert!(freed.bytes > 0 && before.len() - blobs(&store).len() == 3);
    assert_eq!(store.layers(&store.get(&second).unwrap()).unwrap().len(), 2);
    assert_eq!(store.remove(&extra).unwrap_err().kind(), Kind::NotFound);
    store.remove(&second).unwrap();
    store.gc(|_| false).unwrap();
    assert!(blobs(&store).is_empty() && names(&store.root().join("layers")).is_empty());
}

#[tokio::test]
async fn what_is_in_use_stays_without_a_name() {
    let (hub, (_directory, store)) = (Hub::start(), store());
    let name = pulled(&hub, &store, "1", &image(1)).await;
    let stored = store.get(&name).unwrap();
    store.remove(&name).unwrap();
    for used in [&stored.id, &stored.digest] {
        assert_eq!(store.gc(|asked| asked == used).unwrap().blobs, 0);
    }
    let nameless = store.find(&stored.id).unwrap();
    assert!(nameless.names.is_empty() && store.list().unwrap() == [nameless.clone()]);
    assert_eq!(store.layers(&nameless).unwrap().len(), 2);
    // A layer that something still stands on, though its image is gone.
    let chain = &stored.layers[0].chain_id;
    assert_eq!(store.gc(|asked| asked == chain).unwrap().layers, 1);
    assert_eq!(names(&store.root().join("layers")), [chain[7..].to_owned()]);
}

#[tokio::test]
async fn a_name_moves_to_the_image_that_was_given_it_last() {
    let (hub, (_directory, store)) = (Hub::start(), store());
    let name = pulled(&hub, &store, "1", &image(1)).await;
    let old = store.get(&name).unwrap();
    assert_eq!(pulled(&hub, &store, "1", &image(2)).await, name);
    let new = store.get(&name).unwrap();
    assert_ne!(old.id, new.id);
    assert!(store.find(&old.id).unwrap().names.is_empty());
    assert_eq!(store.gc(|_| false).unwrap().images, 1);
    assert_eq!(store.find(&old.id).unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn images_are_found_by_every_digest_they_have() {
    let (hub, (_directory, store)) = (Hub::start(), store());
    let image = image(1);
    let name = pulled(&hub, &store, "1", &image).await;
    let stored = store.get(&name).unwrap();
    for digest in [&stored.id, &stored.digest] {
        let named: ImageRef = format!("{}/app@{digest}", hub.address).parse().unwrap();
        assert_eq!(store.get(&named).unwrap(), stored);
    }
    for text in [&stored.id, &stored.id[7..], &stored.id[7..19], &stored.digest] {
        assert_eq!(store.find(text).unwrap(), stored);
    }
    for text in ["sha256:ffffffffffff", "ffffffffffff", "absent", "sha256:"] {
        assert!(matches!(store.find(text).unwrap_err().kind(), Kind::NotFound | Kind::Invalid), "{text}");
    }
    let by_digest: ImageRef = format!("{}/app@{}", hub.address, stored.digest).parse().unwrap();
    store.pull(&registry(), &by_digest, |_| ()).await.unwrap();
    store.remove(&name).unwrap();
    assert_eq!(store.get(&by_digest).unwrap().names, [by_digest.to_string()]);
}

#[tokio::test]
async fn collecting_waits_for_nobody_and_takes_nothing_from_a_pull() {
    let (hub, (directory, store)) = (Hub::start(), store());
    let image = image(1);
    let name = hub.add("1", &image);
    let path = blob_path(&image.layers[1]);
    hub.fail(&path, &[Fault::Hold]);
    let registry = registry();
    let other = Store::open(directory.path()).unwrap();
    let collect = async {
        hub.until_asked(&path).await;
        let freed = other.gc(|_| false).unwrap();
        hub.release();
        freed
    };
    let (stored, freed) = tokio::join!(store.pull(&registry, &name, |_| ()), collect);
    assert!(freed.postponed);
    assert_eq!(store.layers(&stored.unwrap()).unwrap().len(), 2);
}

#[tokio::test]
async fn a_lost_layer_is_unpacked_again_and_a_lost_blob_is_reported() {
    let (hub, (directory, store)) = (Hub::start(), store());
    let name = pulled(&hub, &store, "1", &image(1)).await;
    let stored = store.get(&name).unwrap();
    let layers = store.layers(&stored).unwrap();
    // A store that is closed has settled what it unpacked: nothing else touches the layers.
    drop(store);
    for lost_blob in [false, true] {
        std::fs::remove_dir_all(layers[1].parent().unwrap()).unwrap();
        let store = Store::open(directory.path()).unwrap();
        if lost_blob {
            std::fs::remove_file(store.root().join("blobs/sha256").join(&stored.layers[1].digest[7..])).unwrap();
            let error = store.layers(&stored).unwrap_err();
            assert!(error.kind() == Kind::NotFound && error.next_step().unwrap().contains("pull"), "{error}");
            store.pull(&registry(), &name, |_| ()).await.unwrap();
        }
        assert_eq!(store.layers(&stored).unwrap(), layers);
        assert_eq!(std::fs::read(layers[1].join("own")).unwrap(), noise(1, 2000));
    }
}

#[tokio::test]
async fn what_the_disk_has_damaged_is_reported_and_healed_by_a_pull() {
    let (hub, (directory, store)) = (Hub::start(), store());
    let name = pulled(&hub, &store, "1", &image(1)).await;
    let stored = store.get(&name).unwrap();
    let layers = store.layers(&stored).unwrap();
    drop(store);
    for damaged in [&stored.layers[1].digest, &stored.id, &stored.digest] {
        let path = directory.path().join("blobs/sha256").join(&damaged[7..]);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        std::fs::remove_dir_all(layers[1].parent().unwrap()).unwrap();
        let store = Store::open(directory.path()).unwrap();
        let error = store.get(&name).and_then(|stored| store.layers(&stored)).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert_eq!(store.pull(&registry(), &name, |_| ()).await.unwrap(), stored);
        assert_eq!(std::fs::read(layers[1].join("own")).unwrap(), noise(1, 2000));
    }
}

#[tokio::test]
async fn layers_of_another_boot_are_not_trusted_until_they_were_synced() {
    let (hub, (directory, store)) = (Hub::start(), store());
    let name = pulled(&hub, &store, "1", &image(1)).await;
    let layers = store.layers(&store.get(&name).unwrap()).unwrap();
    let state = |layer: usize| layers[layer].parent().unwrap().join("state");
    drop(store);
    assert_eq!(std::fs::read(state(0)).unwrap(), b"durable");
    std::fs::write(state(1), "00000000-0000-0000-0000-000000000000").unwrap();
    std::fs::write(layers[1].join("own"), "").unwrap();
    let reopened = Store::open(directory.path()).unwrap();
    assert!(layers[0].exists() && !layers[1].exists());
    reopened.layers(&reopened.get(&name).unwrap()).unwrap();
    assert_eq!(std::fs::read(layers[1].join("own")).unwrap(), noise(1, 2000));
}

#[test]
fn only_what_no_living_process_holds_is_swept() {
    let (directory, store) = store();
    let temporary = directory.path().join("tmp");
    let living = names(&temporary);
    std::fs::create_dir(temporary.join("dead")).unwrap();
    std::fs::write(temporary.join("dead/file"), "x").unwrap();
    std::fs::write(temporary.join("dead.lock"), "").unwrap();
    let other = Store::open(directory.path()).unwrap();
    let now = names(&temporary);
    assert!(
        living.iter().all(|name| now.contains(name)) && !now.iter().any(|name| name.starts_with("dead")),
        "{now:?}"
    );
    drop((store, other));
    assert!(names(&temporary).is_empty());
}

#[tokio::test]
async fn a_full_disk_is_reported_and_not_made_worse() {
    let home = tempfile::tempdir().unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(home.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let (hub, image) = (Hub::start(), Image::of(&[Archive::new().file("f", &noise(1, 8 << 20)).finish()]));
    let name = hub.add("1", &image);
    {
        let store = Store::open(home.path()).unwrap();
        let error = store.pull(&registry(), &name, |_| ()).await.unwrap_err();
        assert!(error.kind() == Kind::Exhausted && error.next_step().unwrap().contains("space"), "{error}");
        assert!(names(&home.path().join("ingest")).is_empty() && store.list().unwrap().is_empty());
        assert_eq!(pulled(&hub, &store, "2", &self::image(1)).await, hub.name("2"));
    }
    assert!(std::process::Command::new("umount").arg("-l").arg(home.path()).status().unwrap().success());
}
