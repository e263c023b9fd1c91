//! Many files at once: checked as one, applied one by one, and nothing else touched.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::files::{IMAGE, one, stays};
use crate::http;
use crate::scene::Scene;
use crate::trial::trials;

trials!("sync":
    a_directory_is_deployed_and_nothing_else_is_touched Every,
    an_error_in_one_file_changes_nothing Every,
    what_the_agent_refuses_of_one_changes_nothing Every,
    a_dry_run_shows_and_changes_nothing Every,
    one_that_fails_stops_no_other Every,
    missing_images_are_built_as_deploy_builds_them Registry,
    names_are_given_once Memory,
);

/// Service files in a directory of their own.
fn files(scene: &Scene<'_>, texts: &[(&str, String)]) -> String {
    let directory: PathBuf = scene.agent.path("services");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, text) in texts {
        std::fs::write(directory.join(name), text).unwrap();
    }
    directory.display().to_string()
}

fn names(scene: &Scene<'_>) -> [String; 3] {
    ["a", "b", "c"].map(|letter| format!("{}{letter}", scene.service))
}

/// Service and outcome of each, as JSON tells them.
fn outcomes(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    document.as_array().unwrap().iter().map(|row| (text(&row["service"]), text(&row["outcome"]))).collect()
}

fn expected(names: &[&String], outcome: &str) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).clone(), outcome.to_owned())).collect()
}

fn a_directory_is_deployed_and_nothing_else_is_touched(scene: &mut Scene<'_>) {
    let [a, b, other] = names(scene);
    scene.deploy(&one(&other, &stays("other"), "")).ok();
    let before = scene.ids();
    let text = |name: &str, says: &str| one(name, &stays(says), "");
    let directory =
        files(scene, &[("a.toml", text(&a, "1")), ("b.toml", text(&b, "1")), ("notes.txt", "no TOML".into())]);
    let done = scene.hythe(&["sync", &directory, "--json"]).ok().json();
    assert_eq!(outcomes(&done), expected(&[&a, &b], "deployed"));
    let first = scene.ids();
    assert!(before.iter().all(|id| first.contains(id)), "what no file describes was touched: {before:?} {first:?}");
    assert_eq!(outcomes(&scene.hythe(&["sync", &directory, "--json"]).ok().json()), expected(&[&a, &b], "unchanged"));
    assert_eq!(scene.ids(), first);
    files(scene, &[("b.toml", text(&b, "2"))]);
    let done = scene.hythe(&["sync", &directory]).ok().out;
    assert!(done.contains("unchanged") && done.contains("deployed") && done.contains("b.toml"), "{done}");
    assert_eq!(scene.hythe(&["logs", &b]).ok().out, "2\n");
    assert_eq!(scene.ids().iter().filter(|id| first.contains(id)).count(), 2, "only the changed one is another");
}

fn an_error_in_one_file_changes_nothing(scene: &mut Scene<'_>) {
    let [a, b, c] = names(scene);
    let good = one(&a, &stays("up"), "");
    let bad = one(&b, "true", "memory = '64q'");
    let worse = one(&c, "true", "prots = ['80']");
    let directory = files(scene, &[("a.toml", good), ("b.toml", bad), ("c.toml", worse)]);
    scene.hythe(&["sync", &directory]).ends_with(2).says(&["64q", "b.toml", "prots", "c.toml"]);
    assert_eq!(scene.hythe(&["services", "--json"]).ok().json(), json!([]));
    scene.hythe(&["sync", &scene.agent.path("nowhere").display().to_string()]).ends_with(2).says(&["nowhere"]);
    std::fs::create_dir(scene.agent.path("empty")).unwrap();
    scene.hythe(&["sync", &scene.agent.path("empty").display().to_string()]).ends_with(2).says(&["no service file"]);
    scene.hythe(&["sync"]).ends_with(2);
}

