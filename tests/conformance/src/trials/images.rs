//! Images in the engine and at registries.

use hythe_runtime::{ErrorKind, Feature, Image, InstanceRef, Progress, State};
use hythe_spec::{ImageRef, Platform};
use tokio::sync::mpsc;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Build, Can, Images, Logs, Push, Registry, RegistryAuth};
use crate::trial::trials;

trials! { "images":
    one_that_is_there_is_reported [Images],
    a_missing_one_is_not_found [Images],
    the_list_has_it [Images],
    a_tag_is_one_more_name [Images, Build],
    a_tag_of_a_missing_one_is_not_found [Images],
    removing_a_name_leaves_the_others [Images, Build],
    removing_an_absent_one_is_success [Images],
    removing_a_used_one_is_conflict [Images, Build],
    image_that_lost_its_name_is_unused_until_discarded [Images, Build],
    image_of_stopped_instance_is_not_unused_and_not_discarded [Images, Build],
    named_image_is_unused_but_not_discarded [Images, Build],
    discarding_absent_one_is_success [Images],
    a_pull_fetches_and_reports [Images, Registry, Build, Push],
    a_pull_of_what_is_there_is_success [Images, Registry, Build, Push],
    a_pull_for_this_host_says_so [Images, Registry, Can(Feature::Platform), Build, Push],
    an_image_for_this_host_runs [Images, Can(Feature::Platform), Build],
    two_pulls_at_once_both_succeed [Images, Registry, Build, Push],
    a_pull_of_an_absent_one_is_not_found [Images, Registry],
    a_pull_from_nowhere_is_unavailable [Images],
    pull_of_image_built_here_and_absent_is_not_found [Images],
    a_pull_without_credentials_is_unauthorized [Images, RegistryAuth],
    a_push_can_be_resolved_and_pulled_by_digest [Images, Registry, Logs, Build, Push],
    a_push_of_a_missing_one_is_not_found [Images, Registry, Push],
    resolving_an_absent_one_is_not_found [Images, Registry],
    resolving_from_nowhere_is_unavailable [Images],
    resolving_downloads_nothing [Images, Registry, Build, Push],
}

fn silent() -> mpsc::Sender<Progress> {
    mpsc::channel(1).0
}

fn parsed(text: String) -> ImageRef {
    text.parse().expect("a reference")
}

fn at_registry(fixture: &Fixture, path: &str) -> ImageRef {
    parsed(format!("{}/{path}", fixture.subject.registry.as_deref().unwrap_or_default()))
}

/// An image that no other trial has names for: engines shared by several of their own programs lose names given at once.
async fn own(fixture: &Fixture) -> Outcome<ImageRef> {
    super::build::built(fixture, &format!("ENV TRIAL={}\n", fixture.service)).await
}

/// An image of this trial under a name at the registry, pushed and no longer in the engine.
async fn published(fixture: &Fixture, word: &str) -> Outcome<ImageRef> {
    let registry = fixture.subject.registry.clone().unwrap_or_default();
    let (own, image) = (own(fixture).await?, fixture.image_at(&registry, word));
    fixture.images().tag(&fixture.cx, &own, &image).await?;
    fixture.images().push(&fixture.cx, &image, &silent()).await?;
    fixture.images().remove(&fixture.cx, &image).await?;
    fixture.images().remove(&fixture.cx, &own).await?;
    Ok(image)
}

async fn get(fixture: &Fixture, image: &ImageRef) -> Outcome<Image> {
    Ok(fixture.images().get(&fixture.cx, image).await?)
}

async fn one_that_is_there_is_reported(fixture: &Fixture) -> Outcome {
    let image = get(fixture, &fixture.subject.image).await?;
    assert!(image.id.starts_with("sha256:") && image.id.len() == 71, "{}", image.id);
    assert!(image.tags.contains(&fixture.subject.image.to_string()), "{:?}", image.tags);
    assert!(image.size > 0);
    Ok(())
}

