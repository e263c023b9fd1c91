//! Making, starting and removing, once or many times.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use hythe_runtime::{ErrorKind, InstanceId, InstanceRef, NetworkMode, State, Stop};

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, connected, volume_mount};
use crate::need::Need::{Can, EngineCli, Logs, Networks, Volumes};
use crate::trial::trials;
use hythe_runtime::Feature;

trials! { "lifecycle":
    create_makes_what_is_not_started [],
    create_twice_is_one_instance [],
    racing_creates_agree [],
    a_name_held_by_another_plan_is_refused [],
    a_name_held_by_another_owner_is_refused [],
    a_name_held_by_a_foreign_instance_is_refused [EngineCli],
    a_name_does_not_reach_a_foreign_instance [EngineCli],
    an_adopted_instance_is_changed_by_its_id [EngineCli],
    the_name_is_free_right_after_remove [],
    run_that_returns_has_started_it [],
    run_twice_is_one_start [],
    racing_runs_agree [],
    start_of_a_running_one_is_success [],
    a_second_start_is_reported_by_its_time [Can(Feature::RestartInPlace)],
    run_after_the_end_is_left_alone [],
    start_of_a_missing_one_is_not_found [],
    remove_of_a_missing_one_is_success [],
    remove_of_a_running_one_is_conflict [],
    remove_of_a_created_one [],
    removes_at_once_all_succeed [],
    a_missing_image_is_not_found_and_nothing_is_made [],
    a_missing_network_is_not_found_and_nothing_is_made [Networks, Can(Feature::Networks)],
    a_missing_volume_is_not_found_and_nothing_is_made [Volumes, Can(Feature::Volumes)],
    times_are_in_order [Logs],
    ten_at_once_all_run [],
}

async fn create_makes_what_is_not_started(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let id = fixture.create(&plan).await?;
    let observed = fixture.inspect(&id).await?;
    assert_eq!(observed.state, State::Created);
    assert_eq!(observed.name, plan.name());
    assert_eq!(observed.identity.as_ref(), Some(&plan.identity));
    assert_eq!((observed.started, observed.finished, observed.exit), (None, None, None));
    Ok(())
}

async fn create_twice_is_one_instance(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let first = fixture.create(&plan).await?;
    assert_eq!(fixture.create(&plan).await?, first);
    assert_eq!(fixture.names().await?, [plan.name()]);
    Ok(())
}

async fn racing_creates_agree(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let ids = try_join_all((0..4).map(|_| fixture.create(&plan))).await?;
    let distinct: BTreeSet<&InstanceId> = ids.iter().collect();
    assert_eq!(distinct.len(), 1, "{ids:?}");
    assert_eq!(fixture.names().await?, [plan.name()]);
    Ok(())
}

async fn a_name_held_by_another_plan_is_refused(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let id = fixture.create(&plan).await?;
    let mut other = plan.clone();
    other.identity.plan_hash = "fedcba9876543210".to_owned();
    let error = refused(fixture.runtime().create(&fixture.cx, &other).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&plan.name()), "{error}");
    let error = refused(fixture.runtime().run(&fixture.cx, &other).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&plan.name()), "{error}");
    assert_eq!(fixture.state(&id).await?, State::Created);
    Ok(())
}

async fn a_name_held_by_another_owner_is_refused(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let id = fixture.create(&plan).await?;
    let mut other = plan.clone();
    other.identity.owner = format!("{}-other", fixture.owner);
    refused(fixture.runtime().create(&fixture.cx, &other).await, ErrorKind::AlreadyExists);
    assert_eq!(fixture.inspect(&id).await?.identity, Some(plan.identity));
    Ok(())
}

async fn a_name_held_by_a_foreign_instance_is_refused(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let name = fixture.foreign_instance(plan.name());
    fixture.engine_cli().run_foreign(&name, &fixture.subject.image).await?;
    let error = refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&name), "{error}");
    refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::AlreadyExists);
    let foreign = fixture.inspect(&InstanceRef::name(name)).await?;
    assert_eq!((foreign.state, foreign.identity), (State::Running, None));
    Ok(())
}

