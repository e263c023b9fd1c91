//! Processes inside a running instance.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hythe_runtime::{ErrorKind, ExecRequest, Feature, InstanceId, InstanceRef, TerminalSize};
use tokio::io::AsyncWriteExt;

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, drain, words};
use crate::need::Need::{Can, EngineCli, Exec, Logs, Pause, SizedStart};
use crate::trial::trials;

trials! { "exec":
    exit_codes_pass [Exec],
    streams_are_kept_apart [Exec],
    a_missing_command_is_127 [Exec],
    a_directory_is_126 [Exec],
    death_by_a_signal_is_its_code [Exec],
    a_missing_instance_is_not_found [Exec],
    a_created_one_is_conflict [Exec],
    an_ended_one_is_conflict [Exec],
    a_paused_one_is_conflict [Exec, EngineCli, Pause],
    stdin_arrives_and_ends [Exec],
    sixty_four_mebibytes_through_a_pipe [Exec],
    bytes_out_are_exact [Exec],
    without_stdin_there_is_nothing_to_read [Exec],
    environment_is_laid_over_the_instances [Exec],
    user_and_workdir_are_taken [Exec],
    a_terminal_has_the_size_asked_for [Exec, Can(Feature::Tty)],
    a_terminal_has_its_size_before_anything_is_typed [Exec, Can(Feature::Tty)],
    a_terminal_has_its_size_from_the_start [Exec, Can(Feature::Tty), SizedStart],
    a_terminal_is_resized [Exec, Can(Feature::Tty)],
    without_a_terminal_there_is_none [Exec],
    fifty_leave_nothing_behind [Exec],
    ten_at_once_keep_to_themselves [Exec],
    a_dropped_session_leaves_the_instance_alone [Exec],
    files_made_are_seen_by_the_next [Exec, Logs, Can(Feature::RestartInPlace)],
}

fn request(command: &[&str]) -> ExecRequest {
    ExecRequest { command: words(command), ..ExecRequest::default() }
}

async fn exit_codes_pass(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    for code in [0, 1, 7, 255] {
        let executed = fixture.exec(&id, &["sh", "-c", &format!("exit {code}")]).await?;
        assert_eq!(executed.code, code);
    }
    Ok(())
}

async fn streams_are_kept_apart(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let executed = fixture.exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 3"]).await?;
    assert_eq!(executed.stdout, b"out\n");
    assert_eq!(executed.stderr, b"err\n");
    assert_eq!(executed.code, 3);
    Ok(())
}

async fn a_missing_command_is_127(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let ran = fixture.exec(&id, &["no-such-command"]).await?;
    assert_eq!(ran.code, 127);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("no-such-command"), "the reason is not told: {ran:?}");
    Ok(())
}

async fn a_directory_is_126(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    assert_eq!(fixture.exec(&id, &["/etc"]).await?.code, 126);
    Ok(())
}

async fn death_by_a_signal_is_its_code(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    assert_eq!(fixture.exec(&id, &["sh", "-c", "kill -9 $$"]).await?.code, 137);
    Ok(())
}

async fn a_missing_instance_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    let outcome = fixture.exec_facet().exec(&fixture.cx, &missing, &request(&["true"])).await;
    refused(outcome, ErrorKind::NotFound);
    Ok(())
}

async fn a_created_one_is_conflict(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.server()).await?;
    refused(fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request(&["true"])).await, ErrorKind::Conflict);
    Ok(())
}

async fn an_ended_one_is_conflict(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.plan(&["true"])).await?;
    fixture.until_exited(&id).await?;
    refused(fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request(&["true"])).await, ErrorKind::Conflict);
    Ok(())
}

async fn a_paused_one_is_conflict(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    fixture.engine_cli().pause(&id.0).await?;
    let outcome = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request(&["true"])).await;
    fixture.engine_cli().unpause(&id.0).await?;
    refused(outcome, ErrorKind::Conflict);
    assert_eq!(fixture.exec(&id, &["true"]).await?.code, 0);
    Ok(())
}

