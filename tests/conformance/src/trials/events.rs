//! What happens, told once, in order, without a gap.

use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::{Cursor, Event, EventKind, EventStream, InstanceId, InstanceRef};

use crate::failure::{Failure, Outcome};
use crate::fixture::{Fixture, connected};
use crate::need::Need::{EngineCli, Logs, Networks, Pause};
use crate::trial::trials;

trials! { "events":
    a_life_is_reported_once_in_order [],
    the_exit_code_is_reported [],
    ours_carry_their_identity [],
    foreign_ones_carry_none [EngineCli],
    a_stop_is_reported_as_one_end [],
    stopping_what_is_stopped_is_no_event [],
    a_signal_that_does_not_end_it_is_no_stop [EngineCli, Logs],
    pause_and_unpause_are_reported [EngineCli, Pause],
    another_name_is_reported [EngineCli],
    joining_and_leaving_a_network_are_reported [EngineCli, Networks],
    a_cursor_resumes_without_loss [],
    every_cursor_leads_to_the_next_event [],
    watch_from_unknown_cursor_begins_with_a_gap [],
    a_subscription_stands_when_it_returns [],
    nothing_is_lost_under_load [],
    two_watchers_see_the_same [],
}

async fn watch(fixture: &Fixture, from: Cursor) -> Outcome<EventStream> {
    Ok(fixture.runtime().watch(&fixture.cx, from).await?)
}

fn word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::Started => "started",
        EventKind::Stopped { .. } => "stopped",
        EventKind::Signalled { .. } => "signalled",
        EventKind::Paused => "paused",
        EventKind::Unpaused => "unpaused",
        EventKind::OutOfMemory => "oom",
        EventKind::Updated { .. } => "updated",
        EventKind::Removed => "removed",
        EventKind::Image { .. } => "image",
        EventKind::Gap => "gap",
    }
}

/// Reads one instance's events until the last one wanted.
async fn until(stream: &mut EventStream, id: &InstanceId, last: &str) -> Outcome<Vec<Event>> {
    let mut events = Vec::new();
    let read = async {
        while let Some(event) = stream.next().await {
            let event = event?;
            if event.id != *id {
                continue;
            }
            let found = word(&event.kind) == last;
            events.push(event);
            if found {
                return Ok(());
            }
        }
        Err(Failure::new("the stream ended"))
    };
    let read = tokio::time::timeout(Duration::from_secs(45), read).await;
    match read {
        Ok(outcome) => outcome.map(|()| events),
        Err(_) => Err(Failure::new(format!("no `{last}` came, but {:?}", kinds(&events)))),
    }
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| word(&event.kind)).collect()
}

/// The kinds that every engine tells alike.
fn life(events: &[Event]) -> Vec<&'static str> {
    let told = ["created", "started", "stopped", "removed"];
    kinds(events).into_iter().filter(|kind| told.contains(kind)).collect()
}

async fn live(fixture: &Fixture, script: &str) -> Outcome<InstanceId> {
    let id = fixture.run(&fixture.script(script)).await?;
    fixture.until_exited(&id).await?;
    fixture.remove(&id).await?;
    Ok(id)
}

async fn a_life_is_reported_once_in_order(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let id = live(fixture, "true").await?;
    let events = until(&mut stream, &id, "removed").await?;
    assert_eq!(life(&events), ["created", "started", "stopped", "removed"], "{:?}", kinds(&events));
    assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time), "times go back");
    Ok(())
}

async fn the_exit_code_is_reported(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let id = live(fixture, "exit 3").await?;
    let events = until(&mut stream, &id, "removed").await?;
    let codes: Vec<i32> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Stopped { exit } => exit.code,
            _ => None,
        })
        .collect();
    assert_eq!(codes, [3]);
    Ok(())
}

async fn ours_carry_their_identity(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let plan = fixture.plan(&["true"]);
    let id = fixture.run(&plan).await?;
    fixture.until_exited(&id).await?;
    fixture.remove(&id).await?;
    let events = until(&mut stream, &id, "removed").await?;
    let life = ["created", "started", "stopped", "removed"];
    for event in events.iter().filter(|event| life.contains(&word(&event.kind))) {
        assert_eq!(event.identity.as_ref(), Some(&plan.identity), "{event:?}");
        assert!(event.name.as_ref().is_none_or(|name| *name == plan.name()), "{event:?}");
    }
    Ok(())
}

