//! `hythe pull`, `hythe push` and `hythe image load`: images into an engine and out of it.

use hythe_api::{LoadImages, PullImage, PushImage};

use super::connect;
use super::lifecycle::see;
use crate::args;
use crate::output::Printer;
use crate::progress;
use crate::report::{Failure, Outcome};

pub(super) async fn pull(args: args::Pull, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let args::Pull { image, platform, on, wait } = args;
    let operation = client.pull(&PullImage { image, platform, runtime: on.runtime }).await?;
    see(&client, operation, wait, printer).await
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
    let begun = client.load(&LoadImages { path, name: args.name, runtime: args.on.runtime }).await?;
    let Some(followed) = progress::wait(&client, &begun.id, args.wait, printer).await? else {
        return super::operations::print(Ok(begun), printer);
    };
    let outcome = followed.outcome();
    let loaded = outcome.as_ref().ok().and_then(|operation| operation.result.clone()).unwrap_or_default();
    super::operations::print(outcome, printer)?;
    if !printer.settings.json {
        for name in loaded["images"].as_array().into_iter().flatten().filter_map(|name| name.as_str()) {
            printer.data(format!("{name}\n"))?;
        }
    }
    Ok(())
}
