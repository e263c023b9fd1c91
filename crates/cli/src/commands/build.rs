//! `hythe build`: the images that a service file says how to build.

use std::collections::BTreeMap;

use hythe_api::{BuildImage, Operation, PushImage};
use hythe_client::Client;
use hythe_spec::{Build, BuildNetwork, ImageRef};

use super::connect;
use crate::args;
use crate::output::Printer;
use crate::progress;
use crate::report::{Failure, Outcome};
use crate::service_file;

/// One image to build.
#[derive(Debug)]
pub(super) struct Job<'a> {
    build: &'a Build,
    args: BTreeMap<String, String>,
    no_cache: bool,
    network: BuildNetwork,
    runtime: Option<String>,
}

impl<'a> Job<'a> {
    /// As the file says it, without arguments.
    pub(super) const fn of(build: &'a Build, runtime: Option<String>) -> Self {
        Self { build, args: BTreeMap::new(), no_cache: false, network: BuildNetwork::Default, runtime }
    }
}

pub(super) async fn run(args: args::Build, printer: Printer<'_>) -> Outcome {
    let path = service_file::in_directory(&args.file);
    let loaded = service_file::load(&path, printer)?;
    let builds = chosen(&loaded.builds, args.image.as_ref())?;
    let client = connect(printer).await?;
    let mut built = Vec::new();
    for build in builds {
        let args_of_build = args.args.iter().cloned().collect();
        let (network, runtime) = (args.network, args.on.runtime.clone());
        let job = Job { build, args: args_of_build, no_cache: args.no_cache, network, runtime };
        built.push(self::build(&client, &job, printer).await?);
        if args.push {
            push(&client, &job, printer).await?;
        }
    }
    if printer.settings.json { printer.json(&built) } else { Ok(()) }
}

/// All of them, or the one named.
fn chosen<'a>(builds: &'a [Build], image: Option<&ImageRef>) -> Outcome<Vec<&'a Build>> {
    let found: Vec<_> = builds.iter().filter(|build| image.is_none_or(|image| *image == build.image)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let names: Vec<_> = builds.iter().map(|build| format!("`{}`", build.image)).collect();
    Err(match image {
        Some(image) if !names.is_empty() => Failure::NotFound {
            message: format!("the file does not say how to build `{image}`"),
            hint: format!("it says so for {}", names.join(", ")),
        },
        _ => Failure::Usage {
            message: "the file does not say how to build an image".to_owned(),
            hint: "add a table `[build.images]`".to_owned(),
        },
    })
}

pub(super) async fn build_and_push(client: &Client, job: &Job<'_>, printer: Printer<'_>) -> Outcome {
    build(client, job, printer).await?;
    push(client, job, printer).await?;
    Ok(())
}

async fn build(client: &Client, job: &Job<'_>, printer: Printer<'_>) -> Outcome<Operation> {
    printer.talk(format_args!("building `{}`", job.build.image));
    let request = BuildImage {
        image: job.build.image.clone(),
        context: job.build.context.clone(),
        dockerfile: job.build.dockerfile.clone(),
        args: job.args.clone(),
        no_cache: job.no_cache,
        network: job.network,
        runtime: job.runtime.clone(),
    };
    let begun = client.build(&request).await?;
    progress::follow(client, &begun.id, None, printer).await?.outcome()
}

async fn push(client: &Client, job: &Job<'_>, printer: Printer<'_>) -> Outcome<Operation> {
    printer.talk(format_args!("pushing `{}`", job.build.image));
    let request = PushImage { image: job.build.image.clone(), runtime: job.runtime.clone() };
    let begun = client.push(&request).await?;
    progress::follow(client, &begun.id, None, printer).await?.outcome()
}
