#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use hythe_spec::{Outbound, Seccomp};

use super::*;
use crate::memory::Memory;
use crate::{Capability, ErrorKind, Feature, Filter, Identity, InstanceId, OpContext, Plan, Security, Stop};

pub(crate) fn plan(service: &str, command: &[&str]) -> Plan {
    let identity = Identity {
        owner: "test".to_owned(),
        service: service.to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: "0123".to_owned(),
    };
    Plan {
        command: Some(command.iter().map(ToString::to_string).collect()),
        security: Security {
            capabilities: Vec::new(),
            seccomp: Seccomp::Default,
            no_new_privileges: true,
            privileged: false,
        },
        ..Plan::plain(Memory::TEST_IMAGE.parse().unwrap(), identity)
    }
}

fn quick() -> Settings {
    let retry = RetrySettings { first: Duration::from_millis(1), ..RetrySettings::default() };
    Settings { retry, ..Settings::default() }
}

fn cx() -> OpContext {
    OpContext::new("test")
}

#[tokio::test]
async fn a_lost_reply_of_create_is_repeated_and_finds_the_same_instance() {
    let memory = Memory::new();
    memory.control().lose_replies("create", 2);
    let runtime = standard(memory.clone(), &quick());
    let id = runtime.create(&cx(), &plan("a", &["true"])).await.unwrap();
    assert_eq!(runtime.inspect(&cx(), &id).await.unwrap().id, id);
    assert_eq!(memory.control().count(), 1);
}

#[tokio::test]
async fn retries_end() {
    let memory = Memory::new();
    memory.control().down("no such socket");
    let runtime = standard(memory, &quick());
    let error = runtime.list(&cx(), &Filter::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("no such socket"), "{error}");
}

#[tokio::test]
async fn what_is_absent_is_asked_once() {
    let memory = Memory::builder().latency(Duration::from_millis(20)).build();
    let runtime = standard(memory, &quick());
    let began = Instant::now();
    let error = runtime.inspect(&cx(), &InstanceId("nothing".to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(began.elapsed() < Duration::from_millis(60));
}

#[tokio::test]
async fn a_plan_that_cannot_be_honoured_is_refused_before_the_driver() {
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
async fn every_refusal_is_named() {
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
async fn a_slow_engine_is_a_timeout_and_a_withdrawn_call_is_cancelled() {
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

#[tokio::test]
async fn a_stop_may_take_its_grace() {
    let mut settings = quick();
    settings.timeout.read = Duration::from_millis(10);
    settings.timeout.change = Duration::from_millis(10);
    let runtime = standard(Memory::new(), &settings);
    let id = runtime.run(&cx(), &plan("a", &["sleep", "1000"])).await.unwrap();
    let how = Stop { signal: None, grace: Duration::from_millis(100) };
    runtime.stop(&cx(), &id, &how).await.unwrap();
    assert_eq!(runtime.inspect(&cx(), &id).await.unwrap().exit.unwrap().code, 137);
}

#[tokio::test]
async fn a_dry_run_looks_but_does_not_write() {
    let memory = Memory::new();
    let id = memory.create(&cx(), &plan("a", &["true"])).await.unwrap();
    let runtime = Layered::around(memory, ReadOnly);
    runtime.inspect(&cx(), &id).await.unwrap();
    let error = runtime.remove(&cx(), &id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("a dry run cannot write"));
    let image = Memory::TEST_IMAGE.parse().unwrap();
    assert!(runtime.images().unwrap().remove(&cx(), &image).await.is_err());
    runtime.inspect(&cx(), &id).await.unwrap();
}

#[tokio::test]
async fn faults_befall_the_call_they_name() {
    let script: FaultScript = "create 1 lose; start 1 fail conflict; list * delay 1".parse().unwrap();
    let memory = Memory::new();
    let runtime = Layered::around(memory.clone() as Arc<dyn Runtime>, Fault::new(script));
    let plan = plan("a", &["true"]);
    assert_eq!(runtime.create(&cx(), &plan).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(memory.control().count(), 1, "the call acted");
    let id = runtime.create(&cx(), &plan).await.unwrap();
    assert_eq!(runtime.start(&cx(), &id).await.unwrap_err().kind(), ErrorKind::Conflict);
    runtime.start(&cx(), &id).await.unwrap();
    assert_eq!(runtime.list(&cx(), &Filter::default()).await.unwrap().len(), 1);
}

#[test]
fn a_fault_script_that_makes_no_sense_is_refused() {
    for text in ["create", "create x lose", "creat 1 lose", "create 1 explode", "create 1 fail nonsense"] {
        assert!(text.parse::<FaultScript>().is_err(), "{text}");
    }
}
