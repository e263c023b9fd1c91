//! Looking: inspect and list.

use hythe_runtime::{ErrorKind, Filter, InstanceId, State};

use crate::failure::{Outcome, refused};
use crate::need::Need::Outside;
use crate::scene::Scene;
use crate::trial::trials;

trials! { "listing":
    inspect_by_id_and_by_name_agree [],
    a_missing_one_is_not_found [],
    the_name_of_an_image_is_no_instance [],
    part_of_a_name_is_no_instance [],
    list_follows_create_and_remove_at_once [],
    list_is_filtered_by_labels [],
    list_is_sorted_by_name [],
    list_tells_how_it_ended [],
    list_and_inspect_agree [],
    foreign_ones_are_shown_without_identity [Outside],
    many_looks_at_once [],
}

async fn inspect_by_id_and_by_name_agree(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let id = scene.run(&plan).await?;
    let by_name = scene.inspect(&InstanceId(plan.name())).await?;
    assert_eq!(by_name.id, id);
    assert_eq!(scene.inspect(&id).await?, by_name);
    Ok(())
}

async fn a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = InstanceId(format!("{}-nothing", scene.service));
    let error = refused(scene.runtime().inspect(&scene.cx, &missing).await, ErrorKind::NotFound);
    assert!(!error.is_temporary());
    assert!(error.message().contains(&missing.0), "{error}");
    Ok(())
}

async fn the_name_of_an_image_is_no_instance(scene: &Scene) -> Outcome {
    let image = InstanceId(scene.subject.image.to_string());
    refused(scene.runtime().inspect(&scene.cx, &image).await, ErrorKind::NotFound);
    Ok(())
}

async fn part_of_a_name_is_no_instance(scene: &Scene) -> Outcome {
    scene.create(&scene.server()).await?;
    let part = InstanceId(format!("{}-web", scene.service));
    refused(scene.runtime().inspect(&scene.cx, &part).await, ErrorKind::NotFound);
    Ok(())
}

async fn list_follows_create_and_remove_at_once(scene: &Scene) -> Outcome {
    let plan = scene.server();
    assert!(scene.names().await?.is_empty());
    let id = scene.create(&plan).await?;
    assert_eq!(scene.names().await?, [plan.name()]);
    scene.remove(&id).await?;
    assert!(scene.names().await?.is_empty());
    Ok(())
}

async fn list_is_filtered_by_labels(scene: &Scene) -> Outcome {
    let mut colours = Vec::new();
    for (attempt, colour) in [(1, "red"), (2, "blue"), (3, "red")] {
        let mut plan = scene.server();
        plan.identity.attempt = attempt;
        plan.labels.insert("colour".to_owned(), colour.to_owned());
        scene.create(&plan).await?;
        colours.push(plan.name());
    }
    let mut filter = Filter::owned_by(&scene.owner);
    filter.labels.insert("colour".to_owned(), "red".to_owned());
    let rows = scene.runtime().list(&scene.cx, &filter).await?;
    let names: Vec<&String> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names, [&colours[0], &colours[2]]);
    filter.labels.insert("colour".to_owned(), "re".to_owned());
    assert!(scene.runtime().list(&scene.cx, &filter).await?.is_empty(), "half a value matched");
    Ok(())
}

async fn list_is_sorted_by_name(scene: &Scene) -> Outcome {
    for attempt in [3, 1, 2] {
        let mut plan = scene.server();
        plan.identity.attempt = attempt;
        scene.create(&plan).await?;
    }
    let names = scene.names().await?;
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!((names.len(), &names), (3, &sorted));
    Ok(())
}

async fn list_tells_how_it_ended(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.script("exit 7")).await?;
    scene.until_exited(&id).await?;
    let rows = scene.runtime().list(&scene.cx, &Filter::owned_by(&scene.owner)).await?;
    assert_eq!(rows[0].state, State::Exited);
    // Not every list carries the code; one that does must be right.
    assert!(rows[0].exit_code.is_none_or(|code| code == 7), "{:?}", rows[0]);
    Ok(())
}

async fn list_and_inspect_agree(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.labels.insert("note".to_owned(), "a, b = \"c\"".to_owned());
    let id = scene.run(&plan).await?;
    let rows = scene.runtime().list(&scene.cx, &Filter::owned_by(&scene.owner)).await?;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let observed = scene.inspect(&id).await?;
    assert_eq!((&row.id, &row.name, row.state), (&observed.id, &observed.name, observed.state));
    assert_eq!((&row.labels, &row.identity), (&observed.labels, &observed.identity));
    assert_eq!((&row.ports, &row.image), (&observed.ports, &observed.image));
    Ok(())
}

async fn foreign_ones_are_shown_without_identity(scene: &Scene) -> Outcome {
    let name = scene.foreign_instance(format!("{}-foreign", scene.service));
    scene.outside().run_foreign(&name, &scene.subject.image).await?;
    let rows = scene.runtime().list(&scene.cx, &Filter::default()).await?;
    let row = rows.iter().find(|row| row.name == name).expect("it is listed");
    assert_eq!((row.state, &row.identity), (State::Running, &None));
    assert_eq!(scene.inspect(&InstanceId(name)).await?.identity, None);
    assert!(scene.names().await?.is_empty(), "it is taken for ours");
    Ok(())
}

async fn many_looks_at_once(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.server()).await?;
    let looks = futures_util::future::try_join_all((0..12).map(|_| scene.inspect(&id))).await?;
    assert!(looks.iter().all(|observed| observed.state == State::Running));
    Ok(())
}
