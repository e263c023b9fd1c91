//! Containers of an unprivileged user, on a real kernel: root starts this program again as a user that no machine knows. It is its own shim, so it has its own `main`.
//!
//! Needs, for the image, a static busybox (`HYTHE_TEST_BUSYBOX`, else `/bin/busybox`); without it everything is skipped, and said so.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a trial fails by panicking")]

#[path = "../shim/harness.rs"]
#[expect(dead_code, reason = "the harness of root's trials has more than these need")]
mod harness;
#[path = "../shim/image.rs"]
#[expect(dead_code, reason = "these trials need fewer kinds of image")]
mod image;
#[path = "../../../../crates/network/tests/network/kernel.rs"]
#[expect(dead_code, reason = "the trials of root's networks do and see more than these")]
mod kernel;
mod networks;
mod outward;
mod owners;
mod trials;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use hythe_host_leaks::unprivileged::{IDS, USER, give_ids, newuidmap};
use libtest_mimic::{Arguments, Failed, Trial};

/// Says so to this program, started once more.
pub(crate) const WITH_IDS: &str = "HYTHE_TEST_IDS";

/// Whether this user has other ids.
pub(crate) fn has_ids() -> bool {
    std::env::var_os(WITH_IDS).is_some()
}

/// Who a user of a container is for the machine.
pub(crate) fn outside(inside: u32) -> u32 {
    if has_ids() && inside > 0 { IDS[0].0 + inside - 1 } else { USER }
}

fn main() -> ExitCode {
    if let Some(code) = hythe_driver_embedded::shim(std::env::args_os().skip(1)) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    let mut arguments = Arguments::from_args();
    // They look at all processes.
    arguments.test_threads = Some(1);
    let trials: Vec<Trial> = match outward::trials() {
        Some((way, trials)) => trials.iter().map(|(name, act)| trial(format!("{way}::{name}"), *act)).collect(),
        None => {
            let owners = if has_ids() { owners::TRIALS } else { &[] };
            let named = trials::TRIALS.iter().chain(networks::TRIALS).chain(owners);
            named.map(|(name, act)| trial((*name).to_owned(), *act)).collect()
        }
    };
    if !harness::busybox().exists() {
        println!("skipped {} trials: there is no `{}`", trials.len(), harness::busybox().display());
        return ExitCode::SUCCESS;
    }
    if rustix::process::geteuid().is_root() {
        return by_root();
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// This program once more as a user, with and without other ids, on this machine and on those made for it, from a copy that the user may read wherever the
/// checkout is.
fn by_root() -> ExitCode {
    let directory = tempfile::Builder::new().prefix("hythe-user-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = directory.path().join("rootless");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    // What a user with other ids leaves there, only root can remove.
    let roots = directory.path().join("roots");
    fs::create_dir(&roots).unwrap();
    chown(&roots, Some(USER), Some(USER)).unwrap();
    let run = |variables: &[outward::Variable]| {
        let mut command = Command::new(&program);
        command.env(harness::ROOTS, &roots);
        command.args(std::env::args_os().skip(1)).envs(variables.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").uid(USER).gid(USER).status().unwrap().success()
    };
    let mut good = run(&[]);
    if newuidmap().is_some() {
        let with_ids = || {
            give_ids().unwrap();
            run(&[(WITH_IDS, "1".into())])
        };
        good &= std::thread::scope(|scope| scope.spawn(with_ids).join().unwrap());
    } else {
        let count = trials::TRIALS.len() + networks::TRIALS.len() + owners::TRIALS.len();
        println!("skipped {count} trials: there is no `newuidmap`");
    }
    good &= outward::each_way(directory.path(), run);
    ExitCode::from(u8::from(!good))
}

/// A trial by name.
type Named = (&'static str, fn());

fn trial(name: String, act: fn()) -> Trial {
    Trial::test(name, move || {
        std::panic::catch_unwind(act).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Failed::from(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
        })
    })
}
