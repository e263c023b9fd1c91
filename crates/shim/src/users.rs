//! Who a process runs as, looked up in the container's own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use hythe_host::openat2;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open};

use crate::{ShimError, ShimErrorKind};

/// A process's ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub more: Vec<u32>,
    /// Those of `more` that were asked for.
    pub asked: Vec<u32>,
    /// Home directory; `/` where the files do not say.
    pub home: String,
}

/// Ids that this user namespace does not have: a process has them in one of its own, in which it is all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Ids {
    /// As far as this user namespace has them; what it has not is a credentials of its root.
    ///
    /// # Errors
    /// A group that was asked for and cannot be had here.
    pub(crate) fn here(self) -> Result<(Self, Option<Credentials>), ShimError> {
        let (users, groups) = (Map::of_this("uid_map"), Map::of_this("gid_map"));
        if !users.has(self.uid) || !groups.has(self.gid) {
            let credentials = Credentials { uid: self.uid, gid: self.gid };
            self.asked.first().map_or(Ok(()), |gid| Err(lost(*gid)))?;
            return Ok((Self { uid: 0, gid: 0, more: Vec::new(), ..self }, Some(credentials)));
        }
        // Groups that nobody may set are left out, as their files belong to this user all the same.
        let settable = std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow");
        let has = |gid: &u32| settable && groups.has(*gid);
        self.asked.iter().find(|gid| !has(gid)).map_or(Ok(()), |gid| Err(lost(*gid)))?;
        let more = self.more.into_iter().filter(has).collect();
        Ok((Self { more, ..self }, None))
    }
}

fn lost(gid: u32) -> ShimError {
    ShimError::new(ShimErrorKind::Unsupported, format!("rootless, group {gid} cannot be given to a container"))
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

/// The last number that engines take for a user or group; the kernel takes the largest of all for "as it is".
const LAST_ID: u32 = i32::MAX.cast_unsigned();
/// Larger files of users are not believed.
const LARGEST: u64 = 4 << 20;

/// Reads a small file below a root that may lead anywhere; absent, or anything but a file: empty.
fn read(root: BorrowedFd<'_>, path: &str) -> String {
    let mut text = Vec::new();
    if let Some(file) = open_file(root, path) {
        // What cannot be read names nobody.
        let _ = file.take(LARGEST).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Opens a regular file and nothing else: a pipe blocks, and a device may do anything.
fn open_file(root: BorrowedFd<'_>, path: &str) -> Option<File> {
    let scope = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), scope).ok()?;
    let kind = FileType::from_raw_mode(fstat(&found).ok()?.st_mode);
    // Not by its path once more, which may lead elsewhere by now.
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    kind.is_file().then(|| open(path, flags, Mode::empty()).ok()).flatten().map(File::from)
}

/// The ids of `name|uid[:group|gid]`, root where nothing is said, with further groups. `root` is the container's; its links may lead anywhere.
///
/// # Errors
/// `Invalid`: a name that the files of the container do not have, or a number that is no id.
pub fn resolve(root: impl AsFd, user: Option<&str>, groups: &[String]) -> Result<Ids, ShimError> {
    let user = user.unwrap_or_default();
    let user = if user.is_empty() { "0" } else { user };
    let group = read(root.as_fd(), "etc/group");
    let ids = in_files(user, &read(root.as_fd(), "etc/passwd"), &group)?;
    let mut ids = with_groups(ids, groups, &group)?;
    if !ids.more.contains(&ids.gid) {
        // A process that changes its group stays a member, so that what is denied to its group stays denied (CVE-2022-36109).
        ids.more.insert(0, ids.gid);
    }
    Ok(ids)
}

fn with_groups(mut ids: Ids, groups: &[String], group: &str) -> Result<Ids, ShimError> {
    for name in groups {
        let gid = group_id(name, group)
            .ok_or_else(|| ShimError::invalid(format!("the image has no group `{}`", name.escape_debug())))?;
        if gid != ids.gid && !ids.asked.contains(&gid) {
            ids.asked.push(gid);
        }
    }
    let new: Vec<u32> = ids.asked.iter().copied().filter(|gid| !ids.more.contains(gid)).collect();
    ids.more.extend(new);
    Ok(ids)
}

fn in_files(user: &str, passwd: &str, group: &str) -> Result<Ids, ShimError> {
    let (user, given) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 4 && (fields[0] == user || (user.parse::<u32>().is_ok() && fields[2] == user)));
    let number = |text: &str| text.parse().ok().filter(|id| *id <= LAST_ID);
    let uid = match &entry {
        Some(fields) => number(fields[2]),
        None => number(user),
    };
    let uid = uid.ok_or_else(|| ShimError::invalid(format!("the image has no user `{}`", user.escape_debug())))?;
    let gid = match given {
        Some(given) => group_id(given, group)
            .ok_or_else(|| ShimError::invalid(format!("the image has no group `{}`", given.escape_debug())))?,
        None => entry.as_ref().and_then(|fields| number(fields[3])).unwrap_or(0),
    };
    let more = match (&entry, given) {
        (Some(fields), None) => memberships(fields[0], group, gid),
        _ => Vec::new(),
    };
    let home = entry.as_ref().and_then(|fields| fields.get(5)).filter(|home| !home.is_empty());
    let home = home.map_or_else(|| "/".to_owned(), ToString::to_string);
    Ok(Ids { uid, gid, more, asked: Vec::new(), home })
}

