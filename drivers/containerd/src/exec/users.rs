//! Who a process beside the main one runs as, and where: looked up in the container's own files, whose links may lead anywhere.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use hythe_local::IoContext;
use hythe_runtime::{Error, ErrorKind, Result};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use super::OPERATION;

/// No larger file of users or groups is read.
const LARGEST: u64 = 4 << 20;
const TRIES: usize = 1000;
/// The last number of a user or group: the kernel takes larger ones for "none".
const LAST: u32 = u32::MAX >> 1;

/// The root of a running container.
pub(super) struct Root(OwnedFd);

/// A user with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

impl Root {
    /// That of a process.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(format!("/proc/{pid}/root"), flags, Mode::empty());
        opened.map(Self).map_err(std::io::Error::from).context(OPERATION, "open the container's root")
    }

    fn find(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let scope = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        let find = || openat2(&self.0, path, flags, Mode::empty(), scope);
        // The kernel cannot resolve `..` below a root while anything on the host is renamed or mounted.
        let mut tries = std::iter::repeat_with(find).take(TRIES);
        tries.find(|found| !matches!(found, Err(Errno::AGAIN))).unwrap_or(Err(Errno::AGAIN))
    }

    /// Why a directory cannot be worked in; `None`: it can.
    pub(super) fn unusable(&self, workdir: &str) -> Option<String> {
        let why = match self.find(workdir, OFlags::DIRECTORY) {
            Ok(_) => return None,
            Err(Errno::NOENT) => "no such directory".to_owned(),
            Err(Errno::NOTDIR) => "not a directory".to_owned(),
            Err(Errno::LOOP | Errno::XDEV) => "it leads through a link of `/proc`, or in a circle".to_owned(),
            Err(error) => std::io::Error::from(error).to_string(),
        };
        Some(format!("cannot use the working directory `{workdir}`: {why}"))
    }

    /// The text of a regular file; one that cannot be read names nobody.
    fn text(&self, path: &str) -> String {
        let read = || {
            let found = self.find(path, OFlags::empty()).ok()?;
            let is_file = FileType::from_raw_mode(fstat(&found).ok()?.st_mode).is_file();
            // The same file once more, now for reading: a pipe would block, a device may do anything.
            let path = is_file.then(|| format!("/proc/self/fd/{}", found.as_raw_fd()))?;
            let mut bytes = Vec::new();
            File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    /// `name|uid[:group|gid]`, with further groups by name or number.
    pub(super) fn user(&self, user: &str, further: &[String]) -> Result<User> {
        looked_up(user, further, &self.text("etc/passwd"), &self.text("etc/group"))
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= LAST)
}

fn absent(what: &str, name: &str) -> Error {
    let message = format!("the image has no {what} `{}`", name.escape_debug());
    Error::new(ErrorKind::Invalid, OPERATION, message).hint(format!("name a {what} of the image, or a number"))
}

fn group_of(name: &str, group: &str) -> Result<u32> {
    let lines = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = lines.filter(|fields| fields.first() == Some(&name)).find_map(|fields| number(fields.get(2)?));
    named.or_else(|| number(name)).ok_or_else(|| absent("group", name))
}

fn looked_up(user: &str, further: &[String], passwd: &str, group: &str) -> Result<User> {
    let (name, own) = user.split_once(':').map_or((user, None), |(name, own)| (name, Some(own)));
    let name = if name.is_empty() { "0" } else { name };
    let uid = number(name);
    let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut lines = lines.filter(|fields| fields.len() >= 4);
    let entry = lines.find(|fields| fields[0] == name || (uid.is_some() && number(fields[2]) == uid));
    let uid = entry.as_ref().map_or(uid, |fields| number(fields[2])).ok_or_else(|| absent("user", name))?;
    let gid = match own {
        Some(own) => group_of(own, group)?,
        None => entry.as_ref().and_then(|fields| number(fields[3])).unwrap_or(0),
    };
    // Its own group stays among them: what is denied to the group stays denied after it is changed (CVE-2022-36109).
    let mut groups = vec![gid];
    if let (Some(entry), None) = (&entry, own) {
        let lines = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let is_member = |fields: &Vec<&str>| {
            fields.get(3).is_some_and(|members| members.split(',').any(|member| member.trim() == entry[0]))
        };
        groups.extend(lines.filter(is_member).filter_map(|fields| number(fields[2])));
    }
    for name in further {
        groups.push(group_of(name, group)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|gid| seen.insert(*gid));
    let home = entry.and_then(|fields| fields.get(5).copied()).filter(|home| !home.is_empty()).unwrap_or("/");
    Ok(User { uid, gid, groups, home: home.to_owned() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\napp:x:1001:\n";

    fn found(user: &str, further: &[&str]) -> User {
        let further: Vec<String> = further.iter().map(|name| (*name).to_owned()).collect();
        looked_up(user, &further, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn user_by_name_has_its_groups_and_home() {
        let app = User { uid: 1000, gid: 1001, groups: vec![1001, 50, 7], home: "/home/app".to_owned() };
        assert_eq!(found("app", &["staff", "7"]), app);
        assert_eq!(found("1000", &["7"]), app);
    }

    #[test]
    fn user_with_a_group_of_its_own_has_no_other() {
        assert_eq!(found("app:staff", &[]).groups, [50]);
        assert_eq!(found("4242:7", &[]), User { uid: 4242, gid: 7, groups: vec![7], home: "/".to_owned() });
    }

    #[test]
    fn absent_user_or_group_is_invalid() {
        for (user, further) in [("nosuch", &[][..]), ("app:nosuch", &[]), ("4294967295", &[])] {
            assert_eq!(looked_up(user, further, PASSWD, GROUP).unwrap_err().kind(), ErrorKind::Invalid, "{user}");
        }
        assert!(looked_up("app", &["nosuch".to_owned()], PASSWD, GROUP).is_err());
    }

    #[test]
    fn files_of_a_root_are_found_inside_it_only() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/users", root.path().join("etc/passwd")).unwrap();
        std::fs::write(root.path().join("etc/users"), PASSWD).unwrap();
        std::os::unix::fs::symlink("/proc/self/fd/0", root.path().join("link")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = Root(open(root.path(), flags, Mode::empty()).unwrap());
        assert_eq!(root.user("app", &[]).unwrap().uid, 1000);
        assert!(root.unusable("/etc").is_none());
        assert!(root.unusable("/etc/passwd").unwrap().contains("not a directory"));
        assert!(root.unusable("/link").is_some());
    }
}
