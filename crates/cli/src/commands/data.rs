//! `hythe data`: volumes and directories of workloads as archives with a checksum.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hythe_api::{ArchiveWay, SecretsQuery, WorkloadState};
use hythe_client::Client;
use hythe_spec::{Component, MountSource};
use serde::Serialize;

use super::archive::checksum::{self, Sum};
use super::archive::place::{Remote, no_owners};
use super::archive::transfer::{Meter, receive, send};
use super::connect;
use crate::args::{Data, DataCommand, ExportData, ImportData};
use crate::output::Printer;
use crate::report::{Failure, Outcome};
use crate::{format, target};

/// What was exported or imported.
#[derive(Debug, Serialize)]
struct Report {
    workload: String,
    /// Path in the workload.
    path: String,
    file: PathBuf,
    /// Of the whole file; absent where it was not checked.
    sha256: Option<String>,
    bytes: Option<u64>,
    /// Files have their owners in it; else all are root's.
    owners: bool,
}

/// What was moved, and where to.
struct Moved {
    workload: String,
    path: String,
    file: PathBuf,
    owners: bool,
}

pub(super) async fn run(args: Data, printer: Printer<'_>) -> Outcome {
    match args.command {
        DataCommand::Export(args) => export(args, printer).await,
        DataCommand::Import(args) => import(args, printer).await,
    }
}

fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The workload that is meant, and the path in it.
async fn found(client: &Client, text: &str) -> Outcome<(String, String, WorkloadState)> {
    let (named, what) = text.split_once(':').map_or((text, None), |(named, what)| (named, Some(what)));
    let workloads = client.workloads().await?;
    let workload = target::one(named, &workloads)?;
    let path = match what {
        Some(path) if path.starts_with('/') => path.to_owned(),
        what => {
            let detail = client.workload(&workload.name, &SecretsQuery::default()).await?;
            volume(&detail.desired, what)?
        }
    };
    Ok((workload.name.clone(), path, workload.state))
}

/// Where a component has a volume: the one of that name, or its only one.
fn volume(component: &Component, named: Option<&str>) -> Outcome<String> {
    let volumes: Vec<(&str, &str)> = component
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some((name.as_str(), mount.target.as_str())),
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        })
        .collect();
    let names = || volumes.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let found = match named {
        Some(named) => volumes.iter().find(|(name, _)| *name == named),
        None if volumes.len() == 1 => volumes.first(),
        None => None,
    };
    match (found, named) {
        (Some((_, target)), _) => Ok((*target).to_owned()),
        (None, Some(named)) => Err(Failure::NotFound {
            message: format!("`{}` has no volume `{named}`", component.name),
            hint: match volumes.is_empty() {
                true => "name a path of it, such as `shop/web:/srv`".to_owned(),
                false => format!("it has {}", names()),
            },
        }),
        (None, None) => Err(Failure::Usage {
            message: format!("`{}` has {} volumes", component.name, volumes.len()),
            hint: match volumes.is_empty() {
                true => "name a path of it, such as `shop/web:/srv`".to_owned(),
                false => format!("name one, such as `shop/db:{}`: it has {}", volumes[0].0, names()),
            },
        }),
    }
}

async fn export(args: ExportData, printer: Printer<'_>) -> Outcome {
    let is_stream = is_stream(&args.output);
    if is_stream && io::stdout().is_terminal() {
        let message = "an archive is not written to a terminal".to_owned();
        return Err(Failure::Usage { message, hint: "write it to a file: `-o data.tar`".to_owned() });
    }
    let client = connect(printer).await?;
    let (workload, path, state) = found(&client, &args.target).await?;
    if state == WorkloadState::Running {
        printer.talk(format_args!("`{workload}` runs: its files may be of different moments"));
    }
    let (remote, there) = Remote { client: &client, workload: &workload, path: path.clone() }.followed().await?;
    // What is absent is said when it is read.
    let owners = there.is_none_or(|there| there.owners);
    if !owners {
        printer.talk(format_args!("{}", no_owners(&remote)));
    }
    let session = remote.open(ArchiveWay::Read, false).await?;
    let output = args.output.clone();
    let sum = receive(session, Meter::new(), move |archive| match is_stream {
        true => Ok(checksum::add(archive, io::stdout().lock())?),
        false => whole_file(&output, |file| checksum::add(archive, file)),
    })
    .await?;
    said("exported", Moved { workload, path, file: args.output, owners }, Some(sum), printer)
}

