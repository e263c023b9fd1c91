//! Images that nobody needs any more: seen, collected by age, removed when asked. What somebody uses or brought stays.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::one;
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("prune":
    gc_takes_only_images_that_hythe_brought_and_nobody_uses Real,
    prune_asks_for_age_and_tags_and_frees_bytes Embedded,
    archive_without_name_is_loaded_under_given_one Real,
);

/// Packs a program with this file beside it, so that each content is an image of its own; the archive.
fn packed(fixture: &Fixture<'_>, name: &str, content: &[u8]) -> PathBuf {
    let (file, archive) = (fixture.agent.path("content"), fixture.agent.path("packed.tar"));
    std::fs::write(&file, content).unwrap();
    let place = format!("{}:/content", file.display());
    let archive_text = archive.display().to_string();
    let words = ["image", "pack", "/bin/sleep", "--file", &place, "--entrypoint", "/usr/bin/sleep 1000"];
    let words = [&words[..], &["--format", "docker", "-t", name, "-o", &archive_text]].concat();
    fixture.hythe(&words).ok();
    archive
}

/// Loads an image of this name and content by the agent; its id.
fn loaded(fixture: &Fixture<'_>, name: &str, content: &[u8]) -> String {
    let archive = packed(fixture, name, content);
    let done = fixture.hythe(&["image", "load", "--json", &archive.display().to_string()]).ok().json();
    assert_eq!(done["result"]["images"], serde_json::json!([name]), "{done:#}");
    done["result"]["loaded"][0]["id"].as_str().unwrap().to_owned()
}

fn ids(images: &Value) -> Vec<String> {
    let images = images.as_array().into_iter().flatten();
    images.filter_map(|image| image["id"].as_str().map(str::to_owned)).collect()
}

fn dangling(fixture: &Fixture<'_>) -> Vec<String> {
    ids(&fixture.hythe(&["images", "--dangling", "--json"]).ok().json())
}

