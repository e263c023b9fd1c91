//! Images in the engines and at registries.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use hythe_api::{
    BuildImage, Image, ImageDetail, ImageQuery, ImagesQuery, LoadImages, NotPruned, Operation, PruneImages,
    PrunedImages, PullImage, PushImage, RemoteImage, RemoveImageQuery, TagImage,
};
use hythe_controller::{OperationHandle, PruneOptions, Report, check_platform};
use hythe_runtime::{BuildRequest, Error, ErrorKind, Images, OpContext, Progress, ProgressSink, Runtime};
use hythe_spec::ImageRef;
use hythe_spec::vocabulary::{OperationKind, ProgressPhase};
use serde_json::json;
use tokio::sync::mpsc;

use super::services::accepted;
use crate::App;
use crate::error::{ApiError, ApiResult, bad_request, problem};
use crate::masked;

/// Reports on their way to those who follow.
const IN_FLIGHT: usize = 256;

fn facet(runtime: &dyn Runtime) -> Result<&dyn Images, Error> {
    runtime.images().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "images", format!("runtime `{}` keeps no images", runtime.info().name))
    })
}

async fn choose(app: &App, name: Option<&str>) -> Result<Arc<dyn Runtime>, Error> {
    app.controller.runtimes().tried().await;
    app.controller.runtimes().choose(name)
}

fn shown(runtime: &str, image: hythe_runtime::Image) -> Image {
    let hythe_runtime::Image { id, tags, digests, size, created, config: _, platform: _ } = image;
    Image { runtime: runtime.to_owned(), id, tags, digests, size, created }
}

pub(crate) async fn list(State(app): State<App>, Query(query): Query<ImagesQuery>) -> ApiResult<Json<Vec<Image>>> {
    app.controller.runtimes().tried().await;
    let mut runtimes = Vec::new();
    match &query.runtime {
        Some(name) => runtimes.push(app.controller.runtimes().get(name)?),
        None => runtimes.extend(
            app.controller.runtimes().names().iter().filter_map(|name| app.controller.runtimes().get(name).ok()),
        ),
    }
    let mut rows = Vec::new();
    for runtime in runtimes {
        let Some(images) = runtime.images() else {
            continue;
        };
        let name = runtime.info().name.clone();
        let found = if query.dangling {
            let unused = app.controller.unused_images(&name).await?;
            unused.into_iter().filter(|image| image.tags.is_empty()).collect()
        } else {
            images.list(&OpContext::new("images")).await?
        };
        rows.extend(found.into_iter().map(|image| shown(&name, image)));
    }
    Ok(Json(rows))
}

pub(crate) async fn show(State(app): State<App>, Query(query): Query<ImageQuery>) -> ApiResult<Json<ImageDetail>> {
    let runtime = choose(&app, query.runtime.as_deref()).await?;
    let mut found = facet(runtime.as_ref())?.get(&OpContext::new("images"), &query.image).await?;
    let config = found.config.take().unwrap_or_default();
    let detail = ImageDetail {
        image: shown(&runtime.info().name, found),
        entrypoint: config.entrypoint,
        command: config.command,
        env: config.env,
        user: config.user,
        workdir: config.workdir,
        stop_signal: config.stop_signal.map(|signal| signal.to_string()),
        labels: config.labels,
    };
    Ok(Json(masked::unless(false, detail)?))
}

