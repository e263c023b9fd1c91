//! Images that want too much, take too long, or are not what they are called.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hythe_oci::{Error, Kind, Registry, RegistryConfig, Store};
use serde_json::{Value, json};
use tar::EntryType;

use crate::credentials::served;
use crate::liar::*;
use crate::support::*;

fn image() -> Image {
    Image::of(&[Archive::new().file("a", &noise(1, 60_000)).finish()])
}

/// The image with its manifest changed.
fn changed(change: impl FnOnce(&mut Value)) -> Image {
    let mut image = image();
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    change(&mut manifest);
    image.manifest = manifest.to_string().into_bytes();
    image
}

async fn refused(image: &Image) -> (Hub, Error) {
    let (hub, (_directory, store)) = (Hub::start(), store());
    let name = hub.add("1", image);
    let error = store.pull(&registry(), &name, |_| ()).await.unwrap_err();
    assert!(store.list().unwrap().is_empty());
    (hub, error)
}

#[tokio::test]
async fn pull_of_manifest_beyond_bounds_is_refused_before_anything_is_fetched() {
    let many = changed(|manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = vec![layer; 15_000].into();
    });
    let huge = changed(|manifest| manifest["layers"][0]["size"] = (1_u64 << 60).into());
    let config = changed(|manifest| manifest["config"]["size"] = (1_u64 << 30).into());
    let chart = changed(|manifest| manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into());
    let cases = [
        (many, "15000 layers"),
        (huge, "claims 1152921504606846976"),
        (config, "configuration is larger"),
        (chart, "helm"),
    ];
    for (image, words) in cases {
        let begun = Instant::now();
        let (hub, error) = refused(&image).await;
        assert!(error.kind() == Kind::Invalid && error.to_string().contains(words), "{error}");
        assert!(hub.asked("/blobs/").is_empty() && begun.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn pull_larger_than_the_disk_is_refused_before_layers_are_fetched() {
    let image = changed(|manifest| manifest["layers"][0]["size"] = (1_u64 << 39).into());
    let (hub, error) = refused(&image).await;
    assert!(error.kind() == Kind::Exhausted && error.to_string().contains("of the image store has"), "{error}");
    assert!(error.next_step().unwrap().contains("kept free"));
    assert!(hub.asked(&blob_path(&image.layers[0])).is_empty());
}

/// A file system of a few megabytes; `None` where none can be mounted.
struct Small {
    home: tempfile::TempDir,
}

impl Small {
    fn mount(size: &str) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(home.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { home });
        }
        eprintln!("skipped: a small file system cannot be mounted here");
        None
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(self.home.path()).unwrap();
        found.f_bavail * found.f_frsize
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("-l").arg(self.home.path()).status().ok();
    }
}

#[tokio::test]
async fn pull_of_layer_that_unpacks_beyond_the_disk_leaves_the_reserve() {
    let Some(small) = Small::mount("64m") else { return };
    let (hub, image) = (Hub::start(), Image::of(&[Archive::new().file("zeros", &vec![0; 80 << 20]).finish()]));
    assert!(image.layers[0].len() < 1 << 20);
    let name = hub.add("1", &image);
    let store = Store::open(small.home.path()).unwrap();
    let least = Arc::new(std::sync::atomic::AtomicU64::new(u64::MAX));
    let (done, watched) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), Arc::clone(&least));
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                watched.fetch_min(small.free(), std::sync::atomic::Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = std::thread::spawn({
            let (store, name) = (store.clone(), name.clone());
            move || tokio.block_on(store.pull(&registry(), &name, |_| ())).unwrap_err()
        });
        let error = error.join().unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        error
    });
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    let least = least.load(std::sync::atomic::Ordering::Relaxed);
    assert!(least >= (64 << 20) / 21, "only {least} bytes were left free");
    drop(store);
}

/// What an archive of the old form holds, written by hand.
fn docker(layer: impl FnOnce(Archive) -> Archive) -> Vec<u8> {
    let config = json!({"architecture": "", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(b"x")]}});
    let table = json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]}]);
    let archive = Archive::new().file("c.json", config.to_string().as_bytes());
    layer(archive).file("manifest.json", table.to_string().as_bytes()).finish()
}

async fn import(archive: &[u8]) -> Error {
    let (directory, store) = store();
    let path = directory.path().join("archive.tar");
    std::fs::write(&path, archive).unwrap();
    let begun = Instant::now();
    let error = store.import(&path, None).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(store.list().unwrap().is_empty());
    error
}

#[tokio::test]
async fn import_of_archive_with_sparse_layer_is_refused_before_it_is_copied() {
    let sparse: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"0"), ("GNU.sparse.realsize", b"64424509440"), ("GNU.sparse.map", b"0,1")];
    let error = import(&docker(|archive| archive.extended(&sparse).file("l.tar", b"x"))).await;
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("holes"), "{error}");
}

