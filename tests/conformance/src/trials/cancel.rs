//! Withdrawing and deadlines: bounded, and the engine stays consistent.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hythe_runtime::{Cursor, ErrorKind, OpContext, State, Stop};

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Exec, Logs};
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

async fn a_withdrawn_call_returns_at_once(fixture: &Fixture) -> Outcome {
    let cx = OpContext::new("withdrawn");
    cx.cancel.cancel();
    let began = Instant::now();
    refused(fixture.runtime().run(&cx, &fixture.server()).await, ErrorKind::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(2));
    Ok(())
}

async fn a_passed_deadline_is_a_timeout(fixture: &Fixture) -> Outcome {
    let cx = OpContext::new("late").within(Duration::ZERO);
    let began = Instant::now();
    refused(fixture.runtime().run(&cx, &fixture.server()).await, ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(2));
    Ok(())
}

async fn a_stop_ends_at_the_deadline_and_can_be_repeated(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.plan(&["sleep", "1000"])).await?;
    let cx = OpContext::new("short").within(Duration::from_millis(1_500));
    let how = Stop { signal: None, grace: Duration::from_secs(5) };
    let began = Instant::now();
    refused(fixture.runtime().stop(&cx, &id.to_ref(), &how).await, ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    fixture.stop(&id, 0).await?;
    assert_eq!(fixture.state(&id).await?, State::Exited);
    Ok(())
}

async fn a_stop_withdrawn_can_be_repeated(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.plan(&["sleep", "1000"])).await?;
    let cx = OpContext::new("withdrawn");
    let cancel = cx.cancel.clone();
    let withdraw = async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        cancel.cancel();
    };
    let how = Stop { signal: None, grace: Duration::from_secs(5) };
    let instance = id.to_ref();
    let (outcome, ()) = tokio::join!(fixture.runtime().stop(&cx, &instance, &how), withdraw);
    refused(outcome, ErrorKind::Cancelled);
    fixture.stop(&id, 0).await?;
    assert_eq!(fixture.state(&id).await?, State::Exited);
    fixture.remove(&id).await
}

async fn a_run_dropped_halfway_can_be_repeated(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    for millis in [0, 30, 100, 250, 500] {
        let half = tokio::time::timeout(Duration::from_millis(millis), fixture.run(&plan)).await;
        drop(half);
    }
    let id = fixture.run(&plan).await?;
    assert_eq!(fixture.state(&id).await?, State::Running);
    assert_eq!(fixture.names().await?, [plan.name()]);
    Ok(())
}

async fn a_dropped_watch_ends(fixture: &Fixture) -> Outcome {
    for _ in 0..5 {
        let mut stream = fixture.runtime().watch(&fixture.cx, Cursor::START).await?;
        let next = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
        assert!(!matches!(next, Ok(None)), "the stream ended by itself");
        assert!(!matches!(next, Ok(Some(Err(_)))), "{next:?}");
    }
    Ok(())
}

async fn a_withdrawn_session_leaves_the_instance_alone(fixture: &Fixture) -> Outcome {
    let id = fixture.ready(&fixture.server()).await?;
    let cx = OpContext::new("withdrawn");
    let request = hythe_runtime::ExecRequest {
        command: crate::fixture::words(&["sleep", "1000"]),
        ..hythe_runtime::ExecRequest::default()
    };
    let session = fixture.exec_facet().exec(&cx, &id.to_ref(), &request).await?;
    cx.cancel.cancel();
    drop(session);
    assert_eq!(fixture.state(&id).await?, State::Running);
    assert_eq!(fixture.exec(&id, &["true"]).await?.code, 0);
    Ok(())
}