/// Gives the process these bytes and then the end of file.
async fn with_stdin(
    fixture: &Fixture,
    id: &InstanceId,
    command: &[&str],
    bytes: &[u8],
) -> Outcome<crate::fixture::Executed> {
    let request = ExecRequest { stdin: true, ..request(command) };
    let mut session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(bytes).await?;
    stdin.shutdown().await?;
    drop(stdin);
    drain(session).await
}

async fn stdin_arrives_and_ends(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let executed = with_stdin(fixture, &id, &["cat"], &bytes).await?;
    assert_eq!((executed.code, executed.stdout), (0, bytes));
    let executed = with_stdin(fixture, &id, &["cat"], b"").await?;
    assert_eq!((executed.code, executed.stdout.len()), (0, 0));
    Ok(())
}

const PIECE: usize = 1 << 20;
const PIECES: usize = 64;

/// Bytes that do not repeat with any buffer's size.
fn pattern() -> Bytes {
    let mut state: u32 = 12_345;
    let next = |_| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        state.to_le_bytes()[2]
    };
    (0..PIECE).map(next).collect::<Vec<u8>>().into()
}

async fn sixty_four_mebibytes_through_a_pipe(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let request = ExecRequest { stdin: true, ..request(&["cat"]) };
    let mut session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    let piece = pattern();
    let sent = piece.clone();
    let writer = tokio::spawn(async move {
        for _ in 0..PIECES {
            stdin.write_all(&sent).await?;
        }
        stdin.shutdown().await
    });
    let mut at = 0;
    while let Some(part) = session.output.next().await {
        let (_, bytes) = part?;
        for byte in &bytes {
            assert_eq!(*byte, piece[at % PIECE], "byte {at} is another one");
            at += 1;
        }
    }
    writer.await??;
    assert_eq!(at, PIECE * PIECES);
    assert_eq!(session.exit.await?, 0);
    Ok(())
}

async fn bytes_out_are_exact(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let executed = fixture.exec(&id, &["sh", "-c", "printf 'a\\000\\377\\r\\nb'; head -c 300000 /dev/zero"]).await?;
    assert_eq!(&executed.stdout[..6], b"a\0\xff\r\nb");
    assert_eq!(executed.stdout.len(), 300_006);
    Ok(())
}

async fn without_stdin_there_is_nothing_to_read(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let request = request(&["cat"]);
    let session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    assert!(session.stdin.is_none());
    let executed = tokio::time::timeout(Duration::from_secs(30), drain(session)).await??;
    assert_eq!((executed.code, executed.stdout.len()), (0, 0));
    Ok(())
}

