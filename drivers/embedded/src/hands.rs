//! Files of an ordinary user that belong to ids which the user has in its user namespace only: what touches them is done there, by this program once more.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_oci::{Hands, Layer, Rights};
use hythe_runtime::{ErrorKind, Result};
use hythe_shim::Mapping;

use crate::errand;
use crate::error::{Doing, to_store};
use crate::instances::locked;

const OPERATION: &str = "connect";

/// See the module.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) program: PathBuf,
    /// Of the user namespace.
    pub(crate) place: PathBuf,
}

/// What was settled of the owners of files.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Where files belong to ids that this process has not.
    pub(crate) hands: Option<Arc<dyn Hands>>,
    /// Why not, though they might.
    pub(crate) warning: Option<String>,
}

/// Settles for good whether the files of a root belong to the user alone.
pub(crate) fn settle(root: &Path, program: &Path, place: &Path) -> Result<Settled> {
    let what = format_args!("settle the owners of `{}`", root.display());
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let keep = |mapping: Option<&Mapping>| Mapping::settle(place, mapping).doing(OPERATION, what);
    let inside = || {
        let inside = Inside { program: program.to_owned(), place: place.to_owned() };
        Settled { hands: Some(Arc::new(inside)), warning: None }
    };
    let _turn = locked(&root.join("lock")).doing(OPERATION, what)?;
    match Mapping::of_place(place).doing(OPERATION, what)? {
        Some(None) => return Ok(Settled::default()),
        Some(Some(mapping)) => {
            let now = mapping.clone().refreshed(&path);
            if now != mapping {
                keep(Some(&now))?;
            }
            return Ok(inside());
        }
        None => {}
    }
    // One that an earlier version made has files of one owner.
    let is_new = !root.join("instances").exists();
    let Some(mapping) = Mapping::of_this_user(&path).filter(|_| is_new) else {
        keep(None)?;
        return Ok(Settled::default());
    };
    keep(Some(&mapping))?;
    match errand::nothing(program, place) {
        Ok(()) => Ok(inside()),
        Err(error) if error.kind() != ErrorKind::Unauthorized => Err(error),
        Err(error) => {
            keep(None)?;
            Ok(Settled { hands: None, warning: Some(format!("as an ordinary user: {}", error.message())) })
        }
    }
}

/// With whose rights this process, which is inside, unpacks and copies layers.
pub(crate) fn rights(place: &Path) -> io::Result<Rights> {
    Ok(if Mapping::of_place(place)?.flatten().is_some() { Rights::Mapped } else { Rights::User })
}

impl Hands for Inside {
    fn unpack(&self, store: &Path, layers: &[Layer]) -> std::result::Result<(), hythe_oci::Error> {
        errand::unpack(&self.program, &self.place, store, layers).map_err(|error| to_store(&error))
    }

    fn remove(&self, tree: &Path) -> io::Result<()> {
        errand::remove(&self.program, &self.place, tree).map_err(|error| io::Error::other(error.message().to_owned()))
    }
}
