//! Making, starting and removing, once or many times.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use hythe_runtime::{ErrorKind, InstanceId, NetworkMode, State, Stop};

use crate::failure::{Outcome, refused};
use crate::need::Need::{Can, Logs, Networks, Outside, Volumes};
use crate::scene::{Scene, connected, volume_mount};
use crate::trial::trials;
use hythe_runtime::Feature;

trials! { "lifecycle":
    create_makes_what_is_not_started [],
    create_twice_is_one_instance [],
    racing_creates_agree [],
    a_name_held_by_another_plan_is_refused [],
    a_name_held_by_another_owner_is_refused [],
    a_name_held_by_a_foreign_instance_is_refused [Outside],
    a_name_does_not_reach_a_foreign_instance [Outside],
    an_adopted_instance_is_changed_by_its_id [Outside],
    the_name_is_free_right_after_remove [],
    run_twice_is_one_start [],
    racing_runs_agree [],
    start_of_a_running_one_is_success [],
    a_second_start_is_told_by_its_time [],
    run_after_the_end_is_left_alone [],
    start_of_a_missing_one_is_not_found [],
    remove_of_a_missing_one_is_success [],
    remove_of_a_running_one_is_conflict [],
    remove_of_a_created_one [],
    removes_at_once_all_succeed [],
    a_missing_image_is_not_found_and_nothing_is_made [],
    a_missing_network_is_not_found_and_nothing_is_made [Networks, Can(Feature::BridgeNetwork)],
    a_missing_volume_is_not_found_and_nothing_is_made [Volumes, Can(Feature::Volumes)],
    times_are_in_order [Logs],
    ten_at_once_all_run [],
}

async fn create_makes_what_is_not_started(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let id = scene.create(&plan).await?;
    let observed = scene.inspect(&id).await?;
    assert_eq!(observed.state, State::Created);
    assert_eq!(observed.name, plan.name());
    assert_eq!(observed.identity.as_ref(), Some(&plan.identity));
    assert_eq!((observed.started, observed.finished, observed.exit), (None, None, None));
    Ok(())
}

async fn create_twice_is_one_instance(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let first = scene.create(&plan).await?;
    assert_eq!(scene.create(&plan).await?, first);
    assert_eq!(scene.names().await?, [plan.name()]);
    Ok(())
}

async fn racing_creates_agree(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let ids = try_join_all((0..4).map(|_| scene.create(&plan))).await?;
    let distinct: BTreeSet<&InstanceId> = ids.iter().collect();
    assert_eq!(distinct.len(), 1, "{ids:?}");
    assert_eq!(scene.names().await?, [plan.name()]);
    Ok(())
}

async fn a_name_held_by_another_plan_is_refused(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let id = scene.create(&plan).await?;
    let mut other = plan.clone();
    other.identity.plan_hash = "fedcba9876543210".to_owned();
    let error = refused(scene.runtime().create(&scene.cx, &other).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&plan.name()), "{error}");
    let error = refused(scene.runtime().run(&scene.cx, &other).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&plan.name()), "{error}");
    assert_eq!(scene.state(&id).await?, State::Created);
    Ok(())
}

async fn a_name_held_by_another_owner_is_refused(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let id = scene.create(&plan).await?;
    let mut other = plan.clone();
    other.identity.owner = format!("{}-other", scene.owner);
    refused(scene.runtime().create(&scene.cx, &other).await, ErrorKind::AlreadyExists);
    assert_eq!(scene.inspect(&id).await?.identity, Some(plan.identity));
    Ok(())
}

async fn a_name_held_by_a_foreign_instance_is_refused(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let name = scene.foreign_instance(plan.name());
    scene.outside().run_foreign(&name, &scene.subject.image).await?;
    let error = refused(scene.runtime().create(&scene.cx, &plan).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&name), "{error}");
    refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::AlreadyExists);
    let foreign = scene.inspect(&InstanceId(name)).await?;
    assert_eq!((foreign.state, foreign.identity), (State::Running, None));
    Ok(())
}

