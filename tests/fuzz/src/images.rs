//! Archives, layers, manifests and configurations of images, taken in by a store of their own.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use hythe_oci::{Limits, Options, OwnershipMode, Store};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::tar::mended;

/// A store that takes in whatever comes, in a directory where anything else would be noticed.
struct Harness {
    home: TempDir,
    store: Store,
    tokio: tokio::runtime::Runtime,
}

fn harness() -> &'static Mutex<Harness> {
    static HARNESS: OnceLock<Mutex<Harness>> = OnceLock::new();
    HARNESS
        .get_or_init(|| Mutex::new(Harness::new().unwrap_or_else(|error| panic!("no harness for a fuzzer: {error}"))))
}

impl Harness {
    fn new() -> std::io::Result<Self> {
        // Thousands of images a minute are no work for a disk.
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let limits = Limits { bytes: 4 << 20, entries: 200, image_bytes: 8 << 20 };
        // Devices and owners need root, and prove nothing about parsers.
        let options = Options { limits, rights: OwnershipMode::User, ..Options::default() };
        let store = Store::open_with(&home.path().join("store"), options).map_err(std::io::Error::other)?;
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { home, store, tokio })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Takes in what is at `path`, looks at it, and forgets it again.
    fn take_in(&self, path: &Path) {
        if let Ok(images) = self.tokio.block_on(self.store.import(path, None)) {
            for image in &images {
                assert!(image.layers.len() <= 500, "more layers than can be stacked");
                self.store.layers(image).unwrap_or_else(|error| panic!("taken in without its layers: {error}"));
            }
        }
        for image in self.store.list().unwrap_or_else(|error| panic!("the store is broken: {error}")) {
            for name in &image.names {
                let name = name.parse().unwrap_or_else(|error| panic!("`{name}` was taken for a name: {error}"));
                self.store.remove(&name).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        self.store.gc(|_| false).unwrap_or_else(|error| panic!("{error}"));
        let left: Vec<_> = std::fs::read_dir(self.home.path()).into_iter().flatten().flatten().collect();
        assert!(left.len() <= 2, "something was written outside the store: {left:?}");
    }
}

fn with_harness(work: impl FnOnce(&Harness) -> std::io::Result<()>) {
    let harness = harness().lock().unwrap_or_else(PoisonError::into_inner);
    work(&harness).unwrap_or_else(|error| panic!("no room for an input: {error}"));
}

/// What `image load` reads.
pub(crate) fn archive(bytes: &[u8]) {
    with_harness(|harness| {
        let path = harness.at("input");
        std::fs::write(&path, mended(bytes))?;
        harness.take_in(&path);
        std::fs::remove_file(&path)
    });
}

/// A layer of an image that is right in everything else.
pub(crate) fn layer(bytes: &[u8]) {
    let layer = mended(bytes);
    let config = json!({"architecture": "", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}});
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": layer.len()}],
    });
    layout(manifest.to_string().as_bytes(), &[&config, &layer]);
}

/// A configuration, a manifest and an index, one a line: what stands in them is completed with the digest and the size of the one before.
pub(crate) fn manifest(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let config = lines.next().unwrap_or_default();
    let manifest = completed(lines.next().unwrap_or_default(), config);
    match lines.next() {
        None => layout(&manifest, &[config]),
        Some(index) => layout(&completed(index, &manifest), &[config, &manifest]),
    }
}

fn completed(text: &[u8], before: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    text.replace("@DIGEST@", &digest(before)).replace("\"@SIZE@\"", &before.len().to_string()).into_bytes()
}

fn layout(top: &[u8], others: &[&[u8]]) {
    with_harness(|harness| {
        let home = harness.at("input");
        let blobs = home.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)?;
        for blob in others.iter().chain([&top]) {
            std::fs::write(blobs.join(&digest(blob)[7..]), blob)?;
        }
        let media_type = match serde_json::from_slice::<Value>(top) {
            Ok(Value::Object(fields)) if fields.contains_key("manifests") => "application/vnd.oci.image.index.v1+json",
            _ => "application/vnd.oci.image.manifest.v1+json",
        };
        let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": media_type, "digest": digest(top), "size": top.len()}]});
        std::fs::write(home.join("index.json"), index.to_string())?;
        harness.take_in(&home);
        std::fs::remove_dir_all(&home)
    });
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
