//! Secrets: each sound by itself, and at a place of its own.

use std::collections::HashMap;

use super::Problem;
use crate::device::own_place;
use crate::mount::paths;
use crate::secret::DIRECTORY;
use crate::{Component, secret};

/// Checks `secrets`, together with what else is mounted.
pub(super) fn check(path: &str, component: &Component) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mounts = component.mounts.iter().chain(&component.permissions.mounts);
    let mut seen: HashMap<&str, String> = mounts.map(|mount| (mount.target.as_str(), path.to_owned())).collect();
    for (at, secret) in component.secrets.iter().enumerate() {
        let place = format!("{path}.secrets[{at}]");
        if let Err(error) = secret::check_name(&secret.source) {
            let problem = Problem::new(&place, error.message);
            problems.push(match error.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
        if secret.target == "/" || secret.target.contains('\0') || paths::clean(&secret.target) != secret.target {
            let words = format!("`{}` is not a path to mount at", secret.target.escape_default());
            problems.push(Problem::new(&place, words));
        } else if let Some(reason) = unusable(&secret.target) {
            let problem = Problem::new(&place, format!("no secret can be at `{}`: {reason}", secret.target));
            problems.push(problem.hint(format!("leave `target` out: it is a file in `{DIRECTORY}`")));
        }
        if secret.mode > 0o777 {
            problems.push(Problem::new(&place, format!("`{:o}` is not a mode of a secret", secret.mode)));
        }
        if let Some(first) = seen.insert(&secret.target, place.clone()) {
            let problem = Problem::new(place, format!("something else is mounted at `{}` already", secret.target));
            problems.push(problem.related(first, "mounted here"));
        }
    }
    problems
}

/// Why no file can be mounted at a cleaned path; nothing for ordinary ones.
fn unusable(target: &str) -> Option<String> {
    if let Some(reason) = paths::reserved(target) {
        return Some(reason.to_owned());
    }
    let own = own_place(target)?;
    // Directories in memory, which hold what they are given.
    let is_inside = target != own && matches!(own, "/dev/mqueue" | "/dev/shm");
    (!is_inside).then(|| format!("every instance has `{own}` of its own"))
}
