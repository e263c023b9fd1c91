//! `hythe images`: images in the engines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use hythe_api::{Image, ImageDetail, ImageQuery, ImagesQuery, PrunedImages, RemoveImageQuery, TagImage};
use hythe_client::ClientError;
use hythe_spec::ImageRef;
use jiff::Timestamp;

use super::connect;
use super::gc::whole_millis;
use crate::args::{Images, ImagesCommand, OnRuntime, PruneImages};
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::{Failure, Outcome};

const HEAD: [&str; 5] = ["IMAGE", "RUNTIME", "ID", "SIZE", "CREATED"];

pub(super) async fn run(args: Images, printer: Printer<'_>) -> Outcome {
    match args.command {
        None => list(args.on, args.dangling, printer).await,
        Some(ImagesCommand::Ls { dangling, on }) => list(on, dangling, printer).await,
        Some(ImagesCommand::Load(args)) => super::transfer::load(args, printer).await,
        Some(ImagesCommand::Prune(args)) => prune(args, printer).await,
        #[cfg(feature = "agent")]
        Some(ImagesCommand::Pack(args)) => super::pack::run(args, printer).await,
        Some(ImagesCommand::Inspect { image, on }) => inspect(image, on, printer).await,
        Some(ImagesCommand::Remove { images, ignore_missing, on }) => {
            remove(images, ignore_missing, &on, printer).await
        }
        Some(ImagesCommand::Tag { image, name, on }) => {
            let client = connect(printer).await?;
            Ok(client.tag(&TagImage { image, name, runtime: on.runtime }).await?)
        }
    }
}

/// Removes each image that can be removed, and reports every failure.
async fn remove(images: Vec<ImageRef>, ignore_missing: bool, on: &OnRuntime, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let mut failures = Vec::new();
    for image in images {
        let query = RemoveImageQuery { image, runtime: on.runtime.clone(), ignore_missing };
        if let Err(error) = client.remove_image(&query).await {
            failures.push(Failure::from(error));
        }
    }
    Failure::all(failures)
}

async fn list(on: OnRuntime, dangling: bool, printer: Printer<'_>) -> Outcome {
    let images = connect(printer).await?.images(&ImagesQuery { runtime: on.runtime, dangling }).await?;
    let now = hythe_host::now();
    printer.list(&images, &HEAD, |image| row(image, now))
}

async fn inspect(image: ImageRef, on: OnRuntime, printer: Printer<'_>) -> Outcome {
    let found = connect(printer).await?.image(&ImageQuery { image, runtime: on.runtime }).await?;
    if printer.settings.json { printer.json(&found) } else { printer.data(details(&found, hythe_host::now())) }
}

/// What is known, a line each.
fn details(found: &ImageDetail, now: Timestamp) -> String {
    let ImageDetail { image, entrypoint, command, env, user, workdir, stop_signal, labels } = found;
    let single = [
        ("runtime", Some(image.runtime.clone())),
        ("id", Some(image.id.clone())),
        ("size", Some(format::bytes(image.size))),
        ("created", age(image, now)),
        ("entrypoint", Some(entrypoint.join(" ")).filter(|text| !text.is_empty())),
        ("command", Some(command.join(" ")).filter(|text| !text.is_empty())),
        ("user", user.clone()),
        ("workdir", workdir.clone()),
        ("stop signal", stop_signal.clone()),
    ];
    let each = |name: &'static str, values: Vec<String>| values.into_iter().map(move |value| (name, value));
    let pairs =
        |pairs: &BTreeMap<String, String>| pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines = each("name", image.tags.clone())
        .chain(each("digest", image.digests.clone()))
        .chain(single.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))))
        .chain(each("env", pairs(env)))
        .chain(each("label", pairs(labels)));
    lines.fold(String::new(), |mut text, (name, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12}{value}");
        text
    })
}

/// Images packed reproducibly say the epoch, which is no time at all.
fn age(image: &Image, now: Timestamp) -> Option<String> {
    let created = image.created.filter(|created| *created > Timestamp::UNIX_EPOCH);
    created.map(|created| format!("{} ago", format::age(created, now)))
}

async fn prune(args: PruneImages, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let older_than = args.older_than.map(whole_millis);
    let mut asked = hythe_api::PruneImages { runtime: args.on.runtime, all: args.all, older_than, dry_run: true };
    if !args.dry_run && (args.yes || !std::io::stdin().is_terminal()) {
        asked.dry_run = false;
    }
    let mut pruned = client.prune_images(&asked).await?;
    if asked.dry_run && !args.dry_run && !pruned.removed.is_empty() {
        let rows = pruned.removed.iter().map(|image| row(image, hythe_host::now())).collect();
        printer.table(&HEAD, rows)?;
        if !agreed(&format!("remove {}, {}? [y/N] ", counted(pruned.removed.len()), format::bytes(pruned.bytes)))? {
            printer.talk("nothing was removed");
            return Ok(());
        }
        asked.dry_run = false;
        pruned = client.prune_images(&asked).await?;
    }
    show(pruned, asked.dry_run, printer)
}

fn counted(images: usize) -> String {
    if images == 1 { "1 image".to_owned() } else { format!("{images} images") }
}

/// The answer typed at the terminal.
fn agreed(question: &str) -> std::io::Result<bool> {
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn show(pruned: PrunedImages, dry_run: bool, printer: Printer<'_>) -> Outcome {
    if printer.settings.json {
        printer.json(&pruned)?;
    } else if pruned.removed.is_empty() && pruned.failed.is_empty() {
        printer.talk("there is no such image");
    } else {
        let rows = pruned.removed.iter().map(|image| row(image, hythe_host::now())).collect();
        printer.table(&HEAD, rows)?;
        let done = if dry_run { "would be removed" } else { "removed" };
        let bytes = format::bytes(pruned.bytes);
        printer.talk(format_args!("{} {done}, at most {bytes}", counted(pruned.removed.len())));
    }
    let problems = pruned.failed.into_iter().map(|failed| Failure::from(ClientError::from(failed.problem)));
    Failure::all(problems.collect())
}

fn row(image: &Image, now: Timestamp) -> Vec<Cell> {
    let created = age(image, now);
    vec![
        Cell::lines(&names(image)),
        Cell::new(&image.runtime),
        Cell::new(format::short(&image.id)),
        Cell::new(format::bytes(image.size)),
        Cell::new(created.as_deref().unwrap_or(format::NOTHING)),
    ]
}

/// A name below the other.
fn names(image: &Image) -> Vec<String> {
    let tags: Vec<_> = image.tags.iter().map(|tag| format::image(tag)).collect();
    if tags.is_empty() { vec![format::NOTHING.to_owned()] } else { tags }
}
