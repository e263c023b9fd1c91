//! Stopping, by every road.

use std::time::{Duration, Instant};

use hythe_runtime::{ErrorKind, Feature, InstanceId, InstanceRef, State, Stop};
use hythe_spec::Signal;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, EngineCli, Logs, Pause};
use crate::trial::trials;

trials! { "stop":
    a_missing_one_is_not_found [],
    a_created_one_is_success [],
    a_stopped_one_is_success [],
    a_handler_has_the_last_word [Logs],
    an_ignored_signal_is_kill_after_the_grace [Logs],
    no_grace_is_kill_at_once [Logs],
    the_plans_signal_is_sent [Logs],
    a_signal_of_the_call_goes_before_the_plans [Logs],
    an_init_forwards_the_signal [Can(Feature::Init)],
    two_at_once_both_succeed [Logs],
    looks_are_answered_while_one_is_pending [Logs],
    killed_while_one_is_pending [EngineCli, Logs],
    a_paused_one_ends_stopped [EngineCli, Pause, Logs],
    it_can_be_started_again [Logs, Can(Feature::RestartInPlace)],
}

/// One that ignores TERM, as any first process of a container without a handler does. It runs for sure: until then an engine's own program is in its place, which
/// may end by the signal.
async fn ignoring(fixture: &Fixture) -> Outcome<InstanceId> {
    fixture.ready(&fixture.script("trap '' TERM; echo ready; sleep 1000")).await
}

async fn a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    let how = Stop { signal: None, grace: Duration::ZERO };
    refused(fixture.runtime().stop(&fixture.cx, &missing, &how).await, ErrorKind::NotFound);
    Ok(())
}

async fn a_created_one_is_success(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.server()).await?;
    fixture.stop(&id, 1_000).await?;
    assert_eq!(fixture.state(&id).await?, State::Created);
    Ok(())
}

async fn a_stopped_one_is_success(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.plan(&["true"])).await?;
    let before = fixture.until_exited(&id).await?;
    fixture.stop(&id, 1_000).await?;
    assert_eq!(fixture.inspect(&id).await?, before);
    Ok(())
}

async fn a_handler_has_the_last_word(fixture: &Fixture) -> Outcome {
    let plan = fixture.script("trap 'echo bye; exit 42' TERM; echo ready; while :; do sleep 0.1; done");
    let id = fixture.ready(&plan).await?;
    let took = fixture.stop(&id, 10_000).await?;
    let observed = fixture.inspect(&id).await?;
    assert_eq!((observed.state, observed.exit.unwrap().code), (State::Exited, Some(42)));
    assert!(took < Duration::from_secs(9), "{took:?}");
    fixture.until_line(&id, "bye").await
}

async fn an_ignored_signal_is_kill_after_the_grace(fixture: &Fixture) -> Outcome {
    let id = ignoring(fixture).await?;
    let took = fixture.stop(&id, 2_000).await?;
    let exit = fixture.inspect(&id).await?.exit.unwrap();
    assert_eq!((exit.code, exit.is_oom()), (Some(137), false));
    assert!((Duration::from_millis(1_900)..Duration::from_secs(12)).contains(&took), "{took:?}");
    Ok(())
}

async fn no_grace_is_kill_at_once(fixture: &Fixture) -> Outcome {
    let id = ignoring(fixture).await?;
    let took = fixture.stop(&id, 0).await?;
    assert_eq!(fixture.inspect(&id).await?.exit.unwrap().code, Some(137));
    assert!(took < Duration::from_secs(8), "{took:?}");
    Ok(())
}

const TELLS: &str = "trap 'echo usr1; exit 5' USR1; trap 'echo term; exit 6' TERM; trap 'echo int; exit 7' INT; echo ready; while :; do sleep 0.1; done";

async fn the_plans_signal_is_sent(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script(TELLS);
    plan.stop_signal = Some(Signal(10));
    let id = fixture.ready(&plan).await?;
    fixture.stop(&id, 10_000).await?;
    assert_eq!(fixture.inspect(&id).await?.exit.unwrap().code, Some(5));
    Ok(())
}

async fn a_signal_of_the_call_goes_before_the_plans(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script(TELLS);
    plan.stop_signal = Some(Signal(10));
    let id = fixture.ready(&plan).await?;
    let how = Stop { signal: Some(Signal(2)), grace: Duration::from_secs(10) };
    fixture.runtime().stop(&fixture.cx, &id.to_ref(), &how).await?;
    assert_eq!(fixture.inspect(&id).await?.exit.unwrap().code, Some(7));
    Ok(())
}

async fn an_init_forwards_the_signal(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&["sleep", "1000"]);
    plan.init = true;
    let id = fixture.run(&plan).await?;
    let took = fixture.stop(&id, 20_000).await?;
    assert_eq!(fixture.inspect(&id).await?.exit.unwrap().code, Some(143));
    assert!(took < Duration::from_secs(15), "{took:?}");
    Ok(())
}

async fn two_at_once_both_succeed(fixture: &Fixture) -> Outcome {
    let id = ignoring(fixture).await?;
    let (first, second) = tokio::join!(fixture.stop(&id, 2_000), fixture.stop(&id, 2_000));
    first?;
    second?;
    let observed = fixture.inspect(&id).await?;
    assert_eq!((observed.state, observed.exit.unwrap().code), (State::Exited, Some(137)));
    Ok(())
}

async fn looks_are_answered_while_one_is_pending(fixture: &Fixture) -> Outcome {
    let id = ignoring(fixture).await?;
    let look = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        let began = Instant::now();
        let names = fixture.names().await?;
        let state = fixture.state(&id).await?;
        Outcome::Ok((names, state, began.elapsed()))
    };
    let (stopped, looked) = tokio::join!(fixture.stop(&id, 8_000), look);
    let (names, state, took) = looked?;
    stopped?;
    assert_eq!(names.len(), 1);
    assert!(matches!(state, State::Stopping | State::Running), "{state:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    Ok(())
}

async fn killed_while_one_is_pending(fixture: &Fixture) -> Outcome {
    let id = ignoring(fixture).await?;
    let kill = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        fixture.engine_cli().kill(&id.0, "KILL").await
    };
    let (stopped, killed) = tokio::join!(fixture.stop(&id, 30_000), kill);
    killed?;
    let took = stopped?;
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(fixture.inspect(&id).await?.exit.unwrap().code, Some(137));
    Ok(())
}

async fn a_paused_one_ends_stopped(fixture: &Fixture) -> Outcome {
    let id = ignoring(fixture).await?;
    fixture.engine_cli().pause(&id.0).await?;
    assert_eq!(fixture.state(&id).await?, State::Paused);
    fixture.stop(&id, 1_000).await?;
    assert_eq!(fixture.state(&id).await?, State::Exited);
    Ok(())
}

async fn it_can_be_started_again(fixture: &Fixture) -> Outcome {
    let id = fixture.ready(&fixture.server()).await?;
    fixture.stop(&id, 5_000).await?;
    let first = fixture.inspect(&id).await?;
    assert_eq!(first.exit.unwrap().code, Some(0));
    fixture.start(&id).await?;
    let second = fixture.inspect(&id).await?;
    assert_eq!((second.state, second.exit), (State::Running, None));
    Ok(())
}
