//! The AppArmor profile of containers, where the host has one loaded: its own, Docker's, or Podman's. None is made here.

use std::fs;

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
/// What containers are confined by, the best first; `-` at the end: a version follows.
const KNOWN: [&str; 3] = ["hythe-default", "docker-default", "containers-default-"];

/// What this host has for containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppArmor {
    /// The kernel has none.
    Absent,
    /// This profile.
    Profile(String),
    /// It is on, and no profile for containers can be seen.
    NoProfile,
}

impl AppArmor {
    /// Looks.
    pub fn of_host() -> Self {
        if !fs::read_to_string(ENABLED).is_ok_and(|text| text.starts_with('Y')) {
            return Self::Absent;
        }
        choose(&fs::read_to_string(LOADED).unwrap_or_default()).map_or(Self::NoProfile, Self::Profile)
    }
}

/// Lines are `name (mode)`; one that only complains confines nothing.
fn choose(loaded: &str) -> Option<String> {
    let enforced = || loaded.lines().filter_map(|line| line.strip_suffix(" (enforce)"));
    let is = |name: &str, known: &str| if known.ends_with('-') { name.starts_with(known) } else { name == known };
    KNOWN.iter().find_map(|known| enforced().find(|name| is(name, known))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_that_is_enforced_is_chosen() {
        let loaded = "/usr/bin/man (enforce)\ncontainers-default-0.50.1 (enforce)\ndocker-default (complain)\n";
        assert_eq!(choose(loaded).as_deref(), Some("containers-default-0.50.1"));
        assert_eq!(choose(&format!("{loaded}docker-default (enforce)\n")).as_deref(), Some("docker-default"));
        assert_eq!(choose("docker-default-not (enforce)\n"), None);
    }
}