fn service(fixture: &Fixture<'_>, image: &str) -> String {
    let text = one(&fixture.service, "true", "");
    let lines = text.lines().filter(|line| !line.starts_with("command"));
    let lines =
        lines.map(|line| if line.starts_with("image") { format!("image = '{image}'") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

fn gc_takes_only_images_that_hythe_brought_and_nobody_uses(fixture: &mut Fixture<'_>) {
    let config = format!("gc_interval = \"0s\"\n{}", fixture.subject.config());
    fixture.agent.reconfigure(&config);
    let name = format!("localhost/{}:1", fixture.service);
    let used = loaded(fixture, &name, b"used");
    fixture.deploy(&service(fixture, &name)).ok();
    let foreign = (fixture.subject.name != "embedded").then(|| {
        let archive = packed(fixture, &name, fixture.service.as_bytes());
        fixture.engine().run(&["load", "-i", &archive.display().to_string()]);
        fixture.engine().run(&["images", "-q", "--no-trunc", &name]).trim().to_owned()
    });
    let idle = loaded(fixture, &name, b"idle");
    let newest = loaded(fixture, &name, b"newest");

    let seen = dangling(fixture);
    assert!(seen.contains(&idle) && !seen.contains(&used) && !seen.contains(&newest), "{seen:?}");
    let would = fixture.hythe(&["images", "prune", "--dry-run", "--json"]).ok().json();
    let would = ids(&would["removed"]);
    assert!(would.contains(&idle) && !would.contains(&used) && !would.contains(&newest), "{would:?}");

    let waiting = fixture.hythe(&["gc", "--json"]).ok().json();
    assert_eq!((ids(&waiting["removed"]), ids(&waiting["waiting"])), (vec![], vec![idle.clone()]), "{waiting:#}");
    let collect = || ids(&fixture.hythe(&["gc", "--json", "--images-older-than", "0s"]).ok().json()["removed"]);
    assert_eq!(wait::until("the idle one is collected", collect, |removed| !removed.is_empty()), [idle.as_str()]);
    let seen = dangling(fixture);
    assert!(!seen.contains(&idle), "{seen:?}");
    fixture.await_state("running");
    fixture.hythe(&["stop", "--grace", "0s", &fixture.service]).ok();
    fixture.hythe(&["undeploy", &fixture.service]).ok();
    let seen = dangling(fixture);
    assert!(seen.contains(&used), "nobody uses it any more: {seen:?}");
    let collect = || ids(&fixture.hythe(&["gc", "--json", "--images-older-than", "0s"]).ok().json()["removed"]);
    assert_eq!(wait::until("the first is collected", collect, |removed| !removed.is_empty()), [used.as_str()]);
    fixture.hythe(&["images", "remove", &name]).ok();
    if let Some(id) = foreign {
        let dangling = fixture.engine().run(&["images", "-q", "--no-trunc", "--filter", "dangling=true"]);
        assert!(dangling.contains(&id), "an image of somebody else went: {id}");
        fixture.engine().run(&["rmi", &id]);
    }
}

fn prune_asks_for_age_and_tags_and_frees_bytes(fixture: &mut Fixture<'_>) {
    let name = format!("localhost/{}:1", fixture.service);
    let big: Vec<u8> = std::fs::read(crate::program::path()).unwrap().into_iter().take(8 << 20).collect();
    let old = loaded(fixture, &name, &big);
    let tagged = loaded(fixture, &name, b"small");
    let before = bytes_below(&fixture.engine().root());
    let pruned = |options: &[&str]| fixture.hythe(&[&["images", "prune", "--json"], options].concat()).ok().json();
    assert_eq!(ids(&pruned(&["--older-than", "1h"])["removed"]), [""; 0], "it was brought just now");
    let done = pruned(&[]);
    assert_eq!(ids(&done["removed"]), [old], "{done:#}");
    let after = bytes_below(&fixture.engine().root());
    assert!(before - after >= 16 << 20, "archive and unpacked layer are {} bytes", before - after);
    fixture.hythe(&["images", "prune"]).ok().says(&["there is no such image"]);

    fixture.deploy(&service(fixture, &name)).ok();
    fixture.hythe(&["stop", "--grace", "0s", &fixture.service]).ok();
    assert!(!ids(&pruned(&["--all", "--dry-run"])["removed"]).contains(&tagged), "a stopped service needs it");
    fixture.hythe(&["undeploy", &fixture.service]).ok();
    assert!(ids(&pruned(&["--all"])["removed"]).contains(&tagged));
    let listed = fixture.hythe(&["images"]).ok().out;
    assert!(!listed.contains(&fixture.service), "{listed}");
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let entries = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |found| found.len()),
        _ => 0,
    });
    entries.sum()
}

fn archive_without_name_is_loaded_under_given_one(fixture: &mut Fixture<'_>) {
    let (inside, given) =
        (format!("localhost/{}-in:1", fixture.service), format!("localhost/{}:given", fixture.service));
    let archive = packed(fixture, &inside, fixture.service.as_bytes());
    let path = archive.display().to_string();
    let named = fixture.hythe(&["image", "load", "--name", &given, &path]);
    named.ends_with(2).says(&["error:", &inside]);
    let listed = fixture.hythe(&["images"]).ok().out;
    assert!(!listed.contains(&fixture.service), "it was refused and loaded: {listed}");

    let mut bytes = std::fs::read(&archive).unwrap();
    let with = format!("\"RepoTags\":[\"{inside}\"]");
    let at = bytes.windows(with.len()).position(|window| window == with.as_bytes()).expect("the name is in it");
    let without = format!("{:<width$}", "\"RepoTags\":null", width = with.len());
    bytes.splice(at..at + with.len(), without.into_bytes());
    std::fs::write(&archive, bytes).unwrap();
    fixture.hythe(&["image", "load", &path]).ends_with(2).says(&["names no image", "--name"]);
    let done = fixture.hythe(&["image", "load", "--name", &given, &path]).ok();
    assert_eq!(done.out, format!("{given}\n"));
    let inspected = fixture.hythe(&["image", "inspect", &given, "--json"]).ok().json();
    assert_eq!(inspected["tags"], serde_json::json!([given]), "{inspected:#}");
    assert_eq!(inspected["entrypoint"][0], "/usr/bin/sleep", "{inspected:#}");
    fixture.hythe(&["images", "remove", &given]).ok();
}
