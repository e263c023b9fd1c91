//! Several clients at once.

use crate::files::{one, stays};
use crate::scene::Scene;
use crate::trial::trials;

trials!("concurrent":
    two_deploys_of_one_service_end_in_one_instance Every,
);

fn two_deploys_of_one_service_end_in_one_instance(scene: &mut Scene<'_>) {
    let running: Vec<_> = ["left", "right"]
        .into_iter()
        .map(|side| {
            let path = scene.agent.path(&format!("{side}.toml"));
            std::fs::write(&path, one(&scene.service, &stays(side), &format!("env = {{ SIDE = '{side}' }}"))).unwrap();
            scene.agent.spawn(&["deploy", &path.display().to_string()])
        })
        .collect();
    let ended: Vec<_> = running.into_iter().map(|deploy| deploy.end()).collect();
    assert!(ended.iter().any(|ran| ran.code == Some(0)), "one of them must succeed: {ended:#?}");
    assert!(ended.iter().all(|ran| matches!(ran.code, Some(0 | 1 | 4))), "{ended:#?}");
    let it = scene.await_state("running");
    assert_eq!(it["generation"], 2, "both were accepted, one after the other: {it:#}");
    let side = scene.hythe(&["exec", &scene.service, "sh", "-c", "echo $SIDE"]).ok().out;
    let desired = scene.hythe(&["inspect", &scene.service]).ok().json()["desired"]["env"]["SIDE"].clone();
    assert_eq!(desired, side.trim_end(), "what runs is not what is desired");
    scene.has_instances(1);
}