async fn a_name_does_not_reach_a_foreign_instance(fixture: &Fixture) -> Outcome {
    let name = fixture.foreign_instance(format!("{}-theirs", fixture.service));
    fixture.engine_cli().run_foreign(&name, &fixture.subject.image).await?;
    let id = InstanceRef::name(name);
    let how = Stop { signal: None, grace: Duration::ZERO };
    refused(fixture.runtime().stop(&fixture.cx, &id, &how).await, ErrorKind::Conflict);
    refused(fixture.runtime().start(&fixture.cx, &id).await, ErrorKind::Conflict);
    refused(fixture.runtime().remove(&fixture.cx, &id).await, ErrorKind::Conflict);
    assert_eq!(fixture.inspect(&id).await?.state, State::Running);
    Ok(())
}

async fn an_adopted_instance_is_changed_by_its_id(fixture: &Fixture) -> Outcome {
    let name = fixture.foreign_instance(format!("{}-theirs", fixture.service));
    fixture.engine_cli().run_foreign(&name, &fixture.subject.image).await?;
    let seen = fixture.inspect(&InstanceRef::name(name.clone())).await?;
    assert_eq!(seen.network_mode, NetworkMode::None);
    assert!(seen.engine_restart.as_deref().is_none_or(|policy| policy == "no"), "{:?}", seen.engine_restart);
    fixture.stop(&seen.id, 0).await?;
    assert_eq!(fixture.state(&seen.id).await?, State::Exited);
    fixture.runtime().start(&fixture.cx, &seen.id.to_ref()).await?;
    assert_eq!(fixture.state(&seen.id).await?, State::Running);
    fixture.stop(&seen.id, 0).await?;
    fixture.remove(&seen.id).await?;
    refused(fixture.runtime().inspect(&fixture.cx, &seen.id.to_ref()).await, ErrorKind::NotFound);
    // Its name is free for its owner, and for whoever cleans up.
    fixture.engine_cli().run_foreign(&name, &fixture.subject.image).await
}

async fn the_name_is_free_right_after_remove(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let first = fixture.run(&plan).await?;
    fixture.stop(&first, 0).await?;
    fixture.remove(&first).await?;
    let second = fixture.create(&plan).await?;
    assert_ne!(first, second);
    assert_eq!(fixture.state(&second).await?, State::Created);
    Ok(())
}

/// However long an engine takes, it is not pending any more.
async fn run_that_returns_has_started_it(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let id = fixture.run(&plan).await?;
    let observed = fixture.inspect(&id).await?;
    assert_eq!((observed.state, observed.pending), (State::Running, None));
    assert_eq!(fixture.state(&id).await?, State::Running);
    Ok(())
}

async fn run_twice_is_one_start(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let id = fixture.run(&plan).await?;
    let started = fixture.inspect(&id).await?.started;
    assert_eq!(fixture.run(&plan).await?, id);
    let observed = fixture.inspect(&id).await?;
    assert_eq!((observed.state, observed.started), (State::Running, started));
    Ok(())
}

async fn racing_runs_agree(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let ids = try_join_all((0..4).map(|_| fixture.run(&plan))).await?;
    let distinct: BTreeSet<&InstanceId> = ids.iter().collect();
    assert_eq!(distinct.len(), 1, "{ids:?}");
    assert_eq!(fixture.state(&ids[0]).await?, State::Running);
    Ok(())
}

async fn start_of_a_running_one_is_success(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let started = fixture.inspect(&id).await?.started;
    fixture.start(&id).await?;
    assert_eq!(fixture.inspect(&id).await?.started, started);
    Ok(())
}

async fn a_second_start_is_reported_by_its_time(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let first = fixture.inspect(&id).await?.started;
    fixture.stop(&id, 2_000).await?;
    fixture.start(&id).await?;
    let observed = fixture.inspect(&id).await?;
    assert_eq!((&observed.id, observed.state), (&id, State::Running));
    assert!(observed.started > first, "{:?} is not after {first:?}", observed.started);
    Ok(())
}