async fn a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = parsed(format!("localhost/{}-absent:1", fixture.service));
    let error = refused(fixture.images().get(&fixture.cx, &missing).await, ErrorKind::NotFound);
    assert!(error.message().contains(&missing.path), "{error}");
    Ok(())
}

async fn the_list_has_it(fixture: &Fixture) -> Outcome {
    let all = fixture.images().list(&fixture.cx).await?;
    let own = get(fixture, &fixture.subject.image).await?;
    let found = all.iter().find(|image| image.id == own.id).expect("it is listed");
    assert!(found.tags.contains(&fixture.subject.image.to_string()));
    assert!(all.windows(2).all(|pair| pair[0].tags.first() <= pair[1].tags.first()), "not sorted");
    Ok(())
}

async fn a_tag_is_one_more_name(fixture: &Fixture) -> Outcome {
    let (first, name) = (own(fixture).await?, fixture.image_name("tagged"));
    fixture.images().tag(&fixture.cx, &first, &name).await?;
    let (tagged, own) = (get(fixture, &name).await?, get(fixture, &first).await?);
    assert_eq!(tagged.id, own.id);
    assert!(tagged.tags.contains(&name.to_string()) && own.tags.contains(&name.to_string()));
    Ok(())
}

async fn a_tag_of_a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = parsed(format!("localhost/{}-absent:1", fixture.service));
    let name = fixture.image_name("tagged");
    refused(fixture.images().tag(&fixture.cx, &missing, &name).await, ErrorKind::NotFound);
    Ok(())
}

async fn removing_a_name_leaves_the_others(fixture: &Fixture) -> Outcome {
    let (first, name) = (own(fixture).await?, fixture.image_name("tagged"));
    fixture.images().tag(&fixture.cx, &first, &name).await?;
    fixture.images().remove(&fixture.cx, &name).await?;
    refused(fixture.images().get(&fixture.cx, &name).await, ErrorKind::NotFound);
    get(fixture, &first).await?;
    Ok(())
}

async fn removing_an_absent_one_is_success(fixture: &Fixture) -> Outcome {
    let missing = parsed(format!("localhost/{}-absent:1", fixture.service));
    Ok(fixture.images().remove(&fixture.cx, &missing).await?)
}

async fn removing_a_used_one_is_conflict(fixture: &Fixture) -> Outcome {
    let image = super::build::built(fixture, "ENV USED=yes\n").await?;
    let mut plan = fixture.server();
    plan.image = image.clone();
    let id = fixture.run(&plan).await?;
    refused(fixture.images().remove(&fixture.cx, &image).await, ErrorKind::Conflict);
    fixture.stop(&id, 0).await?;
    fixture.remove(&id).await?;
    fixture.images().remove(&fixture.cx, &image).await?;
    Ok(())
}

/// Of this trial, without a name: another image has taken it.
async fn nameless(fixture: &Fixture) -> Outcome<Image> {
    let name = own(fixture).await?;
    let image = get(fixture, &name).await?;
    super::build::built(fixture, &format!("ENV NEWER={}\n", fixture.service)).await?;
    assert_ne!(get(fixture, &name).await?.id, image.id, "the name did not move");
    Ok(image)
}

async fn unused(fixture: &Fixture, id: &str) -> Outcome<Option<Image>> {
    Ok(fixture.images().unused(&fixture.cx).await?.into_iter().find(|image| image.id == id))
}

async fn image_that_lost_its_name_is_unused_until_discarded(fixture: &Fixture) -> Outcome {
    let image = nameless(fixture).await?;
    let found = unused(fixture, &image.id).await?.expect("it is unused");
    assert!(found.tags.is_empty() && found.size > 0, "{found:?}");
    assert!(fixture.images().list(&fixture.cx).await?.iter().all(|listed| listed.id != image.id), "it is listed");
    fixture.images().discard(&fixture.cx, &image.id).await?;
    assert_eq!(unused(fixture, &image.id).await?, None);
    get(fixture, &fixture.subject.image).await?;
    Ok(())
}

