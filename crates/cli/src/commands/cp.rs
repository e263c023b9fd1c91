//! `hythe cp`: files between a workload and this host, by the rules of `docker cp`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hythe_api::{ArchiveWay, FileInfo, FileKind};
use hythe_oci::OwnershipMode;
use hythe_oci::tree_archive::{Extract, Named, Owner, Read, Totals, extract, read};
use serde::Serialize;

use super::archive::place::{Place, Remote, is_content, name, no_owners, parent};
use super::archive::transfer::{Meter, receive, send};
use super::connect;
use crate::args::Cp;
use crate::output::Printer;
use crate::report::{Failure, Outcome};
use crate::{format, target};

/// What was copied.
#[derive(Debug, Serialize)]
struct Copied {
    source: String,
    destination: String,
    /// Files, directories and links.
    entries: u64,
    /// Bytes in files.
    bytes: u64,
}

pub(super) async fn run(args: Cp, printer: Printer<'_>) -> Outcome {
    let places = (Place::parse(&args.source), Place::parse(&args.destination));
    let ((Place::There(workload, _), _) | (_, Place::There(workload, _))) = &places else {
        return usage("neither SOURCE nor DESTINATION is of a workload", "write `shop/web:/path` for one of them");
    };
    if matches!(places, (Place::There(..), Place::There(..))) {
        return usage("both SOURCE and DESTINATION are of a workload", "copy to this host first");
    }
    let client = connect(printer).await?;
    let workload = target::one(workload, &client.workloads().await?)?.name.clone();
    let remote = |path: &str| Remote { client: &client, workload: &workload, path: path.to_owned() };
    let totals = match &places {
        (Place::There(_, path), Place::Stream) => return to_stdout(remote(path), &args, printer).await,
        (Place::Stream, Place::There(_, path)) => return from_stdin(remote(path)).await,
        (Place::There(_, from), Place::Here(to)) => download(remote(from), to, &args).await?,
        (Place::Here(from), Place::There(_, to)) => upload(from, remote(to), &args).await?,
        _ => return Ok(()),
    };
    if printer.settings.json {
        let Totals { entries, bytes } = totals;
        return printer.json(&Copied { source: args.source, destination: args.destination, entries, bytes });
    }
    printer.talk(format_args!(
        "copied {} ({}) to {}",
        entries(totals.entries),
        format::bytes(totals.bytes),
        args.destination
    ));
    Ok(())
}

fn entries(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files and directories") }
}

fn usage<T>(message: impl Into<String>, hint: &str) -> Outcome<T> {
    Err(Failure::Usage { message: message.into(), hint: hint.to_owned() })
}

fn absent<T>(path: &str) -> Outcome<T> {
    Err(Failure::NotFound { message: format!("`{path}` does not exist"), hint: "check the path".to_owned() })
}

/// Refuses where what is read has other owners than the files.
fn keeps_owners(from: &Remote<'_>, found: &FileInfo) -> Outcome {
    if found.owners {
        return Ok(());
    }
    usage(no_owners(from), "copy without `-a`: then the files are yours")
}

async fn to_stdout(from: Remote<'_>, args: &Cp, printer: Printer<'_>) -> Outcome {
    if io::stdout().is_terminal() {
        return usage("an archive is not written to a terminal", "pipe it, such as into `tar -tf -`");
    }
    let (from, found) = from.found(args.follow_link).await?;
    match found {
        Some(found) if args.archive => keeps_owners(&from, &found)?,
        Some(found) if !found.owners => printer.talk(format_args!("{}", no_owners(&from))),
        _ => {}
    }
    let session = from.open(ArchiveWay::Read, false).await?;
    receive(session, Meter::new(), |archive| {
        let mut out = io::stdout().lock();
        io::copy(archive, &mut out)?;
        Ok(io::Write::flush(&mut out)?)
    })
    .await
}

async fn from_stdin(into: Remote<'_>) -> Outcome {
    if io::stdin().is_terminal() {
        return usage("an archive is not read from a terminal", "pipe one in, such as from `tar -c .`");
    }
    let session = into.open(ArchiveWay::Write, false).await?;
    send(session, Meter::new(), |out| Ok(io::copy(&mut io::stdin().lock(), out).map(drop)?)).await
}

/// Where on this host something is extracted to: an existing directory, and a name in it.
struct Target {
    directory: PathBuf,
    rename: Option<OsString>,
}