async fn run_after_the_end_is_left_alone(fixture: &Fixture) -> Outcome {
    let plan = fixture.plan(&["true"]);
    let id = fixture.run(&plan).await?;
    let first = fixture.until_exited(&id).await?;
    assert_eq!(fixture.run(&plan).await?, id);
    let again = fixture.inspect(&id).await?;
    assert_eq!((again.state, again.started), (State::Exited, first.started), "an attempt runs once");
    Ok(())
}

async fn start_of_a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    refused(fixture.runtime().start(&fixture.cx, &missing).await, ErrorKind::NotFound);
    Ok(())
}

async fn remove_of_a_missing_one_is_success(fixture: &Fixture) -> Outcome {
    fixture.remove(&InstanceRef::name(format!("{}-nothing", fixture.service))).await?;
    let id = fixture.create(&fixture.server()).await?;
    fixture.remove(&id).await?;
    fixture.remove(&id).await
}

async fn remove_of_a_running_one_is_conflict(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    refused(fixture.runtime().remove(&fixture.cx, &id.to_ref()).await, ErrorKind::Conflict);
    assert_eq!(fixture.state(&id).await?, State::Running);
    Ok(())
}

async fn remove_of_a_created_one(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.server()).await?;
    fixture.remove(&id).await?;
    refused(fixture.runtime().inspect(&fixture.cx, &id.to_ref()).await, ErrorKind::NotFound);
    Ok(())
}

async fn removes_at_once_all_succeed(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.server()).await?;
    for outcome in join_all((0..4).map(|_| fixture.remove(&id))).await {
        outcome?;
    }
    assert!(fixture.names().await?.is_empty());
    Ok(())
}

async fn a_missing_image_is_not_found_and_nothing_is_made(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.image = format!("localhost/{}-absent:1", fixture.service).parse().unwrap();
    let error = refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::NotFound);
    assert!(error.message().contains(&format!("{}-absent", fixture.service)), "{error}");
    refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::NotFound);
    assert!(fixture.names().await?.is_empty());
    Ok(())
}

async fn a_missing_network_is_not_found_and_nothing_is_made(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    let name = format!("{}-absent", fixture.service);
    plan.network = connected(&[&name], "web");
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::NotFound);
    assert!(error.message().contains(&name), "{error}");
    let states: Vec<State> = fixture.states().await?;
    assert!(!states.contains(&State::Running), "{states:?}");
    Ok(())
}

async fn a_missing_volume_is_not_found_and_nothing_is_made(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    let name = format!("{}_absent", fixture.service);
    plan.mounts = vec![volume_mount(&name, "/data")];
    let error = refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::NotFound);
    assert!(error.message().contains(&name), "{error}");
    assert!(fixture.names().await?.is_empty());
    let volumes = fixture.volumes().list(&fixture.cx).await?;
    assert!(volumes.iter().all(|volume| volume.name != name), "it was made by the way");
    Ok(())
}

async fn times_are_in_order(fixture: &Fixture) -> Outcome {
    let finished = fixture.finish(&fixture.script("sleep 1")).await?;
    let observed = finished.observed;
    let (created, started) = (observed.created.unwrap(), observed.started.unwrap());
    assert!(created <= started, "{created} {started}");
    let ran = observed.finished.unwrap().duration_since(started).as_millis();
    // A busy engine writes down the start of what it started late.
    assert!((1..30_000).contains(&ran), "it ran for {ran} ms");
    Ok(())
}

async fn ten_at_once_all_run(fixture: &Fixture) -> Outcome {
    let plans: Vec<_> = (1..=10)
        .map(|attempt| {
            let mut plan = fixture.server();
            plan.identity.attempt = attempt;
            plan
        })
        .collect();
    let ids = try_join_all(plans.iter().map(|plan| fixture.run(plan))).await?;
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 10);
    assert_eq!(fixture.states().await?, [State::Running; 10]);
    Ok(())
}
