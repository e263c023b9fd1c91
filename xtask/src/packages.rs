//! Programs the engines need, and getting them from apt where that is ours to do.
//!
//! Only as root on a Debian system, and without letting a package start its daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::{Context, Failure, Result};
use crate::run;

/// A program and the Debian package that brings it.
pub(crate) type Need = (&'static str, &'static str);

const POLICY_RC_D: &str = "/usr/sbin/policy-rc.d";
/// Forbids every start; the comment tells ours from an administrator's.
const NO_DAEMONS: &str =
    "#!/bin/sh\n# Written by `cargo xtask env up` of Hythe while it installs packages.\nexit 101\n";

/// Makes the programs available; answers why not when they cannot be.
///
/// # Errors
/// Only when the machine's own package tool could not be run at all.
pub(crate) fn ensure(needs: &[Need]) -> Result<Option<String>> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(None);
    }
    if !can_install() {
        return Ok(Some(describe(&missing)));
    }
    eprintln!("xtask: installing {}", packages(&missing).join(" "));
    if let Err(failure) = install(&packages(&missing)) {
        return Ok(Some(format!("{}; {failure}", describe(&missing))));
    }
    let still = self::missing(needs);
    Ok((!still.is_empty()).then(|| describe(&still)))
}

/// Downloads a package without installing it and unpacks its files below `into`.
pub(crate) fn unpack(package: &str, into: &Path) -> Result<()> {
    fs::create_dir_all(into).context(|| format!("creating `{}`", into.display()))?;
    let download = || run::output(apt().args(["-o", "APT::Sandbox::User=root", "download", package]).current_dir(into));
    if download().is_err() {
        run::output(apt().arg("update"))?;
        download()?;
    }
    for entry in fs::read_dir(into).context(|| format!("reading `{}`", into.display()))? {
        let path = entry.context(|| format!("reading `{}`", into.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run::output(run::command("dpkg-deb").arg("-x").arg(&path).arg(into))?;
        }
    }
    Ok(())
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|(program, _)| run::find(program).is_none()).collect()
}

fn packages(needs: &[Need]) -> Vec<&'static str> {
    let mut names: Vec<_> = needs.iter().map(|(_, package)| *package).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn describe(missing: &[Need]) -> String {
    let programs: Vec<_> =
        missing.iter().map(|(program, package)| format!("`{program}` (Debian package `{package}`)")).collect();
    format!("not installed: {}", programs.join(", "))
}

fn can_install() -> bool {
    rustix::process::geteuid().is_root() && Path::new("/etc/debian_version").exists() && run::find("apt-get").is_some()
}

fn install(packages: &[&str]) -> Result<()> {
    let quiet = NoDaemons::hold()?;
    let done = run::output(apt().arg("update")).and_then(|_| {
        let words = ["install", "-y", "--no-install-recommends"];
        run::output(apt().args(words).args(packages))
    });
    if quiet.interrupted() {
        return Err(Failure::new("interrupted"));
    }
    done.map(drop)
}

fn apt() -> Command {
    let mut command = run::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=180"]);
    command
}

/// While held, packages being installed may not start services, and a signal does not end this process before they may again.
struct NoDaemons {
    ours: bool,
    interrupted: Arc<AtomicBool>,
}

impl NoDaemons {
    fn hold() -> Result<Self> {
        let writing = || format!("writing `{POLICY_RC_D}`");
        let interrupted = Arc::<AtomicBool>::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            flag::register(signal, interrupted.clone()).context(writing)?;
        }
        let ours = fs::read_to_string(POLICY_RC_D).map_or(true, |text| text == NO_DAEMONS);
        let guard = Self { ours, interrupted };
        if ours {
            fs::write(POLICY_RC_D, NO_DAEMONS).context(writing)?;
            fs::set_permissions(POLICY_RC_D, fs::Permissions::from_mode(0o755)).context(writing)?;
        }
        Ok(guard)
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY_RC_D);
        }
    }
}
