//! Many files at once: checked as one, applied one by one, and nothing else touched.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::files::{IMAGE, one, stays};
use crate::fixture::Fixture;
use crate::http;
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
fn files(fixture: &Fixture<'_>, texts: &[(&str, String)]) -> String {
    let directory: PathBuf = fixture.agent.path("services");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, text) in texts {
        std::fs::write(directory.join(name), text).unwrap();
    }
    directory.display().to_string()
}

fn names(fixture: &Fixture<'_>) -> [String; 3] {
    ["a", "b", "c"].map(|letter| format!("{}{letter}", fixture.service))
}

/// Service and outcome of each, as JSON tells them.
fn outcomes(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    document.as_array().unwrap().iter().map(|row| (text(&row["service"]), text(&row["outcome"]))).collect()
}

fn expected(names: &[&String], outcome: &str) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).clone(), outcome.to_owned())).collect()
}

fn a_directory_is_deployed_and_nothing_else_is_touched(fixture: &mut Fixture<'_>) {
    let [a, b, other] = names(fixture);
    fixture.deploy(&one(&other, &stays("other"), "")).ok();
    let before = fixture.ids();
    let text = |name: &str, says: &str| one(name, &stays(says), "");
    let directory =
        files(fixture, &[("a.toml", text(&a, "1")), ("b.toml", text(&b, "1")), ("notes.txt", "no TOML".into())]);
    let done = fixture.hythe(&["sync", &directory, "--json"]).ok().json();
    assert_eq!(outcomes(&done), expected(&[&a, &b], "deployed"));
    let first = fixture.ids();
    assert!(before.iter().all(|id| first.contains(id)), "what no file describes was touched: {before:?} {first:?}");
    assert_eq!(outcomes(&fixture.hythe(&["sync", &directory, "--json"]).ok().json()), expected(&[&a, &b], "unchanged"));
    assert_eq!(fixture.ids(), first);
    files(fixture, &[("b.toml", text(&b, "2"))]);
    let done = fixture.hythe(&["sync", &directory]).ok().out;
    assert!(done.contains("unchanged") && done.contains("deployed") && done.contains("b.toml"), "{done}");
    assert_eq!(fixture.hythe(&["logs", &b]).ok().out, "2\n");
    assert_eq!(fixture.ids().iter().filter(|id| first.contains(id)).count(), 2, "only the changed one is another");
}

fn an_error_in_one_file_changes_nothing(fixture: &mut Fixture<'_>) {
    let [a, b, c] = names(fixture);
    let good = one(&a, &stays("up"), "");
    let bad = one(&b, "true", "memory = '64q'");
    let worse = one(&c, "true", "prots = ['80']");
    let directory = files(fixture, &[("a.toml", good), ("b.toml", bad), ("c.toml", worse)]);
    fixture.hythe(&["sync", &directory]).ends_with(2).says(&["64q", "b.toml", "prots", "c.toml"]);
    assert_eq!(fixture.hythe(&["services", "--json"]).ok().json(), json!([]));
    fixture.hythe(&["sync", &fixture.agent.path("nowhere").display().to_string()]).ends_with(2).says(&["nowhere"]);
    std::fs::create_dir(fixture.agent.path("empty")).unwrap();
    fixture
        .hythe(&["sync", &fixture.agent.path("empty").display().to_string()])
        .ends_with(2)
        .says(&["no service file"]);
    fixture.hythe(&["sync"]).ends_with(2);
}

fn what_the_agent_refuses_of_one_changes_nothing(fixture: &mut Fixture<'_>) {
    let [a, b, _] = names(fixture);
    let elsewhere = one(&b, &stays("up"), "runtime = 'vm'");
    let directory = files(fixture, &[("a.toml", one(&a, &stays("up"), "")), ("b.toml", elsewhere)]);
    fixture.hythe(&["sync", &directory]).ends_with(2).says(&[&b, "vm"]);
    assert_eq!(fixture.hythe(&["services", "--json"]).ok().json(), json!([]), "the other was deployed all the same");
}

