//! Resource use.

use std::time::Duration;

use hythe_runtime::{ErrorKind, Feature, InstanceId, Stats as StatsFacet, StatsSample};
use hythe_spec::ByteSize;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Can, Real, Stats};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "stats":
    a_running_one_uses_something [Stats],
    a_busy_one_uses_more [Real, Stats],
    the_limit_is_told [Stats, Can(Feature::MemoryLimit)],
    a_missing_one_is_not_found [Stats],
    one_that_does_not_run_is_conflict [Stats],
}

fn facet(scene: &Scene) -> &dyn StatsFacet {
    scene.runtime().stats().expect("the facet")
}

async fn sample(scene: &Scene, id: &InstanceId) -> Outcome<StatsSample> {
    Ok(facet(scene).sample(&scene.cx, id).await?)
}

async fn a_running_one_uses_something(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.server()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sample = sample(scene, &id).await?;
    assert!(sample.cpu_nanos > 0 && sample.memory_bytes > 0, "{sample:?}");
    assert!(sample.memory_bytes < 1 << 30, "{sample:?}");
    assert!(sample.pids.is_none_or(|pids| (1..20).contains(&pids)), "{sample:?}");
    Ok(())
}

async fn a_busy_one_uses_more(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.script("while :; do :; done")).await?;
    let before = sample(scene, &id).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = sample(scene, &id).await?;
    let used = Duration::from_nanos(after.cpu_nanos - before.cpu_nanos);
    assert!(used > Duration::from_millis(100), "{used:?}");
    Ok(())
}

async fn the_limit_is_told(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.resources.memory = Some(ByteSize(64 << 20));
    let id = scene.run(&plan).await?;
    assert_eq!(sample(scene, &id).await?.memory_limit, Some(64 << 20));
    Ok(())
}

async fn a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = InstanceId(format!("{}-nothing", scene.service));
    refused(facet(scene).sample(&scene.cx, &missing).await, ErrorKind::NotFound);
    Ok(())
}

async fn one_that_does_not_run_is_conflict(scene: &Scene) -> Outcome {
    let id = scene.create(&scene.server()).await?;
    refused(facet(scene).sample(&scene.cx, &id).await, ErrorKind::Conflict);
    Ok(())
}
