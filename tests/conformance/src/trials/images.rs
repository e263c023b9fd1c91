//! Images in the engine and at registries.

use hythe_runtime::{ErrorKind, Image, Progress};
use hythe_spec::ImageRef;
use tokio::sync::mpsc;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Images, Logs, Registry, RegistryAuth};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "images":
    one_that_is_there_is_told [Images],
    a_missing_one_is_not_found [Images],
    the_list_has_it [Images],
    a_tag_is_one_more_name [Images],
    a_tag_of_a_missing_one_is_not_found [Images],
    removing_a_name_leaves_the_others [Images],
    removing_an_absent_one_is_success [Images],
    removing_a_used_one_is_conflict [Images],
    a_pull_fetches_and_reports [Images, Registry],
    a_pull_of_what_is_there_is_success [Images, Registry],
    two_pulls_at_once_both_succeed [Images, Registry],
    a_pull_of_an_absent_one_is_not_found [Images, Registry],
    a_pull_from_nowhere_is_unavailable [Images],
    a_pull_without_credentials_is_unauthorized [Images, RegistryAuth],
    a_push_can_be_resolved_and_pulled_by_digest [Images, Registry, Logs],
    a_push_of_a_missing_one_is_not_found [Images, Registry],
    resolving_an_absent_one_is_not_found [Images, Registry],
    resolving_from_nowhere_is_unavailable [Images],
    resolving_downloads_nothing [Images, Registry],
}

fn silent() -> mpsc::Sender<Progress> {
    mpsc::channel(1).0
}

fn parsed(text: String) -> ImageRef {
    text.parse().expect("a reference")
}

fn at_registry(scene: &Scene, path: &str) -> ImageRef {
    parsed(format!("{}/{path}", scene.subject.registry.as_deref().unwrap_or_default()))
}

/// An image that no other trial has names for: engines shared by several of their own programs lose names given at once.
async fn own(scene: &Scene) -> Outcome<ImageRef> {
    super::build::built(scene, &format!("ENV TRIAL={}\n", scene.service)).await
}

/// An image of this trial under a name at the registry, pushed and no longer in the engine.
async fn published(scene: &Scene, word: &str) -> Outcome<ImageRef> {
    let registry = scene.subject.registry.clone().unwrap_or_default();
    let (own, image) = (own(scene).await?, scene.image_at(&registry, word));
    scene.images().tag(&scene.cx, &own, &image).await?;
    scene.images().push(&scene.cx, &image, &silent()).await?;
    scene.images().remove(&scene.cx, &image).await?;
    scene.images().remove(&scene.cx, &own).await?;
    Ok(image)
}

async fn get(scene: &Scene, image: &ImageRef) -> Outcome<Image> {
    Ok(scene.images().get(&scene.cx, image).await?)
}

async fn one_that_is_there_is_told(scene: &Scene) -> Outcome {
    let image = get(scene, &scene.subject.image).await?;
    assert!(image.id.starts_with("sha256:") && image.id.len() == 71, "{}", image.id);
    assert!(image.tags.contains(&scene.subject.image.to_string()), "{:?}", image.tags);
    assert!(image.size > 0);
    Ok(())
}

async fn a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = parsed(format!("localhost/{}-absent:1", scene.service));
    let error = refused(scene.images().get(&scene.cx, &missing).await, ErrorKind::NotFound);
    assert!(error.message().contains(&missing.path), "{error}");
    Ok(())
}

async fn the_list_has_it(scene: &Scene) -> Outcome {
    let all = scene.images().list(&scene.cx).await?;
    let own = get(scene, &scene.subject.image).await?;
    let found = all.iter().find(|image| image.id == own.id).expect("it is listed");
    assert!(found.tags.contains(&scene.subject.image.to_string()));
    assert!(all.windows(2).all(|pair| pair[0].tags.first() <= pair[1].tags.first()), "not sorted");
    Ok(())
}

async fn a_tag_is_one_more_name(scene: &Scene) -> Outcome {
    let (first, name) = (own(scene).await?, scene.image_name("tagged"));
    scene.images().tag(&scene.cx, &first, &name).await?;
    let (tagged, own) = (get(scene, &name).await?, get(scene, &first).await?);
    assert_eq!(tagged.id, own.id);
    assert!(tagged.tags.contains(&name.to_string()) && own.tags.contains(&name.to_string()));
    Ok(())
}

async fn a_tag_of_a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = parsed(format!("localhost/{}-absent:1", scene.service));
    let name = scene.image_name("tagged");
    refused(scene.images().tag(&scene.cx, &missing, &name).await, ErrorKind::NotFound);
    Ok(())
}

async fn removing_a_name_leaves_the_others(scene: &Scene) -> Outcome {
    let (first, name) = (own(scene).await?, scene.image_name("tagged"));
    scene.images().tag(&scene.cx, &first, &name).await?;
    scene.images().remove(&scene.cx, &name).await?;
    refused(scene.images().get(&scene.cx, &name).await, ErrorKind::NotFound);
    get(scene, &first).await?;
    Ok(())
}

async fn removing_an_absent_one_is_success(scene: &Scene) -> Outcome {
    let missing = parsed(format!("localhost/{}-absent:1", scene.service));
    Ok(scene.images().remove(&scene.cx, &missing).await?)
}

