//! Layers that another process unpacks and removes: here, the same one by a store of its own.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hythe_oci::{Error, Kind, Layer, Options, Store, UsernsFs};

use crate::support::*;

#[derive(Debug, Default)]
struct Others {
    asked: AtomicUsize,
    removed: Mutex<Vec<std::path::PathBuf>>,
}

impl UsernsFs for Others {
    fn unpack(&self, store: &Path, layers: &[Layer]) -> Result<(), Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Store::open(store)?.unpacked(layers).map(drop)
    }

    fn remove(&self, tree: &Path) -> io::Result<()> {
        self.removed.lock().unwrap().push(tree.to_owned());
        hythe_oci::remove_tree(tree)
    }
}

fn two_layers() -> Image {
    let base = Archive::new().file("base", &noise(1, 1000)).finish();
    let top = Archive::new().file("top", &noise(2, 1000)).finish();
    Image::of(&[base, top])
}

#[tokio::test]
async fn they_unpack_what_is_pulled_imported_and_lost() {
    let (hub, (directory, store)) = (Hub::start(), store());
    drop(store);
    let hands = Arc::new(Others::default());
    let options = Options { hands: Some(hands.clone()), ..Options::default() };
    let store = Store::open_with(directory.path(), options).unwrap();
    let name = hub.add("1", &two_layers());
    let stored = store.pull(&registry(), &name, |_| ()).await.unwrap();
    let layers = store.layers(&stored).unwrap();
    assert_eq!(std::fs::read(layers[1].join("top")).unwrap(), noise(2, 1000));
    assert_eq!(hands.asked.load(Ordering::Relaxed), 1);
    std::fs::remove_dir_all(layers[0].parent().unwrap()).unwrap();
    assert_eq!(store.layers(&stored).unwrap(), layers);
    assert_eq!(std::fs::read(layers[0].join("base")).unwrap(), noise(1, 1000));
    assert_eq!(hands.asked.load(Ordering::Relaxed), 2);
    store.remove(&name).unwrap();
    assert_eq!(store.gc(|_| false).unwrap().layers, 2);
    // What this process can remove by itself it does.
    assert!(hands.removed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_damaged_here_is_fetched_once_more_for_them() {
    let (hub, (directory, store)) = (Hub::start(), store());
    drop(store);
    let options = Options { hands: Some(Arc::new(Others::default())), ..Options::default() };
    let store = Store::open_with(directory.path(), options).unwrap();
    let name = hub.add("1", &two_layers());
    let stored = store.pull(&registry(), &name, |_| ()).await.unwrap();
    let (files, blob) = (store.layers(&stored).unwrap()[1].clone(), &stored.layers[1].digest);
    std::fs::remove_dir_all(files.parent().unwrap()).unwrap();
    let path = store.root().join("blobs/sha256").join(&blob[7..]);
    let whole = std::fs::read(&path).unwrap();
    let damaged: Vec<u8> = whole.iter().map(|byte| byte ^ 1).collect();
    std::fs::write(&path, damaged).unwrap();
    assert_eq!(store.layers(&stored).unwrap_err().kind(), Kind::Invalid);
    store.pull(&registry(), &name, |_| ()).await.unwrap();
    assert_eq!(std::fs::read(files.join("top")).unwrap(), noise(2, 1000));
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}
