//! Versions of an instance's files: names, repetition, races, withdrawal, removal.

use std::time::{Duration, Instant};

use hythe_runtime::{ErrorKind, Identity, InstanceId, InstanceRef, OpContext, Plan, SnapshotRequest, State};
use hythe_spec::ImageRef;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Exec, Images, Logs, Pause, Real, Snapshots};
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

async fn made(fixture: &Fixture) -> Outcome<(Plan, InstanceId)> {
    let plan = fixture.script("true");
    let id = fixture.create(&plan).await?;
    Ok((plan, id))
}

fn request(image: &ImageRef, identity: &Identity) -> SnapshotRequest {
    SnapshotRequest { image: image.clone(), identity: identity.clone() }
}

async fn a_repetition_gives_what_is_there(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let image = fixture.image_name("kept");
    let first = fixture.commit(&id, &plan, &image).await?;
    fixture.start(&id).await?;
    fixture.until_exited(&id).await?;
    assert_eq!(fixture.commit(&id, &plan, &image).await?, first);
    Ok(())
}

async fn a_repetition_needs_no_instance(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let image = fixture.image_name("kept");
    let first = fixture.commit(&id, &plan, &image).await?;
    fixture.remove(&id).await?;
    assert_eq!(fixture.commit(&id, &plan, &image).await?, first);
    Ok(())
}

async fn two_at_once_are_one(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let image = fixture.image_name("kept");
    let (one, other) = tokio::join!(fixture.commit(&id, &plan, &image), fixture.commit(&id, &plan, &image));
    assert_eq!(one?, other?);
    Ok(())
}

async fn a_name_held_by_an_image_is_already_exists(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let image = fixture.image_name("held");
    fixture.images().tag(&fixture.cx, &fixture.subject.image, &image).await?;
    let before = fixture.images().get(&fixture.cx, &image).await?.id;
    let outcome = fixture.snapshots().commit(&fixture.cx, &id.to_ref(), &request(&image, &plan.identity)).await;
    let error = refused(outcome, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&image.to_string()), "{error}");
    assert_eq!(fixture.images().get(&fixture.cx, &image).await?.id, before);
    Ok(())
}

async fn a_name_held_by_another_snapshot_is_already_exists(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let image = fixture.image_name("held");
    let first = fixture.commit(&id, &plan, &image).await?;
    let mut other = plan.identity.clone();
    other.attempt = 2;
    let outcome = fixture.snapshots().commit(&fixture.cx, &id.to_ref(), &request(&image, &other)).await;
    refused(outcome, ErrorKind::AlreadyExists);
    assert_eq!(fixture.commit(&id, &plan, &image).await?, first);
    Ok(())
}

async fn a_name_with_a_digest_is_invalid(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let mut image = fixture.image_name("kept");
    image.digest = Some(format!("sha256:{}", "0".repeat(64)));
    let outcome = fixture.snapshots().commit(&fixture.cx, &id.to_ref(), &request(&image, &plan.identity)).await;
    refused(outcome, ErrorKind::Invalid);
    Ok(())
}

async fn an_absent_instance_is_not_found(fixture: &Fixture) -> Outcome {
    let absent = InstanceRef::name(format!("{}-absent", fixture.service));
    let request = request(&fixture.image_name("kept"), &fixture.server().identity);
    let error = refused(fixture.snapshots().commit(&fixture.cx, &absent, &request).await, ErrorKind::NotFound);
    assert!(error.message().contains(absent.as_str()), "{error}");
    Ok(())
}

