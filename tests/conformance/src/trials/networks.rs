//! The networks facet.

use futures_util::future::try_join_all;
use hythe_runtime::ErrorKind;
use hythe_runtime::identity::OWNER;

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, connected};
use crate::need::Need::{EngineCli, Networks};
use crate::trial::trials;

trials! { "networks":
    one_is_made_with_its_labels [Networks],
    making_it_twice_is_success [Networks],
    racing_makers_make_one [Networks],
    one_of_another_owner_is_refused [Networks],
    a_foreign_one_is_refused_and_left_alone [Networks, EngineCli],
    removing_a_used_one_is_conflict [Networks],
    removing_one_of_another_owner_is_conflict [Networks],
    removing_an_absent_one_is_success [Networks],
    the_list_is_sorted [Networks],
}

async fn count(fixture: &Fixture, name: &str) -> Outcome<usize> {
    let networks = fixture.networks().list(&fixture.cx).await?;
    Ok(networks.iter().filter(|network| network.name == name).count())
}

async fn one_is_made_with_its_labels(fixture: &Fixture) -> Outcome {
    let name = fixture.network("net").await?;
    let networks = fixture.networks().list(&fixture.cx).await?;
    let made = networks.iter().find(|network| network.name == name).expect("it is listed");
    assert_eq!(made.labels.get(OWNER), Some(&fixture.owner));
    assert!(!made.subnets.is_empty() && made.subnets.iter().all(|subnet| subnet.contains('/')), "{made:?}");
    Ok(())
}

async fn making_it_twice_is_success(fixture: &Fixture) -> Outcome {
    let name = fixture.network("net").await?;
    fixture.network("net").await?;
    assert_eq!(count(fixture, &name).await?, 1);
    Ok(())
}

async fn racing_makers_make_one(fixture: &Fixture) -> Outcome {
    let names = try_join_all((0..4).map(|_| fixture.network("net"))).await?;
    assert_eq!(count(fixture, &names[0]).await?, 1);
    Ok(())
}

async fn one_of_another_owner_is_refused(fixture: &Fixture) -> Outcome {
    let name = fixture.network("net").await?;
    let mut spec = fixture.network_spec(&name);
    spec.labels.insert(OWNER.to_owned(), format!("{}-other", fixture.owner));
    let error = refused(fixture.networks().ensure(&fixture.cx, &spec).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&name), "{error}");
    Ok(())
}

async fn a_foreign_one_is_refused_and_left_alone(fixture: &Fixture) -> Outcome {
    let name = fixture.foreign_network();
    fixture.engine_cli().make_network(&name).await?;
    let spec = fixture.network_spec(&name);
    refused(fixture.networks().ensure(&fixture.cx, &spec).await, ErrorKind::AlreadyExists);
    refused(fixture.networks().remove(&fixture.cx, &name, &fixture.owner).await, ErrorKind::Conflict);
    let networks = fixture.networks().list(&fixture.cx).await?;
    let foreign = networks.iter().find(|network| network.name == name).expect("it is listed");
    assert_eq!(foreign.labels.get(OWNER), None);
    Ok(())
}

async fn removing_a_used_one_is_conflict(fixture: &Fixture) -> Outcome {
    let name = fixture.network("net").await?;
    let mut plan = fixture.server();
    plan.network = connected(&[&name], "web");
    let id = fixture.run(&plan).await?;
    refused(fixture.networks().remove(&fixture.cx, &name, &fixture.owner).await, ErrorKind::Conflict);
    assert_eq!(count(fixture, &name).await?, 1);
    fixture.stop(&id, 0).await?;
    fixture.remove(&id).await?;
    fixture.networks().remove(&fixture.cx, &name, &fixture.owner).await?;
    assert_eq!(count(fixture, &name).await?, 0);
    Ok(())
}

async fn removing_one_of_another_owner_is_conflict(fixture: &Fixture) -> Outcome {
    let name = fixture.network("net").await?;
    let other = format!("{}-other", fixture.owner);
    let error = refused(fixture.networks().remove(&fixture.cx, &name, &other).await, ErrorKind::Conflict);
    assert!(error.message().contains(&name), "{error}");
    assert_eq!(count(fixture, &name).await?, 1);
    Ok(())
}

async fn removing_an_absent_one_is_success(fixture: &Fixture) -> Outcome {
    Ok(fixture.networks().remove(&fixture.cx, &format!("{}-nothing", fixture.service), &fixture.owner).await?)
}

async fn the_list_is_sorted(fixture: &Fixture) -> Outcome {
    for word in ["c", "a", "b"] {
        fixture.network(word).await?;
    }
    let networks = fixture.networks().list(&fixture.cx).await?;
    assert!(networks.windows(2).all(|pair| pair[0].name <= pair[1].name));
    Ok(())
}
