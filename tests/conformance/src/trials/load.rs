//! Images from archives.

use std::path::{Path, PathBuf};

use hythe_oci::{Format, Pack};
use hythe_runtime::{ErrorKind, Image, Progress};
use hythe_spec::ImageRef;
use serde_json::json;
use tokio::sync::mpsc;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Images, Logs, Real};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "load":
    an_archive_gives_its_image_with_its_name [Images],
    loading_again_is_success [Images],
    what_was_loaded_runs [Images, Logs, Real],
    what_is_no_archive_is_invalid [Images],
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8], mode: u32) -> Outcome {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, name, bytes)?;
    Ok(())
}

/// Writes an image as `docker save` does (Docker Image Specification v1.2).
fn archive(directory: &Path, name: &ImageRef, files: &[(&str, &[u8])]) -> Outcome<PathBuf> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        append(&mut layer, path, bytes, 0o755)?;
    }
    let layer = layer.into_inner()?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Env": ["WORD=loaded", "PATH=/bin"], "Entrypoint": ["cat"], "Cmd": ["/note.txt"], "WorkingDir": "/srv" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex_digest(&layer))] },
        "history": [{ "created_by": "a trial" }],
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", hex_digest(&config));
    let manifest = json!([{ "Config": config_name, "RepoTags": [name.to_string()], "Layers": ["layer.tar"] }]);
    let mut whole = tar::Builder::new(Vec::new());
    append(&mut whole, "manifest.json", &serde_json::to_vec(&manifest)?, 0o644)?;
    append(&mut whole, &config_name, &config, 0o644)?;
    append(&mut whole, "layer.tar", &layer, 0o644)?;
    let path = directory.join("image.tar");
    std::fs::write(&path, whole.into_inner()?)?;
    Ok(path)
}

fn hex_digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn load(scene: &Scene, path: &Path) -> Result<Vec<Image>, hythe_runtime::Error> {
    let (progress, _) = mpsc::channel::<Progress>(1);
    scene.images().load(&scene.cx, path, &progress).await
}

async fn an_archive_gives_its_image_with_its_name(scene: &Scene) -> Outcome {
    let directory = tempfile::tempdir()?;
    let name = scene.image_name("loaded");
    let loaded = load(scene, &archive(directory.path(), &name, &[("note.txt", b"from an archive\n")])?).await?;
    assert_eq!(loaded.len(), 1, "{loaded:?}");
    let found = scene.images().get(&scene.cx, &name).await?;
    assert_eq!(found.id, loaded[0].id);
    assert!(loaded[0].tags.contains(&name.to_string()), "{loaded:?}");
    let config = found.config.unwrap_or_default();
    assert_eq!((config.entrypoint, config.command), (vec!["cat".to_owned()], vec!["/note.txt".to_owned()]));
    assert_eq!(config.env.get("WORD").map(String::as_str), Some("loaded"));
    assert_eq!(config.workdir.as_deref(), Some("/srv"));
    Ok(())
}

async fn loading_again_is_success(scene: &Scene) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = archive(directory.path(), &scene.image_name("twice"), &[("note.txt", b"twice\n")])?;
    let (once, again) = (load(scene, &path).await?, load(scene, &path).await?);
    assert_eq!(once[0].id, again[0].id);
    Ok(())
}

async fn what_was_loaded_runs(scene: &Scene) -> Outcome {
    let directory = tempfile::tempdir()?;
    let name = scene.image_name("packed");
    let (note, path) = (directory.path().join("note.txt"), directory.path().join("packed.tar"));
    std::fs::write(&note, "from an archive\n")?;
    let store = hythe_oci::Store::open(&directory.path().join("store"))?;
    let request = Pack {
        binaries: vec!["/bin/cat".into()],
        files: vec![(note, "/note.txt".into())],
        entrypoint: vec!["/usr/bin/cat".to_owned(), "/note.txt".to_owned()],
        env: Vec::new(),
    };
    store.pack(&request, &name).await?;
    store.export(&name, &path, Format::OciArchive).await?;
    load(scene, &path).await?;
    let mut plan = scene.plan(&[]);
    (plan.entrypoint, plan.command, plan.image) = (None, None, name);
    assert_eq!(scene.output(&plan).await?, "from an archive\n");
    Ok(())
}

async fn what_is_no_archive_is_invalid(scene: &Scene) -> Outcome {
    let directory = tempfile::tempdir()?;
    let text = directory.path().join("text.tar");
    std::fs::write(&text, "not an archive\n".repeat(100))?;
    let error = refused(load(scene, &text).await, ErrorKind::Invalid);
    assert!(error.to_string().contains("text.tar"), "{error}");
    refused(load(scene, &directory.path().join("absent.tar")).await, ErrorKind::Invalid);
    Ok(())
}
