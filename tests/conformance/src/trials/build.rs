//! Building images.

use std::path::Path;

use hythe_runtime::{BuildOutput, BuildRequest, Error, ErrorKind, ImageHealth, Progress};
use hythe_spec::{ImageRef, Millis, Probe};
use tokio::sync::mpsc;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Build, Images, Logs};
use crate::trial::trials;

trials! { "build":
    a_small_image_is_built_and_runs [Images, Logs, Build],
    its_output_is_progress [Images, Build],
    a_failing_step_is_invalid_with_its_last_lines [Images, Build],
    a_missing_dockerfile_is_invalid [Images, Build],
    arguments_and_labels_reach_it [Images, Logs, Build],
    two_at_once_both_succeed [Images, Build],
}

/// Builds an image of the trial from the test image and these instructions.
pub(super) async fn built(fixture: &Fixture, instructions: &str) -> Outcome<ImageRef> {
    let image = fixture.image_name("built");
    let context = tempfile::tempdir()?;
    let dockerfile = format!("FROM {}\n{instructions}", fixture.subject.image);
    build(fixture, context.path(), &image, &dockerfile, |_| {}).await.0?;
    Ok(image)
}

/// The outcome of a build and the lines it reported.
pub(super) async fn build(
    fixture: &Fixture,
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
        network: Default::default(),
    };
    change(&mut request);
    let (progress, mut reports) = mpsc::channel(1_000);
    let outcome = fixture.images().build(&fixture.cx, &request, &progress).await;
    drop(progress);
    let mut all = Vec::new();
    while let Ok(report) = reports.try_recv() {
        all.push(report);
    }
    (outcome, all)
}

fn from(fixture: &Fixture, rest: &str) -> String {
    format!("FROM {}\n{rest}", fixture.subject.image)
}

async fn a_small_image_is_built_and_runs(fixture: &Fixture) -> Outcome {
    let context = tempfile::tempdir()?;
    std::fs::write(context.path().join("note.txt"), "from the context\n")?;
    let image = fixture.image_name("small");
    let text = from(
        fixture,
        "COPY note.txt /srv/note.txt\nRUN echo run >> /srv/note.txt\nCMD [\"cat\", \"/srv/note.txt\"]\nHEALTHCHECK --interval=2s --retries=4 CMD test -s /srv/note.txt\n",
    );
    let output = build(fixture, context.path(), &image, &text, |_| {}).await.0?;
    let found = fixture.images().get(&fixture.cx, &image).await?;
    assert_eq!(found.id, output.id);
    let Some(ImageHealth::Check(health)) = found.config.unwrap_or_default().health else { panic!("no check") };
    let command = ["/bin/sh", "-c", "test -s /srv/note.txt"].map(str::to_owned).to_vec();
    assert_eq!((health.probe, health.interval, health.retries), (Probe::Exec { command }, Millis(2_000), 4));
    let mut plan = fixture.plan(&[]);
    plan.command = None;
    plan.image = image;
    assert_eq!(fixture.output(&plan).await?, "from the context\nrun\n");
    Ok(())
}

async fn its_output_is_progress(fixture: &Fixture) -> Outcome {
    let context = tempfile::tempdir()?;
    let text = from(fixture, "RUN echo heard-of-42\n");
    let (outcome, reports) = build(fixture, context.path(), &fixture.image_name("talks"), &text, |_| {}).await;
    outcome?;
    assert!(reports.iter().any(|report| report.status.trim() == "heard-of-42"), "{reports:?}");
    Ok(())
}

async fn a_failing_step_is_invalid_with_its_last_lines(fixture: &Fixture) -> Outcome {
    let context = tempfile::tempdir()?;
    let image = fixture.image_name("fails");
    let text = from(fixture, "RUN echo the-last-words; exit 3\n");
    let error = refused(build(fixture, context.path(), &image, &text, |_| {}).await.0, ErrorKind::Invalid);
    assert!(error.message().contains("the-last-words"), "{error}");
    refused(fixture.images().get(&fixture.cx, &image).await, ErrorKind::NotFound);
    Ok(())
}

async fn a_missing_dockerfile_is_invalid(fixture: &Fixture) -> Outcome {
    let context = tempfile::tempdir()?;
    let missing = context.path().join("Nothing");
    let image = fixture.image_name("missing");
    let name_it = |request: &mut BuildRequest| request.dockerfile = missing.clone();
    let outcome = build(fixture, context.path(), &image, &from(fixture, ""), name_it).await.0;
    refused(outcome, ErrorKind::Invalid);
    Ok(())
}

async fn arguments_and_labels_reach_it(fixture: &Fixture) -> Outcome {
    let context = tempfile::tempdir()?;
    let image = fixture.image_name("argued");
    let text = from(fixture, "ARG WORD=default\nENV SAID=$WORD\nCMD [\"sh\", \"-c\", \"echo $SAID\"]\n");
    let change = |request: &mut BuildRequest| {
        request.args.insert("WORD".to_owned(), "given".to_owned());
        request.labels.insert("note".to_owned(), "a b".to_owned());
    };
    build(fixture, context.path(), &image, &text, change).await.0?;
    let mut plan = fixture.plan(&[]);
    plan.command = None;
    plan.image = image;
    assert_eq!(fixture.output(&plan).await?.trim(), "given");
    Ok(())
}

async fn two_at_once_both_succeed(fixture: &Fixture) -> Outcome {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (first, second) = (fixture.image_name("one"), fixture.image_name("two"));
    let text = from(fixture, "RUN echo built\n");
    let (one, two) = tokio::join!(
        build(fixture, one.path(), &first, &text, |_| {}),
        build(fixture, two.path(), &second, &text, |_| {})
    );
    one.0?;
    two.0?;
    fixture.images().get(&fixture.cx, &first).await?;
    fixture.images().get(&fixture.cx, &second).await?;
    Ok(())
}