#[tokio::test]
async fn import_of_layer_that_is_no_regular_file_is_refused_as_invalid() {
    for (kind, name, link) in
        [(EntryType::Directory, "l.tar", ""), (EntryType::Fifo, "l.tar", ""), (EntryType::Symlink, "l.tar", "l.tar")]
    {
        let error = import(&docker(|archive| archive.entry(kind, name, 0o755, link, b""))).await;
        assert!(
            error.kind() == Kind::Invalid && error.to_string().contains("`l.tar` cannot be read"),
            "{kind:?}: {error}"
        );
    }
}

/// An OCI archive of any documents and blobs, the first of them the one that the index names.
fn oci(media_type: &str, blobs: &[&[u8]]) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": media_type, "digest": digest(blobs[0]), "size": blobs[0].len()}]});
    let archive = Archive::new().file("index.json", index.to_string().as_bytes());
    blobs
        .iter()
        .fold(archive, |archive, blob| archive.file(&format!("blobs/sha256/{}", &digest(blob)[7..]), blob))
        .finish()
}

#[tokio::test]
async fn import_of_documents_beyond_bounds_is_refused() {
    let honest = image();
    let config = vec![b' '; (16 << 20) + 1];
    let large = changed(|manifest| {
        manifest["config"] = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()});
    });
    let many = changed(|manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = vec![layer; 50_000].into();
    });
    let cases = [
        (oci(MANIFEST, &[&large.manifest, &config, &honest.layers[0]]), "configuration is larger"),
        (oci(MANIFEST, &[&many.manifest, &honest.config, &honest.layers[0]]), "50000 layers"),
        (
            Archive::new()
                .file(
                    "manifest.json",
                    json!(vec![json!({"Config": "c", "RepoTags": [], "Layers": []}); 5000]).to_string().as_bytes(),
                )
                .finish(),
            "5000 images",
        ),
        (
            Archive::new()
                .file(
                    "manifest.json",
                    json!([{"Config": "c", "RepoTags": [], "Layers": vec!["l"; 50_000]}]).to_string().as_bytes(),
                )
                .file("c", &honest.config)
                .finish(),
            "layers",
        ),
    ];
    for (archive, words) in cases {
        let error = import(&archive).await;
        assert!(error.kind() == Kind::Invalid && error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn image_that_is_an_index_and_a_manifest_at_once_is_refused() {
    let index = "application/vnd.oci.image.index.v1+json";
    let both = changed(|manifest| manifest["manifests"] = json!([]));
    let named = changed(|manifest| manifest["mediaType"] = index.into());
    for image in [both, named] {
        let (hub, error) = refused(&image).await;
        assert!(error.kind() == Kind::Invalid && error.to_string().contains("cannot be used"), "{error}");
        assert!(hub.asked("/blobs/").is_empty());
        let error = import(&oci(MANIFEST, &[&image.manifest, &image.config, &image.layers[0]])).await;
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
    // The header, or the descriptor, says something else than the document.
    let mut lied = image();
    lied.media_type = index;
    let (_hub, error) = refused(&lied).await;
    assert!(error.to_string().contains("it is a manifest"), "{error}");
    let error = import(&oci(index, &[&lied.manifest, &lied.config, &lied.layers[0]])).await;
    assert!(error.to_string().contains("it is a manifest"), "{error}");
}

#[tokio::test]
async fn image_of_another_architecture_is_refused_with_both_names() {
    let mut foreign = image();
    let mut config: Value = serde_json::from_slice(&foreign.config).unwrap();
    config["architecture"] = "riscv64".into();
    foreign.config = config.to_string().into_bytes();
    let mut manifest: Value = serde_json::from_slice(&foreign.manifest).unwrap();
    manifest["config"]["digest"] = digest(&foreign.config).into();
    manifest["config"]["size"] = foreign.config.len().into();
    foreign.manifest = manifest.to_string().into_bytes();
    let own = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    let (hub, error) = refused(&foreign).await;
    assert!(error.to_string().contains("linux/riscv64") && error.to_string().contains(own), "{error}");
    assert!(hub.asked(&blob_path(&foreign.layers[0])).is_empty());
    let error = import(&oci(MANIFEST, &[&foreign.manifest, &foreign.config, &foreign.layers[0]])).await;
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("linux/riscv64"), "{error}");
}

#[tokio::test]
async fn index_whose_image_is_missing_says_so() {
    let (hub, (_directory, store)) = (Hub::start(), store());
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let lost = digest(b"lost");
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": MANIFEST, "digest": lost, "size": 4, "platform": {"os": "linux", "architecture": own}},
    ]});
    hub.put("/v2/app/manifests/1", index.to_string().as_bytes(), "application/vnd.oci.image.index.v1+json");
    let error = store.pull(&registry(), &hub.name("1"), |_| ()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        error.kind() == Kind::NotFound && text.contains(&lost) && text.contains("is missing in the registry"),
        "{text}"
    );
    assert!(error.next_step().unwrap().contains("push the image again"));
    let checked = registry().check(&hub.name("1"), None).await.unwrap_err();
    assert_eq!(checked.to_string(), text);
    let document = index.to_string().into_bytes();
    let archive = oci("application/vnd.oci.image.index.v1+json", &[&document]);
    let error = import(&archive).await;
    let text = error.to_string();
    assert!(error.kind() == Kind::Invalid && text.contains(&lost) && text.contains(own), "{text}");
}

