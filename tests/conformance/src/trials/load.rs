//! Images from archives.

use std::path::{Path, PathBuf};

use hythe_oci::{Format, Pack};
use hythe_runtime::{ErrorKind, Image, ImageHealth, Progress};
use hythe_spec::{ImageRef, Millis, Probe};
use serde_json::json;
use tokio::sync::mpsc;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Images, Logs, Real};
use crate::trial::trials;

trials! { "load":
    an_archive_gives_its_image_with_its_name [Images],
    loading_again_is_success [Images],
    the_health_check_of_an_image_is_reported [Images],
    what_was_loaded_runs [Images, Logs, Real],
    what_is_no_archive_is_invalid [Images],
    archive_without_name_and_given_one_has_it [Images],
    archive_with_names_and_given_one_is_invalid_and_changes_nothing [Images],
    archive_with_two_unnamed_and_given_one_name_is_invalid [Images],
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
    let config = json!({ "Env": ["WORD=loaded", "PATH=/bin"], "Entrypoint": ["cat"], "Cmd": ["/note.txt"], "WorkingDir": "/srv" });
    image_archive(directory, name, layer.into_inner()?, config)
}

/// The same with a ready layer and this configuration.
pub(super) fn image_archive(
    directory: &Path,
    name: &ImageRef,
    layer: Vec<u8>,
    config: serde_json::Value,
) -> Outcome<PathBuf> {
    let config = configuration(&layer, config)?;
    let config_name = format!("{}.json", hex_digest(&config));
    let manifest = json!([{ "Config": config_name, "RepoTags": [name.to_string()], "Layers": ["layer.tar"] }]);
    write_archive(directory, &manifest, &[(&config_name, &config), ("layer.tar", &layer)])
}

fn configuration(layer: &[u8], config: serde_json::Value) -> Outcome<Vec<u8>> {
    Ok(serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex_digest(layer))] },
        "history": [{ "created_by": "a trial" }],
    }))?)
}

/// Images that no one has named, each with one file.
fn unnamed_archive(directory: &Path, contents: &[&str]) -> Outcome<PathBuf> {
    let (mut rows, mut members) = (Vec::new(), Vec::new());
    for content in contents {
        let mut layer = tar::Builder::new(Vec::new());
        append(&mut layer, "note.txt", content.as_bytes(), 0o755)?;
        let layer = layer.into_inner()?;
        let config = configuration(&layer, json!({ "Cmd": ["/note.txt"] }))?;
        let (config_name, layer_name) =
            (format!("{}.json", hex_digest(&config)), format!("{}.tar", hex_digest(&layer)));
        rows.push(json!({ "Config": config_name, "RepoTags": null, "Layers": [layer_name] }));
        members.extend([(config_name, config), (layer_name, layer)]);
    }
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    write_archive(directory, &json!(rows), &members)
}

fn write_archive(directory: &Path, manifest: &serde_json::Value, members: &[(&str, &[u8])]) -> Outcome<PathBuf> {
    let mut whole = tar::Builder::new(Vec::new());
    append(&mut whole, "manifest.json", &serde_json::to_vec(manifest)?, 0o644)?;
    for (name, bytes) in members {
        append(&mut whole, name, bytes, 0o644)?;
    }
    let path = directory.join("image.tar");
    std::fs::write(&path, whole.into_inner()?)?;
    Ok(path)
}

fn hex_digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn load(fixture: &Fixture, path: &Path) -> Result<Vec<Image>, hythe_runtime::Error> {
    let (progress, _) = mpsc::channel::<Progress>(1);
    fixture.images().load(&fixture.cx, path, None, &progress).await
}

async fn load_as(fixture: &Fixture, path: &Path, name: &ImageRef) -> Result<Vec<Image>, hythe_runtime::Error> {
    let (progress, _) = mpsc::channel::<Progress>(1);
    fixture.images().load(&fixture.cx, path, Some(name), &progress).await
}

async fn archive_without_name_and_given_one_has_it(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let name = fixture.image_name("named");
    let loaded = load_as(fixture, &unnamed_archive(directory.path(), &[&fixture.service])?, &name).await?;
    assert_eq!(loaded.len(), 1, "{loaded:?}");
    assert_eq!(loaded[0].tags, [name.to_string()]);
    assert_eq!(fixture.images().get(&fixture.cx, &name).await?.id, loaded[0].id);
    // The same image once more, which has a name here by now.
    let other = fixture.image_name("named-again");
    let again = load_as(fixture, &unnamed_archive(directory.path(), &[&fixture.service])?, &other).await?;
    assert!(again.iter().any(|image| image.tags.contains(&other.to_string())), "{again:?}");
    assert_eq!(fixture.images().get(&fixture.cx, &other).await?.id, loaded[0].id);
    Ok(())
}

