//! Images as files, written here and by other tools.

use std::path::Path;
use std::process::Command;

use hythe_oci::{Format, Kind, Store};
use hythe_spec::ImageRef;
use serde_json::json;

use crate::support::*;

fn image() -> Image {
    let base = Archive::new().directory("etc").file("etc/base", &noise(1, 50_000)).finish();
    Image::of(&[base.clone(), Archive::new().file("top", b"top").finish(), base])
}

async fn stored(store: &Store) -> ImageRef {
    let hub = Hub::start();
    let pulled = hub.add("1", &image());
    store.pull(&registry(), &pulled, |_| ()).await.unwrap();
    let name = "example.test/app:1".parse().unwrap();
    store.tag(&pulled, &name).unwrap();
    store.remove(&pulled).unwrap();
    name
}

#[tokio::test]
async fn every_form_comes_back_as_the_same_image() {
    let (directory, from) = store();
    let name = stored(&from).await;
    let original = from.get(&name).unwrap();
    for (format, file) in
        [(Format::OciArchive, "oci.tar"), (Format::DockerArchive, "docker.tar"), (Format::OciLayout, "layout")]
    {
        let path = directory.path().join(file);
        from.export(&name, &path, format).await.unwrap();
        let (_directory, into) = store();
        let images = into.import(&path, None).await.unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(
            (&images[0].names, &images[0].id, &images[0].config),
            (&original.names, &original.id, &original.config)
        );
        // What docker saves has no manifest, and its layers are plain.
        assert_eq!(images[0].digest == original.digest, format != Format::DockerArchive);
        // The lowest layer comes again as the highest, where it is unpacked.
        let highest = into.layers(&images[0]).unwrap().pop().unwrap();
        assert_eq!(std::fs::read(highest.join("etc/base")).unwrap(), noise(1, 50_000));
        let other: ImageRef = "other.test/name:2".parse().unwrap();
        assert_eq!(into.import(&path, Some(&other)).await.unwrap()[0].names, [name.to_string(), other.to_string()]);
    }
}

#[tokio::test]
async fn the_same_image_gives_the_same_bytes() {
    let (directory, store) = store();
    let name = stored(&store).await;
    for format in [Format::OciArchive, Format::DockerArchive] {
        let [a, b] = ["a", "b"].map(|file| directory.path().join(file));
        store.export(&name, &a, format).await.unwrap();
        store.export(&name, &b, format).await.unwrap();
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }
}

#[tokio::test]
async fn compressed_archives_and_those_of_old_docker_are_read() {
    let (directory, store) = store();
    let layer = Archive::new().file("f", b"x").finish();
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(&layer), digest(&layer)]}});
    let table = json!([{"Config": "c.json", "RepoTags": ["app:1", "app:2"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    let archive = Archive::new()
        .file("a/layer.tar", &layer)
        .symlink("b/layer.tar", "../a/layer.tar")
        .file("c.json", config.to_string().as_bytes())
        .file("manifest.json", table.to_string().as_bytes())
        .finish();
    let path = directory.path().join("old.tar.gz");
    std::fs::write(&path, gzip(&archive)).unwrap();
    let images = store.import(&path, None).await.unwrap();
    assert_eq!(images[0].names, ["docker.io/library/app:1", "docker.io/library/app:2"]);
    assert_eq!(images[0].layers.len(), 2);
    assert_eq!(store.layers(&images[0]).unwrap().len(), 1, "the same layer twice is unpacked once");
}

#[tokio::test]
async fn what_is_no_image_or_lies_is_refused_and_leaves_nothing() {
    let (directory, store) = store();
    let at = |name: &str| directory.path().join(name);
    let layer = Archive::new().file("f", b"x").finish();
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(b"other")]}});
    let table = |layer: &str| json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": [layer]}]).to_string();
    let docker = |name: &str| {
        Archive::new().file("c.json", config.to_string().as_bytes()).file("manifest.json", table(name).as_bytes())
    };
    let honest = image();
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": honest.digest(), "size": honest.manifest.len()}]});
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", &digest(bytes)[7..]);
    let oci = || Archive::new().file("index.json", index.to_string().as_bytes());
    let mut padded = honest.manifest.clone();
    padded.push(b' ');
    let cases = [
        (layer.clone(), "neither"),
        (noise(7, 3000), "archive"),
        (docker("l.tar").file("l.tar", &layer).finish(), "diff id"),
        (docker("missing").finish(), "lacks the layer"),
        (docker("link").symlink("link", "/etc/hostname").finish(), "lacks the layer"),
        (oci().finish(), "lacks content"),
        (oci().file(&blob(&honest.manifest), &padded).finish(), "damaged"),
        (oci().file(&blob(&honest.manifest), &honest.manifest).finish(), "lacks content"),
        (
            oci()
                .file(&blob(&honest.manifest), &honest.manifest)
                .file(&blob(&honest.config), b"{}")
                .file(&blob(&honest.layers[0]), b"")
                .finish(),
            "bytes",
        ),
        (Archive::new().file("index.json", b"{").finish(), "index.json"),
    ];
    for (archive, words) in cases {
        std::fs::write(at("bad.tar"), &archive).unwrap();
        let error = store.import(&at("bad.tar"), None).await.unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.to_string().contains(words), "{words}: {error}");
    }
    assert_eq!(store.import(&at("absent"), None).await.unwrap_err().kind(), Kind::NotFound);
    assert!(store.list().unwrap().is_empty());
    store.gc(|_| false).unwrap();
    assert!(names(&at("blobs/sha256")).is_empty() && names(&at("layers")).is_empty());
}

