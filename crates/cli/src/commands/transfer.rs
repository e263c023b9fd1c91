//! `hythe pull`, `hythe push` and `hythe image load`: images into an engine and out of it.

use hythe_api::{LoadImages, PullImage, PushImage};

use super::connect;
use super::lifecycle::see;
use crate::args;
use crate::output::Printer;
use crate::report::{Failure, Outcome};

pub(super) async fn pull(args: args::Pull, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let operation = client.pull(&PullImage { image: args.image, runtime: args.on.runtime }).await?;
    see(&client, operation, args.wait, printer).await
}

pub(super) async fn push(args: args::Push, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let operation = client.push(&PushImage { image: args.image, runtime: args.on.runtime }).await?;
    see(&client, operation, args.wait, printer).await
}

pub(super) async fn load(args: args::LoadImages, printer: Printer<'_>) -> Outcome {
    let unreadable = |error: std::io::Error| Failure::Usage {
        message: format!("`{}` cannot be read: {}", args.file.display(), error.kind()),
        hint: "`hythe image pack` and `docker save` write such archives".to_owned(),
    };
    let path = std::fs::canonicalize(&args.file).map_err(unreadable)?.display().to_string();
    let client = connect(printer).await?;
    let operation = client.load(&LoadImages { path, runtime: args.on.runtime }).await?;
    see(&client, operation, args.wait, printer).await
}
