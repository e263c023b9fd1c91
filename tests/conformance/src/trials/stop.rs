//! Stopping, by every road.

use std::time::{Duration, Instant};

use hythe_runtime::{ErrorKind, Feature, InstanceId, State, Stop};
use hythe_spec::Signal;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Can, Logs, Outside, Pause};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "stop":
    a_missing_one_is_not_found [],
    a_created_one_is_success [],
    a_stopped_one_is_success [],
    a_handler_has_the_last_word [Logs],
    an_ignored_signal_is_kill_after_the_grace [],
    no_grace_is_kill_at_once [],
    the_plans_signal_is_sent [Logs],
    a_signal_of_the_call_goes_before_the_plans [Logs],
    an_init_hands_the_signal_on [Can(Feature::Init)],
    two_at_once_both_succeed [],
    looks_are_answered_while_one_is_pending [],
    killed_while_one_is_pending [Outside],
    a_paused_one_ends_stopped [Outside, Pause],
    it_can_be_started_again [Logs],
}

const IGNORES: &[&str] = &["sleep", "1000"];

async fn a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = InstanceId(format!("{}-nothing", scene.service));
    let how = Stop { signal: None, grace: Duration::ZERO };
    refused(scene.runtime().stop(&scene.cx, &missing, &how).await, ErrorKind::NotFound);
    Ok(())
}

async fn a_created_one_is_success(scene: &Scene) -> Outcome {
    let id = scene.create(&scene.server()).await?;
    scene.stop(&id, 1_000).await?;
    assert_eq!(scene.state(&id).await?, State::Created);
    Ok(())
}

async fn a_stopped_one_is_success(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(&["true"])).await?;
    let before = scene.until_exited(&id).await?;
    scene.stop(&id, 1_000).await?;
    assert_eq!(scene.inspect(&id).await?, before);
    Ok(())
}

async fn a_handler_has_the_last_word(scene: &Scene) -> Outcome {
    let plan = scene.script("trap 'echo bye; exit 42' TERM; echo ready; while :; do sleep 0.1; done");
    let id = scene.ready(&plan).await?;
    let took = scene.stop(&id, 10_000).await?;
    let observed = scene.inspect(&id).await?;
    assert_eq!((observed.state, observed.exit.unwrap().code), (State::Exited, 42));
    assert!(took < Duration::from_secs(9), "{took:?}");
    scene.until_line(&id, "bye").await
}

async fn an_ignored_signal_is_kill_after_the_grace(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(IGNORES)).await?;
    let took = scene.stop(&id, 2_000).await?;
    let exit = scene.inspect(&id).await?.exit.unwrap();
    assert_eq!((exit.code, exit.oom), (137, false));
    assert!((Duration::from_millis(1_900)..Duration::from_secs(12)).contains(&took), "{took:?}");
    Ok(())
}

async fn no_grace_is_kill_at_once(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(IGNORES)).await?;
    let took = scene.stop(&id, 0).await?;
    assert_eq!(scene.inspect(&id).await?.exit.unwrap().code, 137);
    assert!(took < Duration::from_secs(8), "{took:?}");
    Ok(())
}

const TELLS: &str = "trap 'echo usr1; exit 5' USR1; trap 'echo term; exit 6' TERM; trap 'echo int; exit 7' INT; echo ready; while :; do sleep 0.1; done";

async fn the_plans_signal_is_sent(scene: &Scene) -> Outcome {
    let mut plan = scene.script(TELLS);
    plan.stop_signal = Some(Signal(10));
    let id = scene.ready(&plan).await?;
    scene.stop(&id, 10_000).await?;
    assert_eq!(scene.inspect(&id).await?.exit.unwrap().code, 5);
    Ok(())
}

async fn a_signal_of_the_call_goes_before_the_plans(scene: &Scene) -> Outcome {
    let mut plan = scene.script(TELLS);
    plan.stop_signal = Some(Signal(10));
    let id = scene.ready(&plan).await?;
    let how = Stop { signal: Some(Signal(2)), grace: Duration::from_secs(10) };
    scene.runtime().stop(&scene.cx, &id, &how).await?;
    assert_eq!(scene.inspect(&id).await?.exit.unwrap().code, 7);
    Ok(())
}

async fn an_init_hands_the_signal_on(scene: &Scene) -> Outcome {
    let mut plan = scene.plan(IGNORES);
    plan.init = true;
    let id = scene.run(&plan).await?;
    let took = scene.stop(&id, 20_000).await?;
    assert_eq!(scene.inspect(&id).await?.exit.unwrap().code, 143);
    assert!(took < Duration::from_secs(15), "{took:?}");
    Ok(())
}

async fn two_at_once_both_succeed(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(IGNORES)).await?;
    let (first, second) = tokio::join!(scene.stop(&id, 2_000), scene.stop(&id, 2_000));
    first?;
    second?;
    let observed = scene.inspect(&id).await?;
    assert_eq!((observed.state, observed.exit.unwrap().code), (State::Exited, 137));
    Ok(())
}

async fn looks_are_answered_while_one_is_pending(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(IGNORES)).await?;
    let look = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        let began = Instant::now();
        let names = scene.names().await?;
        let state = scene.state(&id).await?;
        Outcome::Ok((names, state, began.elapsed()))
    };
    let (stopped, looked) = tokio::join!(scene.stop(&id, 8_000), look);
    let (names, state, took) = looked?;
    stopped?;
    assert_eq!(names.len(), 1);
    assert!(matches!(state, State::Stopping | State::Running), "{state:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    Ok(())
}

async fn killed_while_one_is_pending(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(IGNORES)).await?;
    let kill = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        scene.outside().kill(&id.0, "KILL").await
    };
    let (stopped, killed) = tokio::join!(scene.stop(&id, 30_000), kill);
    killed?;
    let took = stopped?;
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(scene.inspect(&id).await?.exit.unwrap().code, 137);
    Ok(())
}

async fn a_paused_one_ends_stopped(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(IGNORES)).await?;
    scene.outside().pause(&id.0).await?;
    assert_eq!(scene.state(&id).await?, State::Paused);
    scene.stop(&id, 1_000).await?;
    assert_eq!(scene.state(&id).await?, State::Exited);
    Ok(())
}

async fn it_can_be_started_again(scene: &Scene) -> Outcome {
    let id = scene.ready(&scene.server()).await?;
    scene.stop(&id, 5_000).await?;
    let first = scene.inspect(&id).await?;
    assert_eq!(first.exit.unwrap().code, 0);
    scene.start(&id).await?;
    let second = scene.inspect(&id).await?;
    assert_eq!((second.state, second.exit), (State::Running, None));
    Ok(())
}
