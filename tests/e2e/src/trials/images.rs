//! Images: seen, pulled, built, pushed.

use crate::files::{IMAGE, one, stays};
use crate::fixture::Fixture;
use crate::http;
use crate::trial::trials;

trials!("images":
    are_listed_with_their_runtime Every,
    come_from_a_registry Registry,
    that_are_missing_are_3 Registry,
    are_built_and_pushed_once Registry,
    failed_pull_always_fails_its_deploy_and_no_later_one Memory,
    load_of_a_device_is_refused_at_once Memory,
    of_another_platform_are_refused_and_what_ran_goes_on Commanded,
);

fn are_listed_with_their_runtime(fixture: &mut Fixture<'_>) {
    let images = fixture.hythe(&["images", "--json"]).ok().json();
    let found =
        images.as_array().unwrap().iter().find(|image| image["tags"].as_array().unwrap().contains(&IMAGE.into()));
    let image = found.unwrap_or_else(|| panic!("no `{IMAGE}`: {images:#}"));
    assert_eq!(image["runtime"], fixture.subject.name);
    let runtimes = fixture.hythe(&["runtimes", "--json"]).ok().json();
    assert_eq!(runtimes.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&runtimes[0]["name"], &runtimes[0]["healthy"]),
        (&fixture.subject.name.into(), &true.into()),
        "{runtimes:#}"
    );
    let features = fixture.hythe(&["runtimes", "--features"]).ok().out;
    assert!(features.contains("egress") && features.contains("yes") && features.contains("no"), "{features}");
}

fn come_from_a_registry(fixture: &mut Fixture<'_>) {
    let image = fixture.environment.registry.as_ref().unwrap().image.clone();
    let pulled = fixture.hythe(&["pull", &image, "--json"]).ok().json();
    assert_eq!((&pulled["state"], &pulled["kind"]), (&"succeeded".into(), &"pull".into()), "{pulled:#}");
    let listed = fixture.hythe(&["images"]).ok().out;
    let other = fixture.hythe(&["pull", "--platform", "linux/s390x", &image]);
    let removed = fixture.hythe(&["images", "remove", &image]);
    assert!(listed.contains(&image) && !listed.contains("\\n"), "{listed}");
    other.ends_with(2).says(&["`linux/s390x` is wanted"]);
    removed.ok();
    let listed = fixture.hythe(&["images"]).ok().out;
    assert!(!listed.contains(&image), "{listed}");
}

fn that_are_missing_are_3(fixture: &mut Fixture<'_>) {
    let image = format!("{}/never/pushed:1", fixture.environment.registry.as_ref().unwrap().address);
    fixture.hythe(&["pull", &image]).ends_with(3).says(&["error:", &image]);
}

fn of_another_platform_are_refused_and_what_ran_goes_on(fixture: &mut Fixture<'_>) {
    let service = one(&fixture.service, &stays("up"), "stop_grace = '1s'");
    fixture.deploy(&service).ok();
    let before = fixture.ids();
    let image = format!("localhost/{}:1", fixture.service);
    let path = fixture.agent.path("image.tar");
    std::fs::write(&path, super::health::archive(&image, &serde_json::Value::Null, "s390x")).unwrap();
    fixture.hythe(&["image", "load", &path.display().to_string()]).ok();
    let refused = fixture.deploy(&service.replace(IMAGE, &image));
    fixture.hythe(&["images", "remove", &image]).ok();
    refused.ends_with(1).says(&["is an image for `linux/s390x`, and this host is `linux/"]);
    assert_eq!((fixture.ids(), &fixture.it()["state"]), (before, &"running".into()));
}

fn are_built_and_pushed_once(fixture: &mut Fixture<'_>) {
    let registry = fixture.environment.registry.as_ref().unwrap().address.clone();
    let image = format!("{registry}/{}:1", fixture.service);
    let directory = fixture.agent.path("web");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("Dockerfile"), format!("FROM {IMAGE}\nRUN echo built-here >/built\n")).unwrap();
    let service = one(&fixture.service, &stays("up"), "").replace(IMAGE, &image);
    let file = fixture.file(&format!("{service}\n[build.images]\n'{image}' = {{ context = 'web' }}\n"));
    let manifest = format!("/v2/{}/manifests/1", fixture.service);
    assert!(http::get(&registry, &manifest).contains(" 404 "), "it is there already");

    let dry = fixture.hythe(&["deploy", "--dry-run", &file]).ok();
    assert!(dry.err.contains("would be built") && http::get(&registry, &manifest).contains(" 404 "), "{dry:?}");
    let first = fixture.hythe(&["deploy", &file]);
    let seen = fixture.hythe(&["exec", &fixture.service, "cat", "/built"]);
    let second = fixture.hythe(&["deploy", &file]);
    fixture.hythe(&["undeploy", &fixture.service]);
    let removed = fixture.hythe(&["images", "remove", &image]);
    first.ok().says(&["building", "pushing"]);
    assert_eq!(seen.ok().out, "built-here\n");
    assert!(http::get(&registry, &manifest).contains(" 200 "), "it was not pushed");
    let second = second.ok().says(&["nothing changed"]);
    assert!(!second.err.contains("building"), "it was built again: {second:?}");
    removed.ok();
}

/// The test image is at no registry.
fn failed_pull_always_fails_its_deploy_and_no_later_one(fixture: &mut Fixture<'_>) {
    let text = one(&fixture.service, &stays("up"), "");
    fixture.deploy(&text).ok();
    let before = fixture.ids();
    let file = fixture.file(&text);
    for _ in 0..2 {
        fixture.hythe(&["deploy", "--wait", "--pull", "always", &file]).ends_with(1).says(&["error:", IMAGE]);
        fixture.deploy(&text).ok();
        fixture.deploy(&text).ok().says(&["nothing changed"]);
    }
    assert_eq!(fixture.ids(), before, "what runs goes on");
}

/// It never ends.
fn load_of_a_device_is_refused_at_once(fixture: &mut Fixture<'_>) {
    let begun = std::time::Instant::now();
    fixture.hythe(&["image", "load", "/dev/zero"]).ends_with(2).says(&["`/dev/zero` is not a regular file"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "it took {:?}", begun.elapsed());
}
