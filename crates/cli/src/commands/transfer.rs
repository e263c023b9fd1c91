//! `hythe pull` and `hythe push`: an image between a registry and an engine.

use hythe_api::{PullImage, PushImage};

use super::connect;
use super::lifecycle::see;
use crate::args;
use crate::output::Printer;
use crate::report::Outcome;

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