async fn foreign_ones_carry_none(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let name = fixture.foreign_instance(format!("{}-foreign", fixture.service));
    fixture.engine_cli().run_foreign(&name, &fixture.subject.image).await?;
    let id = fixture.inspect(&InstanceRef::name(name)).await?.id;
    let events = until(&mut stream, &id, "started").await?;
    assert!(events.iter().all(|event| event.identity.is_none()), "{events:?}");
    Ok(())
}

async fn a_stop_is_reported_as_one_end(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let id = fixture.run(&fixture.plan(&["sleep", "1000"])).await?;
    fixture.stop(&id, 1_000).await?;
    fixture.remove(&id).await?;
    let events = until(&mut stream, &id, "removed").await?;
    assert_eq!(life(&events), ["created", "started", "stopped", "removed"], "{:?}", kinds(&events));
    Ok(())
}

async fn stopping_what_is_stopped_is_no_event(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.plan(&["true"])).await?;
    fixture.until_exited(&id).await?;
    let mut stream = watch(fixture, Cursor::START).await?;
    // The end itself may be repeated by a subscription that came right after it.
    fixture.stop(&id, 1_000).await?;
    fixture.remove(&id).await?;
    let events = until(&mut stream, &id, "removed").await?;
    let ends = life(&events).iter().filter(|kind| **kind == "stopped").count();
    assert!(ends <= 1, "{:?}", kinds(&events));
    assert!(!kinds(&events).contains(&"signalled"), "{:?}", kinds(&events));
    Ok(())
}

async fn a_signal_that_does_not_end_it_is_no_stop(fixture: &Fixture) -> Outcome {
    let plan = fixture.script("trap 'echo got-hup' HUP; echo ready; while :; do sleep 0.1; done");
    let mut stream = watch(fixture, Cursor::START).await?;
    let id = fixture.ready(&plan).await?;
    fixture.engine_cli().kill(&id.0, "HUP").await?;
    fixture.until_line(&id, "got-hup").await?;
    let events = until(&mut stream, &id, "signalled").await?;
    assert!(!kinds(&events).contains(&"stopped"), "{:?}", kinds(&events));
    Ok(())
}

async fn pause_and_unpause_are_reported(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let id = fixture.run(&fixture.server()).await?;
    fixture.engine_cli().pause(&id.0).await?;
    fixture.engine_cli().unpause(&id.0).await?;
    let events = until(&mut stream, &id, "unpaused").await?;
    assert!(kinds(&events).ends_with(&["paused", "unpaused"]), "{:?}", kinds(&events));
    Ok(())
}

/// What updates said.
fn updates(events: &[Event]) -> Vec<&str> {
    let what = events.iter().filter_map(|event| match &event.kind {
        EventKind::Updated { what } => Some(what.as_str()),
        _ => None,
    });
    what.collect()
}

async fn another_name_is_reported(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let mut stream = watch(fixture, Cursor::START).await?;
    fixture.engine_cli().rename(&id.0, &format!("{}-renamed", fixture.service)).await?;
    let events = until(&mut stream, &id, "updated").await?;
    assert_eq!(updates(&events), ["rename"]);
    assert_eq!(fixture.inspect(&id).await?.name, format!("{}-renamed", fixture.service));
    Ok(())
}

async fn joining_and_leaving_a_network_are_reported(fixture: &Fixture) -> Outcome {
    let (first, second) = (fixture.network("one").await?, fixture.network("two").await?);
    let mut plan = fixture.server();
    plan.network = connected(&[&first], "web");
    let id = fixture.run(&plan).await?;
    let mut stream = watch(fixture, Cursor::START).await?;
    fixture.engine_cli().connect(&id.0, &second).await?;
    let events = until(&mut stream, &id, "updated").await?;
    // Some engines do not say which one.
    let says = |events: &[Event], what: &str| {
        let told = updates(events);
        assert!(told == [what] || told == [format!("{what} {second}")], "{told:?}");
    };
    says(&events, "network connect");
    let names = |seen: hythe_runtime::Observed| seen.networks.into_iter().map(|n| n.name).collect::<Vec<_>>();
    assert!(names(fixture.inspect(&id).await?).contains(&second));
    fixture.engine_cli().disconnect(&id.0, &second).await?;
    let events = until(&mut stream, &id, "updated").await?;
    says(&events, "network disconnect");
    assert_eq!(names(fixture.inspect(&id).await?), [first]);
    Ok(())
}