impl Target {
    fn of(from: &str, is_directory: bool, to: &str) -> Outcome<Self> {
        let path = Path::new(to);
        let there = fs::metadata(path).ok();
        let inside = |rename: Option<&str>| Ok(Self { directory: path.to_owned(), rename: rename.map(OsString::from) });
        match there {
            Some(found) if found.is_dir() && is_directory && is_content(from) => inside(None),
            Some(found) if found.is_dir() => inside(name(from)),
            Some(_) if is_directory => Err(Failure::Usage {
                message: format!("`{to}` is a file, and a directory does not replace it"),
                hint: "name a directory, or a path where nothing is".to_owned(),
            }),
            Some(_) => Self::beside(path),
            None if to.ends_with('/') && !is_directory => absent(to),
            None => Self::beside(path),
        }
    }

    /// Under its own name in the directory above, which must be there.
    fn beside(path: &Path) -> Outcome<Self> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !above.is_dir() {
            return absent(&above.display().to_string());
        }
        Ok(Self { directory: above.to_owned(), rename: path.file_name().map(OsStr::to_owned) })
    }
}

async fn download(from: Remote<'_>, to: &str, args: &Cp) -> Outcome<Totals> {
    let (from, found) = from.found(args.follow_link).await?;
    if let Some(found) = found.as_ref().filter(|_| args.archive) {
        keeps_owners(&from, found)?;
    }
    // What is absent, the workload or the file, is said when it is read.
    let is_directory = found.is_some_and(|found| found.kind == FileKind::Directory);
    let session = from.open(ArchiveWay::Read, false).await?;
    let Target { directory, rename } = Target::of(&from.path, is_directory, to)?;
    let directory = fs::canonicalize(&directory).map_err(|source| file(&directory, source))?;
    let owner = if args.archive { Owner::Kept } else { Owner::As(own_user(), own_group()) };
    receive(session, Meter::new(), move |archive| {
        let root = File::open("/")?;
        let how = Extract { into: &directory, rename: rename.as_deref(), owner, rights: rights() };
        Ok(extract(&root, how, archive)?)
    })
    .await
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn own_group() -> u32 {
    rustix::process::getegid().as_raw()
}

fn rights() -> OwnershipMode {
    if rustix::process::geteuid().is_root() { OwnershipMode::Root } else { OwnershipMode::User }
}

fn file(path: &Path, source: io::Error) -> Failure {
    Failure::File { path: path.display().to_string(), source }
}

async fn upload(from: &str, to: Remote<'_>, args: &Cp) -> Outcome<Totals> {
    let follows = args.follow_link || from.ends_with('/') || is_content(from);
    let path = Path::new(from);
    let found = if follows { fs::metadata(path) } else { fs::symlink_metadata(path) };
    let is_directory = found.map_err(|source| file(path, source))?.is_dir();
    let (into, named) = destination(from, is_directory, to).await?;
    let source = source(path, follows)?;
    let owner = if args.archive { Owner::Kept } else { Owner::As(0, 0) };
    let session = into.open(ArchiveWay::Write, false).await?;
    send(session, Meter::new(), move |out| {
        let root = File::open("/")?;
        let named = named.as_deref().map_or(Named::Relative, Named::As);
        Ok(read(&root, Read { path: &source, named, owner }, out)?)
    })
    .await
}

/// The absolute path; links on the way are followed, the last one only where that is asked for.
fn source(path: &Path, follows: bool) -> Outcome<PathBuf> {
    let whole = |path: &Path| fs::canonicalize(path).map_err(|source| file(path, source));
    match path.file_name() {
        Some(name) if !follows => {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(whole(above)?.join(name))
        }
        _ => whole(path),
    }
}

/// The directory that is written to, and the name that SOURCE gets in it.
async fn destination<'a>(from: &str, is_directory: bool, to: Remote<'a>) -> Outcome<(Remote<'a>, Option<OsString>)> {
    let typed = to.path.clone();
    let (to, found): (_, Option<FileInfo>) = to.followed().await?;
    let kind = found.map(|found| found.kind);
    let beside = |to: Remote<'a>| {
        let named = name(&to.path).map(OsString::from);
        let path = parent(&to.path).to_owned();
        (Remote { path, ..to }, named)
    };
    match kind {
        Some(FileKind::Directory) if is_directory && is_content(from) => Ok((to, None)),
        Some(FileKind::Directory) => {
            let named = match name(from) {
                Some(name) => OsString::from(name),
                None => own_name(from)?,
            };
            Ok((to, Some(named)))
        }
        Some(_) if is_directory => usage(
            format!("`{typed}` is a file, and a directory does not replace it"),
            "name a directory, or a path where nothing is",
        ),
        None if typed.ends_with('/') && !is_directory => absent(&typed),
        Some(_) | None => Ok(beside(to)),
    }
}

/// Of `.` and `..`.
fn own_name(from: &str) -> Outcome<OsString> {
    let whole = fs::canonicalize(from).map_err(|source| file(Path::new(from), source))?;
    let name = whole.file_name().unwrap_or(OsStr::from_bytes(b"root"));
    Ok(name.to_owned())
}