async fn image_of_stopped_instance_is_not_unused_and_not_discarded(fixture: &Fixture) -> Outcome {
    let name = own(fixture).await?;
    let image = get(fixture, &name).await?;
    let mut plan = fixture.server();
    plan.image = name;
    let id = fixture.run(&plan).await?;
    super::build::built(fixture, &format!("ENV NEWER={}\n", fixture.service)).await?;
    for stopped in [false, true] {
        if stopped {
            fixture.stop(&id, 0).await?;
        }
        assert_eq!(unused(fixture, &image.id).await?, None, "stopped: {stopped}");
        refused(fixture.images().discard(&fixture.cx, &image.id).await, ErrorKind::Conflict);
    }
    fixture.remove(&id).await?;
    assert!(unused(fixture, &image.id).await?.is_some());
    fixture.images().discard(&fixture.cx, &image.id).await?;
    Ok(())
}

async fn named_image_is_unused_but_not_discarded(fixture: &Fixture) -> Outcome {
    let name = own(fixture).await?;
    let image = get(fixture, &name).await?;
    let found = unused(fixture, &image.id).await?.expect("it is unused");
    assert_eq!(found.tags, [name.to_string()]);
    refused(fixture.images().discard(&fixture.cx, &image.id).await, ErrorKind::Conflict);
    get(fixture, &name).await?;
    Ok(())
}

async fn discarding_absent_one_is_success(fixture: &Fixture) -> Outcome {
    Ok(fixture.images().discard(&fixture.cx, &format!("sha256:{}", "0".repeat(64))).await?)
}

async fn a_pull_fetches_and_reports(fixture: &Fixture) -> Outcome {
    let image = published(fixture, "pulled").await?;
    refused(fixture.images().get(&fixture.cx, &image).await, ErrorKind::NotFound);
    let (progress, mut reports) = mpsc::channel(1_000);
    let pulled = fixture.images().pull(&fixture.cx, &image, None, &progress).await?;
    drop(progress);
    assert!(pulled.tags.contains(&image.to_string()), "{:?}", pulled.tags);
    assert_eq!(get(fixture, &image).await?.id, pulled.id);
    assert!(reports.recv().await.is_some(), "no progress at all");
    Ok(())
}

async fn a_pull_of_what_is_there_is_success(fixture: &Fixture) -> Outcome {
    let image = published(fixture, "pulled").await?;
    let first = fixture.images().pull(&fixture.cx, &image, None, &silent()).await?;
    let second = fixture.images().pull(&fixture.cx, &image, None, &silent()).await?;
    assert_eq!(first.id, second.id);
    Ok(())
}

async fn a_pull_for_this_host_says_so(fixture: &Fixture) -> Outcome {
    let (image, own) = (published(fixture, "platformed").await?, Platform::own());
    let pulled = fixture.images().pull(&fixture.cx, &image, Some(&own), &silent()).await?;
    assert_eq!(pulled.platform.as_ref(), Some(&own));
    assert_eq!(get(fixture, &image).await?.platform, Some(own));
    Ok(())
}

async fn an_image_for_this_host_runs(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.platform = Some(Platform::own());
    let id = fixture.run(&plan).await?;
    assert_eq!(fixture.runtime().inspect(&fixture.cx, &id.to_ref()).await?.state, State::Running);
    Ok(())
}

async fn two_pulls_at_once_both_succeed(fixture: &Fixture) -> Outcome {
    let image = published(fixture, "pulled").await?;
    let (one, two) = (silent(), silent());
    let (one, two) = tokio::join!(
        fixture.images().pull(&fixture.cx, &image, None, &one),
        fixture.images().pull(&fixture.cx, &image, None, &two)
    );
    assert_eq!(one?.id, two?.id);
    Ok(())
}

