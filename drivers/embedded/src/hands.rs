//! Files of an ordinary user that belong to ids which the user has in its user namespace only: what touches them is done there, by this program once more.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use hythe_oci::{Hands, Kind, Layer, Rights};
use hythe_runtime::{Error, ErrorKind, Result};
use hythe_shim::Mapping;

use crate::errand;
use crate::error::Doing;

const OPERATION: &str = "connect";

/// See the module.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) program: PathBuf,
    /// Of the user namespace.
    pub(crate) place: PathBuf,
}

/// Settles whether the files of a root belong to the user alone; an earlier decision stands, since the files do.
/// With the hands that are needed where they do not, and what is worth a warning.
pub(crate) fn settle(program: &Path, place: &Path, is_new: bool) -> Result<(Option<Inside>, Option<String>)> {
    let what = format_args!("settle the ids of `{}`", place.display());
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let keep = |mapping: Option<&Mapping>| Mapping::settle(place, mapping).doing(OPERATION, what);
    let inside = || Inside { program: program.to_owned(), place: place.to_owned() };
    match Mapping::of_place(place).doing(OPERATION, what)? {
        Some(None) => return Ok((None, None)),
        Some(Some(mapping)) => {
            let now = mapping.clone().refreshed(&path);
            if now != mapping {
                keep(Some(&now))?;
            }
            return Ok((Some(inside()), None));
        }
        None => {}
    }
    let Some(mapping) = Mapping::of_this_user(&path).filter(|_| is_new) else {
        keep(None)?;
        return Ok((None, None));
    };
    keep(Some(&mapping))?;
    match errand::nothing(program, place) {
        Ok(()) => Ok((Some(inside()), None)),
        Err(error) => {
            keep(None)?;
            Ok((None, Some(format!("as an ordinary user: {}", error.message()))))
        }
    }
}

/// With whose rights this process, which is inside, unpacks and copies layers.
pub(crate) fn rights(place: &Path) -> io::Result<Rights> {
    Ok(if Mapping::of_place(place)?.flatten().is_some() { Rights::Mapped } else { Rights::User })
}

/// Removes a directory and all below it, whoever its files belong to.
pub(crate) fn remove_tree(inside: Option<&Inside>, tree: &Path) -> io::Result<()> {
    match (hythe_oci::remove_tree(tree), inside) {
        (Err(error), Some(inside)) if error.kind() == io::ErrorKind::PermissionDenied => inside.remove(tree),
        (removed, _) => removed,
    }
}

impl Hands for Inside {
    fn unpack(&self, store: &Path, layers: &[Layer]) -> std::result::Result<(), hythe_oci::Error> {
        errand::unpack(&self.program, &self.place, store, layers).map_err(|error| to_store(&error))
    }

    fn remove(&self, tree: &Path) -> io::Result<()> {
        errand::remove(&self.program, &self.place, tree).map_err(|error| io::Error::other(error.message().to_owned()))
    }
}

fn to_store(error: &Error) -> hythe_oci::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::Unavailable => Kind::Unavailable,
        ErrorKind::Invalid => Kind::Invalid,
        ErrorKind::Exhausted => Kind::Exhausted,
        _ => Kind::Internal,
    };
    let told = hythe_oci::Error::new(kind, error.message());
    match error.next_step() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}