fn group_id(name: &str, group: &str) -> Option<u32> {
    let found = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.or_else(|| name.parse().ok()).filter(|id| *id <= LAST_ID)
}

fn memberships(name: &str, group: &str, own: u32) -> Vec<u32> {
    let listed = group.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok().filter(|gid| *gid <= LAST_ID)?;
        (fields.next()?.split(',').any(|member| member.trim() == name) && gid != own).then_some(gid)
    });
    listed.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
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
    fn home_is_the_root_for_whom_nobody_lists() {
        let home = |user: &str| in_files(user, PASSWD, GROUP).map(|ids| ids.home);
        assert_eq!(home("app"), Ok("/home/app".to_owned()));
        assert_eq!(home("1000"), Ok("/home/app".to_owned()));
        assert_eq!(home("4242"), Ok("/".to_owned()));
        assert_eq!(in_files("x", "x:x:5:5:::\n", "").map(|ids| ids.home), Ok("/".to_owned()));
    }

    #[test]
    fn a_pipe_in_place_of_the_users_names_nobody() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        nix::unistd::mkfifo(&root.path().join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let opened = File::open(root.path()).unwrap();
        let ids = resolve(&opened, Some("7:8"), &[]).unwrap();
        assert_eq!((ids.uid, ids.more), (7, vec![8]), "its own group is among them");
        assert!(resolve(&opened, Some("app"), &[]).is_err());
    }

    #[test]
    fn further_groups_stand_beside_the_users_own() {
        let ids = |groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|name| (*name).to_owned()).collect();
            let ids = in_files("app", PASSWD, GROUP).and_then(|ids| with_groups(ids, &groups, GROUP));
            ids.map(|ids| (ids.more, ids.asked)).map_err(|fault| fault.message)
        };
        assert_eq!(ids(&["root", "7"]), Ok((vec![50, 0, 7], vec![0, 7])));
        assert_eq!(ids(&["staff", "app"]), Ok((vec![50], vec![50])), "what it has is there once");
        assert_eq!(ids(&["none"]), Err("the image has no group `none`".to_owned()));
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        assert_eq!(ids("app"), Ok((1000, 1001, vec![50])));
        assert_eq!(ids("1000"), Ok((1000, 1001, vec![50])));
        assert_eq!(ids("app:staff"), Ok((1000, 50, vec![])));
        assert_eq!(ids("7:8"), Ok((7, 8, vec![])));
        assert_eq!(ids("7"), Ok((7, 0, vec![])));
        assert_eq!(ids("4294967295"), Err("the image has no user `4294967295`".to_owned()));
        assert_eq!(ids("app:2147483648"), Err("the image has no group `2147483648`".to_owned()));
        assert!(in_files("x", "x:x:4294967295:0:::\n", "").is_err());
        assert_eq!(ids("nobody"), Err("the image has no user `nobody`".to_owned()));
        assert_eq!(ids("app:none"), Err("the image has no group `none`".to_owned()));
    }
}
