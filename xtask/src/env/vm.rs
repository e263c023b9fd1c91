//! What virtual machines boot: a kernel of the distribution, unpacked and not installed.
//!
//! It is kept in `/var/tmp` under its package's name, which has its version, for every run to come.

use std::fs;
use std::path::{Path, PathBuf};

use super::session::Session;
use super::state::Kernel;
use crate::failure::{Context, Failure, Result};
use crate::packages::{self, Need};
use crate::run;

/// Programs it needs.
pub(crate) const NEEDS: &[Need] = &[("qemu-system-x86_64", "qemu-system-x86")];

const NAME: &str = "vm";
/// Depends on the newest kernel for machines of clouds, which boots fastest.
const PACKAGE: &str = "linux-image-cloud-amd64";
const KEPT: &str = "/var/tmp";

/// Finds the kernel, or downloads it. A host that cannot have it skips the trials.
pub(crate) fn up(session: &mut Session) -> Result<()> {
    match kernel() {
        Ok(kernel) => session.state.description.vm = Some(Kernel { kernel }),
        Err(failure) => {
            let reason = format!("no kernel for virtual machines: {failure}");
            eprintln!("xtask: skipping {NAME}: {reason}");
            session.state.description.skipped.insert(NAME.to_owned(), reason);
        }
    }
    session.save()
}

/// There is no daemon to end, and the kernel stays.
pub(crate) fn down(session: &mut Session) -> Result<()> {
    session.state.description.vm = None;
    Ok(())
}

fn kernel() -> Result<PathBuf> {
    let package = package()?;
    let place = Path::new(KEPT).join(format!("hythe-kernel-{package}"));
    if place.is_dir() {
        return Ok(place);
    }
    let making = Path::new(KEPT).join(format!("hythe-kernel-{package}.{}", std::process::id()));
    let unpacked = packages::unpack(&package, &making);
    let renamed = unpacked.and_then(|()| {
        // Another run may have been faster.
        fs::rename(&making, &place)
            .or_else(|error| if place.is_dir() { Ok(()) } else { Err(error) })
            .context(|| format!("renaming `{}`", making.display()))
    });
    // Renamed it is there no more.
    let _ = fs::remove_dir_all(&making);
    renamed.map(|()| place)
}

/// The package with the kernel itself: `linux-image-6.1.0-57-cloud-amd64`.
fn package() -> Result<String> {
    let text = run::output(run::command("apt-cache").args(["depends", PACKAGE]))?;
    let found = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    found.map(|name| name.trim().to_owned()).ok_or_else(|| Failure::new(format!("apt knows no `{PACKAGE}`")))
}
