//! Programs the engines need, and getting them from apt where that is ours to do.
//!
//! Only as root on a Debian system, and without letting a package start its daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Result};
use crate::run;

/// A program and the Debian package that brings it.
pub(crate) type Need = (&'static str, &'static str);

/// What every engine's network needs.
pub(crate) const NETWORK: &[Need] = &[("iptables", "iptables"), ("ip", "iproute2")];

const POLICY_RC_D: &str = "/usr/sbin/policy-rc.d";

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
    let download = || {
        run::output(
            apt()
                .args(["-o", "APT::Sandbox::User=root", "download", package])
                .current_dir(into),
        )
    };
    if download().is_err() {
        run::output(apt().arg("update"))?;
        download()?;
    }
    for entry in fs::read_dir(into).context(|| format!("reading `{}`", into.display()))? {
        let path = entry
            .context(|| format!("reading `{}`", into.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run::output(run::command("dpkg-deb").arg("-x").arg(&path).arg(into))?;
        }
    }
    Ok(())
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs
        .iter()
        .copied()
        .filter(|(program, _)| run::find(program).is_none())
        .collect()
}

fn packages(needs: &[Need]) -> Vec<&'static str> {
    let mut names: Vec<_> = needs.iter().map(|(_, package)| *package).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn describe(missing: &[Need]) -> String {
    let programs: Vec<_> = missing
        .iter()
        .map(|(program, package)| format!("`{program}` (Debian package `{package}`)"))
        .collect();
    format!("not installed: {}", programs.join(", "))
}

fn can_install() -> bool {
    rustix::process::geteuid().is_root()
        && Path::new("/etc/debian_version").exists()
        && run::find("apt-get").is_some()
}

fn install(packages: &[&str]) -> Result<()> {
    let _quiet = NoDaemons::hold()?;
    run::output(apt().arg("update"))?;
    run::output(
        apt()
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages),
    )?;
    Ok(())
}

fn apt() -> Command {
    let mut command = run::command("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-o", "DPkg::Lock::Timeout=180"]);
    command
}

/// While held, packages being installed may not start services.
struct NoDaemons {
    ours: bool,
}

impl NoDaemons {
    fn hold() -> Result<Self> {
        if Path::new(POLICY_RC_D).exists() {
            return Ok(Self { ours: false });
        }
        let writing = || format!("writing `{POLICY_RC_D}`");
        fs::write(POLICY_RC_D, "#!/bin/sh\nexit 101\n").context(writing)?;
        let guard = Self { ours: true };
        fs::set_permissions(POLICY_RC_D, fs::Permissions::from_mode(0o755)).context(writing)?;
        Ok(guard)
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY_RC_D);
        }
    }
}
