//! Signals that somebody asks for.

use hythe_runtime::{ErrorKind, InstanceRef, State};
use hythe_spec::Signal;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{EngineCli, Logs, Pause};
use crate::trial::trials;

trials! { "signal":
    a_running_one_gets_it_and_lives_on_until_kill [Logs],
    what_cannot_get_it_is_refused [],
    a_paused_one_dies_of_kill [EngineCli, Pause, Logs],
}

const HUP: Signal = Signal(1);

async fn send(fixture: &Fixture, instance: impl Into<InstanceRef>, signal: Signal) -> hythe_runtime::Result<()> {
    fixture.runtime().signal(&fixture.cx, &instance.into(), signal).await
}

async fn a_running_one_gets_it_and_lives_on_until_kill(fixture: &Fixture) -> Outcome {
    let id = fixture.ready(&fixture.script("trap 'echo hup' HUP; echo ready; while :; do sleep 0.1; done")).await?;
    let before = fixture.inspect(&id).await?;
    send(fixture, &id, HUP).await?;
    fixture.until_line(&id, "hup").await?;
    let after = fixture.inspect(&id).await?;
    assert_eq!((after.state, after.id, after.started), (State::Running, before.id, before.started));
    send(fixture, &id, Signal::KILL).await?;
    let exit = fixture.until_exited(&id).await?.exit.unwrap();
    assert_eq!((exit.code, exit.signal, exit.is_oom()), (Some(137), Some(Signal::KILL), false));
    refused(send(fixture, &id, HUP).await, ErrorKind::Conflict);
    Ok(())
}

async fn what_cannot_get_it_is_refused(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    refused(send(fixture, &missing, HUP).await, ErrorKind::NotFound);
    let id = fixture.create(&fixture.server()).await?;
    refused(send(fixture, &id, HUP).await, ErrorKind::Conflict);
    refused(send(fixture, &id, Signal(0)).await, ErrorKind::Invalid);
    refused(send(fixture, &id, Signal(65)).await, ErrorKind::Invalid);
    Ok(())
}

async fn a_paused_one_dies_of_kill(fixture: &Fixture) -> Outcome {
    let id = fixture.ready(&fixture.server()).await?;
    fixture.engine_cli().pause(&id.0).await?;
    send(fixture, &id, Signal::KILL).await?;
    assert_eq!(fixture.until_exited(&id).await?.exit.unwrap().code, Some(137));
    Ok(())
}