fn what_the_agent_refuses_of_one_changes_nothing(scene: &mut Scene<'_>) {
    let [a, b, _] = names(scene);
    let elsewhere = one(&b, &stays("up"), "runtime = 'vm'");
    let directory = files(scene, &[("a.toml", one(&a, &stays("up"), "")), ("b.toml", elsewhere)]);
    scene.hythe(&["sync", &directory]).ends_with(2).says(&[&b, "vm"]);
    assert_eq!(scene.hythe(&["services", "--json"]).ok().json(), json!([]), "the other was deployed all the same");
}

fn a_dry_run_shows_and_changes_nothing(scene: &mut Scene<'_>) {
    let [a, b, _] = names(scene);
    let text = |keys: &str| one(&a, &stays("up"), keys);
    scene.deploy(&text("env = { MODE = 'old' }")).ok();
    let ids = scene.ids();
    let directory = files(scene, &[("a.toml", text("env = { MODE = 'new' }")), ("b.toml", one(&b, &stays("up"), ""))]);
    let shown = scene.hythe(&["sync", "--dry-run", &directory]).ok().out;
    for part in ["planned", "MODE: \"old\" -> \"new\"", &format!("create {b}"), &format!("replace {a}")] {
        assert!(shown.contains(part), "must show `{part}`:\n{shown}");
    }
    let planned = scene.hythe(&["sync", "--dry-run", &directory, "--json"]).ok().json();
    assert_eq!(outcomes(&planned), expected(&[&a, &b], "planned"));
    assert_eq!(scene.ids(), ids, "a dry run changed something");
}

fn one_that_fails_stops_no_other(scene: &mut Scene<'_>) {
    let [a, b, _] = names(scene);
    let broken = one(&a, "", "").replace("['sh', '-c', '''''']", "['/does/not/exist']");
    let directory = files(scene, &[("a.toml", broken), ("b.toml", one(&b, &stays("up"), ""))]);
    let ran = scene.hythe(&["sync", &directory, "--json"]).ends_with(1).says(&["/does/not/exist"]);
    assert_eq!(outcomes(&ran.json()), [(a, "failed".to_owned()), (b.clone(), "deployed".to_owned())]);
    assert_eq!(scene.workload(&b)["state"], "running");
}

fn missing_images_are_built_as_deploy_builds_them(scene: &mut Scene<'_>) {
    let [a, b, _] = names(scene);
    let registry = scene.environment.registry.as_ref().unwrap().address.clone();
    let (image, manifest) = (format!("{registry}/{b}:1"), format!("/v2/{b}/manifests/1"));
    let context = scene.agent.path("web");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM {IMAGE}\nRUN echo built-here >/built\n")).unwrap();
    let build = format!("[build.images]\n'{image}' = {{ context = '{}' }}\n", context.display());
    let built = format!("{}\n{build}", one(&b, &stays("up"), "").replace(IMAGE, &image));
    let directory = files(scene, &[("a.toml", one(&a, &stays("up"), "")), ("b.toml", built)]);

    let dry = scene.hythe(&["sync", "--dry-run", &directory]).ok().says(&["would be built"]);
    assert!(http::get(&registry, &manifest).contains(" 404 "), "{dry:?}");
    let first = scene.hythe(&["sync", &directory]);
    let seen = scene.hythe(&["exec", &b, "cat", "/built"]);
    let second = scene.hythe(&["sync", &directory, "--json"]);
    scene.hythe(&["undeploy", &b]);
    let removed = scene.hythe(&["images", "remove", &image]);
    first.ok().says(&["building", "pushing"]);
    assert_eq!(seen.ok().out, "built-here\n");
    assert!(http::get(&registry, &manifest).contains(" 200 "), "it was not pushed");
    assert_eq!(outcomes(&second.ok().json()), expected(&[&a, &b], "unchanged"));
    removed.ok();
}

fn names_are_given_once(scene: &mut Scene<'_>) {
    let [a, ..] = names(scene);
    let directory = files(scene, &[("a.toml", one(&a, "true", "")), ("b.toml", one(&a, "true", ""))]);
    scene.hythe(&["sync", &directory]).ends_with(2).says(&["a.toml", "b.toml", "both describe", &a]);
    assert_eq!(scene.hythe(&["services", "--json"]).ok().json(), json!([]));
}
