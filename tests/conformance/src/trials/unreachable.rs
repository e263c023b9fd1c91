//! An engine that does not answer is `Unavailable`, never "not found", never an empty list.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hythe_runtime::{Cursor, Error, ErrorKind, Filter, InstanceRef, LogOptions, OpContext, Stop};

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Breakable, Images, Logs, Networks, Volumes};
use crate::trial::trials;

trials! { "unreachable":
    looking_is_unavailable [Breakable],
    changing_is_unavailable [Breakable],
    facets_are_unavailable [Breakable, Images, Logs, Networks, Volumes],
    a_watch_ends_with_unavailable [Breakable],
    the_answer_comes_soon [Breakable],
    the_error_says_it_may_pass [Breakable],
}

fn unavailable<T>(outcome: Result<T, Error>) -> Error {
    refused(outcome, ErrorKind::Unavailable)
}

async fn broken(fixture: &Fixture) -> Outcome<std::sync::Arc<dyn hythe_runtime::Runtime>> {
    let breakable = fixture.breakable().await?;
    breakable.runtime.probe(&fixture.cx).await?;
    (breakable.sever)();
    Ok(breakable.runtime)
}

fn anything(fixture: &Fixture) -> InstanceRef {
    InstanceRef::name(format!("{}-anything", fixture.service))
}

async fn looking_is_unavailable(fixture: &Fixture) -> Outcome {
    let runtime = broken(fixture).await?;
    unavailable(runtime.probe(&fixture.cx).await);
    unavailable(runtime.list(&fixture.cx, &Filter::default()).await);
    unavailable(runtime.inspect(&fixture.cx, &anything(fixture)).await);
    unavailable(runtime.watch(&fixture.cx, Cursor::START).await.map(drop));
    Ok(())
}

async fn changing_is_unavailable(fixture: &Fixture) -> Outcome {
    let runtime = broken(fixture).await?;
    let id = anything(fixture);
    let how = Stop { signal: None, grace: Duration::from_secs(1) };
    unavailable(runtime.create(&fixture.cx, &fixture.server()).await);
    unavailable(runtime.run(&fixture.cx, &fixture.server()).await);
    unavailable(runtime.start(&fixture.cx, &id).await);
    unavailable(runtime.stop(&fixture.cx, &id, &how).await);
    unavailable(runtime.remove(&fixture.cx, &id).await);
    Ok(())
}

async fn facets_are_unavailable(fixture: &Fixture) -> Outcome {
    let runtime = broken(fixture).await?;
    let id = anything(fixture);
    unavailable(runtime.images().unwrap().get(&fixture.cx, &fixture.subject.image).await);
    unavailable(runtime.images().unwrap().list(&fixture.cx).await);
    unavailable(runtime.networks().unwrap().list(&fixture.cx).await);
    unavailable(runtime.volumes().unwrap().list(&fixture.cx).await);
    let logs = runtime.logs().unwrap().logs(&fixture.cx, &id, &LogOptions::default()).await;
    let error = match logs {
        Ok(mut lines) => lines.next().await.expect("an error").expect_err("a line"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    Ok(())
}

async fn a_watch_ends_with_unavailable(fixture: &Fixture) -> Outcome {
    let breakable = fixture.breakable().await?;
    let mut stream = breakable.runtime.watch(&fixture.cx, Cursor::START).await?;
    (breakable.sever)();
    let ended = async {
        while let Some(event) = stream.next().await {
            if let Err(error) = event {
                return Some(error);
            }
        }
        None
    };
    let error = tokio::time::timeout(Duration::from_secs(20), ended).await?.expect("an error ends it");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(stream.next().await.is_none(), "it goes on after its error");
    Ok(())
}

async fn the_answer_comes_soon(fixture: &Fixture) -> Outcome {
    let runtime = broken(fixture).await?;
    let began = Instant::now();
    unavailable(runtime.probe(&OpContext::new("soon")).await);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    Ok(())
}

async fn the_error_says_it_may_pass(fixture: &Fixture) -> Outcome {
    let runtime = broken(fixture).await?;
    let error = unavailable(runtime.list(&fixture.cx, &Filter::default()).await);
    assert!(error.is_temporary(), "{error:?}");
    Ok(())
}
