//! Building images.

use std::path::Path;

use hythe_runtime::{BuildOutput, BuildRequest, Error, ErrorKind, Progress};
use hythe_spec::ImageRef;
use tokio::sync::mpsc;

use crate::failure::{Outcome, refused};
use crate::need::Need::{Images, Logs};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "build":
    a_small_image_is_built_and_runs [Images, Logs],
    its_output_is_progress [Images],
    a_failing_step_is_invalid_with_its_last_lines [Images],
    a_missing_dockerfile_is_invalid [Images],
    arguments_and_labels_reach_it [Images, Logs],
    two_at_once_both_succeed [Images],
}

/// Builds an image of the trial from the test image and these instructions.
pub(super) async fn built(scene: &Scene, instructions: &str) -> Outcome<ImageRef> {
    let image = scene.image_name("built");
    let context = tempfile::tempdir()?;
    let dockerfile = format!("FROM {}\n{instructions}", scene.subject.image);
    build(scene, context.path(), &image, &dockerfile, |_| {}).await.0?;
    Ok(image)
}

/// The outcome of a build and the lines it reported.
async fn build(
    scene: &Scene,
    context: &Path,
    image: &ImageRef,
    dockerfile: &str,
    change: impl FnOnce(&mut BuildRequest),
) -> (Result<BuildOutput, Error>, Vec<Progress>) {
    let path = context.join("Dockerfile");
    std::fs::write(&path, dockerfile).expect("the temporary directory can be written to");
    let mut request = BuildRequest {
        image: image.clone(),
        context: context.to_owned(),
        dockerfile: path,
        args: Default::default(),
        labels: Default::default(),
        no_cache: true,
    };
    change(&mut request);
    let (progress, mut reports) = mpsc::channel(1_000);
    let outcome = scene.images().build(&scene.cx, &request, &progress).await;
    drop(progress);
    let mut all = Vec::new();
    while let Ok(report) = reports.try_recv() {
        all.push(report);
    }
    (outcome, all)
}

fn from(scene: &Scene, rest: &str) -> String {
    format!("FROM {}\n{rest}", scene.subject.image)
}

async fn a_small_image_is_built_and_runs(scene: &Scene) -> Outcome {
    let context = tempfile::tempdir()?;
    std::fs::write(context.path().join("note.txt"), "from the context\n")?;
    let image = scene.image_name("small");
    let text =
        from(scene, "COPY note.txt /srv/note.txt\nRUN echo run >> /srv/note.txt\nCMD [\"cat\", \"/srv/note.txt\"]\n");
    let output = build(scene, context.path(), &image, &text, |_| {}).await.0?;
    let found = scene.images().get(&scene.cx, &image).await?;
    assert_eq!(found.id, output.id);
    let mut plan = scene.plan(&[]);
    plan.command = None;
    plan.image = image;
    assert_eq!(scene.output(&plan).await?, "from the context\nrun\n");
    Ok(())
}

async fn its_output_is_progress(scene: &Scene) -> Outcome {
    let context = tempfile::tempdir()?;
    let text = from(scene, "RUN echo heard-of-42\n");
    let (outcome, reports) = build(scene, context.path(), &scene.image_name("talks"), &text, |_| {}).await;
    outcome?;
    assert!(reports.iter().any(|report| report.status.trim() == "heard-of-42"), "{reports:?}");
    Ok(())
}

async fn a_failing_step_is_invalid_with_its_last_lines(scene: &Scene) -> Outcome {
    let context = tempfile::tempdir()?;
    let image = scene.image_name("fails");
    let text = from(scene, "RUN echo the-last-words; exit 3\n");
    let error = refused(build(scene, context.path(), &image, &text, |_| {}).await.0, ErrorKind::Invalid);
    assert!(error.message().contains("the-last-words"), "{error}");
    refused(scene.images().get(&scene.cx, &image).await, ErrorKind::NotFound);
    Ok(())
}

async fn a_missing_dockerfile_is_invalid(scene: &Scene) -> Outcome {
    let context = tempfile::tempdir()?;
    let missing = context.path().join("Nothing");
    let image = scene.image_name("missing");
    let name_it = |request: &mut BuildRequest| request.dockerfile = missing.clone();
    let outcome = build(scene, context.path(), &image, &from(scene, ""), name_it).await.0;
    refused(outcome, ErrorKind::Invalid);
    Ok(())
}

async fn arguments_and_labels_reach_it(scene: &Scene) -> Outcome {
    let context = tempfile::tempdir()?;
    let image = scene.image_name("argued");
    let text = from(scene, "ARG WORD=default\nENV SAID=$WORD\nCMD [\"sh\", \"-c\", \"echo $SAID\"]\n");
    let change = |request: &mut BuildRequest| {
        request.args.insert("WORD".to_owned(), "given".to_owned());
        request.labels.insert("note".to_owned(), "a b".to_owned());
    };
    build(scene, context.path(), &image, &text, change).await.0?;
    let mut plan = scene.plan(&[]);
    plan.command = None;
    plan.image = image;
    assert_eq!(scene.output(&plan).await?.trim(), "given");
    Ok(())
}

async fn two_at_once_both_succeed(scene: &Scene) -> Outcome {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (first, second) = (scene.image_name("one"), scene.image_name("two"));
    let text = from(scene, "RUN echo built\n");
    let (one, two) =
        tokio::join!(build(scene, one.path(), &first, &text, |_| {}), build(scene, two.path(), &second, &text, |_| {}));
    one.0?;
    two.0?;
    scene.images().get(&scene.cx, &first).await?;
    scene.images().get(&scene.cx, &second).await?;
    Ok(())
}
