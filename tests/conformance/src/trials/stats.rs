//! Resource use.

use std::time::Duration;

use hythe_runtime::{ErrorKind, Feature, InstanceId, InstanceRef, Stats as StatsFacet, StatsSample};
use hythe_spec::ByteSize;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, Real, Stats};
use crate::trial::trials;

trials! { "stats":
    a_running_one_uses_something [Stats],
    a_busy_one_uses_more [Real, Stats],
    the_limit_is_reported [Stats, Can(Feature::MemoryLimit)],
    a_missing_one_is_not_found [Stats],
    one_that_does_not_run_is_conflict [Stats],
}

fn facet(fixture: &Fixture) -> &dyn StatsFacet {
    fixture.runtime().stats().expect("the facet")
}

async fn sample(fixture: &Fixture, id: &InstanceId) -> Outcome<StatsSample> {
    Ok(facet(fixture).sample(&fixture.cx, &id.to_ref()).await?)
}

async fn a_running_one_uses_something(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sample = sample(fixture, &id).await?;
    assert!(sample.cpu_nanos > 0 && sample.memory_bytes > 0, "{sample:?}");
    assert!(sample.memory_bytes < 1 << 30, "{sample:?}");
    assert!(sample.pids.is_none_or(|pids| (1..20).contains(&pids)), "{sample:?}");
    Ok(())
}

async fn a_busy_one_uses_more(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("while :; do :; done")).await?;
    let before = sample(fixture, &id).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = sample(fixture, &id).await?;
    let used = Duration::from_nanos(after.cpu_nanos - before.cpu_nanos);
    assert!(used > Duration::from_millis(100), "{used:?}");
    Ok(())
}

async fn the_limit_is_reported(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.resources.memory = Some(ByteSize(64 << 20));
    let id = fixture.run(&plan).await?;
    assert_eq!(sample(fixture, &id).await?.memory_limit, Some(64 << 20));
    Ok(())
}

async fn a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    refused(facet(fixture).sample(&fixture.cx, &missing).await, ErrorKind::NotFound);
    Ok(())
}

async fn one_that_does_not_run_is_conflict(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.server()).await?;
    refused(facet(fixture).sample(&fixture.cx, &id.to_ref()).await, ErrorKind::Conflict);
    Ok(())
}
