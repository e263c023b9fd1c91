//! The volumes facet.

use futures_util::future::try_join_all;
use hythe_runtime::ErrorKind;
use hythe_runtime::identity::OWNER;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Logs, Outside, Volumes};
use crate::scene::{Scene, volume_mount};
use crate::trial::trials;

trials! { "volumes":
    one_is_made_with_its_labels [Volumes],
    making_it_twice_leaves_its_data [Volumes, Logs],
    racing_makers_make_one [Volumes],
    one_of_another_owner_is_refused [Volumes],
    a_foreign_one_is_refused_and_left_alone [Volumes, Outside],
    removing_a_used_one_is_conflict_naming_the_user [Volumes],
    removing_an_absent_one_is_success [Volumes],
    removing_takes_the_data [Volumes, Logs],
    an_instances_end_leaves_named_ones [Volumes, Logs],
}

async fn count(scene: &Scene, name: &str) -> Outcome<usize> {
    let volumes = scene.volumes().list(&scene.cx).await?;
    Ok(volumes.iter().filter(|volume| volume.name == name).count())
}

async fn one_is_made_with_its_labels(scene: &Scene) -> Outcome {
    let name = scene.volume("data").await?;
    let volumes = scene.volumes().list(&scene.cx).await?;
    let made = volumes.iter().find(|volume| volume.name == name).expect("it is listed");
    assert_eq!(made.labels.get(OWNER), Some(&scene.owner));
    assert!(volumes.windows(2).all(|pair| pair[0].name <= pair[1].name), "the list is not sorted");
    Ok(())
}

/// What a volume has in `/data/file` before another line is added.
async fn add(scene: &Scene, volume: &str, attempt: u32) -> Outcome<String> {
    let mut plan = scene.script("cat /data/file 2>/dev/null; echo line >> /data/file");
    plan.identity.attempt = attempt;
    plan.mounts = vec![volume_mount(volume, "/data")];
    let finished = scene.finish(&plan).await?;
    scene.remove(&finished.observed.id).await?;
    Ok(finished.stdout)
}

async fn making_it_twice_leaves_its_data(scene: &Scene) -> Outcome {
    let name = scene.volume("data").await?;
    add(scene, &name, 1).await?;
    scene.volume("data").await?;
    assert_eq!(add(scene, &name, 2).await?, "line\n");
    Ok(())
}

async fn racing_makers_make_one(scene: &Scene) -> Outcome {
    let names = try_join_all((0..4).map(|_| scene.volume("data"))).await?;
    assert_eq!(count(scene, &names[0]).await?, 1);
    Ok(())
}

async fn one_of_another_owner_is_refused(scene: &Scene) -> Outcome {
    let name = scene.volume("data").await?;
    let mut spec = scene.volume_spec(&name);
    spec.labels.insert(OWNER.to_owned(), format!("{}-other", scene.owner));
    let error = refused(scene.volumes().ensure(&scene.cx, &spec).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&name), "{error}");
    Ok(())
}

async fn a_foreign_one_is_refused_and_left_alone(scene: &Scene) -> Outcome {
    let name = scene.foreign_volume();
    scene.outside().make_volume(&name).await?;
    let spec = scene.volume_spec(&name);
    refused(scene.volumes().ensure(&scene.cx, &spec).await, ErrorKind::AlreadyExists);
    assert_eq!(count(scene, &name).await?, 1);
    Ok(())
}

async fn removing_a_used_one_is_conflict_naming_the_user(scene: &Scene) -> Outcome {
    let name = scene.volume("data").await?;
    let mut plan = scene.server();
    plan.mounts = vec![volume_mount(&name, "/data")];
    let id = scene.create(&plan).await?;
    let error = refused(scene.volumes().remove(&scene.cx, &name).await, ErrorKind::Conflict);
    assert!(error.message().contains(&plan.name()) || error.message().contains(&id.0), "{error}");
    assert_eq!(count(scene, &name).await?, 1);
    Ok(())
}

async fn removing_an_absent_one_is_success(scene: &Scene) -> Outcome {
    Ok(scene.volumes().remove(&scene.cx, &format!("{}_nothing", scene.service)).await?)
}

async fn removing_takes_the_data(scene: &Scene) -> Outcome {
    let name = scene.volume("data").await?;
    add(scene, &name, 1).await?;
    scene.volumes().remove(&scene.cx, &name).await?;
    assert_eq!(count(scene, &name).await?, 0);
    scene.volume("data").await?;
    assert_eq!(add(scene, &name, 2).await?, "");
    Ok(())
}

async fn an_instances_end_leaves_named_ones(scene: &Scene) -> Outcome {
    let name = scene.volume("data").await?;
    add(scene, &name, 1).await?;
    assert_eq!(count(scene, &name).await?, 1);
    Ok(())
}
