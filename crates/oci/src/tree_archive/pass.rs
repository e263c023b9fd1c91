//! An archive on its way to or from an engine: checked, and its names made those of the module.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::names::{clean, written};
use super::{ErrorKind, Totals, of_archive};
use crate::archive::LayerWriter;
use crate::unpack::{Member, Members, Meta};
use crate::{Error, unpack};

/// What to change on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass<'a> {
    /// From an engine that names a directory after itself: its name is taken off.
    From(&'a OsStr),
    /// To an engine: the root, whose looks stay as they are, is left out.
    To,
}

/// Passes an archive on. Blocking.
///
/// # Errors
/// `Invalid` for an archive that is damaged, ends early or leads out of its directory; what `out` says is `Internal`.
pub fn pass(archive: impl io::Read, how: Pass<'_>, out: impl Write) -> Result<Totals, Error> {
    let mut passing = Passing { how, writer: LayerWriter::new(out), totals: Totals::default(), top: None };
    let mut members = Members::new(archive);
    while let Some(member) = members.next().map_err(of_archive)? {
        passing.member(&member, &mut members)?;
    }
    let Passing { writer, totals, .. } = passing;
    writer.finish().and_then(|mut out| out.flush()).map_err(|error| not_written(&error))?;
    Ok(totals)
}

fn not_written(error: &io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("the archive cannot be passed on: {error}"))
}

struct Passing<'a, W: Write> {
    how: Pass<'a>,
    writer: LayerWriter<W>,
    totals: Totals,
    /// The name that is taken off: that of the first entry, where it is a directory.
    top: Option<PathBuf>,
}

impl<W: Write> Passing<'_, W> {
    fn member(&mut self, member: &Member, content: &mut impl io::Read) -> Result<(), Error> {
        let path = clean(&member.name)?;
        let wrong = |why: &str| of_archive(unpack::Failure::Entry(path.clone(), why.to_owned()));
        let meta = Meta::read(member).map_err(|why| wrong(&why))?;
        let kind = member.kind();
        let is_directory = kind.is_dir() || (kind.is_file() && member.name.ends_with(b"/"));
        if let Pass::From(name) = self.how
            && self.totals.entries == 0
            && is_directory
            && path == Path::new(name)
        {
            self.top = Some(path.clone());
        }
        let name = self.named(&path);
        if name.as_os_str().is_empty() && self.how == Pass::To {
            return if is_directory { Ok(()) } else { Err(wrong("only a directory can be the root")) };
        }
        let name = written(&name);
        let linked = || match member.link.as_deref() {
            Some(to) if !to.is_empty() && !to.contains(&0) => Ok(to),
            _ => Err(wrong("it links to nothing")),
        };
        let outcome = match kind {
            _ if is_directory => self.writer.directory(&name, &meta),
            EntryType::Regular | EntryType::Continuous if member.map.is_none() => {
                self.totals.bytes += member.stored;
                self.writer.file(&name, &meta, member.stored, content)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                return Err(wrong("it has a map of holes, which is not supported"));
            }
            EntryType::Link => {
                let to = written(&self.named(&clean(linked()?)?));
                self.writer.link(&name, &Meta { xattrs: Vec::new(), ..meta }, EntryType::Link, &to)
            }
            EntryType::Symlink => {
                let to = Path::new(OsStr::from_bytes(linked()?));
                self.writer.link(&name, &meta, EntryType::Symlink, to)
            }
            EntryType::Fifo => self.writer.empty(&name, &meta, EntryType::Fifo),
            // Left out, see the module.
            EntryType::Char | EntryType::Block => return Ok(()),
            _ => return Err(wrong("its type is unknown")),
        };
        self.totals.entries += 1;
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => of_archive(unpack::Failure::Stream(error)),
            _ => not_written(&error),
        })
    }

    fn named(&self, path: &Path) -> PathBuf {
        match &self.top {
            Some(top) => path.strip_prefix(top).unwrap_or(path).to_owned(),
            None => path.to_owned(),
        }
    }
}
