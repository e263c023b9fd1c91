//! The layers of the seam around a driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hythe_driver_memory::Memory;
use hythe_runtime::layers::{Fault, FaultScript, Layered, ReadOnly, RetrySettings, Settings, standard};
use hythe_runtime::{Capability, ErrorKind, EventKind, Feature, Filter, InstanceRef, Pending, Runtime, State, Stop};
use hythe_spec::Outbound;

use crate::{cx, plan};

fn quick() -> Settings {
    let retry = RetrySettings { first: Duration::from_millis(1), ..RetrySettings::default() };
    Settings { retry, ..Settings::default() }
}

#[tokio::test]
async fn create_with_lost_reply_is_retried_and_gives_the_same_instance() {
    let memory = Memory::new();
    memory.control().lose_replies("create", 2);
    let runtime = standard(memory.clone(), &quick());
    let id = runtime.create(&cx(), &plan("a", &["true"])).await.unwrap();
    assert_eq!(runtime.inspect(&cx(), &id.to_ref()).await.unwrap().id, id);
    assert_eq!(memory.control().count(), 1);
}

#[tokio::test]
async fn list_of_unreachable_engine_is_unavailable_after_retries() {
    let memory = Memory::new();
    memory.control().down("no such socket");
    let runtime = standard(memory, &quick());
    let error = runtime.list(&cx(), &Filter::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("no such socket"), "{error}");
}