async fn archive_with_names_and_given_one_is_invalid_and_changes_nothing(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let (inside, given) = (fixture.image_name("inside"), fixture.image_name("given"));
    let path = archive(directory.path(), &inside, &[("note.txt", fixture.service.as_bytes())])?;
    refused(load_as(fixture, &path, &given).await, ErrorKind::Invalid);
    for name in [inside, given] {
        refused(fixture.images().get(&fixture.cx, &name).await, ErrorKind::NotFound);
    }
    Ok(())
}

async fn archive_with_two_unnamed_and_given_one_name_is_invalid(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let given = fixture.image_name("given");
    let contents = [format!("{} one", fixture.service), format!("{} two", fixture.service)];
    let path = unnamed_archive(directory.path(), &[&contents[0], &contents[1]])?;
    let error = refused(load_as(fixture, &path, &given).await, ErrorKind::Invalid);
    assert!(error.message().contains('2'), "{error}");
    refused(fixture.images().get(&fixture.cx, &given).await, ErrorKind::NotFound);
    Ok(())
}

async fn an_archive_gives_its_image_with_its_name(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let name = fixture.image_name("loaded");
    let loaded = load(fixture, &archive(directory.path(), &name, &[("note.txt", b"from an archive\n")])?).await?;
    assert_eq!(loaded.len(), 1, "{loaded:?}");
    let found = fixture.images().get(&fixture.cx, &name).await?;
    assert_eq!(found.id, loaded[0].id);
    assert!(loaded[0].tags.contains(&name.to_string()), "{loaded:?}");
    let config = found.config.unwrap_or_default();
    assert_eq!((config.entrypoint, config.command), (vec!["cat".to_owned()], vec!["/note.txt".to_owned()]));
    assert_eq!(config.env.get("WORD").map(String::as_str), Some("loaded"));
    assert_eq!(config.workdir.as_deref(), Some("/srv"));
    Ok(())
}

async fn the_health_check_of_an_image_is_reported(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let told = async |name: &str, check: serde_json::Value| -> Outcome<Option<ImageHealth>> {
        let mut layer = tar::Builder::new(Vec::new());
        append(&mut layer, "note.txt", name.as_bytes(), 0o644)?;
        let name = fixture.image_name(name);
        let config = json!({ "Env": ["PATH=/bin"], "Cmd": ["/note.txt"], "Healthcheck": check });
        load(fixture, &image_archive(directory.path(), &name, layer.into_inner()?, config)?).await?;
        Ok(fixture.images().get(&fixture.cx, &name).await?.config.unwrap_or_default().health)
    };
    let check = json!({ "Test": ["CMD", "cat", "/note.txt"], "Interval": 2_000_000_000_u64, "Retries": 4 });
    let Some(ImageHealth::Check(health)) = told("checked", check).await? else { panic!("no check") };
    let command = ["cat", "/note.txt"].map(str::to_owned).to_vec();
    assert_eq!((health.probe, health.retries), (Probe::Exec { command }, 4));
    assert_eq!(health.interval, Millis(2_000));
    assert_eq!(told("unchecked", json!({ "Test": ["NONE"] })).await?, None);
    let short = json!({ "Test": ["CMD", "true"], "Interval": 1 });
    assert!(matches!(told("odd", short).await?, Some(ImageHealth::Unfit(why)) if why.contains("1 ms")));
    Ok(())
}

async fn loading_again_is_success(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = archive(directory.path(), &fixture.image_name("twice"), &[("note.txt", b"twice\n")])?;
    let (once, again) = (load(fixture, &path).await?, load(fixture, &path).await?);
    assert_eq!(once[0].id, again[0].id);
    Ok(())
}

async fn what_was_loaded_runs(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let name = fixture.image_name("packed");
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
    load(fixture, &path).await?;
    let mut plan = fixture.plan(&[]);
    (plan.entrypoint, plan.command, plan.image) = (None, None, name);
    assert_eq!(fixture.output(&plan).await?, "from an archive\n");
    Ok(())
}

async fn what_is_no_archive_is_invalid(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let text = directory.path().join("text.tar");
    std::fs::write(&text, "not an archive\n".repeat(100))?;
    let error = refused(load(fixture, &text).await, ErrorKind::Invalid);
    assert!(error.to_string().contains("text.tar"), "{error}");
    refused(load(fixture, &directory.path().join("absent.tar")).await, ErrorKind::Invalid);
    Ok(())
}
