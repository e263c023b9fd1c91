//! Who a process runs as, looked up in the container's own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::Fault;

/// A process's ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) more: Vec<u32>,
}

/// Ids that this user namespace does not have: a process has them in one of its own, in which it is all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guise {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Ids {
    /// As far as this user namespace has them; what it has not is a guise of its root.
    pub(crate) fn here(self) -> (Self, Option<Guise>) {
        let (users, groups) = (Map::of_this("uid_map"), Map::of_this("gid_map"));
        if !users.has(self.uid) || !groups.has(self.gid) {
            let guise = Guise { uid: self.uid, gid: self.gid };
            return (Self { uid: 0, gid: 0, more: Vec::new() }, Some(guise));
        }
        // Groups that nobody may set are left out, as their files belong to this user all the same.
        let settable = std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow");
        let more = self.more.into_iter().filter(|gid| settable && groups.has(*gid)).collect();
        (Self { more, ..self }, None)
    }
}

/// Ranges of ids that there are in a user namespace: the first and how many.
struct Map(Vec<(u32, u32)>);

impl Map {
    fn of_this(file: &str) -> Self {
        Self::parse(&std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let (first, count) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
            Some((first, count))
        };
        Self(text.lines().filter_map(range).collect())
    }

    fn has(&self, id: u32) -> bool {
        self.0.iter().any(|(first, count)| id.checked_sub(*first).is_some_and(|offset| offset < *count))
    }
}

/// Larger files of users are not believed.
const LARGEST: u64 = 4 << 20;

/// Reads a small file below a root that may lead anywhere; absent: empty.
fn read(root: BorrowedFd<'_>, path: &str) -> String {
    let opened =
        openat2(root, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty(), ResolveFlags::IN_ROOT);
    let mut text = Vec::new();
    if let Ok(file) = opened {
        // What cannot be read names nobody.
        let _ = File::from(file).take(LARGEST).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The ids of `name|uid[:group|gid]`; root where nothing is said.
pub(crate) fn resolve(root: impl AsFd, user: Option<&str>) -> Result<Ids, Fault> {
    let user = user.unwrap_or_default();
    if user.is_empty() {
        let passwd = read(root.as_fd(), "etc/passwd");
        return in_files("0", &passwd, &read(root.as_fd(), "etc/group"));
    }
    in_files(user, &read(root.as_fd(), "etc/passwd"), &read(root.as_fd(), "etc/group"))
}

fn in_files(user: &str, passwd: &str, group: &str) -> Result<Ids, Fault> {
    let (user, given) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 4 && (fields[0] == user || (user.parse::<u32>().is_ok() && fields[2] == user)));
    let number = |text: &str| text.parse::<u32>().ok();
    let uid = match &entry {
        Some(fields) => number(fields[2]),
        None => number(user),
    };
    let uid = uid.ok_or_else(|| Fault::invalid(format!("the image has no user `{user}`")))?;
    let gid = match given {
        Some(given) => {
            group_id(given, group).ok_or_else(|| Fault::invalid(format!("the image has no group `{given}`")))?
        }
        None => entry.as_ref().and_then(|fields| number(fields[3])).unwrap_or(0),
    };
    let more = match (&entry, given) {
        (Some(fields), None) => memberships(fields[0], group, gid),
        _ => Vec::new(),
    };
    Ok(Ids { uid, gid, more })
}

fn group_id(name: &str, group: &str) -> Option<u32> {
    let found = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.or_else(|| name.parse().ok())
}

fn memberships(name: &str, group: &str, own: u32) -> Vec<u32> {
    let listed = group.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse::<u32>().ok()?;
        (fields.next()?.split(',').any(|member| member.trim() == name) && gid != own).then_some(gid)
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\napp:x:1001:\n";

    fn ids(user: &str) -> Result<(u32, u32, Vec<u32>), String> {
        in_files(user, PASSWD, GROUP).map(|ids| (ids.uid, ids.gid, ids.more)).map_err(|fault| fault.message)
    }

    #[test]
    fn a_map_has_what_is_in_its_ranges() {
        let map = Map::parse("         0       1000          1\n         5     100000         10\n");
        assert_eq!([0, 1, 4, 5, 14, 15].map(|id| map.has(id)), [true, false, false, true, true, false]);
        assert!(Map::parse("0 0 4294967295").has(70_000));
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        assert_eq!(ids("app"), Ok((1000, 1001, vec![50])));
        assert_eq!(ids("1000"), Ok((1000, 1001, vec![50])));
        assert_eq!(ids("app:staff"), Ok((1000, 50, vec![])));
        assert_eq!(ids("7:8"), Ok((7, 8, vec![])));
        assert_eq!(ids("7"), Ok((7, 0, vec![])));
        assert_eq!(ids("nobody"), Err("the image has no user `nobody`".to_owned()));
        assert_eq!(ids("app:none"), Err("the image has no group `none`".to_owned()));
    }
}
