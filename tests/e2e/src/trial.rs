//! One trial: where it runs, and running it to its end whatever happens.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hythe_host_leaks::unprivileged::newuidmap;

use crate::environment::Environment;
use crate::fixture::Fixture;
use crate::subject::{Subject, clock_library};

/// Where a trial runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// Every runtime.
    Every,
    /// Those with an engine and a kernel below.
    Real,
    /// Real ones behind which somebody's engine is, which can go, hang and lose what it has.
    Engine,
    /// Real ones with a command line by which people make instances as they like.
    Commanded,
    /// Real ones, and a registry.
    Registry,
    /// The in-process one: what it shows has nothing to do with the runtime.
    Memory,
    /// Podman, with Docker beside it.
    Both,
    /// Every runtime, where a small disk can be mounted.
    Disk,
    /// The embedded runtime alone: what it shows has to do with its supervisors.
    Embedded,
    /// Docker alone: what it shows has to do with its daemon.
    Docker,
    /// Every one, where the agent can be given a clock of its own.
    Clock,
    /// As [`On::Memory`], where root can give an unprivileged user other ids.
    Ids,
}

/// Areas that need what the containerd driver does not have.
const UNSUPPORTED: [&str; 1] = ["adopt"];

const FIXED: &str = "containerd cannot rename a container or connect it to another network";
const NO_BUILD: &str = "building images is not implemented for containerd yet";
const NO_FOREIGN: &str = "containers that others made are not fully described or adopted on containerd yet";

/// Trials that say nothing of containerd, or find what its page lists as missing.
const NOT_ON_CONTAINERD: [(&str, &str); 12] = [
    ("changes_of_a_running_service_are_found", FIXED),
    ("changes_are_reported_as_events", FIXED),
    ("heals_what_was_changed_by_hand", FIXED),
    ("the_feed_reports_what_happens_as_it_happens", FIXED),
    ("pull_policy_always_takes_what_the_tag_means_now", NO_BUILD),
    ("are_built_and_pushed_once", NO_BUILD),
    ("missing_images_are_built_as_deploy_builds_them", NO_BUILD),
    ("gc_takes_only_images_that_hythe_brought_and_nobody_uses", NO_BUILD),
    ("hints_are_read_from_the_labels_of_other_tools", NO_FOREIGN),
    ("what_is_wanted_unknown_or_of_others_stays", NO_FOREIGN),
    ("what_was_left_behind_goes_after_two_looks_and_volumes_only_when_asked", NO_FOREIGN),
    (
        "an_image_check_is_used_and_goes_on_after_the_agents_restart",
        "the database of this trial was once said not to run, and ran: not traced yet",
    ),
];

/// Something a user relies on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub(crate) area: &'static str,
    pub(crate) name: &'static str,
    pub(crate) on: On,
    pub(crate) act: fn(&mut Fixture<'_>),
}

/// Lists trials: the area, then each function and where it runs.
macro_rules! trials {
    ($area:literal: $($name:ident $on:ident),* $(,)?) => {
        pub(super) fn trials() -> Vec<$crate::trial::Trial> {
            vec![$($crate::trial::Trial { area: $area, name: stringify!($name), on: $crate::trial::On::$on, act: $name }),*]
        }
    };
}
pub(crate) use trials;

impl Trial {
    /// Whether it says anything about this runtime.
    pub(crate) fn concerns(&self, runtime: &str) -> bool {
        match self.on {
            On::Every | On::Real | On::Engine | On::Commanded | On::Registry | On::Disk | On::Clock => true,
            On::Memory | On::Ids => runtime == "memory",
            On::Both => runtime == "podman",
            On::Docker => runtime == "docker",
            On::Embedded => runtime == "embedded",
        }
    }

    /// Why it cannot run there; `None`: it can.
    pub(crate) fn skipped(&self, runtime: &str, environment: &Environment) -> Option<String> {
        match self.on {
            On::Real | On::Engine | On::Commanded | On::Registry if runtime == "memory" => {
                Some("the in-process runtime has no processes, ports or registry, and ends with its agent".to_owned())
            }
            On::Engine if runtime == "embedded" => {
                Some("the embedded runtime has no daemon: nothing stands between the agent and the kernel that could go or hang".to_owned())
            }
            On::Engine if runtime == "containerd" => {
                Some("no trial has a containerd of its own that it may kill yet".to_owned())
            }
            On::Commanded if runtime == "containerd" => {
                Some("containerd's program makes containers in a form of its own".to_owned())
            }
            _ if runtime == "containerd" && UNSUPPORTED.contains(&self.area) => {
                Some(format!("containerd: `{}` is not implemented yet", self.area))
            }
            On::Commanded if runtime == "embedded" => {
                Some("the embedded runtime has no command line by which somebody could make instances as they like".to_owned())
            }
            On::Registry if environment.registry.is_none() => Some(environment.reason("registry")),
            On::Disk => crate::disk::unmountable(),
            On::Clock if clock_library().is_none() => Some("no libfaketime (Debian package `faketime`)".to_owned()),
            On::Ids if !rustix::process::geteuid().is_root() => Some("only root gives users other ids".to_owned()),
            On::Ids if newuidmap().is_none() => Some("no newuidmap (Debian package `uidmap`)".to_owned()),
            On::Both if environment.docker.is_none() => Some(environment.reason("docker")),
            _ if runtime == "containerd" => {
                let known = NOT_ON_CONTAINERD.iter().find(|(name, _)| *name == self.name);
                known.map(|(_, reason)| (*reason).to_owned())
            }
            _ => None,
        }
    }

    /// Runs it and cleans up; why it failed.
    pub(crate) fn run(&self, environment: &Environment, subject: &Subject) -> Result<(), String> {
        let mut fixture = caught(|| Fixture::new(environment, subject))?;
        let outcome = caught(|| (self.act)(&mut fixture));
        let log = fixture.agent.log();
        let cleaned = fixture.clean();
        match (outcome, cleaned) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(first), Err(second)) => Err(format!("{first}\nand then: {second}\n--- end of the agent's log\n{log}")),
            (Err(fault), Ok(())) | (Ok(()), Err(fault)) => Err(format!("{fault}\n--- end of the agent's log\n{log}")),
        }
    }
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the words and the place of panics for [`caught`] in place of printing them at once.
pub(crate) fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| LAST_PANIC.set(panic.to_string())));
}

/// Does something; a panic in it, with its words and its place, is an error.
pub(crate) fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| LAST_PANIC.take())
}
