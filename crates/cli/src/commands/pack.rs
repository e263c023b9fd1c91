//! `hythe image pack`: an image made here, from what is here.

use std::path::PathBuf;

use hythe_oci::{Format, Pack, Store, Stored};
use serde::Serialize;

use crate::args::{ArchiveFormat, LoadImages, PackImage, Wait};
use crate::format;
use crate::output::Printer;
use crate::report::{Failure, Outcome};

/// What was made.
#[derive(Debug, Serialize)]
struct Packed {
    name: String,
    id: String,
    digest: String,
    size: u64,
    file: PathBuf,
}

pub(super) async fn run(args: PackImage, printer: Printer<'_>) -> Outcome {
    let request = request(&args)?;
    let home = tempfile::tempdir()?;
    let store = Store::open(&home.path().join("store"))?;
    let stored = store.pack(&request, &args.name).await?;
    let format = match args.format {
        ArchiveFormat::Oci => Format::OciArchive,
        ArchiveFormat::Docker => Format::DockerArchive,
    };
    let file = args.output.clone().unwrap_or_else(|| home.path().join("image.tar"));
    store.export(&args.name, &file, format).await?;
    if args.output.is_none() {
        return super::transfer::load(LoadImages { file, name: None, on: args.on, wait: Wait::default() }, printer)
            .await;
    }
    show(&stored, args.name.to_string(), file, printer)
}

fn request(args: &PackImage) -> Outcome<Pack> {
    let wrong = |message: String, hint: &str| Failure::Usage { message, hint: hint.to_owned() };
    let split = |file: &String| {
        let parts = file.rsplit_once(':').filter(|(from, there)| !from.is_empty() && there.starts_with('/'));
        let parts = parts.map(|(from, there)| (PathBuf::from(from), PathBuf::from(there)));
        parts.ok_or_else(|| wrong(format!("`{file}` is not `SOURCE:PATH`"), "write `./app.conf:/etc/app.conf`"))
    };
    let files = args.files.iter().map(split).collect::<Outcome<_>>()?;
    if let Some(variable) = args.env.iter().find(|variable| variable.find('=').is_none_or(|at| at == 0)) {
        return Err(wrong(format!("`{variable}` is not `NAME=VALUE`"), "write `--env MODE=dev`"));
    }
    let entrypoint = args.entrypoint.as_deref().map_or(Some(Vec::new()), shlex::split);
    let entrypoint = entrypoint.ok_or_else(|| wrong("`--entrypoint` has an open quote".to_owned(), "close it"))?;
    Ok(Pack { binaries: args.binaries.clone(), files, entrypoint, env: args.env.clone() })
}

fn show(stored: &Stored, name: String, file: PathBuf, printer: Printer<'_>) -> Outcome {
    if printer.settings.json {
        let (id, digest) = (stored.id.clone(), stored.digest.clone());
        return printer.json(&Packed { name, id, digest, size: stored.size, file });
    }
    let (size, file) = (format::bytes(stored.size), file.display());
    printer.talk(format_args!("packed `{name}` into `{file}` ({size}); `hythe image load {file}` loads it"));
    printer.data(format!("{}\n", stored.digest))
}
