//! Who a process beside the main one runs as, and where: looked up in the container's own files, whose links may lead anywhere.

use std::os::fd::OwnedFd;

use hythe_local::IoContext;
use hythe_runtime::Result;
use hythe_shim::{Ids, resolve_user};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use super::OPERATION;
use crate::error::from_shim;

const TRIES: usize = 1000;

/// The root of a running container.
pub(super) struct Root(OwnedFd);

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

    /// `name|uid[:group|gid]`, with further groups by name or number.
    pub(super) fn user(&self, user: &str, further: &[String]) -> Result<Ids> {
        resolve_user(&self.0, Some(user), further)
            .map_err(|fault| from_shim(OPERATION, &fault).hint("name a user or group of the image, or a number"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use hythe_runtime::ErrorKind;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\napp:x:1001:\n";

    fn looked_up(user: &str, further: &[&str]) -> Result<(u32, u32, Vec<u32>, String)> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(root.path().join("etc/group"), GROUP).unwrap();
        let further: Vec<String> = further.iter().map(|name| (*name).to_owned()).collect();
        let root = Root(open(root.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap());
        root.user(user, &further).map(|ids| (ids.uid, ids.gid, ids.more, ids.home))
    }

    fn found(user: &str, further: &[&str]) -> (u32, u32, Vec<u32>, String) {
        looked_up(user, further).unwrap()
    }

    #[test]
    fn user_by_name_has_its_groups_and_home() {
        let app = (1000, 1001, vec![1001, 50, 7], "/home/app".to_owned());
        assert_eq!(found("app", &["staff", "7"]), app);
        assert_eq!(found("1000", &["7"]), app);
    }

    #[test]
    fn user_with_a_group_of_its_own_has_no_other() {
        assert_eq!(found("app:staff", &[]).2, [50]);
        assert_eq!(found("4242:7", &[]), (4242, 7, vec![7], "/".to_owned()));
    }

    #[test]
    fn absent_user_or_group_is_invalid() {
        for (user, further) in [("nosuch", &[][..]), ("app:nosuch", &[]), ("4294967295", &[])] {
            assert_eq!(looked_up(user, further).unwrap_err().kind(), ErrorKind::Invalid, "{user}");
        }
        assert!(looked_up("app", &["nosuch"]).is_err());
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