fn patient(seconds: u64) -> Registry {
    Registry::new(RegistryConfig { timeout: Duration::from_secs(seconds), ..RegistryConfig::default() }).unwrap()
}

/// A registry whose layer comes as `slow` makes it come.
fn slow(slow: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Liar {
    let image = image();
    let path = blob_path(&image.layers[0]);
    Liar::start(move |asked| match asked.path == path {
        true => slow(served(&image, &asked.path)),
        false => served(&image, &asked.path),
    })
}

async fn pulled(liar: &Liar, seconds: u64) -> (Result<(), Error>, Duration) {
    let (_directory, store) = store();
    let begun = Instant::now();
    let name = format!("{}/app:1", liar.address).parse().unwrap();
    (store.pull(&patient(seconds), &name, |_| ()).await.map(drop), begun.elapsed())
}

#[tokio::test]
async fn pull_from_registry_that_stands_still_ends_within_the_bound() {
    let silent = slow(|_| Reply::silence());
    let trickling = slow(|reply| reply.in_pieces(1, Duration::from_millis(300)));
    for liar in [silent, trickling] {
        let (outcome, took) = pulled(&liar, 2).await;
        let error = outcome.unwrap_err();
        assert!(error.kind() == Kind::Unavailable && error.to_string().contains("next to nothing"), "{error}");
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
}

#[tokio::test]
async fn pull_longer_than_the_bound_is_fine_while_data_flows() {
    let steady = slow(|reply| reply.in_pieces(4096, Duration::from_millis(250)));
    let (outcome, took) = pulled(&steady, 2).await;
    outcome.unwrap();
    assert!(took > Duration::from_secs(2), "{took:?}");
}

fn vectors() -> Vec<Value> {
    let text = include_str!("../data/unpack_hostile.json");
    serde_json::from_str::<Value>(text).unwrap()["image_hardening"].as_array().unwrap().clone()
}

/// Each of `image_hardening`: content that was changed under its digest, in a directory as in an archive.
#[tokio::test]
async fn import_of_changed_content_is_refused() {
    assert_eq!(vectors().len(), 2, "new vectors want a test");
    let honest = image();
    let plain = Archive::new().file("a", &noise(1, 60_000)).finish();
    let again = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, &plain).unwrap();
        encoder.finish().unwrap()
    };
    let prefixed = |bytes: &[u8]| [b" ", bytes].concat();
    let padded = |bytes: &[u8]| [bytes, b"\0"].concat();
    let blobs = [&honest.manifest, &honest.config, &honest.layers[0]];
    let cases = [
        (0, prefixed(&honest.manifest)),
        (1, prefixed(&honest.config)),
        (2, again),
        (0, padded(&honest.manifest)),
        (1, padded(&honest.config)),
        (2, padded(&honest.layers[0])),
    ];
    for (which, changed) in cases {
        let (directory, store) = store();
        let layout = directory.path().join("layout");
        layout_of(&layout, &honest, &blobs, which, &changed);
        let error = store.import(&layout, None).await.unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == Kind::Invalid && (text.contains("damaged") || text.contains("bytes than")), "{text}");
        assert!(text.contains(&digest(blobs[which])), "{text}");
    }
}

fn layout_of(home: &Path, honest: &Image, blobs: &[&Vec<u8>], which: usize, changed: &[u8]) {
    std::fs::create_dir_all(home.join("blobs/sha256")).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": honest.digest(), "size": honest.manifest.len()}]});
    std::fs::write(home.join("index.json"), index.to_string()).unwrap();
    for (at, blob) in blobs.iter().enumerate() {
        let bytes = if at == which { changed } else { blob.as_slice() };
        std::fs::write(home.join("blobs/sha256").join(&digest(blob)[7..]), bytes).unwrap();
    }
}
