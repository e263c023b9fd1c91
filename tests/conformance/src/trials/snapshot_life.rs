//! Versions of an instance's files: names, repetition, races, withdrawal, removal.

use std::time::{Duration, Instant};

use hythe_runtime::{ErrorKind, Identity, InstanceId, OpContext, Plan, SnapshotRequest, State};
use hythe_spec::ImageRef;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Exec, Images, Logs, Pause, Real, Snapshots};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "snapshots":
    a_repetition_gives_what_is_there [Snapshots],
    a_repetition_needs_no_instance [Snapshots],
    two_at_once_are_one [Snapshots],
    a_name_held_by_an_image_is_already_exists [Snapshots, Images],
    a_name_held_by_another_snapshot_is_already_exists [Snapshots],
    a_name_with_a_digest_is_invalid [Snapshots],
    an_absent_instance_is_not_found [Snapshots],
    the_list_is_sorted_and_says_whose [Snapshots],
    removing_an_absent_one_is_success [Snapshots],
    removing_a_used_one_is_conflict [Snapshots],
    removing_an_image_that_is_none_is_conflict [Snapshots, Images],
    a_look_at_what_is_no_snapshot_is_not_found [Snapshots],
    a_withdrawn_one_lets_it_run_on [Snapshots, Logs, Exec],
    a_stop_does_not_wait_for_it [Real, Snapshots, Logs, Pause],
}

async fn made(scene: &Scene) -> Outcome<(Plan, InstanceId)> {
    let plan = scene.script("true");
    let id = scene.create(&plan).await?;
    Ok((plan, id))
}

fn request(image: &ImageRef, identity: &Identity) -> SnapshotRequest {
    SnapshotRequest { image: image.clone(), identity: identity.clone() }
}

async fn a_repetition_gives_what_is_there(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let image = scene.image_name("kept");
    let first = scene.commit(&id, &plan, &image).await?;
    scene.start(&id).await?;
    scene.until_exited(&id).await?;
    assert_eq!(scene.commit(&id, &plan, &image).await?, first);
    Ok(())
}

async fn a_repetition_needs_no_instance(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let image = scene.image_name("kept");
    let first = scene.commit(&id, &plan, &image).await?;
    scene.remove(&id).await?;
    assert_eq!(scene.commit(&id, &plan, &image).await?, first);
    Ok(())
}

async fn two_at_once_are_one(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let image = scene.image_name("kept");
    let (one, other) = tokio::join!(scene.commit(&id, &plan, &image), scene.commit(&id, &plan, &image));
    assert_eq!(one?, other?);
    Ok(())
}

async fn a_name_held_by_an_image_is_already_exists(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let image = scene.image_name("held");
    scene.images().tag(&scene.cx, &scene.subject.image, &image).await?;
    let before = scene.images().get(&scene.cx, &image).await?.id;
    let outcome = scene.snapshots().commit(&scene.cx, &id, &request(&image, &plan.identity)).await;
    let error = refused(outcome, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&image.to_string()), "{error}");
    assert_eq!(scene.images().get(&scene.cx, &image).await?.id, before);
    Ok(())
}

async fn a_name_held_by_another_snapshot_is_already_exists(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let image = scene.image_name("held");
    let first = scene.commit(&id, &plan, &image).await?;
    let mut other = plan.identity.clone();
    other.attempt = 2;
    let outcome = scene.snapshots().commit(&scene.cx, &id, &request(&image, &other)).await;
    refused(outcome, ErrorKind::AlreadyExists);
    assert_eq!(scene.commit(&id, &plan, &image).await?, first);
    Ok(())
}

async fn a_name_with_a_digest_is_invalid(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let mut image = scene.image_name("kept");
    image.digest = Some(format!("sha256:{}", "0".repeat(64)));
    let outcome = scene.snapshots().commit(&scene.cx, &id, &request(&image, &plan.identity)).await;
    refused(outcome, ErrorKind::Invalid);
    Ok(())
}

async fn an_absent_instance_is_not_found(scene: &Scene) -> Outcome {
    let absent = InstanceId(format!("{}-absent", scene.service));
    let request = request(&scene.image_name("kept"), &scene.server().identity);
    let error = refused(scene.snapshots().commit(&scene.cx, &absent, &request).await, ErrorKind::NotFound);
    assert!(error.message().contains(&absent.0), "{error}");
    Ok(())
}

