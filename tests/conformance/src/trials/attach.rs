//! Talking to the main process.

use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::{AttachRequest, ErrorKind, Feature, InstanceId, Session, State, StdStream};
use tokio::io::AsyncWriteExt;

use crate::failure::{Failure, Outcome, refused};
use crate::need::Need::{Can, Exec, Logs};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "attach":
    a_missing_one_is_not_found [Exec],
    one_that_does_not_run_is_conflict [Exec],
    output_arrives_with_its_stream [Exec],
    stdin_reaches_the_main_process [Exec, Can(Feature::Stdin), Logs],
    the_exit_code_is_told [Exec, Can(Feature::Stdin)],
    dropping_it_leaves_the_process_alone [Exec, Can(Feature::Stdin), Logs],
    without_stdin_none_is_given [Exec],
}

async fn attach(scene: &Scene, id: &InstanceId, stdin: bool) -> Outcome<Session> {
    Ok(scene.exec_facet().attach(&scene.cx, id, &AttachRequest { stdin }).await?)
}

/// Reads until the text came; gives all that came.
async fn until_text(session: &mut Session, text: &str) -> Outcome<String> {
    let mut all = String::new();
    while let Some(piece) = session.output.next().await {
        all.push_str(&String::from_utf8_lossy(&piece?.1));
        if all.contains(text) {
            return Ok(all);
        }
    }
    Err(Failure::new(format!("the output ended without `{text}`: {all}")))
}

async fn a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = InstanceId(format!("{}-nothing", scene.service));
    let outcome = scene.exec_facet().attach(&scene.cx, &missing, &AttachRequest::default()).await;
    refused(outcome, ErrorKind::NotFound);
    Ok(())
}

async fn one_that_does_not_run_is_conflict(scene: &Scene) -> Outcome {
    let id = scene.create(&scene.server()).await?;
    let outcome = scene.exec_facet().attach(&scene.cx, &id, &AttachRequest::default()).await;
    refused(outcome, ErrorKind::Conflict);
    Ok(())
}

async fn output_arrives_with_its_stream(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.script("while :; do sleep 0.3; echo out; echo err >&2; done")).await?;
    let mut session = attach(scene, &id, false).await?;
    let (mut out, mut err) = (false, false);
    while !(out && err) {
        let (stream, bytes) = session.output.next().await.expect("output")?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match stream {
            StdStream::Stdout => {
                assert!(!text.contains("err"), "{text}");
                out = true;
            }
            StdStream::Stderr => {
                assert!(!text.contains("out"), "{text}");
                err = true;
            }
        }
    }
    Ok(())
}

async fn stdin_reaches_the_main_process(scene: &Scene) -> Outcome {
    // It lives on for a moment: what a process says in its last instant may be lost to those attached (podman), the log has it.
    let mut plan = scene.script("echo ready; while read line; do echo \"got $line\"; done; echo end; sleep 1; exit 9");
    plan.stdin = true;
    let id = scene.ready(&plan).await?;
    let mut session = attach(scene, &id, true).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(b"one\n").await?;
    stdin.flush().await?;
    until_text(&mut session, "got one").await?;
    stdin.write_all(b"two\n").await?;
    stdin.shutdown().await?;
    drop(stdin);
    until_text(&mut session, "end").await?;
    assert_eq!(scene.until_exited(&id).await?.exit.unwrap().code, 9);
    Ok(())
}

async fn the_exit_code_is_told(scene: &Scene) -> Outcome {
    let mut plan = scene.script("read line; exit 23");
    plan.stdin = true;
    let id = scene.run(&plan).await?;
    let mut session = attach(scene, &id, true).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(b"go\n").await?;
    stdin.flush().await?;
    while let Some(piece) = session.output.next().await {
        piece?;
    }
    assert_eq!(session.exit.await?, 23);
    Ok(())
}

async fn dropping_it_leaves_the_process_alone(scene: &Scene) -> Outcome {
    let mut plan = scene.script("echo ready; while read line; do echo \"got $line\"; done");
    plan.stdin = true;
    let id = scene.ready(&plan).await?;
    let session = attach(scene, &id, true).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(session);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.state(&id).await?, State::Running);
    let mut session = attach(scene, &id, true).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(b"again\n").await?;
    stdin.flush().await?;
    until_text(&mut session, "got again").await?;
    Ok(())
}

async fn without_stdin_none_is_given(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.server()).await?;
    let session = attach(scene, &id, false).await?;
    assert!(session.stdin.is_none() && session.resize.is_none());
    Ok(())
}
