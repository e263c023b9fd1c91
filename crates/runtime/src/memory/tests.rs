#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use hythe_spec::Signal;

use super::*;
use crate::layers::test_plan;
use crate::{
    Cursor, ErrorKind, EventKind, Filter, InstanceId, LogOptions, Logs, OpContext, Runtime, SnapshotRequest, Snapshots,
    State, Stop,
};

fn cx() -> OpContext {
    OpContext::new("test")
}

fn script(text: &str) -> crate::Plan {
    test_plan("a", &["sh", "-c", text])
}

/// What a script prints and the code it ends with.
async fn outcome(text: &str) -> (String, i32) {
    let memory = Memory::new();
    let id = memory.run(&cx(), &script(text)).await.unwrap();
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let lines: Vec<_> = Logs::logs(memory.as_ref(), &cx(), &id, &follow).await.unwrap().try_collect().await.unwrap();
    let exit = memory.inspect(&cx(), &id).await.unwrap().exit.unwrap();
    let text: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect();
    (text.join("|"), exit.code)
}

#[tokio::test]
async fn scripts_mean_what_a_shell_makes_of_them() {
    for (text, output, code) in [
        ("echo a; echo b && false || echo c", "a|b|c", 0),
        ("x=1; y=\"$x 2\"; echo $y \"$y\" '$y' ${x}3", "1 2 1 2 $y 13", 0),
        ("for n in 1 2 3; do if [ $n -eq 2 ]; then echo two; else echo $n; fi; done", "1|two|3", 0),
        ("seq 1 5 | tail -n 2 | tr 45 xy", "x|y", 0),
        ("n=0; while [ $n -lt 3 ]; do n=$(expr $n + 1); done; echo $n; exit 300", "3", 44),
        ("echo to > /tmp/f; echo more >> /tmp/f; cat < /tmp/f | wc -l", "2", 0),
        ("sh -c 'kill -9 $$'; echo $?", "137", 0),
        ("trap 'echo caught; exit 4' TERM; kill $$; echo never", "caught", 4),
        ("sleep 60 & kill $!; wait $!; echo $?", "143", 0),
        ("(exit 3); echo $?; ! true; echo $?", "3|1", 0),
        ("printf '%s-%s\\n' a b c d; printf '\\101\\x42\\n'", "a-b|c-d|AB", 0),
        ("nonsense; echo $?", "sh: nonsense: not found|127", 0),
        ("echo $((1 + 1))", "sh: syntax error: arithmetic is not supported", 2),
        ("while true; do", "sh: syntax error: expecting \"done\"", 2),
    ] {
        assert_eq!(outcome(text).await, (output.to_owned(), code), "{text}");
    }
}

#[tokio::test]
async fn want_of_memory_is_told_apart_from_a_kill() {
    let memory = Memory::new();
    let id = memory.run(&cx(), &test_plan("a", &["sleep", "1000"])).await.unwrap();
    memory.control().out_of_memory(&id.0).unwrap();
    memory.stop(&cx(), &id, &Stop { signal: None, grace: Duration::from_secs(5) }).await.unwrap();
    let exit = memory.inspect(&cx(), &id).await.unwrap().exit.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (137, Some(Signal::KILL), true));
}

#[tokio::test]
async fn instances_outlive_an_engine_that_goes_down() {
    let memory = Memory::new();
    let id = memory.run(&cx(), &test_plan("a", &["sleep", "1000"])).await.unwrap();
    let mut events = memory.watch(&cx(), Cursor::START).await.unwrap();
    memory.control().down("killed");
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(events.next().await.is_none());
    assert_eq!(memory.inspect(&cx(), &id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    memory.control().up();
    assert_eq!(memory.inspect(&cx(), &id).await.unwrap().state, State::Running);
}

#[tokio::test]
async fn an_engine_that_goes_down_leaves_a_pending_call_with_an_unknown_outcome() {
    let memory = Memory::new();
    let id = memory.run(&cx(), &test_plan("a", &["sleep", "1000"])).await.unwrap();
    let how = Stop { signal: None, grace: Duration::from_secs(60) };
    let cx = cx();
    let (stopped, ()) = tokio::join!(memory.stop(&cx, &id, &how), async {
        tokio::task::yield_now().await;
        memory.control().down("killed");
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_lost_reply_acted_all_the_same() {
    let memory = Memory::new();
    memory.control().lose_replies("create", 1);
    let plan = test_plan("a", &["true"]);
    assert_eq!(memory.create(&cx(), &plan).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let id = memory.create(&cx(), &plan).await.unwrap();
    assert_eq!(Runtime::list(memory.as_ref(), &cx(), &Filter::default()).await.unwrap()[0].id, id);
    assert_eq!(memory.control().count(), 1);
}

#[tokio::test]
async fn a_cursor_of_another_runtime_is_refused() {
    let error = Memory::new().watch(&cx(), Cursor::at("elsewhere")).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn ids_are_the_same_in_every_run() {
    let plan = test_plan("a", &["true"]);
    let first = Memory::new().create(&cx(), &plan).await.unwrap();
    assert_eq!(Memory::new().create(&cx(), &plan).await.unwrap(), first);
}

#[tokio::test]
async fn a_rename_is_told_and_counts() {
    let memory = Memory::new();
    let plan = test_plan("a", &["true"]);
    memory.create(&cx(), &plan).await.unwrap();
    let mut events = memory.watch(&cx(), Cursor::START).await.unwrap();
    memory.control().rename(&plan.name(), "other").unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(event.kind, EventKind::Updated { what: "rename".to_owned() });
    assert!(memory.inspect(&cx(), &InstanceId("other".to_owned())).await.is_ok());
    assert!(memory.inspect(&cx(), &InstanceId(plan.name())).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_lost_reply_of_a_commit_is_repeated_after_the_instance_is_gone() {
    let memory = Memory::new();
    let plan = script("echo kept > /kept");
    let id = memory.run(&cx(), &plan).await.unwrap();
    let request = SnapshotRequest { image: "localhost/hythe/a:1".parse().unwrap(), identity: plan.identity.clone() };
    memory.control().lose_replies("snapshot-commit", 1);
    assert_eq!(memory.commit(&cx(), &id, &request).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let how = Stop { signal: None, grace: Duration::from_secs(5) };
    memory.stop(&cx(), &id, &how).await.unwrap();
    Runtime::remove(memory.as_ref(), &cx(), &id).await.unwrap();
    let kept = memory.commit(&cx(), &id, &request).await.unwrap();
    assert_eq!(Snapshots::list(memory.as_ref(), &cx()).await.unwrap(), [kept]);
}
