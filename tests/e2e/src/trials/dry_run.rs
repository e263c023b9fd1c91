//! A dry run tells and touches nothing.

use serde_json::json;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("dry_run":
    shows_every_field_and_changes_nothing Every,
    of_something_new_creates_nothing Every,
);

fn shows_every_field_and_changes_nothing(fixture: &mut Fixture<'_>) {
    let text = |keys: &str| one(&fixture.service, &stays("up"), keys);
    fixture.deploy(&text("env = { MODE = 'old', GONE = '1' }")).ok();
    let events = wait::until(
        "its start is told",
        || fixture.events(),
        |events| events.iter().any(|event| event["kind"] == "started"),
    );
    let before = wait::until("its details are known", || fixture.it(), |it| it["instance"]["addresses"] != json!([]));
    let file = fixture.file(&text("env = { MODE = 'new', ADDED = '2' }\nmemory = '64m'"));
    let shown = fixture.hythe(&["deploy", "--dry-run", &file]).ok().out;
    let component = format!("components.{}", fixture.service);
    for line in
        ["~ C.env.MODE: \"old\" -> \"new\"", "- C.env.GONE: \"1\"", "+ C.env.ADDED: \"2\"", "+ C.resources.memory"]
    {
        let line = line.replace('C', &component);
        assert!(shown.contains(&line), "must show `{line}`:\n{shown}");
    }
    assert!(shown.contains("replace"), "{shown}");
    let planned = fixture.hythe(&["deploy", "--dry-run", &file, "--json"]).ok().json();
    assert_eq!((&planned["outcome"], &planned["components"][0]["action"]), (&"planned".into(), &"replace".into()));
    assert_eq!(fixture.it(), before, "a dry run changed the workload");
    assert_eq!(fixture.events(), events, "a dry run made events");
    fixture.has_instances(1);
}

fn of_something_new_creates_nothing(fixture: &mut Fixture<'_>) {
    let file = fixture.file(&one(&fixture.service, &stays("up"), "volumes = ['data:/data']"));
    let shown = fixture.hythe(&["deploy", "--dry-run", &file]).ok().out;
    assert!(shown.contains("create") && shown.contains(fixture.subject.name), "{shown}");
    assert_eq!(fixture.hythe(&["services", "--json"]).ok().out, "[]\n");
    let label = fixture.agent.owner_label();
    let engine = fixture.engine();
    assert!(
        engine.instances(&label).is_empty() && engine.volumes(&label).is_empty() && engine.networks(&label).is_empty()
    );
}