async fn environment_is_laid_over_the_instances(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.env = [("KEPT", "instance"), ("CHANGED", "instance")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let id = fixture.run(&plan).await?;
    let mut request = request(&["sh", "-c", "echo \"$KEPT|$CHANGED|$NEW\""]);
    request.env = [("CHANGED", "exec"), ("NEW", "a b\nc")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let executed = fixture.exec_with(&id, request).await?;
    assert_eq!(executed.text(), "instance|exec|a b\nc");
    Ok(())
}

async fn user_and_workdir_are_taken(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    for (user, wanted) in [("app", "1000 1000 /tmp"), ("1000:0", "1000 0 /tmp"), ("7:8", "7 8 /tmp")] {
        let mut request = request(&["sh", "-c", "echo $(id -u) $(id -g) $(pwd)"]);
        request.user = Some(user.to_owned());
        request.workdir = Some("/tmp".to_owned());
        assert_eq!(fixture.exec_with(&id, request).await?.text(), wanted, "{user}");
    }
    Ok(())
}

async fn a_terminal_has_the_size_asked_for(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let mut request = request(&["sh", "-c", "sleep 1; stty size; test -t 1 && echo tty; echo err >&2"]);
    request.tty = true;
    request.stdin = true;
    request.size = Some(TerminalSize { columns: 123, rows: 45 });
    let mut session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    let _stdin = session.stdin.take();
    let executed = drain(session).await?;
    let text = executed.text();
    assert!(text.contains("45 123") && text.contains("tty"), "{text}");
    assert!(text.contains("err"), "a terminal has one stream: {executed:?}");
    assert!(text.contains("\r\n"), "{text:?}");
    Ok(())
}

async fn sized(fixture: &Fixture, id: &InstanceId, script: &str, typed: &[u8]) -> Outcome<String> {
    let mut request = request(&["sh", "-c", script]);
    request.tty = true;
    request.stdin = true;
    request.size = Some(TerminalSize { columns: 132, rows: 43 });
    let mut session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(typed).await?;
    stdin.flush().await?;
    Ok(drain(session).await?.text())
}

/// The first time by luck is not enough.
async fn a_terminal_has_its_size_before_anything_is_typed(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    for _ in 0..10 {
        let text = sized(fixture, &id, "read x; stty size", b"\n").await?;
        assert!(text.contains("43 132"), "{text:?}");
    }
    Ok(())
}

async fn a_terminal_has_its_size_from_the_start(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    for _ in 0..10 {
        assert_eq!(sized(fixture, &id, "stty size", b"").await?, "43 132");
    }
    Ok(())
}

async fn a_terminal_is_resized(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let mut request = request(&["sh", "-c", "echo go; read x; stty size"]);
    request.tty = true;
    request.stdin = true;
    let mut session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    let resize = session.resize.take().expect("a terminal");
    session.output.next().await.expect("output")?;
    resize.send(TerminalSize { columns: 77, rows: 33 }).await?;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    stdin.write_all(b"\n").await?;
    stdin.flush().await?;
    let text = drain(session).await?.text();
    assert!(text.contains("33 77"), "{text}");
    Ok(())
}

async fn without_a_terminal_there_is_none(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request(&["test", "-t", "1"])).await?;
    assert!(session.resize.is_none());
    assert_eq!(drain(session).await?.code, 1);
    Ok(())
}

async fn fifty_leave_nothing_behind(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let open = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
    fixture.exec(&id, &["true"]).await?;
    let before = open();
    for number in 0..50 {
        assert_eq!(fixture.exec(&id, &["sh", "-c", &format!("exit {number}")]).await?.code, number);
    }
    // Other trials run at the same time and hold some of their own for a while; what leaked stays.
    for _ in 0..20 {
        if open() < before + 40 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{before} open files became {}", open())
}

async fn ten_at_once_keep_to_themselves(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let run = |number: usize| {
        let id = &id;
        async move { fixture.exec(id, &["sh", "-c", &format!("sleep 0.3; echo {number}; exit {number}")]).await }
    };
    let all = futures_util::future::try_join_all((0..10).map(run)).await?;
    for (number, executed) in all.iter().enumerate() {
        assert_eq!((executed.text(), executed.code), (number.to_string(), i32::try_from(number)?));
    }
    Ok(())
}

async fn a_dropped_session_leaves_the_instance_alone(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request(&["sleep", "1000"])).await?;
    drop(session);
    assert_eq!(fixture.exec(&id, &["true"]).await?.code, 0);
    assert_eq!(fixture.state(&id).await?, hythe_runtime::State::Running);
    Ok(())
}

async fn files_made_are_seen_by_the_next(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    fixture.exec(&id, &["sh", "-c", "echo kept > /tmp/file"]).await?;
    assert_eq!(fixture.exec(&id, &["cat", "/tmp/file"]).await?.text(), "kept");
    fixture.stop(&id, 5_000).await?;
    fixture.start(&id).await?;
    assert_eq!(fixture.exec(&id, &["cat", "/tmp/file"]).await?.text(), "kept", "a restart keeps files");
    Ok(())
}