async fn removing_a_used_one_is_conflict(scene: &Scene) -> Outcome {
    let image = super::build::built(scene, "ENV USED=yes\n").await?;
    let mut plan = scene.server();
    plan.image = image.clone();
    let id = scene.run(&plan).await?;
    refused(scene.images().remove(&scene.cx, &image).await, ErrorKind::Conflict);
    scene.stop(&id, 0).await?;
    scene.remove(&id).await?;
    scene.images().remove(&scene.cx, &image).await?;
    Ok(())
}

async fn a_pull_fetches_and_reports(scene: &Scene) -> Outcome {
    let image = published(scene, "pulled").await?;
    refused(scene.images().get(&scene.cx, &image).await, ErrorKind::NotFound);
    let (progress, mut reports) = mpsc::channel(1_000);
    let pulled = scene.images().pull(&scene.cx, &image, &progress).await?;
    drop(progress);
    assert!(pulled.tags.contains(&image.to_string()), "{:?}", pulled.tags);
    assert_eq!(get(scene, &image).await?.id, pulled.id);
    assert!(reports.recv().await.is_some(), "no progress at all");
    Ok(())
}

async fn a_pull_of_what_is_there_is_success(scene: &Scene) -> Outcome {
    let image = published(scene, "pulled").await?;
    let first = scene.images().pull(&scene.cx, &image, &silent()).await?;
    let second = scene.images().pull(&scene.cx, &image, &silent()).await?;
    assert_eq!(first.id, second.id);
    Ok(())
}

async fn two_pulls_at_once_both_succeed(scene: &Scene) -> Outcome {
    let image = published(scene, "pulled").await?;
    let (one, two) = (silent(), silent());
    let (one, two) =
        tokio::join!(scene.images().pull(&scene.cx, &image, &one), scene.images().pull(&scene.cx, &image, &two));
    assert_eq!(one?.id, two?.id);
    Ok(())
}

async fn a_pull_of_an_absent_one_is_not_found(scene: &Scene) -> Outcome {
    let absent = at_registry(scene, "hythe-test:no-such-tag");
    refused(scene.images().pull(&scene.cx, &absent, &silent()).await, ErrorKind::NotFound);
    let absent = at_registry(scene, "no-such-repository:1");
    refused(scene.images().pull(&scene.cx, &absent, &silent()).await, ErrorKind::NotFound);
    Ok(())
}

/// A registry that nobody serves.
fn nowhere() -> ImageRef {
    parsed("127.0.0.1:1/hythe-test:1".to_owned())
}

async fn a_pull_from_nowhere_is_unavailable(scene: &Scene) -> Outcome {
    let error = refused(scene.images().pull(&scene.cx, &nowhere(), &silent()).await, ErrorKind::Unavailable);
    assert!(error.message().contains("127.0.0.1:1"), "{error}");
    Ok(())
}

async fn a_pull_without_credentials_is_unauthorized(scene: &Scene) -> Outcome {
    let image = parsed(format!("{}/hythe-test:1", scene.subject.registry_auth.as_deref().unwrap_or_default()));
    refused(scene.images().pull(&scene.cx, &image, &silent()).await, ErrorKind::Unauthorized);
    refused(scene.images().resolve(&scene.cx, &image).await, ErrorKind::Unauthorized);
    Ok(())
}

async fn a_push_can_be_resolved_and_pulled_by_digest(scene: &Scene) -> Outcome {
    let image = published(scene, "pushed").await?;
    let digest = scene.images().resolve(&scene.cx, &image).await?.digest;
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    let mut by_digest = image.clone();
    by_digest.tag = None;
    by_digest.digest = Some(digest.clone());
    let pulled = scene.images().pull(&scene.cx, &by_digest, &silent()).await?;
    assert!(pulled.digests.contains(&by_digest.to_string()), "{:?}", pulled.digests);
    let mut plan = scene.script("echo runs");
    plan.image = by_digest.clone();
    assert_eq!(scene.output(&plan).await?, "runs\n");
    let id = scene.inspect(&hythe_runtime::InstanceId(plan.name())).await?.id;
    scene.remove(&id).await?;
    Ok(())
}

async fn a_push_of_a_missing_one_is_not_found(scene: &Scene) -> Outcome {
    let missing = at_registry(scene, &format!("{}-absent:1", scene.service));
    refused(scene.images().push(&scene.cx, &missing, &silent()).await, ErrorKind::NotFound);
    Ok(())
}

async fn resolving_an_absent_one_is_not_found(scene: &Scene) -> Outcome {
    let absent = at_registry(scene, "hythe-test:no-such-tag");
    refused(scene.images().resolve(&scene.cx, &absent).await, ErrorKind::NotFound);
    Ok(())
}

async fn resolving_from_nowhere_is_unavailable(scene: &Scene) -> Outcome {
    refused(scene.images().resolve(&scene.cx, &nowhere()).await, ErrorKind::Unavailable);
    Ok(())
}

async fn resolving_downloads_nothing(scene: &Scene) -> Outcome {
    let image = published(scene, "resolved").await?;
    scene.images().resolve(&scene.cx, &image).await?;
    refused(scene.images().get(&scene.cx, &image).await, ErrorKind::NotFound);
    Ok(())
}