fn a_dry_run_shows_and_changes_nothing(fixture: &mut Fixture<'_>) {
    let [a, b, _] = names(fixture);
    let text = |keys: &str| one(&a, &stays("up"), keys);
    fixture.deploy(&text("env = { MODE = 'old' }")).ok();
    let ids = fixture.ids();
    let directory =
        files(fixture, &[("a.toml", text("env = { MODE = 'new' }")), ("b.toml", one(&b, &stays("up"), ""))]);
    let shown = fixture.hythe(&["sync", "--dry-run", &directory]).ok().out;
    for part in ["planned", "MODE: \"old\" -> \"new\"", &format!("create {b}"), &format!("replace {a}")] {
        assert!(shown.contains(part), "must show `{part}`:\n{shown}");
    }
    let planned = fixture.hythe(&["sync", "--dry-run", &directory, "--json"]).ok().json();
    assert_eq!(outcomes(&planned), expected(&[&a, &b], "planned"));
    let deployed = files(fixture, &[("a.toml", text("env = { MODE = 'old' }")), ("b.toml", String::new())]);
    std::fs::remove_file(std::path::Path::new(&deployed).join("b.toml")).unwrap();
    for (words, outcome) in
        [(&["sync", "--dry-run"][..], "unchanged"), (&["sync", "--dry-run", "--pull", "always"], "planned")]
    {
        let words: Vec<&str> = words.iter().copied().chain([deployed.as_str(), "--json"]).collect();
        assert_eq!(outcomes(&fixture.hythe(&words).ok().json()), expected(&[&a], outcome), "{words:?}");
    }
    assert_eq!(fixture.ids(), ids, "a dry run changed something");
}

fn one_that_fails_stops_no_other(fixture: &mut Fixture<'_>) {
    let [a, b, _] = names(fixture);
    let broken = one(&a, "", "").replace("['sh', '-c', '''''']", "['/does/not/exist']");
    let directory = files(fixture, &[("a.toml", broken), ("b.toml", one(&b, &stays("up"), ""))]);
    let ran = fixture.hythe(&["sync", &directory, "--json"]).ends_with(1).says(&["/does/not/exist"]);
    assert_eq!(outcomes(&ran.json()), [(a, "failed".to_owned()), (b.clone(), "deployed".to_owned())]);
    assert_eq!(fixture.workload(&b)["state"], "running");
}

fn missing_images_are_built_as_deploy_builds_them(fixture: &mut Fixture<'_>) {
    let [a, b, _] = names(fixture);
    let registry = fixture.environment.registry.as_ref().unwrap().address.clone();
    let (image, manifest) = (format!("{registry}/{b}:1"), format!("/v2/{b}/manifests/1"));
    let context = fixture.agent.path("web");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM {IMAGE}\nRUN echo built-here >/built\n")).unwrap();
    let build = format!("[build.images]\n'{image}' = {{ context = '{}' }}\n", context.display());
    let built = format!("{}\n{build}", one(&b, &stays("up"), "").replace(IMAGE, &image));
    let directory = files(fixture, &[("a.toml", one(&a, &stays("up"), "")), ("b.toml", built)]);

    let dry = fixture.hythe(&["sync", "--dry-run", &directory]).ok().says(&["would be built"]);
    assert!(http::get(&registry, &manifest).contains(" 404 "), "{dry:?}");
    let first = fixture.hythe(&["sync", &directory]);
    let seen = fixture.hythe(&["exec", &b, "cat", "/built"]);
    let second = fixture.hythe(&["sync", &directory, "--json"]);
    fixture.hythe(&["undeploy", &b]);
    let removed = fixture.hythe(&["images", "remove", &image]);
    first.ok().says(&["building", "pushing"]);
    assert_eq!(seen.ok().out, "built-here\n");
    assert!(http::get(&registry, &manifest).contains(" 200 "), "it was not pushed");
    assert_eq!(outcomes(&second.ok().json()), expected(&[&a, &b], "unchanged"));
    removed.ok();
}

fn names_are_given_once(fixture: &mut Fixture<'_>) {
    let [a, ..] = names(fixture);
    let directory = files(fixture, &[("a.toml", one(&a, "true", "")), ("b.toml", one(&a, "true", ""))]);
    fixture.hythe(&["sync", &directory]).ends_with(2).says(&["a.toml", "b.toml", "both describe", &a]);
    assert_eq!(fixture.hythe(&["services", "--json"]).ok().json(), json!([]));
}
