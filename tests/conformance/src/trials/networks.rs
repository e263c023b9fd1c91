//! The networks facet.

use futures_util::future::try_join_all;
use hythe_runtime::ErrorKind;
use hythe_runtime::identity::OWNER;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Networks, Outside};
use crate::scene::{Scene, connected};
use crate::trial::trials;

trials! { "networks":
    one_is_made_with_its_labels [Networks],
    making_it_twice_is_success [Networks],
    racing_makers_make_one [Networks],
    one_of_another_owner_is_refused [Networks],
    a_foreign_one_is_refused_and_left_alone [Networks, Outside],
    removing_a_used_one_is_conflict [Networks],
    removing_an_absent_one_is_success [Networks],
    the_list_is_sorted [Networks],
}

async fn count(scene: &Scene, name: &str) -> Outcome<usize> {
    let networks = scene.networks().list(&scene.cx).await?;
    Ok(networks.iter().filter(|network| network.name == name).count())
}

async fn one_is_made_with_its_labels(scene: &Scene) -> Outcome {
    let name = scene.network("net").await?;
    let networks = scene.networks().list(&scene.cx).await?;
    let made = networks.iter().find(|network| network.name == name).expect("it is listed");
    assert_eq!(made.labels.get(OWNER), Some(&scene.owner));
    assert!(!made.subnets.is_empty() && made.subnets.iter().all(|subnet| subnet.contains('/')), "{made:?}");
    Ok(())
}

async fn making_it_twice_is_success(scene: &Scene) -> Outcome {
    let name = scene.network("net").await?;
    scene.network("net").await?;
    assert_eq!(count(scene, &name).await?, 1);
    Ok(())
}

async fn racing_makers_make_one(scene: &Scene) -> Outcome {
    let names = try_join_all((0..4).map(|_| scene.network("net"))).await?;
    assert_eq!(count(scene, &names[0]).await?, 1);
    Ok(())
}

async fn one_of_another_owner_is_refused(scene: &Scene) -> Outcome {
    let name = scene.network("net").await?;
    let mut spec = scene.network_spec(&name);
    spec.labels.insert(OWNER.to_owned(), format!("{}-other", scene.owner));
    let error = refused(scene.networks().ensure(&scene.cx, &spec).await, ErrorKind::AlreadyExists);
    assert!(error.message().contains(&name), "{error}");
    Ok(())
}

async fn a_foreign_one_is_refused_and_left_alone(scene: &Scene) -> Outcome {
    let name = scene.foreign_network();
    scene.outside().make_network(&name).await?;
    let spec = scene.network_spec(&name);
    refused(scene.networks().ensure(&scene.cx, &spec).await, ErrorKind::AlreadyExists);
    let networks = scene.networks().list(&scene.cx).await?;
    let foreign = networks.iter().find(|network| network.name == name).expect("it is listed");
    assert_eq!(foreign.labels.get(OWNER), None);
    Ok(())
}

async fn removing_a_used_one_is_conflict(scene: &Scene) -> Outcome {
    let name = scene.network("net").await?;
    let mut plan = scene.server();
    plan.network = connected(&[&name], "web");
    let id = scene.run(&plan).await?;
    refused(scene.networks().remove(&scene.cx, &name).await, ErrorKind::Conflict);
    assert_eq!(count(scene, &name).await?, 1);
    scene.stop(&id, 0).await?;
    scene.remove(&id).await?;
    scene.networks().remove(&scene.cx, &name).await?;
    assert_eq!(count(scene, &name).await?, 0);
    Ok(())
}

async fn removing_an_absent_one_is_success(scene: &Scene) -> Outcome {
    Ok(scene.networks().remove(&scene.cx, &format!("{}-nothing", scene.service)).await?)
}

async fn the_list_is_sorted(scene: &Scene) -> Outcome {
    for word in ["c", "a", "b"] {
        scene.network(word).await?;
    }
    let networks = scene.networks().list(&scene.cx).await?;
    assert!(networks.windows(2).all(|pair| pair[0].name <= pair[1].name));
    Ok(())
}
