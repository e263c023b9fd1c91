//! Withdrawing and deadlines: bounded, and the engine stays consistent.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hythe_runtime::{Cursor, ErrorKind, OpContext, State, Stop};

use crate::failure::{Outcome, refused};
use crate::need::Need::{Exec, Logs};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "cancel":
    a_withdrawn_call_returns_at_once [],
    a_passed_deadline_is_a_timeout [],
    a_stop_ends_at_the_deadline_and_can_be_repeated [],
    a_stop_withdrawn_can_be_repeated [],
    a_run_dropped_halfway_can_be_repeated [],
    a_dropped_watch_ends [],
    a_withdrawn_session_leaves_the_instance_alone [Exec, Logs],
}

async fn a_withdrawn_call_returns_at_once(scene: &Scene) -> Outcome {
    let cx = OpContext::new("withdrawn");
    cx.cancel.cancel();
    let began = Instant::now();
    refused(scene.runtime().run(&cx, &scene.server()).await, ErrorKind::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(2));
    Ok(())
}

async fn a_passed_deadline_is_a_timeout(scene: &Scene) -> Outcome {
    let cx = OpContext::new("late").within(Duration::ZERO);
    let began = Instant::now();
    refused(scene.runtime().run(&cx, &scene.server()).await, ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(2));
    Ok(())
}

async fn a_stop_ends_at_the_deadline_and_can_be_repeated(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(&["sleep", "1000"])).await?;
    let cx = OpContext::new("short").within(Duration::from_millis(1_500));
    let how = Stop { signal: None, grace: Duration::from_secs(5) };
    let began = Instant::now();
    refused(scene.runtime().stop(&cx, &id, &how).await, ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    scene.stop(&id, 0).await?;
    assert_eq!(scene.state(&id).await?, State::Exited);
    Ok(())
}

async fn a_stop_withdrawn_can_be_repeated(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(&["sleep", "1000"])).await?;
    let cx = OpContext::new("withdrawn");
    let cancel = cx.cancel.clone();
    let withdraw = async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        cancel.cancel();
    };
    let how = Stop { signal: None, grace: Duration::from_secs(5) };
    let (outcome, ()) = tokio::join!(scene.runtime().stop(&cx, &id, &how), withdraw);
    refused(outcome, ErrorKind::Cancelled);
    scene.stop(&id, 0).await?;
    assert_eq!(scene.state(&id).await?, State::Exited);
    scene.remove(&id).await
}

async fn a_run_dropped_halfway_can_be_repeated(scene: &Scene) -> Outcome {
    let plan = scene.server();
    for millis in [0, 30, 100, 250, 500] {
        let half = tokio::time::timeout(Duration::from_millis(millis), scene.run(&plan)).await;
        drop(half);
    }
    let id = scene.run(&plan).await?;
    assert_eq!(scene.state(&id).await?, State::Running);
    assert_eq!(scene.names().await?, [plan.name()]);
    Ok(())
}

async fn a_dropped_watch_ends(scene: &Scene) -> Outcome {
    for _ in 0..5 {
        let mut stream = scene.runtime().watch(&scene.cx, Cursor::START).await?;
        let next = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
        assert!(!matches!(next, Ok(None)), "the stream ended by itself");
        assert!(!matches!(next, Ok(Some(Err(_)))), "{next:?}");
    }
    Ok(())
}

async fn a_withdrawn_session_leaves_the_instance_alone(scene: &Scene) -> Outcome {
    let id = scene.ready(&scene.server()).await?;
    let cx = OpContext::new("withdrawn");
    let request = hythe_runtime::ExecRequest {
        command: crate::scene::words(&["sleep", "1000"]),
        ..hythe_runtime::ExecRequest::default()
    };
    let session = scene.exec_facet().exec(&cx, &id, &request).await?;
    cx.cancel.cancel();
    drop(session);
    assert_eq!(scene.state(&id).await?, State::Running);
    assert_eq!(scene.exec(&id, &["true"]).await?.code, 0);
    Ok(())
}