async fn the_list_is_sorted_and_says_whose(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let (b, a) = (scene.image_name("b"), scene.image_name("a"));
    let second = scene.commit(&id, &plan, &b).await?;
    let first = scene.commit(&id, &plan, &a).await?;
    let all = scene.snapshots().list(&scene.cx).await?;
    assert!(all.is_sorted_by_key(|snapshot| &snapshot.name), "{all:?}");
    let ours: Vec<_> = all.into_iter().filter(|snapshot| snapshot.identity.owner == scene.owner).collect();
    let told = |all: &[hythe_runtime::Snapshot]| {
        all.iter().map(|one| (one.name.clone(), one.id.clone(), one.identity.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&ours), told(&[first, second]));
    assert!(ours.iter().all(|one| one.size > 0 && one.created.is_some()), "{ours:?}");
    Ok(())
}

async fn removing_an_absent_one_is_success(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let image = scene.image_name("kept");
    let snapshots = scene.snapshots();
    snapshots.remove(&scene.cx, &image).await?;
    scene.commit(&id, &plan, &image).await?;
    snapshots.remove(&scene.cx, &image).await?;
    snapshots.remove(&scene.cx, &image).await?;
    assert!(snapshots.list(&scene.cx).await?.iter().all(|one| one.name != image.to_string()));
    Ok(())
}

async fn removing_a_used_one_is_conflict(scene: &Scene) -> Outcome {
    let (plan, id) = made(scene).await?;
    let image = scene.image_name("kept");
    scene.commit(&id, &plan, &image).await?;
    let mut user = scene.script("true");
    (user.image, user.identity.attempt) = (image.clone(), 2);
    let user = scene.create(&user).await?;
    let error = refused(scene.snapshots().remove(&scene.cx, &image).await, ErrorKind::Conflict);
    assert!(error.message().contains(&image.to_string()), "{error}");
    scene.remove(&user).await?;
    Ok(scene.snapshots().remove(&scene.cx, &image).await?)
}

async fn removing_an_image_that_is_none_is_conflict(scene: &Scene) -> Outcome {
    let image = scene.image_name("plain");
    scene.images().tag(&scene.cx, &scene.subject.image, &image).await?;
    refused(scene.snapshots().remove(&scene.cx, &image).await, ErrorKind::Conflict);
    scene.images().get(&scene.cx, &image).await?;
    Ok(())
}

async fn a_look_at_what_is_no_snapshot_is_not_found(scene: &Scene) -> Outcome {
    for image in [scene.image_name("absent"), scene.subject.image.clone()] {
        refused(scene.snapshots().mounts(&scene.cx, &image).await, ErrorKind::NotFound);
    }
    Ok(())
}

/// An instance with something to copy.
async fn large(scene: &Scene) -> Outcome<(Plan, InstanceId)> {
    let plan = scene.script(if scene.subject.real {
        "dd if=/dev/zero of=/large bs=1M count=64 2> /dev/null; echo ready; exec sleep 1000"
    } else {
        "echo large > /large; echo ready; exec sleep 1000"
    });
    let id = scene.ready(&plan).await?;
    Ok((plan, id))
}

async fn a_withdrawn_one_lets_it_run_on(scene: &Scene) -> Outcome {
    let (plan, id) = large(scene).await?;
    for (word, millis) in [("a", 0), ("b", 20), ("c", 80), ("d", 200)] {
        let image = scene.image_name(word);
        let cx = OpContext::new("withdrawn").within(Duration::from_millis(millis));
        let outcome = scene.snapshots().commit(&cx, &id, &request(&image, &plan.identity)).await;
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        }
        // What goes on behind it ends, and whatever came of it, the same call gives the snapshot.
        scene.commit(&id, &plan, &image).await?;
        scene.until(&id, |seen| seen.state == State::Running).await?;
    }
    assert_eq!(scene.exec(&id, &["true"]).await?.code, 0);
    Ok(())
}

async fn a_stop_does_not_wait_for_it(scene: &Scene) -> Outcome {
    let (plan, id) = large(scene).await?;
    let image = scene.image_name("kept");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let began = Instant::now();
        scene.stop(&id, 500).await?;
        Outcome::Ok(began.elapsed())
    };
    let (kept, stopped) = tokio::join!(scene.commit(&id, &plan, &image), stop);
    assert!(stopped? < Duration::from_secs(15));
    assert_eq!(scene.state(&id).await?, State::Exited);
    if kept.is_err() {
        scene.commit(&id, &plan, &image).await?;
    }
    Ok(())
}