async fn a_pull_of_an_absent_one_is_not_found(fixture: &Fixture) -> Outcome {
    let absent = at_registry(fixture, "hythe-test:no-such-tag");
    refused(fixture.images().pull(&fixture.cx, &absent, None, &silent()).await, ErrorKind::NotFound);
    let absent = at_registry(fixture, "no-such-repository:1");
    refused(fixture.images().pull(&fixture.cx, &absent, None, &silent()).await, ErrorKind::NotFound);
    Ok(())
}

/// A registry that nobody serves.
fn nowhere() -> ImageRef {
    parsed("127.0.0.1:1/hythe-test:1".to_owned())
}

async fn a_pull_from_nowhere_is_unavailable(fixture: &Fixture) -> Outcome {
    let error = refused(fixture.images().pull(&fixture.cx, &nowhere(), None, &silent()).await, ErrorKind::Unavailable);
    assert!(error.message().contains("127.0.0.1:1"), "{error}");
    Ok(())
}

/// No registry is called `localhost`: asking for one would only tell that nothing listens there.
async fn pull_of_image_built_here_and_absent_is_not_found(fixture: &Fixture) -> Outcome {
    let absent = "localhost/hythe-trial-built-nowhere:1".parse()?;
    let error = refused(fixture.images().pull(&fixture.cx, &absent, None, &silent()).await, ErrorKind::NotFound);
    assert!(error.message().contains("localhost/hythe-trial-built-nowhere:1"), "{error}");
    Ok(())
}

async fn a_pull_without_credentials_is_unauthorized(fixture: &Fixture) -> Outcome {
    let image = parsed(format!("{}/hythe-test:1", fixture.subject.registry_auth.as_deref().unwrap_or_default()));
    refused(fixture.images().pull(&fixture.cx, &image, None, &silent()).await, ErrorKind::Unauthorized);
    refused(fixture.images().resolve(&fixture.cx, &image).await, ErrorKind::Unauthorized);
    Ok(())
}

async fn a_push_can_be_resolved_and_pulled_by_digest(fixture: &Fixture) -> Outcome {
    let image = published(fixture, "pushed").await?;
    let digest = fixture.images().resolve(&fixture.cx, &image).await?.digest;
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    let mut by_digest = image.clone();
    by_digest.tag = None;
    by_digest.digest = Some(digest.clone());
    let pulled = fixture.images().pull(&fixture.cx, &by_digest, None, &silent()).await?;
    assert!(pulled.digests.contains(&by_digest.to_string()), "{:?}", pulled.digests);
    let mut plan = fixture.script("echo runs");
    plan.image = by_digest.clone();
    assert_eq!(fixture.output(&plan).await?, "runs\n");
    let id = fixture.inspect(&InstanceRef::name(plan.name())).await?.id;
    fixture.remove(&id).await?;
    Ok(())
}

async fn a_push_of_a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = at_registry(fixture, &format!("{}-absent:1", fixture.service));
    refused(fixture.images().push(&fixture.cx, &missing, &silent()).await, ErrorKind::NotFound);
    Ok(())
}

async fn resolving_an_absent_one_is_not_found(fixture: &Fixture) -> Outcome {
    let absent = at_registry(fixture, "hythe-test:no-such-tag");
    refused(fixture.images().resolve(&fixture.cx, &absent).await, ErrorKind::NotFound);
    Ok(())
}

async fn resolving_from_nowhere_is_unavailable(fixture: &Fixture) -> Outcome {
    refused(fixture.images().resolve(&fixture.cx, &nowhere()).await, ErrorKind::Unavailable);
    Ok(())
}

async fn resolving_downloads_nothing(fixture: &Fixture) -> Outcome {
    let image = published(fixture, "resolved").await?;
    fixture.images().resolve(&fixture.cx, &image).await?;
    refused(fixture.images().get(&fixture.cx, &image).await, ErrorKind::NotFound);
    Ok(())
}
