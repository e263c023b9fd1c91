//! The wall clock steps, as after a lost battery or a late first answer of a time server.
//!
//! Only the agent's clock (and that of programs it starts) steps here, the engine's does not: a machine's own step is gentler than that.

use std::time::Duration;

use serde_json::Value;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::subject;
use crate::trial::trials;
use crate::wait;

use super::{pid, settles};

trials!("faults-clock":
    a_step_restarts_nothing Clock,
    a_back_off_goes_on_after_a_step Clock,
);

/// Starts the agent with a clock that can be stepped.
fn with_own_clock(fixture: &mut Fixture<'_>) {
    let library = subject::clock_library().unwrap();
    step(fixture, "+0");
    fixture.agent.set("FAKETIME_TIMESTAMP_FILE", fixture.agent.path("clock").display().to_string());
    fixture.agent.set("FAKETIME_NO_CACHE", "1");
    // The monotonic clock of a machine does not step.
    fixture.agent.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    fixture.agent.set("LD_PRELOAD", library.display().to_string());
    fixture.agent.restart();
    fixture.agent.unset_all();
}

/// How far the clock is from the true one, from now on.
fn step(fixture: &Fixture<'_>, offset: &str) {
    // In one move: a file that is read while it is written is no time.
    let path = fixture.agent.path("clock");
    std::fs::write(path.with_extension("new"), format!("{offset}\n")).unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

fn a_step_restarts_nothing(fixture: &mut Fixture<'_>) {
    with_own_clock(fixture);
    let keys = "restart = 'always'\nhealth = { exec = 'true', interval = '300ms', retries = 3 }";
    fixture.deploy(&one(&fixture.service, &stays("up"), keys)).ok();
    let real = fixture.subject.engine_is_real();
    let run = |fixture: &Fixture<'_>| if real { pid(fixture, &fixture.service) } else { 0 };
    let (id, process) = (fixture.it()["instance"]["id"].clone(), run(fixture));
    for offset in ["+1h", "-1h", "+0"] {
        step(fixture, offset);
        let calm = |it: &Value| {
            it["state"] == "running" && it["health"] == "healthy" && it["restarts"] == 0 && it["instance"]["id"] == id
        };
        wait::stays(&format!("running, clock at {offset}"), Duration::from_secs(3), || fixture.it(), calm);
        assert_eq!(run(fixture), process, "another process runs, clock at {offset}");
    }
    for offset in ["+1h", "-1h"] {
        step(fixture, offset);
        let changed = format!("{keys}\nstop_grace = '1s'\nenv = {{ AT = '{offset}' }}");
        fixture.deploy(&one(&fixture.service, &stays("up"), &changed)).ok();
        settles(fixture, &format!("one instance, deployed with the clock at {offset}"));
    }
}

fn a_back_off_goes_on_after_a_step(fixture: &mut Fixture<'_>) {
    with_own_clock(fixture);
    fixture.deploy(&one(&fixture.service, "echo try; exit 9", "restart = 'always'"));
    let restarts = |fixture: &Fixture<'_>| fixture.it()["restarts"].as_u64().unwrap_or_default();
    wait::until("the third try", || restarts(fixture), |restarts| *restarts >= 2);
    for offset in ["-1h", "+1h"] {
        let before = restarts(fixture);
        step(fixture, offset);
        let goes_on = format!("another try with the clock at {offset}, within the longest back-off");
        wait::until(&goes_on, || restarts(fixture), |restarts| *restarts > before);
        let after = restarts(fixture);
        assert!(after <= before + 2, "no pause between the tries: {before} to {after} with the clock at {offset}");
    }
    fixture.has_instances(1);
}
