//! What no file describes goes, unless it runs.

use serde_json::{Value, json};

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("purge":
    what_rests_goes_and_what_runs_is_named_and_stays Every,
    a_dry_run_shows_the_same_and_changes_nothing Every,
    volumes_go_only_when_asked Every,
    what_was_started_by_hand_runs Real,
    a_file_with_an_error_purges_nothing Memory,
    without_files_it_is_wrong_use Memory,
);

/// Three services: one described, one that is stopped, one that runs; and a file of the first.
fn three(fixture: &Fixture<'_>) -> ([String; 3], String) {
    let names = ["kept", "rests", "runs"].map(|word| format!("{}-{word}", fixture.service));
    for name in &names {
        fixture.deploy(&one(name, &stays("up"), "volumes = ['data:/data']")).ok();
    }
    fixture.hythe(&["stop", &names[1]]).ok();
    let file = fixture.file(&one(&names[0], &stays("up"), "volumes = ['data:/data']"));
    (names, file)
}

fn services(fixture: &Fixture<'_>) -> Vec<String> {
    let rows = fixture.hythe(&["services", "--json"]).ok().json();
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn outcomes(document: &Value) -> Vec<(&str, &str)> {
    let rows = document.as_array().unwrap().iter();
    rows.map(|row| (row["service"].as_str().unwrap_or_default(), row["outcome"].as_str().unwrap_or_default())).collect()
}

fn what_rests_goes_and_what_runs_is_named_and_stays(fixture: &mut Fixture<'_>) {
    let ([kept, rests, runs], file) = three(fixture);
    let ids = fixture.ids();
    let ran =
        fixture.hythe(&["purge", &file, "--volumes", "--json"]).ends_with(4).says(&[&runs, "hythe stop", "hint:"]);
    assert_eq!(outcomes(&ran.json()), [(rests.as_str(), "accepted"), (runs.as_str(), "refused")]);
    assert_eq!(services(fixture), [kept.clone(), runs.clone()]);
    assert!(fixture.ids().iter().all(|id| ids.contains(id)), "what stays was touched");
    fixture.hythe(&["stop", &runs]).ok();
    fixture.hythe(&["purge", &file, "--volumes"]).ok();
    assert_eq!(services(fixture), [kept]);
    fixture.hythe(&["purge", &file]).ok().says(&["every service is described"]);
}

fn a_dry_run_shows_the_same_and_changes_nothing(fixture: &mut Fixture<'_>) {
    let ([kept, rests, runs], file) = three(fixture);
    let before = (services(fixture), fixture.ids(), fixture.events().len());
    let ran = fixture.hythe(&["purge", "--dry-run", &file, "--json", "--volumes"]).ends_with(4).says(&[&runs]);
    let document = ran.json();
    assert_eq!(outcomes(&document), [(rests.as_str(), "planned"), (runs.as_str(), "refused")]);
    assert_eq!(document[0]["volumes"], json!([format!("{rests}_data")]), "{document:#}");
    let shown = fixture.hythe(&["purge", "--dry-run", &file]).ends_with(4).out;
    assert!(shown.contains("would be removed") && shown.contains(&rests) && !shown.contains(&kept), "{shown}");
    assert_eq!((services(fixture), fixture.ids(), fixture.events().len()), before, "a dry run changed something");
}

fn volumes_go_only_when_asked(fixture: &mut Fixture<'_>) {
    let ([_, rests, runs], file) = three(fixture);
    let volumes = |service: &str| fixture.engine().volumes(&format!("hythe.service={service}")).len();
    let there = usize::from(fixture.subject.engine_is_real());
    fixture.hythe(&["purge", &file]).ends_with(4);
    assert_eq!(volumes(&rests), there, "the data of a service went unasked");
    fixture.hythe(&["stop", &runs]).ok();
    fixture.hythe(&["purge", &file, "--volumes"]).ok();
    assert_eq!(volumes(&runs), 0);
    // So that nothing is left: it is deployed and removed with its data.
    fixture.deploy(&one(&rests, &stays("up"), "volumes = ['data:/data']")).ok();
}

fn what_was_started_by_hand_runs(fixture: &mut Fixture<'_>) {
    let ([kept, rests, runs], file) = three(fixture);
    let id = fixture.workload(&rests)["instance"]["id"].as_str().unwrap().to_owned();
    fixture.engine().run(&["start", &id]);
    wait::until("it runs", || fixture.engine().running(&format!("hythe.service={rests}")), |found| found.len() == 1);
    fixture.hythe(&["purge", &file]).ends_with(4).says(&[&rests, &runs]);
    assert_eq!(services(fixture), [kept, rests, runs]);
}

fn a_file_with_an_error_purges_nothing(fixture: &mut Fixture<'_>) {
    let (_, file) = three(fixture);
    let broken = fixture.agent.path("broken.toml");
    std::fs::write(&broken, "name = 'x'").unwrap();
    fixture.hythe(&["purge", &file, &broken.display().to_string()]).ends_with(2).says(&["components"]);
    assert_eq!(services(fixture).len(), 3);
}

fn without_files_it_is_wrong_use(fixture: &mut Fixture<'_>) {
    let (_, file) = three(fixture);
    fixture.hythe(&["purge"]).ends_with(2).says(&["FILE|DIR"]);
    std::fs::create_dir(fixture.agent.path("empty")).unwrap();
    fixture
        .hythe(&["purge", &fixture.agent.path("empty").display().to_string()])
        .ends_with(2)
        .says(&["no service file"]);
    assert_eq!(services(fixture).len(), 3, "{file}");
}
