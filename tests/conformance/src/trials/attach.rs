//! Talking to the main process.

use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::{
    AttachRequest, ErrorKind, Feature, InstanceId, InstanceRef, Session, State, StdStream, TerminalSize,
};
use tokio::io::AsyncWriteExt;

use crate::failure::{Failure, Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, Exec, Logs, SizedAttach};
use crate::trial::trials;

/// A process whose stdin was closed by the end of a session has ended by then.
const ENDED_BY_THEN: Duration = Duration::from_secs(3);

trials! { "attach":
    a_missing_one_is_not_found [Exec],
    one_that_does_not_run_is_conflict [Exec],
    output_arrives_with_its_stream [Exec],
    stdin_reaches_the_main_process [Exec, Can(Feature::Stdin), Logs],
    the_exit_code_is_reported [Exec, Can(Feature::Stdin)],
    dropping_it_leaves_the_process_alone [Exec, Can(Feature::Stdin), Logs],
    dropping_one_without_stdin_leaves_stdin_open [Exec, Can(Feature::Stdin), Logs],
    a_prompt_without_line_feed_arrives [Exec, Can(Feature::Stdin), Logs],
    without_stdin_none_is_given [Exec],
    a_terminal_has_the_size_asked_for_before_anything_is_typed [Exec, Can(Feature::Stdin), Can(Feature::Tty), SizedAttach],
}

async fn attach(fixture: &Fixture, id: &InstanceId, stdin: bool) -> Outcome<Session> {
    Ok(fixture.exec_facet().attach(&fixture.cx, &id.to_ref(), &AttachRequest { stdin, size: None }).await?)
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

async fn a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    let outcome = fixture.exec_facet().attach(&fixture.cx, &missing, &AttachRequest::default()).await;
    refused(outcome, ErrorKind::NotFound);
    Ok(())
}

async fn one_that_does_not_run_is_conflict(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.server()).await?;
    let outcome = fixture.exec_facet().attach(&fixture.cx, &id.to_ref(), &AttachRequest::default()).await;
    refused(outcome, ErrorKind::Conflict);
    Ok(())
}

async fn output_arrives_with_its_stream(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("while :; do sleep 0.3; echo out; echo err >&2; done")).await?;
    let mut session = attach(fixture, &id, false).await?;
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

async fn stdin_reaches_the_main_process(fixture: &Fixture) -> Outcome {
    // It lives on for a moment: what a process says in its last instant may be lost to those attached (podman), the log has it.
    let mut plan =
        fixture.script("echo ready; while read line; do echo \"got $line\"; done; echo end; sleep 1; exit 9");
    plan.stdin = true;
    let id = fixture.ready(&plan).await?;
    let mut session = attach(fixture, &id, true).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(b"one\n").await?;
    stdin.flush().await?;
    until_text(&mut session, "got one").await?;
    stdin.write_all(b"two\n").await?;
    stdin.shutdown().await?;
    drop(stdin);
    until_text(&mut session, "end").await?;
    assert_eq!(fixture.until_exited(&id).await?.exit.unwrap().code, Some(9));
    Ok(())
}

async fn the_exit_code_is_reported(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("read line; exit 23");
    plan.stdin = true;
    let id = fixture.run(&plan).await?;
    let mut session = attach(fixture, &id, true).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(b"go\n").await?;
    stdin.flush().await?;
    while let Some(piece) = session.output.next().await {
        piece?;
    }
    assert_eq!(session.exit.await?, 23);
    Ok(())
}

/// The process reads on after a session was dropped, however long an engine takes to notice.
async fn dropped(fixture: &Fixture, stdin: bool) -> Outcome {
    let mut plan = fixture.script("echo ready; while read line; do echo \"got $line\"; done");
    plan.stdin = true;
    let id = fixture.ready(&plan).await?;
    let mut session = attach(fixture, &id, stdin).await?;
    if let Some(stdin) = &mut session.stdin {
        stdin.write_all(b"first\n").await?;
        stdin.flush().await?;
        fixture.until_line(&id, "got first").await?;
    } else {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    drop(session);
    tokio::time::sleep(ENDED_BY_THEN).await;
    assert_eq!(fixture.state(&id).await?, State::Running);
    let mut session = attach(fixture, &id, true).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(b"again\n").await?;
    stdin.flush().await?;
    until_text(&mut session, "got again").await?;
    Ok(())
}

async fn dropping_it_leaves_the_process_alone(fixture: &Fixture) -> Outcome {
    dropped(fixture, true).await
}

async fn dropping_one_without_stdin_leaves_stdin_open(fixture: &Fixture) -> Outcome {
    dropped(fixture, false).await
}

async fn a_prompt_without_line_feed_arrives(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("echo ready; while read line; do printf 'more> '; done");
    plan.stdin = true;
    let id = fixture.ready(&plan).await?;
    let mut session = attach(fixture, &id, true).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    for _ in 0..2 {
        stdin.write_all(b"go\n").await?;
        stdin.flush().await?;
        assert_eq!(until_text(&mut session, "more> ").await?, "more> ");
    }
    Ok(())
}

async fn without_stdin_none_is_given(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let session = attach(fixture, &id, false).await?;
    assert!(session.stdin.is_none() && session.resize.is_none());
    Ok(())
}

async fn a_terminal_has_the_size_asked_for_before_anything_is_typed(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("while read x; do stty size; done");
    plan.stdin = true;
    plan.tty = true;
    let id = fixture.run(&plan).await?;
    for columns in 130..135 {
        let request = AttachRequest { stdin: true, size: Some(TerminalSize { columns, rows: 43 }) };
        let mut session = fixture.exec_facet().attach(&fixture.cx, &id.to_ref(), &request).await?;
        let mut stdin = session.stdin.take().expect("a stdin");
        stdin.write_all(b"\n").await?;
        stdin.flush().await?;
        until_text(&mut session, &format!("43 {columns}")).await?;
    }
    Ok(())
}
