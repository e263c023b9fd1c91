//! The ids of a user namespace: the user alone, or the user and the ids that `/etc/subuid` and `/etc/subgid` give it.
//!
//! Only the setuid programs `newuidmap` and `newgidmap` may map the latter. Files that were made by one of them belong to nobody without it: a place
//! keeps the mapping that it was made with.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};
use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, ShimError, ShimErrorKind};
use crate::files::{program, read_json, replace_json};

const FILE: &str = "ids";

/// Ids of a user besides its own; inside they follow root, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    users: Vec<Range>,
    groups: Vec<Range>,
    /// Paths of `newuidmap` and `newgidmap`.
    programs: (PathBuf, PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    first: u32,
    count: u32,
}

impl Mapping {
    /// What this user may have by now, with the programs found in a `PATH`; `None`: nothing besides its own ids.
    pub fn of_this_user(path: &OsStr) -> Option<Self> {
        let name = User::from_uid(Uid::from_raw(geteuid().as_raw())).ok().flatten().map(|user| user.name);
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let ranges = |file: &str, own: u32| {
            let text = fs::read_to_string(file).unwrap_or_default();
            Some(ranges(&text, (uid, name.as_deref()), own)).filter(|ranges| !ranges.is_empty())
        };
        let (users, groups) = (ranges("/etc/subuid", uid)?, ranges("/etc/subgid", gid)?);
        Some(Self { users, groups, programs: programs(path)? })
    }

    /// What a place was made with. `None`: not settled yet.
    ///
    /// # Errors
    /// The disk.
    pub fn of_place(place: &Path) -> io::Result<Option<Option<Self>>> {
        match read_json(&place.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Settles it for a place.
    ///
    /// # Errors
    /// The disk.
    pub fn settle(place: &Path, mapping: Option<&Self>) -> io::Result<()> {
        fs::create_dir_all(place)?;
        replace_json(&place.join(FILE), &mapping, true)
    }

    /// With the programs where they are now; as it was, where they are nowhere.
    #[must_use]
    pub fn refreshed(self, path: &OsStr) -> Self {
        Self { programs: programs(path).unwrap_or(self.programs), ..self }
    }

    /// Gives the ids to a process that has just made a user namespace; called outside of it, by the same user.
    pub(crate) fn give(&self, pid: i32) -> Result<(), ShimError> {
        let own = (geteuid().as_raw(), getegid().as_raw());
        run(&self.programs.0, pid, own.0, &self.users)?;
        run(&self.programs.1, pid, own.1, &self.groups)
    }
}

fn programs(path: &OsStr) -> Option<(PathBuf, PathBuf)> {
    Some((program(path, "newuidmap")?, program(path, "newgidmap")?))
}

/// Ranges of a user, who is listed by number or name; what overlaps an earlier one or the user's own id, or has no end, is left out.
fn ranges(text: &str, (uid, name): (u32, Option<&str>), own: u32) -> Vec<Range> {
    let mut found: Vec<Range> = Vec::new();
    let mut room = u32::MAX - 1;
    for line in text.lines() {
        let mut fields = line.trim().split(':');
        let (Some(who), Some(first), Some(count), None) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let is_user = name == Some(who) || who.parse() == Ok(uid);
        let (Ok(first), Ok(count)) = (first.parse::<u32>(), count.parse::<u32>()) else { continue };
        let Some(end) = first.checked_add(count) else { continue };
        let overlaps = found.iter().any(|range| first < range.first + range.count && range.first < end);
        if is_user && count > 0 && count < room && !overlaps && !(first..end).contains(&own) {
            room -= count;
            found.push(Range { first, count });
        }
    }
    found
}

fn run(program: &Path, pid: i32, own: u32, ranges: &[Range]) -> Result<(), ShimError> {
    let mut command = Command::new(program);
    command.args([pid, 0].map(|number| number.to_string())).arg(own.to_string()).arg("1");
    let mut inside = 1;
    for range in ranges {
        command.args([inside, range.first, range.count].map(|number| number.to_string()));
        inside += range.count;
    }
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.doing(format_args!("run `{}`", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = format!("`{}` does not give this user its ids: {why}", program.display());
    Err(ShimError::new(ShimErrorKind::Unauthorized, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(u32, u32)> {
        ranges(text, (1000, Some("ann")), 1000).into_iter().map(|range| (range.first, range.count)).collect()
    }

    #[test]
    fn ranges_are_listed_by_name_or_number() {
        assert_eq!(of("bob:1:5\nann:100000:65536\n1000:300000:10\n"), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(of("anna:100000:65536\n10:1:5\n# ann:1:1\n\n"), []);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        assert_eq!(of("ann:x:5\nann:5\nann:1:2:3\nann:100000:0\nann:4294967295:5\n"), []);
        // Twice the same, and the user's own id.
        assert_eq!(of("ann:100000:10\nann:100005:10\nann:999:5\nann:100010:10\n"), [(100_000, 10), (100_010, 10)]);
    }
}