#[tokio::test]
async fn inspect_of_absent_instance_is_not_retried() {
    let memory = Memory::builder().latency(Duration::from_millis(20)).build();
    let runtime = standard(memory, &quick());
    let began = Instant::now();
    let error = runtime.inspect(&cx(), &InstanceRef::name("nothing")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(began.elapsed() < Duration::from_millis(60));
}

#[tokio::test]
async fn create_with_unsupported_plan_is_refused_before_the_driver() {
    let memory = Memory::builder().name("here").build();
    let runtime = standard(memory.clone(), &quick());
    let mut plan = plan("a", &["true"]);
    plan.outbound = Some(Outbound { allow_host: vec!["a.example".to_owned()], ..Outbound::default() });
    memory.control().down("must not be asked");
    let error = runtime.create(&cx(), &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("permissions.network.outbound"), "{error}");
    assert!(error.message().contains("`here`"), "{error}");
}

#[tokio::test]
async fn run_with_two_unsupported_fields_names_both() {
    let capability = Capability::of(Feature::ALL)
        .without(Feature::Init, "no init is installed")
        .without(Feature::Tty, "no terminals here");
    let runtime = standard(Memory::builder().capability(capability).build(), &quick());
    let mut plan = plan("a", &["true"]);
    (plan.init, plan.tty) = (true, true);
    let error = runtime.run(&cx(), &plan).await.unwrap_err();
    assert!(error.message().contains("no init is installed") && error.message().contains("no terminals here"));
}

#[tokio::test]
async fn slow_engine_is_a_timeout_and_cancelled_call_is_cancelled() {
    let memory = Memory::builder().latency(Duration::from_secs(60)).build();
    let mut settings = quick();
    settings.timeout.read = Duration::from_millis(20);
    let runtime = standard(memory, &settings);
    let error = runtime.list(&cx(), &Filter::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let soon = cx().within(Duration::from_millis(20));
    let error = runtime.create(&soon, &plan("a", &["true"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let withdrawn = cx();
    withdrawn.cancel.cancel();
    let error = runtime.create(&withdrawn, &plan("a", &["true"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

fn booting(takes: Duration, change: Duration) -> (Arc<Memory>, Arc<dyn Runtime>) {
    let pending = Pending { reason: "Booting".to_owned(), message: String::new() };
    let memory = Memory::builder().scheduling(takes, pending).build();
    let mut settings = quick();
    settings.timeout.change = change;
    (memory.clone(), standard(memory, &settings))
}

#[tokio::test]
async fn run_that_reports_what_it_waits_for_is_not_timed_out() {
    let (_, runtime) = booting(Duration::from_millis(900), Duration::from_millis(300));
    let id = runtime.run(&cx(), &plan("a", &["sleep", "1000"])).await.unwrap();
    assert_eq!(runtime.inspect(&cx(), &id.to_ref()).await.unwrap().state, State::Running);
}

#[tokio::test]
async fn run_that_reports_nothing_more_is_a_timeout_that_says_what_it_waits_for() {
    let (memory, runtime) = booting(Duration::from_secs(3600), Duration::from_millis(5));
    let error = runtime.run(&cx(), &plan("a", &["true"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("Booting"), "{error}");
    let seen = memory.control().observed().remove(0);
    assert_eq!((seen.state, seen.pending.unwrap().reason.as_str()), (State::Pending, "Booting"));
}

#[tokio::test]
async fn start_of_a_pending_instance_waits_on_and_remove_of_it_is_refused() {
    let (memory, runtime) = booting(Duration::from_millis(300), Duration::from_secs(10));
    let id = runtime.create(&cx(), &plan("a", &["sleep", "1000"])).await.unwrap();
    let withdrawn = cx();
    let instance = id.to_ref();
    let (starting, ()) = tokio::join!(runtime.start(&withdrawn, &instance), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        withdrawn.cancel.cancel();
    });
    assert_eq!(starting.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(runtime.remove(&cx(), &id.to_ref()).await.unwrap_err().kind(), ErrorKind::Conflict);
    runtime.start(&cx(), &id.to_ref()).await.unwrap();
    let started = memory.control().history().into_iter().filter(|event| event.kind == EventKind::Started).count();
    assert_eq!(started, 1);
}

#[tokio::test]
async fn stop_is_not_timed_out_within_its_grace() {
    let mut settings = quick();
    settings.timeout.read = Duration::from_millis(10);
    settings.timeout.change = Duration::from_millis(10);
    let runtime = standard(Memory::new(), &settings);
    let id = runtime.run(&cx(), &plan("a", &["sleep", "1000"])).await.unwrap();
    let how = Stop { signal: None, grace: Duration::from_millis(100) };
    runtime.stop(&cx(), &id.to_ref(), &how).await.unwrap();
    assert_eq!(runtime.inspect(&cx(), &id.to_ref()).await.unwrap().exit.unwrap().code, Some(137));
}

#[tokio::test]
async fn read_only_layer_inspects_but_does_not_remove() {
    let memory = Memory::new();
    let id = memory.create(&cx(), &plan("a", &["true"])).await.unwrap();
    let runtime = Layered::around(memory, ReadOnly);
    runtime.inspect(&cx(), &id.to_ref()).await.unwrap();
    let error = runtime.remove(&cx(), &id.to_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("a dry run cannot write"));
    let image = Memory::TEST_IMAGE.parse().unwrap();
    assert!(runtime.images().unwrap().remove(&cx(), &image).await.is_err());
    runtime.inspect(&cx(), &id.to_ref()).await.unwrap();
}

#[tokio::test]
async fn fault_script_applies_to_the_call_it_names() {
    let script: FaultScript = "create 1 lose; start 1 fail conflict; list * delay 1".parse().unwrap();
    let memory = Memory::new();
    let runtime = Layered::around(memory.clone() as Arc<dyn Runtime>, Fault::new(script));
    let plan = plan("a", &["true"]);
    assert_eq!(runtime.create(&cx(), &plan).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(memory.control().count(), 1, "the call acted");
    let id = runtime.create(&cx(), &plan).await.unwrap();
    assert_eq!(runtime.start(&cx(), &id.to_ref()).await.unwrap_err().kind(), ErrorKind::Conflict);
    runtime.start(&cx(), &id.to_ref()).await.unwrap();
    assert_eq!(runtime.list(&cx(), &Filter::default()).await.unwrap().len(), 1);
}