async fn the_list_is_sorted_and_says_whose(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let (b, a) = (fixture.image_name("b"), fixture.image_name("a"));
    let second = fixture.commit(&id, &plan, &b).await?;
    let first = fixture.commit(&id, &plan, &a).await?;
    let all = fixture.snapshots().list(&fixture.cx).await?;
    assert!(all.is_sorted_by_key(|snapshot| &snapshot.name), "{all:?}");
    let ours: Vec<_> = all.into_iter().filter(|snapshot| snapshot.identity.owner == fixture.owner).collect();
    let told = |all: &[hythe_runtime::Snapshot]| {
        all.iter().map(|one| (one.name.clone(), one.id.clone(), one.identity.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&ours), told(&[first, second]));
    assert!(ours.iter().all(|one| one.size > 0 && one.created.is_some()), "{ours:?}");
    Ok(())
}

async fn removing_an_absent_one_is_success(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let image = fixture.image_name("kept");
    let snapshots = fixture.snapshots();
    snapshots.remove(&fixture.cx, &image).await?;
    fixture.commit(&id, &plan, &image).await?;
    snapshots.remove(&fixture.cx, &image).await?;
    snapshots.remove(&fixture.cx, &image).await?;
    assert!(snapshots.list(&fixture.cx).await?.iter().all(|one| one.name != image.to_string()));
    Ok(())
}

async fn removing_a_used_one_is_conflict(fixture: &Fixture) -> Outcome {
    let (plan, id) = made(fixture).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let mut user = fixture.script("true");
    (user.image, user.identity.attempt) = (image.clone(), 2);
    let user = fixture.create(&user).await?;
    let error = refused(fixture.snapshots().remove(&fixture.cx, &image).await, ErrorKind::Conflict);
    assert!(error.message().contains(&image.to_string()), "{error}");
    fixture.remove(&user).await?;
    Ok(fixture.snapshots().remove(&fixture.cx, &image).await?)
}

async fn removing_an_image_that_is_none_is_conflict(fixture: &Fixture) -> Outcome {
    let image = fixture.image_name("plain");
    fixture.images().tag(&fixture.cx, &fixture.subject.image, &image).await?;
    refused(fixture.snapshots().remove(&fixture.cx, &image).await, ErrorKind::Conflict);
    fixture.images().get(&fixture.cx, &image).await?;
    Ok(())
}

async fn a_look_at_what_is_no_snapshot_is_not_found(fixture: &Fixture) -> Outcome {
    for image in [fixture.image_name("absent"), fixture.subject.image.clone()] {
        refused(fixture.snapshots().mounts(&fixture.cx, &image).await, ErrorKind::NotFound);
    }
    Ok(())
}

/// An instance with something to copy.
async fn large(fixture: &Fixture) -> Outcome<(Plan, InstanceId)> {
    let plan = fixture.script(if fixture.subject.real {
        "dd if=/dev/zero of=/large bs=1M count=64 2> /dev/null; echo ready; exec sleep 1000"
    } else {
        "echo large > /large; echo ready; exec sleep 1000"
    });
    let id = fixture.ready(&plan).await?;
    Ok((plan, id))
}

async fn a_withdrawn_one_lets_it_run_on(fixture: &Fixture) -> Outcome {
    let (plan, id) = large(fixture).await?;
    for (word, millis) in [("a", 0), ("b", 20), ("c", 80), ("d", 200)] {
        let image = fixture.image_name(word);
        let cx = OpContext::new("withdrawn").within(Duration::from_millis(millis));
        let outcome = fixture.snapshots().commit(&cx, &id.to_ref(), &request(&image, &plan.identity)).await;
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        }
        // What goes on behind it ends, and whatever came of it, the same call gives the snapshot.
        fixture.commit(&id, &plan, &image).await?;
        fixture.until(&id, |seen| seen.state == State::Running).await?;
    }
    assert_eq!(fixture.exec(&id, &["true"]).await?.code, 0);
    Ok(())
}

async fn a_stop_does_not_wait_for_it(fixture: &Fixture) -> Outcome {
    let (plan, id) = large(fixture).await?;
    let image = fixture.image_name("kept");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let began = Instant::now();
        fixture.stop(&id, 500).await?;
        Outcome::Ok(began.elapsed())
    };
    let (kept, stopped) = tokio::join!(fixture.commit(&id, &plan, &image), stop);
    assert!(stopped? < Duration::from_secs(15));
    assert_eq!(fixture.state(&id).await?, State::Exited);
    if kept.is_err() {
        fixture.commit(&id, &plan, &image).await?;
    }
    Ok(())
}