async fn a_name_does_not_reach_a_foreign_instance(scene: &Scene) -> Outcome {
    let name = scene.foreign_instance(format!("{}-theirs", scene.service));
    scene.outside().run_foreign(&name, &scene.subject.image).await?;
    let id = InstanceId(name);
    let how = Stop { signal: None, grace: Duration::ZERO };
    refused(scene.runtime().stop(&scene.cx, &id, &how).await, ErrorKind::Conflict);
    refused(scene.runtime().start(&scene.cx, &id).await, ErrorKind::Conflict);
    refused(scene.runtime().remove(&scene.cx, &id).await, ErrorKind::Conflict);
    assert_eq!(scene.state(&id).await?, State::Running);
    Ok(())
}

async fn an_adopted_instance_is_changed_by_its_id(scene: &Scene) -> Outcome {
    let name = scene.foreign_instance(format!("{}-theirs", scene.service));
    scene.outside().run_foreign(&name, &scene.subject.image).await?;
    let seen = scene.inspect(&InstanceId(name.clone())).await?;
    assert_eq!(seen.network_mode, NetworkMode::None);
    assert!(seen.engine_restart.as_deref().is_none_or(|policy| policy == "no"), "{:?}", seen.engine_restart);
    scene.stop(&seen.id, 0).await?;
    assert_eq!(scene.state(&seen.id).await?, State::Exited);
    scene.runtime().start(&scene.cx, &seen.id).await?;
    assert_eq!(scene.state(&seen.id).await?, State::Running);
    scene.stop(&seen.id, 0).await?;
    scene.remove(&seen.id).await?;
    refused(scene.runtime().inspect(&scene.cx, &seen.id).await, ErrorKind::NotFound);
    // Its name is free for its owner, and for whoever cleans up.
    scene.outside().run_foreign(&name, &scene.subject.image).await
}

async fn the_name_is_free_right_after_remove(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let first = scene.run(&plan).await?;
    scene.stop(&first, 0).await?;
    scene.remove(&first).await?;
    let second = scene.create(&plan).await?;
    assert_ne!(first, second);
    assert_eq!(scene.state(&second).await?, State::Created);
    Ok(())
}

async fn run_twice_is_one_start(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let id = scene.run(&plan).await?;
    let started = scene.inspect(&id).await?.started;
    assert_eq!(scene.run(&plan).await?, id);
    let observed = scene.inspect(&id).await?;
    assert_eq!((observed.state, observed.started), (State::Running, started));
    Ok(())
}

async fn racing_runs_agree(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let ids = try_join_all((0..4).map(|_| scene.run(&plan))).await?;
    let distinct: BTreeSet<&InstanceId> = ids.iter().collect();
    assert_eq!(distinct.len(), 1, "{ids:?}");
    assert_eq!(scene.state(&ids[0]).await?, State::Running);
    Ok(())
}

async fn start_of_a_running_one_is_success(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.server()).await?;
    let started = scene.inspect(&id).await?.started;
    scene.start(&id).await?;
    assert_eq!(scene.inspect(&id).await?.started, started);
    Ok(())
}

async fn a_second_start_is_told_by_its_time(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.server()).await?;
    let first = scene.inspect(&id).await?.started;
    scene.stop(&id, 2_000).await?;
    scene.start(&id).await?;
    let observed = scene.inspect(&id).await?;
    assert_eq!((&observed.id, observed.state), (&id, State::Running));
    assert!(observed.started > first, "{:?} is not after {first:?}", observed.started);
    Ok(())
}

async fn run_after_the_end_is_left_alone(scene: &Scene) -> Outcome {
    let plan = scene.plan(&["true"]);
    let id = scene.run(&plan).await?;
    let first = scene.until_exited(&id).await?;
    assert_eq!(scene.run(&plan).await?, id);
    let again = scene.inspect(&id).await?;
    assert_eq!((again.state, again.started), (State::Exited, first.started), "an attempt runs once");
    Ok(())
}

