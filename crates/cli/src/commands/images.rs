//! `hythe images`: images in the engines.

use comfy_table::Cell;
use hythe_api::{Image, ImageQuery, RuntimeQuery, TagImage};
use jiff::Timestamp;

use super::connect;
use crate::args::{Images, ImagesCommand, OnRuntime};
use crate::output::Printer;
use crate::report::Outcome;
use crate::words;

const HEAD: [&str; 5] = ["IMAGE", "RUNTIME", "ID", "SIZE", "CREATED"];

pub(super) async fn run(args: Images, printer: Printer<'_>) -> Outcome {
    match args.command {
        None => list(args.on, printer).await,
        Some(ImagesCommand::Load(args)) => super::transfer::load(args, printer).await,
        #[cfg(feature = "agent")]
        Some(ImagesCommand::Pack(args)) => super::pack::run(args, printer).await,
        Some(ImagesCommand::Remove { image, on }) => {
            let client = connect(printer).await?;
            Ok(client.remove_image(&ImageQuery { image, runtime: on.runtime }).await?)
        }
        Some(ImagesCommand::Tag { image, name, on }) => {
            let client = connect(printer).await?;
            Ok(client.tag(&TagImage { image, name, runtime: on.runtime }).await?)
        }
    }
}

async fn list(on: OnRuntime, printer: Printer<'_>) -> Outcome {
    let images = connect(printer).await?.images(&RuntimeQuery { runtime: on.runtime }).await?;
    let now = Timestamp::now();
    printer.list(&images, &HEAD, |image| row(image, now))
}

fn row(image: &Image, now: Timestamp) -> Vec<Cell> {
    let created = image.created.map(|created| format!("{} ago", words::age(created, now)));
    vec![
        Cell::new(names(image)),
        Cell::new(&image.runtime),
        Cell::new(words::short(&image.id)),
        Cell::new(words::bytes(image.size)),
        Cell::new(created.as_deref().unwrap_or(words::NOTHING)),
    ]
}

fn names(image: &Image) -> String {
    let tags: Vec<_> = image.tags.iter().map(|tag| words::image(tag)).collect();
    if tags.is_empty() { words::NOTHING.to_owned() } else { tags.join("\n") }
}
