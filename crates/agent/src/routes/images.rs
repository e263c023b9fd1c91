//! Images in the engines and at registries.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use hythe_api::{
    BuildImage, Image, ImageQuery, LoadImages, Operation, PullImage, PushImage, RemoteImage, RuntimeQuery, TagImage,
};
use hythe_controller::{OperationHandle, Report};
use hythe_runtime::{BuildRequest, Error, ErrorKind, Images, OpContext, Progress, ProgressSink, Runtime};
use serde_json::json;
use tokio::sync::mpsc;

use super::services::accepted;
use crate::App;
use crate::error::{ApiError, ApiResult, bad_request};

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

pub(crate) async fn list(State(app): State<App>, Query(query): Query<RuntimeQuery>) -> ApiResult<Json<Vec<Image>>> {
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
        let row = |image: hythe_runtime::Image| Image {
            runtime: name.clone(),
            id: image.id,
            tags: image.tags,
            digests: image.digests,
            size: image.size,
            created: image.created,
        };
        rows.extend(images.list(&OpContext::new("images")).await?.into_iter().map(row));
    }
    Ok(Json(rows))
}

pub(crate) async fn remove(State(app): State<App>, Query(query): Query<ImageQuery>) -> ApiResult<StatusCode> {
    let runtime = choose(&app, query.runtime.as_deref()).await?;
    facet(runtime.as_ref())?.remove(&OpContext::new("images"), &query.image).await?;
    Ok(StatusCode::NO_CONTENT)
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
    accepted(app.controller.operations().spawn("pull", &subject, |operation| async move {
        let sink = tell(&operation, "pulling");
        let image = facet(runtime.as_ref())?.pull(&operation.context(), &asked.image, &sink).await?;
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
    accepted(app.controller.operations().spawn("push", &subject, |operation| async move {
        let sink = tell(&operation, "pushing");
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
    };
    let subject = request.image.to_string();
    accepted(app.controller.operations().spawn("build", &subject, |operation| async move {
        let sink = tell(&operation, "building");
        let built = facet(runtime.as_ref())?.build(&operation.context(), &request, &sink).await?;
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
    let subject = archive.display().to_string();
    accepted(app.controller.operations().spawn("load", &subject, |operation| async move {
        let sink = tell(&operation, "loading");
        let images = facet(runtime.as_ref())?.load(&operation.context(), &archive, &sink).await?;
        let names: Vec<String> = images.into_iter().flat_map(|image| image.tags).collect();
        Ok(Some(json!({ "images": names })))
    }))
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> ApiResult<T> {
    body.map(|Json(body)| body).map_err(|rejection| bad_request(rejection.body_text()))
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
fn tell(operation: &Arc<OperationHandle>, phase: &'static str) -> ProgressSink {
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