async fn start_of_a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = InstanceId(format!("{}-nothing", scene.service));
    refused(scene.runtime().start(&scene.cx, &missing).await, ErrorKind::NotFound);
    Ok(())
}

async fn remove_of_a_missing_one_is_success(scene: &Scene) -> Outcome {
    scene.remove(&InstanceId(format!("{}-nothing", scene.service))).await?;
    let id = scene.create(&scene.server()).await?;
    scene.remove(&id).await?;
    scene.remove(&id).await
}

async fn remove_of_a_running_one_is_conflict(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.server()).await?;
    refused(scene.runtime().remove(&scene.cx, &id).await, ErrorKind::Conflict);
    assert_eq!(scene.state(&id).await?, State::Running);
    Ok(())
}

async fn remove_of_a_created_one(scene: &Scene) -> Outcome {
    let id = scene.create(&scene.server()).await?;
    scene.remove(&id).await?;
    refused(scene.runtime().inspect(&scene.cx, &id).await, ErrorKind::NotFound);
    Ok(())
}

async fn removes_at_once_all_succeed(scene: &Scene) -> Outcome {
    let id = scene.create(&scene.server()).await?;
    for outcome in join_all((0..4).map(|_| scene.remove(&id))).await {
        outcome?;
    }
    assert!(scene.names().await?.is_empty());
    Ok(())
}

async fn a_missing_image_is_not_found_and_nothing_is_made(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.image = format!("localhost/{}-absent:1", scene.service).parse().unwrap();
    let error = refused(scene.runtime().create(&scene.cx, &plan).await, ErrorKind::NotFound);
    assert!(error.message().contains(&format!("{}-absent", scene.service)), "{error}");
    refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::NotFound);
    assert!(scene.names().await?.is_empty());
    Ok(())
}

async fn a_missing_network_is_not_found_and_nothing_is_made(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    let name = format!("{}-absent", scene.service);
    plan.network = connected(&[&name], "web");
    let error = refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::NotFound);
    assert!(error.message().contains(&name), "{error}");
    let states: Vec<State> = scene.states().await?;
    assert!(!states.contains(&State::Running), "{states:?}");
    Ok(())
}

async fn a_missing_volume_is_not_found_and_nothing_is_made(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    let name = format!("{}_absent", scene.service);
    plan.mounts = vec![volume_mount(&name, "/data")];
    let error = refused(scene.runtime().create(&scene.cx, &plan).await, ErrorKind::NotFound);
    assert!(error.message().contains(&name), "{error}");
    assert!(scene.names().await?.is_empty());
    let volumes = scene.volumes().list(&scene.cx).await?;
    assert!(volumes.iter().all(|volume| volume.name != name), "it was made by the way");
    Ok(())
}

async fn times_are_in_order(scene: &Scene) -> Outcome {
    let finished = scene.finish(&scene.script("sleep 1")).await?;
    let observed = finished.observed;
    let (created, started) = (observed.created.unwrap(), observed.started.unwrap());
    assert!(created <= started, "{created} {started}");
    let ran = observed.finished.unwrap().duration_since(started).as_millis();
    // A busy engine writes down the start of what it started late.
    assert!((1..30_000).contains(&ran), "it ran for {ran} ms");
    Ok(())
}

async fn ten_at_once_all_run(scene: &Scene) -> Outcome {
    let plans: Vec<_> = (1..=10)
        .map(|attempt| {
            let mut plan = scene.server();
            plan.identity.attempt = attempt;
            plan
        })
        .collect();
    let ids = try_join_all(plans.iter().map(|plan| scene.run(plan))).await?;
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 10);
    assert_eq!(scene.states().await?, [State::Running; 10]);
    Ok(())
}
