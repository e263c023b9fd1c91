//! The volumes facet.

use futures_util::future::try_join_all;
use hythe_runtime::ErrorKind;
use hythe_runtime::identity::OWNER;

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, volume_mount};
use crate::need::Need::{EngineCli, Logs, Volumes};
use crate::trial::trials;

trials! { "volumes":
    one_is_made_with_its_labels [Volumes],
    making_it_twice_leaves_its_data [Volumes, Logs],
    racing_makers_make_one [Volumes],
    one_of_another_owner_is_refused [Volumes],
    a_foreign_one_is_refused_and_left_alone [Volumes, EngineCli],
    removing_a_used_one_is_conflict_naming_the_user [Volumes],
    removing_one_of_another_owner_is_conflict [Volumes],
    removing_an_absent_one_is_success [Volumes],
    removing_takes_the_data [Volumes, Logs],
    an_instances_end_leaves_named_ones [Volumes, Logs],
}

async fn count(fixture: &Fixture, name: &str) -> Outcome<usize> {
    let volumes = fixture.volumes().list(&fixture.cx).await?;
    Ok(volumes.iter().filter(|volume| volume.name == name).count())
}

async fn one_is_made_with_its_labels(fixture: &Fixture) -> Outcome {
    let name = fixture.volume("data").await?;
    let volumes = fixture.volumes().list(&fixture.cx).await?;
    let made = volumes.iter().find(|volume| volume.name == name).expect("it is listed");
    assert_eq!(made.labels.get(OWNER), Some(&fixture.owner));
    assert!(volumes.windows(2).all(|pair| pair[0].name <= pair[1].name), "the list is not sorted");
    Ok(())
}

/// What a volume has in `/data/file` before another line is added.
async fn add(fixture: &Fixture, volume: &str, attempt: u32) -> Outcome<String> {
    let mut plan = fixture.script("cat /data/file 2>/dev/null; echo line >> /data/file");
    plan.identity.attempt = attempt;
    plan.mounts = vec![volume_mount(volume, "/data")];
    let finished = fixture.finish(&plan).await?;
    fixture.remove(&finished.observed.id).await?;
    Ok(finished.stdout)
}

async fn making_it_twice_leaves_its_data(fixture: &Fixture) -> Outcome {
    let name = fixture.volume("data").await?;
    add(fixture, &name, 1).await?;
    fixture.volume("data").await?;
    assert_eq!(add(fixture, &name, 2).await?, "line\n");
    Ok(())
}

async fn racing_makers_make_one(fixture: &Fixture) -> Outcome {
    let names = try_join_all((0..4).map(|_| fixture.volume("data"))).await?;
    assert_eq!(count(fixture, &names[0]).await?, 1);
    Ok(())
}

async fn one_of_another_owner_is_refused(fixture: &Fixture) -> Outcome {
    let name = fixture.volume("data").await?;
    let mut spec = fixture.volume_spec(&name);
    spec.labels.insert(OWNER.to_owned(), format!("{}-other", fixture.owner));
    let error = refused(fixture.volumes().ensure(&fixture.cx, &spec).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&name), "{error}");
    Ok(())
}

async fn a_foreign_one_is_refused_and_left_alone(fixture: &Fixture) -> Outcome {
    let name = fixture.foreign_volume();
    fixture.engine_cli().make_volume(&name).await?;
    let spec = fixture.volume_spec(&name);
    refused(fixture.volumes().ensure(&fixture.cx, &spec).await, ErrorKind::AlreadyExists);
    refused(fixture.volumes().remove(&fixture.cx, &name, &fixture.owner).await, ErrorKind::Conflict);
    assert_eq!(count(fixture, &name).await?, 1);
    Ok(())
}

async fn removing_a_used_one_is_conflict_naming_the_user(fixture: &Fixture) -> Outcome {
    let name = fixture.volume("data").await?;
    let mut plan = fixture.server();
    plan.mounts = vec![volume_mount(&name, "/data")];
    let id = fixture.create(&plan).await?;
    let error = refused(fixture.volumes().remove(&fixture.cx, &name, &fixture.owner).await, ErrorKind::Conflict);
    assert!(error.message().contains(&plan.name()) || error.message().contains(&id.0), "{error}");
    assert_eq!(count(fixture, &name).await?, 1);
    Ok(())
}

async fn removing_one_of_another_owner_is_conflict(fixture: &Fixture) -> Outcome {
    let name = fixture.volume("data").await?;
    let other = format!("{}-other", fixture.owner);
    let error = refused(fixture.volumes().remove(&fixture.cx, &name, &other).await, ErrorKind::Conflict);
    assert!(error.message().contains(&name), "{error}");
    assert_eq!(count(fixture, &name).await?, 1);
    Ok(())
}

async fn removing_an_absent_one_is_success(fixture: &Fixture) -> Outcome {
    Ok(fixture.volumes().remove(&fixture.cx, &format!("{}_nothing", fixture.service), &fixture.owner).await?)
}

async fn removing_takes_the_data(fixture: &Fixture) -> Outcome {
    let name = fixture.volume("data").await?;
    add(fixture, &name, 1).await?;
    fixture.volumes().remove(&fixture.cx, &name, &fixture.owner).await?;
    assert_eq!(count(fixture, &name).await?, 0);
    fixture.volume("data").await?;
    assert_eq!(add(fixture, &name, 2).await?, "");
    Ok(())
}

async fn an_instances_end_leaves_named_ones(fixture: &Fixture) -> Outcome {
    let name = fixture.volume("data").await?;
    add(fixture, &name, 1).await?;
    assert_eq!(count(fixture, &name).await?, 1);
    Ok(())
}
