//! Images: seen, pulled, built, pushed.

use crate::files::{IMAGE, one, stays};
use crate::http;
use crate::scene::Scene;
use crate::trial::trials;

trials!("images":
    are_listed_with_their_runtime Every,
    come_from_a_registry Registry,
    that_are_missing_are_3 Registry,
    are_built_and_pushed_once Registry,
);

fn are_listed_with_their_runtime(scene: &mut Scene<'_>) {
    let images = scene.hythe(&["images", "--json"]).ok().json();
    let found =
        images.as_array().unwrap().iter().find(|image| image["tags"].as_array().unwrap().contains(&IMAGE.into()));
    let image = found.unwrap_or_else(|| panic!("no `{IMAGE}`: {images:#}"));
    assert_eq!(image["runtime"], scene.subject.name);
    let runtimes = scene.hythe(&["runtimes", "--json"]).ok().json();
    assert_eq!(runtimes.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&runtimes[0]["name"], &runtimes[0]["healthy"]),
        (&scene.subject.name.into(), &true.into()),
        "{runtimes:#}"
    );
    let features = scene.hythe(&["runtimes", "--features"]).ok().out;
    assert!(features.contains("egress") && features.contains("yes") && features.contains("no"), "{features}");
}

fn come_from_a_registry(scene: &mut Scene<'_>) {
    let image = scene.environment.registry.as_ref().unwrap().image.clone();
    let pulled = scene.hythe(&["pull", &image, "--json"]).ok().json();
    assert_eq!((&pulled["state"], &pulled["kind"]), (&"succeeded".into(), &"pull".into()), "{pulled:#}");
    let listed = scene.hythe(&["images"]).ok().out;
    let removed = scene.hythe(&["images", "remove", &image]);
    assert!(listed.contains(&image), "{listed}");
    removed.ok();
    let listed = scene.hythe(&["images"]).ok().out;
    assert!(!listed.contains(&image), "{listed}");
}

fn that_are_missing_are_3(scene: &mut Scene<'_>) {
    let image = format!("{}/never/pushed:1", scene.environment.registry.as_ref().unwrap().address);
    scene.hythe(&["pull", &image]).ends_with(3).says(&["error:", &image]);
}

fn are_built_and_pushed_once(scene: &mut Scene<'_>) {
    let registry = scene.environment.registry.as_ref().unwrap().address.clone();
    let image = format!("{registry}/{}:1", scene.service);
    let directory = scene.agent.path("web");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("Dockerfile"), format!("FROM {IMAGE}\nRUN echo built-here >/built\n")).unwrap();
    let service = one(&scene.service, &stays("up"), "").replace(IMAGE, &image);
    let file = scene.file(&format!("{service}\n[build.images]\n'{image}' = {{ context = 'web' }}\n"));
    let manifest = format!("/v2/{}/manifests/1", scene.service);
    assert!(http::get(&registry, &manifest).contains(" 404 "), "it is there already");

    let dry = scene.hythe(&["deploy", "--dry-run", &file]).ok();
    assert!(dry.err.contains("would be built") && http::get(&registry, &manifest).contains(" 404 "), "{dry:?}");
    let first = scene.hythe(&["deploy", &file]);
    let seen = scene.hythe(&["exec", &scene.service, "cat", "/built"]);
    let second = scene.hythe(&["deploy", &file]);
    scene.hythe(&["undeploy", &scene.service]);
    let removed = scene.hythe(&["images", "remove", &image]);
    first.ok().says(&["building", "pushing"]);
    assert_eq!(seen.ok().out, "built-here\n");
    assert!(http::get(&registry, &manifest).contains(" 200 "), "it was not pushed");
    let second = second.ok().says(&["nothing changed"]);
    assert!(!second.err.contains("building"), "it was built again: {second:?}");
    removed.ok();
}
