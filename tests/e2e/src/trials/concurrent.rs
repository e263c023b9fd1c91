//! Several clients at once.

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;

trials!("concurrent":
    two_deploys_of_one_service_end_in_one_instance Every,
);

fn two_deploys_of_one_service_end_in_one_instance(fixture: &mut Fixture<'_>) {
    let running: Vec<_> = ["left", "right"]
        .into_iter()
        .map(|side| {
            let path = fixture.agent.path(&format!("{side}.toml"));
            std::fs::write(&path, one(&fixture.service, &stays(side), &format!("env = {{ SIDE = '{side}' }}")))
                .unwrap();
            fixture.agent.spawn(&["deploy", &path.display().to_string()])
        })
        .collect();
    let ended: Vec<_> = running.into_iter().map(|deploy| deploy.end()).collect();
    assert!(ended.iter().any(|ran| ran.code == Some(0)), "one of them must succeed: {ended:#?}");
    assert!(ended.iter().all(|ran| matches!(ran.code, Some(0 | 1 | 4))), "{ended:#?}");
    let it = fixture.await_state("running");
    assert_eq!(it["generation"], 2, "both were accepted, one after the other: {it:#}");
    let side = fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo $SIDE"]).ok().out;
    let desired = fixture.hythe(&["inspect", &fixture.service]).ok().json()["desired"]["env"]["SIDE"].clone();
    assert_eq!(desired, side.trim_end(), "what runs is not what is desired");
    fixture.has_instances(1);
}