/// A link in a layout must not make a file of the machine part of an image.
#[tokio::test]
async fn links_of_a_layout_stay_in_it() {
    let (directory, store) = store();
    let layout = directory.path().join("layout");
    std::fs::create_dir(&layout).unwrap();
    std::fs::write(directory.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(directory.path().join("secret"), layout.join("index.json")).unwrap();
    let error = store.import(&layout, None).await.unwrap_err();
    assert!(error.to_string().contains("neither"), "{error}");
}

fn podman(root: &Path) -> Command {
    let at = |below: &str| root.join(below).display().to_string();
    let mut command = Command::new("podman");
    command.args([
        "--root",
        &at("root"),
        "--runroot",
        &at("run"),
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
    ]);
    command
}

/// Both forms, written here, are read by podman, and what podman writes is read here.
#[tokio::test]
async fn podman_reads_what_is_written_here_and_the_other_way_round() {
    let (directory, store) = store();
    let name = stored(&store).await;
    let original = store.get(&name).unwrap();
    let root = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| podman(root.path()).args(words).output();
    if !run(&["version"]).is_ok_and(|output| output.status.success()) || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: podman is not installed, or the tests do not run as root");
        return;
    }
    for (format, file) in [(Format::OciArchive, "oci.tar"), (Format::DockerArchive, "docker.tar")] {
        let path = directory.path().join(file);
        store.export(&name, &path, format).await.unwrap();
        let loaded = run(&["load", "-i", path.to_str().unwrap()]).unwrap();
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let id = run(&["image", "inspect", "--format", "{{.Id}}", &name.to_string()]).unwrap();
        assert_eq!(String::from_utf8_lossy(&id.stdout).trim(), &original.id[7..]);
        for (form, saved) in [("oci-archive", "saved-oci.tar"), ("docker-archive", "saved-docker.tar")] {
            let saved = directory.path().join(format!("{file}-{saved}"));
            let output = run(&["save", "--format", form, "-o", saved.to_str().unwrap(), &name.to_string()]).unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let (_directory, into) = crate::support::store();
            let images = into.import(&saved, None).await.unwrap();
            // Podman writes another configuration where it goes from one form to the other.
            assert!(images[0].id == original.id || form == "docker-archive" || format == Format::DockerArchive);
            assert_eq!((&images[0].names, images[0].config.rootfs()), (&original.names, original.config.rootfs()));
        }
        assert!(run(&["rmi", "-f", &original.id[7..]]).unwrap().status.success());
    }
    run(&["system", "reset", "--force"]).unwrap();
}