/// Under its name once it is whole; for nobody else to read.
fn whole_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<Sum>) -> Outcome<Sum> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    let partial = path.with_file_name(name);
    let failed = |source| Failure::Write { path: path.display().to_string(), source };
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&partial).map_err(failed)?;
    let written = write(&mut file).and_then(|sum| {
        file.sync_all()?;
        fs::rename(&partial, path)?;
        Ok(sum)
    });
    if written.is_err() {
        // What is said is why.
        let _ = fs::remove_file(&partial);
    }
    written.map_err(failed)
}

async fn import(args: ImportData, printer: Printer<'_>) -> Outcome {
    let is_stream = is_stream(&args.file);
    if is_stream && io::stdin().is_terminal() {
        let message = "an archive is not read from a terminal".to_owned();
        return Err(Failure::Usage { message, hint: "name a file, or pipe one in".to_owned() });
    }
    let file = if is_stream { None } else { Some(checked(&args.file, args.unchecked)?) };
    let client = connect(printer).await?;
    let (workload, path, _) = found(&client, &args.target).await?;
    let remote = Remote { client: &client, workload: &workload, path: path.clone() };
    let session = remote.open(ArchiveWay::Write, !args.live).await?;
    let (unchecked, name) = (args.unchecked, args.file.display().to_string());
    let sum = send(session, Meter::new(), move |out| {
        let copied = match file {
            Some(mut file) => passed(&mut file, out, unchecked),
            None => passed(&mut io::stdin().lock(), out, unchecked),
        };
        copied.map_err(|error| of_archive(&name, error))
    })
    .await?;
    said("imported", Moved { workload, path, file: args.file, owners: true }, sum, printer)
}

fn passed(from: &mut dyn io::Read, out: &mut dyn Write, unchecked: bool) -> io::Result<Option<Sum>> {
    if unchecked { io::copy(from, out).map(|_| None) } else { checksum::check(from, out).map(Some) }
}

/// Opens a file whose checksum is right.
fn checked(path: &Path, unchecked: bool) -> Outcome<File> {
    let failed = |source| of_archive(&path.display().to_string(), source);
    let mut file = File::open(path).map_err(failed)?;
    if !unchecked {
        checksum::check(&mut file, io::sink()).map_err(failed)?;
        file.rewind().map_err(failed)?;
    }
    Ok(file)
}

fn of_archive(path: &str, source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::InvalidData {
        let message = format!("`{path}` cannot be imported: {source}");
        return Failure::Usage {
            message,
            hint: "an archive of another program is imported with `--unchecked`".to_owned(),
        };
    }
    Failure::File { path: path.to_owned(), source }
}

fn said(verb: &str, moved: Moved, sum: Option<Sum>, printer: Printer<'_>) -> Outcome {
    let Moved { workload, path, file, owners } = moved;
    let size =
        sum.as_ref().map_or(String::new(), |sum| format!(" ({}, sha256:{})", format::bytes(sum.bytes), sum.sha256));
    let is_taken = verb == "exported" && is_stream(&file);
    if printer.settings.json && !is_taken {
        let (sha256, bytes) = sum.map_or((None, None), |sum| (Some(sum.sha256), Some(sum.bytes)));
        return printer.json(&Report { workload, path, file, sha256, bytes, owners });
    }
    printer.talk(format_args!("{verb} `{path}` of `{workload}`{size}"));
    Ok(())
}
