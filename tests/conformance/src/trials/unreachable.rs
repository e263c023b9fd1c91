//! An engine that does not answer is `Unavailable`, never "not found", never an empty list.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hythe_runtime::{Cursor, Error, ErrorKind, Filter, InstanceId, LogOptions, OpContext, Stop};

use crate::failure::{Outcome, refused};
use crate::need::Need::{Breakable, Images, Logs, Networks, Volumes};
use crate::scene::Scene;
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

async fn broken(scene: &Scene) -> Outcome<std::sync::Arc<dyn hythe_runtime::Runtime>> {
    let breakable = scene.breakable().await?;
    breakable.runtime.probe(&scene.cx).await?;
    (breakable.sever)();
    Ok(breakable.runtime)
}

fn anything(scene: &Scene) -> InstanceId {
    InstanceId(format!("{}-anything", scene.service))
}

async fn looking_is_unavailable(scene: &Scene) -> Outcome {
    let runtime = broken(scene).await?;
    unavailable(runtime.probe(&scene.cx).await);
    unavailable(runtime.list(&scene.cx, &Filter::default()).await);
    unavailable(runtime.inspect(&scene.cx, &anything(scene)).await);
    unavailable(runtime.watch(&scene.cx, Cursor::START).await.map(drop));
    Ok(())
}

async fn changing_is_unavailable(scene: &Scene) -> Outcome {
    let runtime = broken(scene).await?;
    let id = anything(scene);
    let how = Stop { signal: None, grace: Duration::from_secs(1) };
    unavailable(runtime.create(&scene.cx, &scene.server()).await);
    unavailable(runtime.run(&scene.cx, &scene.server()).await);
    unavailable(runtime.start(&scene.cx, &id).await);
    unavailable(runtime.stop(&scene.cx, &id, &how).await);
    unavailable(runtime.remove(&scene.cx, &id).await);
    Ok(())
}

async fn facets_are_unavailable(scene: &Scene) -> Outcome {
    let runtime = broken(scene).await?;
    let id = anything(scene);
    unavailable(runtime.images().unwrap().get(&scene.cx, &scene.subject.image).await);
    unavailable(runtime.images().unwrap().list(&scene.cx).await);
    unavailable(runtime.networks().unwrap().list(&scene.cx).await);
    unavailable(runtime.volumes().unwrap().list(&scene.cx).await);
    let logs = runtime.logs().unwrap().logs(&scene.cx, &id, &LogOptions::default()).await;
    let error = match logs {
        Ok(mut lines) => lines.next().await.expect("an error").expect_err("a line"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    Ok(())
}

async fn a_watch_ends_with_unavailable(scene: &Scene) -> Outcome {
    let breakable = scene.breakable().await?;
    let mut stream = breakable.runtime.watch(&scene.cx, Cursor::START).await?;
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

async fn the_answer_comes_soon(scene: &Scene) -> Outcome {
    let runtime = broken(scene).await?;
    let began = Instant::now();
    unavailable(runtime.probe(&OpContext::new("soon")).await);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    Ok(())
}

async fn the_error_says_it_may_pass(scene: &Scene) -> Outcome {
    let runtime = broken(scene).await?;
    let error = unavailable(runtime.list(&scene.cx, &Filter::default()).await);
    assert!(error.is_temporary(), "{error:?}");
    Ok(())
}
