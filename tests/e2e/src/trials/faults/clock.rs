//! The wall clock steps, as after a lost battery or a late first answer of a time server.
//!
//! Only the agent's clock (and that of programs it starts) steps here, the engine's does not: a machine's own step is gentler than that.

use std::time::Duration;

use serde_json::Value;

use crate::files::{one, stays};
use crate::scene::Scene;
use crate::subject;
use crate::trial::trials;
use crate::wait;

use super::{pid, settles};

trials!("faults-clock":
    a_step_restarts_nothing Clock,
    a_back_off_goes_on_after_a_step Clock,
);

/// Starts the agent with a clock that can be stepped.
fn with_own_clock(scene: &mut Scene<'_>) {
    let library = subject::clock_library().unwrap();
    step(scene, "+0");
    scene.agent.set("FAKETIME_TIMESTAMP_FILE", scene.agent.path("clock").display().to_string());
    scene.agent.set("FAKETIME_NO_CACHE", "1");
    // The monotonic clock of a machine does not step.
    scene.agent.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    scene.agent.set("LD_PRELOAD", library.display().to_string());
    scene.agent.restart();
    scene.agent.unset_all();
}

/// How far the clock is from the true one, from now on.
fn step(scene: &Scene<'_>, offset: &str) {
    // In one move: a file that is read while it is written is no time.
    let path = scene.agent.path("clock");
    std::fs::write(path.with_extension("new"), format!("{offset}\n")).unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

fn a_step_restarts_nothing(scene: &mut Scene<'_>) {
    with_own_clock(scene);
    let keys = "restart = 'always'\nhealth = { exec = 'true', interval = '300ms', retries = 3 }";
    scene.deploy(&one(&scene.service, &stays("up"), keys)).ok();
    let real = scene.subject.engine_is_real();
    let run = |scene: &Scene<'_>| if real { pid(scene, &scene.service) } else { 0 };
    let (id, process) = (scene.it()["instance"]["id"].clone(), run(scene));
    for offset in ["+1h", "-1h", "+0"] {
        step(scene, offset);
        let calm = |it: &Value| {
            it["state"] == "running" && it["health"] == "healthy" && it["restarts"] == 0 && it["instance"]["id"] == id
        };
        wait::stays(&format!("running, clock at {offset}"), Duration::from_secs(3), || scene.it(), calm);
        assert_eq!(run(scene), process, "another process runs, clock at {offset}");
    }
    for offset in ["+1h", "-1h"] {
        step(scene, offset);
        let changed = format!("{keys}\nstop_grace = '1s'\nenv = {{ AT = '{offset}' }}");
        scene.deploy(&one(&scene.service, &stays("up"), &changed)).ok();
        settles(scene, &format!("one instance, deployed with the clock at {offset}"));
    }
}

fn a_back_off_goes_on_after_a_step(scene: &mut Scene<'_>) {
    with_own_clock(scene);
    scene.deploy(&one(&scene.service, "echo try; exit 9", "restart = 'always'"));
    let restarts = |scene: &Scene<'_>| scene.it()["restarts"].as_u64().unwrap_or_default();
    wait::until("the third try", || restarts(scene), |restarts| *restarts >= 2);
    for offset in ["-1h", "+1h"] {
        let before = restarts(scene);
        step(scene, offset);
        let goes_on = format!("another try with the clock at {offset}, within the longest back-off");
        wait::until(&goes_on, || restarts(scene), |restarts| *restarts > before);
        let after = restarts(scene);
        assert!(after <= before + 2, "no pause between the tries: {before} to {after} with the clock at {offset}");
    }
    scene.has_instances(1);
}
