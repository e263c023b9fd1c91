//! What only this engine has: its shell, out-of-band changes, lost replies, ids that repeat.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use hythe_driver_memory::Memory;
use hythe_runtime::{
    Cursor, ErrorKind, EventKind, Filter, InstanceRef, LogOptions, Logs, Plan, Runtime, SnapshotRequest, Snapshots,
    State, Stop,
};
use hythe_spec::Signal;

use crate::{cx, plan};

fn script(text: &str) -> Plan {
    plan("a", &["sh", "-c", text])
}

/// What a script prints and the code it ends with.
async fn outcome(text: &str) -> (String, i32) {
    let memory = Memory::new();
    let id = memory.run(&cx(), &script(text)).await.unwrap();
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let lines: Vec<_> =
        Logs::logs(memory.as_ref(), &cx(), &id.to_ref(), &follow).await.unwrap().try_collect().await.unwrap();
    let exit = memory.inspect(&cx(), &id.to_ref()).await.unwrap().exit.unwrap();
    let text: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect();
    (text.join("|"), exit.code.unwrap())
}

#[tokio::test]
async fn script_output_and_exit_code_are_those_of_a_shell() {
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
async fn oom_kill_is_reported() {
    let memory = Memory::new();
    let id = memory.run(&cx(), &plan("a", &["sleep", "1000"])).await.unwrap();
    memory.control().out_of_memory(&id.0).unwrap();
    memory.stop(&cx(), &id.to_ref(), &Stop { signal: None, grace: Duration::from_secs(5) }).await.unwrap();
    let exit = memory.inspect(&cx(), &id.to_ref()).await.unwrap().exit.unwrap();
    assert_eq!((exit.code, exit.signal, exit.is_oom()), (Some(137), Some(Signal::KILL), true));
}

#[tokio::test]
async fn engine_down_leaves_instances_running() {
    let memory = Memory::new();
    let id = memory.run(&cx(), &plan("a", &["sleep", "1000"])).await.unwrap();
    let mut events = memory.watch(&cx(), Cursor::START).await.unwrap();
    memory.control().down("killed");
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(events.next().await.is_none());
    assert_eq!(memory.inspect(&cx(), &id.to_ref()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    memory.control().up();
    assert_eq!(memory.inspect(&cx(), &id.to_ref()).await.unwrap().state, State::Running);
}

#[tokio::test]
async fn engine_down_during_stop_is_unavailable() {
    let memory = Memory::new();
    let id = memory.run(&cx(), &plan("a", &["sleep", "1000"])).await.unwrap();
    let how = Stop { signal: None, grace: Duration::from_secs(60) };
    let cx = cx();
    let instance = id.to_ref();
    let (stopped, ()) = tokio::join!(memory.stop(&cx, &instance, &how), async {
        tokio::task::yield_now().await;
        memory.control().down("killed");
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn create_with_lost_reply_has_acted() {
    let memory = Memory::new();
    memory.control().lose_replies("create", 1);
    let plan = plan("a", &["true"]);
    assert_eq!(memory.create(&cx(), &plan).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let id = memory.create(&cx(), &plan).await.unwrap();
    assert_eq!(Runtime::list(memory.as_ref(), &cx(), &Filter::default()).await.unwrap()[0].id, id);
    assert_eq!(memory.control().count(), 1);
}

#[tokio::test]
async fn watch_from_cursor_of_another_runtime_begins_with_a_gap() {
    let mut events = Memory::new().watch(&cx(), Cursor::at("elsewhere")).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().kind, EventKind::Gap);
}

#[tokio::test]
async fn create_gives_the_same_ids_in_every_process() {
    let plan = plan("a", &["true"]);
    let first = Memory::new().create(&cx(), &plan).await.unwrap();
    assert_eq!(Memory::new().create(&cx(), &plan).await.unwrap(), first);
}

#[tokio::test]
async fn rename_is_reported_and_applies() {
    let memory = Memory::new();
    let plan = plan("a", &["true"]);
    memory.create(&cx(), &plan).await.unwrap();
    let mut events = memory.watch(&cx(), Cursor::START).await.unwrap();
    memory.control().rename(&plan.name(), "other").unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(event.kind, EventKind::Updated { what: "rename".to_owned() });
    assert!(memory.inspect(&cx(), &InstanceRef::name("other")).await.is_ok());
    assert!(memory.inspect(&cx(), &InstanceRef::name(plan.name())).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn commit_with_lost_reply_is_repeated_after_remove() {
    let memory = Memory::new();
    let plan = script("echo kept > /kept");
    let id = memory.run(&cx(), &plan).await.unwrap();
    let request = SnapshotRequest { image: "localhost/hythe/a:1".parse().unwrap(), identity: plan.identity.clone() };
    memory.control().lose_replies("snapshot-commit", 1);
    assert_eq!(memory.commit(&cx(), &id.to_ref(), &request).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let how = Stop { signal: None, grace: Duration::from_secs(5) };
    memory.stop(&cx(), &id.to_ref(), &how).await.unwrap();
    Runtime::remove(memory.as_ref(), &cx(), &id.to_ref()).await.unwrap();
    let kept = memory.commit(&cx(), &id.to_ref(), &request).await.unwrap();
    assert_eq!(Snapshots::list(memory.as_ref(), &cx()).await.unwrap(), [kept]);
}
