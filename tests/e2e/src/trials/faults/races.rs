//! Clients that do not know of each other.

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::program::{Ran, Running};
use crate::trial::trials;

use super::settles;

trials!("faults-races":
    deploys_of_different_versions_end_in_the_last_accepted Every,
    a_stop_beside_a_deploy_ends_as_one_of_them_said Every,
);

const ROUNDS: u32 = 5;
/// Done, overtaken, or refused for a newer change.
const HONEST: [Option<i32>; 3] = [Some(0), Some(1), Some(4)];

fn version(fixture: &Fixture<'_>, version: &str) -> Running {
    let path = fixture.agent.path(&format!("{version}.toml"));
    let keys = format!("stop_grace = '1s'\nenv = {{ VERSION = '{version}' }}");
    std::fs::write(&path, one(&fixture.service, &stays("up"), &keys)).unwrap();
    fixture.agent.spawn(&["deploy", &path.display().to_string()])
}

#[track_caller]
fn honest(ended: &[Ran]) {
    assert!(ended.iter().all(|ran| HONEST.contains(&ran.code)), "{ended:#?}");
}

/// What runs is the version that is desired.
#[track_caller]
fn runs_what_is_desired(fixture: &Fixture<'_>) {
    let desired = fixture.hythe(&["inspect", &fixture.service]).ok().json()["desired"]["env"]["VERSION"].clone();
    let runs = fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo $VERSION"]).ok().out;
    assert_eq!(desired, runs.trim_end(), "what runs is not what is desired");
}

fn deploys_of_different_versions_end_in_the_last_accepted(fixture: &mut Fixture<'_>) {
    for round in 1..=ROUNDS {
        let both = ["left", "right"].map(|side| version(fixture, &format!("{side}-{round}")));
        let ended = both.map(Running::end);
        honest(&ended);
        assert!(ended.iter().any(|ran| ran.code == Some(0)), "one of them must succeed: {ended:#?}");
        let it = settles(fixture, &format!("one instance in round {round}"));
        assert_eq!(it["generation"], 2 * round, "both were accepted, one after the other: {it:#}");
        runs_what_is_desired(fixture);
    }
}

fn a_stop_beside_a_deploy_ends_as_one_of_them_said(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "stop_grace = '1s'")).ok();
    for round in 1..=ROUNDS {
        let deploy = version(fixture, &format!("v-{round}"));
        let stop = fixture.agent.spawn(&["stop", &fixture.service]);
        honest(&[deploy.end(), stop.end()]);
        let it = settles(fixture, &format!("one instance, as desired, in round {round}"));
        if it["desired"] == "running" {
            runs_what_is_desired(fixture);
        }
        fixture.hythe(&["start", &fixture.service]).ok();
    }
}
