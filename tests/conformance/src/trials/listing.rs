//! Looking: inspect and list.

use std::time::Duration;

use hythe_runtime::{ErrorKind, Filter, InstanceRef, State, Stop};
use hythe_spec::Signal;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::EngineCli;
use crate::trial::trials;

trials! { "listing":
    inspect_by_id_and_by_name_agree [],
    a_missing_one_is_not_found [],
    the_name_of_an_image_is_no_instance [],
    part_of_a_name_is_no_instance [],
    part_of_an_id_is_no_instance [],
    list_follows_create_and_remove_at_once [],
    list_is_filtered_by_labels [],
    list_is_sorted_by_name [],
    list_reports_how_it_ended [],
    list_and_inspect_agree [],
    foreign_ones_are_shown_without_identity [EngineCli],
    many_looks_at_once [],
}

async fn inspect_by_id_and_by_name_agree(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let id = fixture.run(&plan).await?;
    let by_name = fixture.inspect(&InstanceRef::name(plan.name())).await?;
    assert_eq!(by_name.id, id);
    assert_eq!(fixture.inspect(&id).await?, by_name);
    Ok(())
}

async fn a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    let error = refused(fixture.runtime().inspect(&fixture.cx, &missing).await, ErrorKind::NotFound);
    assert!(!error.is_temporary());
    assert!(error.message().contains(missing.as_str()), "{error}");
    Ok(())
}

async fn the_name_of_an_image_is_no_instance(fixture: &Fixture) -> Outcome {
    let image = InstanceRef::name(fixture.subject.image.to_string());
    refused(fixture.runtime().inspect(&fixture.cx, &image).await, ErrorKind::NotFound);
    Ok(())
}

async fn part_of_a_name_is_no_instance(fixture: &Fixture) -> Outcome {
    fixture.create(&fixture.server()).await?;
    let part = InstanceRef::name(format!("{}-web", fixture.service));
    refused(fixture.runtime().inspect(&fixture.cx, &part).await, ErrorKind::NotFound);
    Ok(())
}

async fn part_of_an_id_is_no_instance(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let id = fixture.run(&plan).await?;
    let part: String = id.0.chars().take(12).collect();
    let how = Stop { signal: None, grace: Duration::ZERO };
    for wrong in
        [InstanceRef::name(&part), InstanceRef::id(&part), InstanceRef::name(&id.0), InstanceRef::id(plan.name())]
    {
        refused(fixture.runtime().inspect(&fixture.cx, &wrong).await, ErrorKind::NotFound);
        refused(fixture.runtime().start(&fixture.cx, &wrong).await, ErrorKind::NotFound);
        refused(fixture.runtime().stop(&fixture.cx, &wrong, &how).await, ErrorKind::NotFound);
        refused(fixture.runtime().signal(&fixture.cx, &wrong, Signal::KILL).await, ErrorKind::NotFound);
        fixture.remove(&wrong).await?;
    }
    assert_eq!(fixture.state(&id).await?, State::Running);
    Ok(())
}

async fn list_follows_create_and_remove_at_once(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    assert!(fixture.names().await?.is_empty());
    let id = fixture.create(&plan).await?;
    assert_eq!(fixture.names().await?, [plan.name()]);
    fixture.remove(&id).await?;
    assert!(fixture.names().await?.is_empty());
    Ok(())
}

async fn list_is_filtered_by_labels(fixture: &Fixture) -> Outcome {
    let mut colours = Vec::new();
    for (attempt, colour) in [(1, "red"), (2, "blue"), (3, "red")] {
        let mut plan = fixture.server();
        plan.identity.attempt = attempt;
        plan.annotations.insert("colour".to_owned(), colour.to_owned());
        fixture.create(&plan).await?;
        colours.push(plan.name());
    }
    let mut filter = Filter::owned_by(&fixture.owner);
    filter.labels.insert("colour".to_owned(), "red".to_owned());
    let rows = fixture.runtime().list(&fixture.cx, &filter).await?;
    let names: Vec<&String> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names, [&colours[0], &colours[2]]);
    filter.labels.insert("colour".to_owned(), "re".to_owned());
    assert!(fixture.runtime().list(&fixture.cx, &filter).await?.is_empty(), "half a value matched");
    Ok(())
}

async fn list_is_sorted_by_name(fixture: &Fixture) -> Outcome {
    for attempt in [3, 1, 2] {
        let mut plan = fixture.server();
        plan.identity.attempt = attempt;
        fixture.create(&plan).await?;
    }
    let names = fixture.names().await?;
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!((names.len(), &names), (3, &sorted));
    Ok(())
}

async fn list_reports_how_it_ended(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("exit 7")).await?;
    fixture.until_exited(&id).await?;
    let rows = fixture.runtime().list(&fixture.cx, &Filter::owned_by(&fixture.owner)).await?;
    assert_eq!(rows[0].state, State::Exited);
    // Not every list carries the code; one that does must be right.
    assert!(rows[0].exit_code.is_none_or(|code| code == 7), "{:?}", rows[0]);
    Ok(())
}

async fn list_and_inspect_agree(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.annotations.insert("note".to_owned(), "a, b = \"c\"".to_owned());
    let id = fixture.run(&plan).await?;
    let rows = fixture.runtime().list(&fixture.cx, &Filter::owned_by(&fixture.owner)).await?;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let observed = fixture.inspect(&id).await?;
    assert_eq!((&row.id, &row.name, row.state), (&observed.id, &observed.name, observed.state));
    assert_eq!((&row.labels, &row.identity), (&observed.labels, &observed.identity));
    assert_eq!((&row.ports, &row.image), (&observed.ports, &observed.image));
    Ok(())
}

async fn foreign_ones_are_shown_without_identity(fixture: &Fixture) -> Outcome {
    let name = fixture.foreign_instance(format!("{}-foreign", fixture.service));
    fixture.engine_cli().run_foreign(&name, &fixture.subject.image).await?;
    let rows = fixture.runtime().list(&fixture.cx, &Filter::default()).await?;
    let row = rows.iter().find(|row| row.name == name).expect("it is listed");
    assert_eq!((row.state, &row.identity), (State::Running, &None));
    assert_eq!(fixture.inspect(&InstanceRef::name(name)).await?.identity, None);
    assert!(fixture.names().await?.is_empty(), "it is taken for ours");
    Ok(())
}

async fn many_looks_at_once(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let looks = futures_util::future::try_join_all((0..12).map(|_| fixture.inspect(&id))).await?;
    assert!(looks.iter().all(|observed| observed.state == State::Running));
    Ok(())
}