async fn a_cursor_resumes_without_loss(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let id = fixture.run(&fixture.plan(&["sleep", "1000"])).await?;
    let seen = until(&mut stream, &id, "started").await?;
    let cursor = seen.last().unwrap().cursor.clone();
    drop(stream);
    fixture.stop(&id, 0).await?;
    fixture.remove(&id).await?;
    let mut stream = watch(fixture, cursor).await?;
    let events = until(&mut stream, &id, "removed").await?;
    let life: Vec<_> = life(&events).into_iter().filter(|kind| !matches!(*kind, "created" | "started")).collect();
    assert_eq!(life, ["stopped", "removed"], "{:?}", kinds(&events));
    Ok(())
}

/// As after a change of the engine behind a runtime's name: the cursor that was kept is another engine's.
async fn watch_from_unknown_cursor_begins_with_a_gap(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::at("not a place")).await?;
    let gap = stream.next().await.unwrap()?;
    assert_eq!((gap.kind.clone(), gap.id.0.as_str()), (EventKind::Gap, ""), "{gap:?}");
    let id = live(fixture, "exit 0").await?;
    assert_eq!(life(&until(&mut stream, &id, "removed").await?), ["created", "started", "stopped", "removed"]);
    // The place after the gap is one of this engine's.
    let mut again = watch(fixture, gap.cursor).await?;
    assert!(until(&mut again, &id, "removed").await?.iter().all(|event| event.kind != EventKind::Gap));
    Ok(())
}

async fn every_cursor_leads_to_the_next_event(fixture: &Fixture) -> Outcome {
    let mut stream = watch(fixture, Cursor::START).await?;
    let id = live(fixture, "true").await?;
    let events = until(&mut stream, &id, "removed").await?;
    drop(stream);
    for (at, event) in events.iter().enumerate().take(events.len() - 1) {
        let mut stream = watch(fixture, event.cursor.clone()).await?;
        let rest = until(&mut stream, &id, "removed").await?;
        let wanted = kinds(&events[at + 1..]);
        assert!(kinds(&rest).ends_with(&wanted), "after `{}`: {:?}", word(&event.kind), kinds(&rest));
    }
    Ok(())
}

async fn a_subscription_stands_when_it_returns(fixture: &Fixture) -> Outcome {
    for attempt in 1..=5 {
        let mut stream = watch(fixture, Cursor::START).await?;
        let mut plan = fixture.server();
        plan.identity.attempt = attempt;
        let id = fixture.create(&plan).await?;
        until(&mut stream, &id, "created").await?;
    }
    Ok(())
}

async fn nothing_is_lost_under_load(fixture: &Fixture) -> Outcome {
    const LIVES: u32 = 12;
    let mut stream = watch(fixture, Cursor::START).await?;
    let lives = (1..=LIVES).map(|attempt| async move {
        let mut plan = fixture.script("exit 4");
        plan.identity.attempt = attempt;
        let id = fixture.run(&plan).await?;
        fixture.until_exited(&id).await?;
        fixture.remove(&id).await?;
        Outcome::Ok(id)
    });
    let ids = futures_util::future::try_join_all(lives).await?;
    let mut events = Vec::new();
    let mut removed = 0;
    while removed < LIVES {
        let event = tokio::time::timeout(Duration::from_secs(45), stream.next()).await?.expect("an event")?;
        if ids.contains(&event.id) {
            removed += u32::from(event.kind == EventKind::Removed);
            events.push(event);
        }
    }
    for id in &ids {
        let own: Vec<Event> = events.iter().filter(|event| event.id == *id).cloned().collect();
        assert_eq!(life(&own), ["created", "started", "stopped", "removed"], "{:?}", kinds(&own));
    }
    Ok(())
}

async fn two_watchers_see_the_same(fixture: &Fixture) -> Outcome {
    let (mut one, mut two) = (watch(fixture, Cursor::START).await?, watch(fixture, Cursor::START).await?);
    let id = live(fixture, "true").await?;
    let one = until(&mut one, &id, "removed").await?;
    let two = until(&mut two, &id, "removed").await?;
    assert_eq!(life(&one), life(&two));
    Ok(())
}
