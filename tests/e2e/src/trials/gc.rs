//! What is ours and nobody wants any more goes by itself; nothing else does.

use std::time::Duration;

use serde_json::Value;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::foreign::Foreign;
use crate::trial::trials;
use crate::wait;

trials!("gc":
    what_was_left_behind_goes_after_two_looks_and_volumes_only_when_asked Real,
    what_is_wanted_unknown_or_of_others_stays Real,
    there_is_nothing_to_collect Every,
);

/// An agent that looks often and waits a little.
fn hurry(fixture: &mut Fixture<'_>, interval: &str) {
    let config = format!("gc_interval = \"{interval}\"\ngc_min_age = \"4s\"\n{}", fixture.subject.config());
    fixture.agent.reconfigure(&config);
}

/// Labels as an agent puts them on an attempt.
fn labels(owner: &str, service: &str, generation: u32) -> Vec<String> {
    [
        owner.to_owned(),
        format!("hythe.service={service}"),
        format!("hythe.component={service}"),
        format!("hythe.generation={generation}"),
        "hythe.attempt=1".to_owned(),
        "hythe.plan-hash=0".to_owned(),
    ]
    .into_iter()
    .flat_map(|label| ["--label".to_owned(), label])
    .collect()
}

fn leftover(fixture: &Fixture<'_>, name: &str, owner: &str, service: &str, generation: u32) -> Foreign {
    let labels = labels(owner, service, generation);
    let words: Vec<&str> = labels.iter().map(String::as_str).collect();
    Foreign::start(fixture, name, &words, &stays("left"))
}

fn garbage(fixture: &Fixture<'_>, options: &[&str]) -> Vec<Value> {
    let listed = fixture.hythe(&[&["gc", "--dry-run", "--json"], options].concat()).ok().json();
    listed.as_array().cloned().unwrap_or_default()
}

fn what_was_left_behind_goes_after_two_looks_and_volumes_only_when_asked(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    fixture.deploy(&one(&service, &stays("up"), "volumes = ['data:/data']")).ok();
    fixture.hythe(&["undeploy", &service]).ok();
    hurry(fixture, "0s");
    let owner = fixture.agent.owner_label();
    let left = leftover(fixture, &format!("{service}-1-9"), &owner, &service, 1);
    let network = format!("hythe-{service}");
    let of_service = fixture.service_label();
    fixture.engine().run(&["network", "create", "--label", &owner, "--label", &of_service, &network]);

    let first = garbage(fixture, &["--volumes"]);
    let kinds: Vec<&str> = first.iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["instance"], "the others wait for it: {first:#?}");
    assert_eq!((&first[0]["looks"], &first[0]["ripe"]), (&1.into(), &false.into()), "{first:#?}");
    assert!(first[0]["reason"].as_str().unwrap().contains("was undeployed"), "{first:#?}");
    let done = fixture.hythe(&["gc", "--json", "--volumes"]).ok().json();
    assert_eq!(done["removed"], serde_json::json!([]), "collected on one look: {done:#}");
    assert!(!left.is_gone());

    hurry(fixture, "1s");
    wait::until("the instance is collected", || left.is_gone(), |gone| *gone);
    wait::until("the network is collected", || fixture.engine().networks(&of_service), Vec::is_empty);
    assert!(fixture.events().iter().any(|event| event["kind"] == "collected"), "{:#?}", fixture.events());
    assert_eq!(fixture.engine().volumes(&of_service).len(), 1, "a volume went unasked");
    let volumes = || fixture.hythe(&["gc", "--volumes", "--json"]).ok().json();
    let done = wait::until("the volume is ripe", volumes, |done| {
        done["removed"].as_array().is_some_and(|all| !all.is_empty())
    });
    assert_eq!(done["removed"][0]["name"], format!("{service}_data"), "{done:#}");
    assert!(fixture.engine().volumes(&of_service).is_empty());
}

fn what_is_wanted_unknown_or_of_others_stays(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    hurry(fixture, "1s");
    fixture.deploy(&one(&service, &stays("up"), "volumes = ['data:/data']")).ok();
    let adopted = Foreign::start(fixture, &format!("{service}-adopted"), &[], &stays("up"));
    fixture.hythe(&["adopt", &adopted.name]).ok();
    let owner = fixture.agent.owner_label();
    // One that a lost database may have known, one of another agent, one without labels.
    let stay = [
        leftover(fixture, &format!("{service}-u"), &owner, &format!("{service}-unknown"), 1),
        leftover(fixture, &format!("{service}-o"), "hythe.owner=fedcba9876543210", &service, 1),
        Foreign::start(fixture, &format!("{service}-f"), &[], &stays("up")),
    ];
    let lives: Vec<String> = stay.iter().map(Foreign::life).collect();
    let ids = fixture.ids();
    wait::stays(
        "everything",
        Duration::from_secs(8),
        || (garbage(fixture, &["--volumes"]), fixture.ids(), stay.iter().map(Foreign::life).collect::<Vec<_>>()),
        |(garbage, now, alive)| garbage.is_empty() && *now == ids && *alive == lives,
    );
    fixture.hythe(&["gc", "--volumes"]).ok().says(&["nothing is orphaned"]);
    fixture.hythe(&["undeploy", adopted.name.as_str()]).ok();
}

fn there_is_nothing_to_collect(fixture: &mut Fixture<'_>) {
    hurry(fixture, "1s");
    fixture.deploy(&one(&fixture.service, &stays("up"), "volumes = ['data:/data']")).ok();
    fixture.hythe(&["gc"]).ok().says(&["nothing is orphaned"]);
    assert_eq!(fixture.hythe(&["gc", "--dry-run", "--json"]).ok().out, "[]\n");
    assert_eq!(fixture.hythe(&["gc", "--json"]).ok().json()["removed"], serde_json::json!([]));
    assert_eq!(fixture.await_state("running")["restarts"], 0);
}