pub(crate) async fn remove(State(app): State<App>, Query(query): Query<RemoveImageQuery>) -> ApiResult<StatusCode> {
    let RemoveImageQuery { image, runtime, ignore_missing } = query;
    let runtime = choose(&app, runtime.as_deref()).await?;
    let (images, cx) = (facet(runtime.as_ref())?, OpContext::new("images"));
    // Engines report the removal of an absent image as success; a mistyped name would go unnoticed.
    match images.get(&cx, &image).await {
        Err(error) if error.is_not_found() && ignore_missing => return Ok(StatusCode::NO_CONTENT),
        Err(error) if error.is_not_found() => return Err(no_image(&image, &runtime.info().name).source(error).into()),
        Ok(_) | Err(_) => images.remove(&cx, &image).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

fn no_image(image: &ImageRef, runtime: &str) -> Error {
    Error::new(ErrorKind::NotFound, "images", format!("no image `{image}` is on runtime `{runtime}`"))
        .hint("`hythe images` lists them")
}

pub(crate) async fn prune(
    State(app): State<App>,
    body: Result<Json<PruneImages>, JsonRejection>,
) -> ApiResult<Json<PrunedImages>> {
    let PruneImages { runtime, all, older_than, dry_run } = read(body)?;
    app.controller.runtimes().tried().await;
    let options = PruneOptions { runtime, all, older_than: older_than.map(Duration::from_millis), dry_run };
    let pruned = app.controller.prune_images(&options).await?;
    let bytes = pruned.removed.iter().fold(0_u64, |sum, on| sum.saturating_add(on.image.size));
    let failed = pruned.failed.into_iter();
    Ok(Json(PrunedImages {
        removed: pruned.removed.into_iter().map(|on| shown(&on.runtime, on.image)).collect(),
        failed: failed
            .map(|(on, error)| NotPruned { image: shown(&on.runtime, on.image), problem: problem(&error) })
            .collect(),
        bytes,
    }))
}

pub(crate) async fn remote(State(app): State<App>, Query(query): Query<ImageQuery>) -> ApiResult<Json<RemoteImage>> {
    let runtime = choose(&app, query.runtime.as_deref()).await?;
    let found = facet(runtime.as_ref())?.resolve(&OpContext::new("images"), &query.image).await?;
    Ok(Json(RemoteImage { image: query.image, digest: found.digest }))
}

pub(crate) async fn tag(State(app): State<App>, body: Result<Json<TagImage>, JsonRejection>) -> ApiResult<StatusCode> {
    let asked = read(body)?;
    let runtime = choose(&app, asked.runtime.as_deref()).await?;
    facet(runtime.as_ref())?.tag(&OpContext::new("images"), &asked.image, &asked.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn pull(
    State(app): State<App>,
    body: Result<Json<PullImage>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let asked = read(body)?;
    let runtime = choose(&app, asked.runtime.as_deref()).await?;
    let subject = asked.image.to_string();
    let controller = app.controller.clone();
    accepted(app.controller.operations().spawn(OperationKind::Pull, &subject, |operation| async move {
        let sink = progress_to(&operation, ProgressPhase::Pulling);
        let (images, cx) = (facet(runtime.as_ref())?, operation.context());
        let pulling = async {
            let pulled = images.pull(&cx, &asked.image, asked.platform.as_ref(), &sink).await;
            pulled.map(|image| (image.clone(), vec![image]))
        };
        let image = controller.record_pulled(&cx, runtime.as_ref(), images, pulling).await?;
        check_platform(&asked.image, asked.platform.as_ref(), runtime.capability(), &image)?;
        Ok(Some(json!({ "id": image.id, "digests": image.digests })))
    }))
}

pub(crate) async fn push(
    State(app): State<App>,
    body: Result<Json<PushImage>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let asked = read(body)?;
    let runtime = choose(&app, asked.runtime.as_deref()).await?;
    let subject = asked.image.to_string();
    accepted(app.controller.operations().spawn(OperationKind::Push, &subject, |operation| async move {
        let sink = progress_to(&operation, ProgressPhase::Pushing);
        facet(runtime.as_ref())?.push(&operation.context(), &asked.image, &sink).await?;
        Ok(None)
    }))
}

pub(crate) async fn build(
    State(app): State<App>,
    body: Result<Json<BuildImage>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let asked = read(body)?;
    let runtime = choose(&app, asked.runtime.as_deref()).await?;
    let request = BuildRequest {
        image: asked.image,
        context: absolute(asked.context)?,
        dockerfile: absolute(asked.dockerfile)?,
        args: asked.args,
        labels: [(hythe_runtime::identity::OWNER.to_owned(), app.controller.owner().to_owned())].into(),
        no_cache: asked.no_cache,
        network: asked.network,
    };
    let subject = request.image.to_string();
    let controller = app.controller.clone();
    accepted(app.controller.operations().spawn(OperationKind::Build, &subject, |operation| async move {
        let sink = progress_to(&operation, ProgressPhase::Building);
        let (images, cx) = (facet(runtime.as_ref())?, operation.context());
        let building = async {
            let built = images.build(&cx, &request, &sink).await?;
            Ok((built, images.get(&cx, &request.image).await.into_iter().collect()))
        };
        let built = controller.record_pulled(&cx, runtime.as_ref(), images, building).await?;
        Ok(Some(json!({ "id": built.id })))
    }))
}

pub(crate) async fn load(
    State(app): State<App>,
    body: Result<Json<LoadImages>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let asked = read(body)?;
    let runtime = choose(&app, asked.runtime.as_deref()).await?;
    let archive = absolute(asked.path)?;
    // A pipe or a device may never end.
    if tokio::fs::metadata(&archive).await.is_ok_and(|meta| !meta.is_file()) {
        return Err(bad_request(format!("`{}` is not a regular file", archive.display())));
    }
    let subject = archive.display().to_string();
    let controller = app.controller.clone();
    accepted(app.controller.operations().spawn(OperationKind::Load, &subject, |operation| async move {
        let sink = progress_to(&operation, ProgressPhase::Loading);
        let (images, cx) = (facet(runtime.as_ref())?, operation.context());
        let loading = async {
            let loaded = images.load(&cx, &archive, asked.name.as_ref(), &sink).await?;
            Ok((loaded.clone(), loaded))
        };
        let loaded = controller.record_pulled(&cx, runtime.as_ref(), images, loading).await?;
        let names: Vec<&String> = loaded.iter().flat_map(|image| &image.tags).collect();
        let each: Vec<_> = loaded.iter().map(|image| json!({ "id": image.id, "tags": image.tags })).collect();
        Ok(Some(json!({ "images": names, "loaded": each })))
    }))
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> ApiResult<T> {
    Ok(body?.0)
}

fn absolute(path: String) -> Result<PathBuf, ApiError> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(bad_request(format!("`{}` is not an absolute path", path.display())))
    }
}

/// A sink whose reports go to those who follow the operation.
fn progress_to(operation: &Arc<OperationHandle>, phase: ProgressPhase) -> ProgressSink {
    let (sink, mut reports) = mpsc::channel::<Progress>(IN_FLIGHT);
    let operation = operation.clone();
    tokio::spawn(async move {
        while let Some(progress) = reports.recv().await {
            operation.report(Report {
                workload: None,
                phase,
                item: progress.item,
                message: progress.status,
                current: progress.current,
                total: progress.total,
            });
        }
    });
    sink
}
