//! The group whose members may use the socket: the socket is theirs, and so is the way to it.

use std::ffi::OsStr;
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::StartError;

/// May be passed through, and not listed.
const DIRECTORY: u32 = 0o710;
const GROUP_PASSES: u32 = 0o010;
const OTHERS_PASS: u32 = 0o001;

/// A group of the host.
#[derive(Debug)]
pub(crate) struct Group {
    name: String,
    id: u32,
}

impl Group {
    pub(crate) fn find(name: &str) -> Result<Self, StartError> {
        let path = Path::new("/etc/group");
        let groups = fs::read_to_string(path).map_err(|source| StartError::Io { path: path.to_owned(), source })?;
        let id = groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
        });
        id.map(|id| Self { name: name.to_owned(), id }).ok_or_else(|| StartError::Group { group: name.to_owned() })
    }

    /// Makes it the group of this path.
    pub(crate) fn give(&self, path: &Path, mode: u32) -> Result<(), StartError> {
        let io = |source| StartError::Io { path: path.to_owned(), source };
        std::os::unix::fs::chown(path, None, Some(self.id)).map_err(io)?;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io)
    }

    /// Lets members pass the socket's own directory. A directory that holds anything else is not touched, and neither is one further up: where
    /// members cannot pass those, the agent does not start, since a socket that its group cannot reach is a mistake.
    pub(crate) fn open_the_way_to(&self, socket: &Path) -> Result<(), StartError> {
        for directory in socket.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty()) {
            let io = |source| StartError::Io { path: directory.to_owned(), source };
            let found = fs::metadata(directory).map_err(io)?;
            if self.may_pass(&found) {
                continue;
            }
            let is_its_own = Some(directory) == socket.parent() && holds_nothing_but(directory, socket.file_name());
            if !is_its_own {
                return Err(StartError::Unreachable { directory: directory.to_owned(), group: self.name.clone() });
            }
            self.give(directory, DIRECTORY)?;
        }
        Ok(())
    }

    fn may_pass(&self, directory: &Metadata) -> bool {
        let bit = if directory.gid() == self.id { GROUP_PASSES } else { OTHERS_PASS };
        directory.mode() & bit != 0
    }
}

fn holds_nothing_but(directory: &Path, socket: Option<&OsStr>) -> bool {
    fs::read_dir(directory).is_ok_and(|entries| {
        entries.into_iter().all(|entry| entry.is_ok_and(|entry| Some(entry.file_name().as_os_str()) == socket))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn own_group() -> Group {
        Group { name: "own".to_owned(), id: rustix::process::getegid().as_raw() }
    }

    /// A temporary directory that others may pass, as `/run` is.
    fn run() -> tempfile::TempDir {
        let run = tempfile::tempdir().unwrap();
        fs::set_permissions(run.path(), Permissions::from_mode(0o755)).unwrap();
        run
    }

    #[test]
    fn the_directory_of_the_socket_alone_lets_the_group_pass() {
        let run = run();
        let directory = run.path().join("hythe");
        crate::config::make_private_dir(&directory).unwrap();
        fs::write(directory.join("agent.sock"), "").unwrap();
        own_group().open_the_way_to(&directory.join("agent.sock")).unwrap();
        assert_eq!((mode(&directory), mode(run.path())), (0o710, 0o755));
    }

    #[test]
    fn a_directory_with_anything_else_is_refused_and_left_as_it_is() {
        let run = run();
        let directory = run.path().join("state");
        crate::config::make_private_dir(&directory).unwrap();
        fs::write(directory.join("hythe.db"), "").unwrap();
        let error = own_group().open_the_way_to(&directory.join("agent.sock")).unwrap_err();
        assert!(error.to_string().contains("state"), "{error}");
        assert_eq!(mode(&directory), 0o700);
    }

    #[test]
    fn a_private_directory_further_up_is_refused_and_left_as_it_is() {
        let run = run();
        let above = run.path().join("private");
        crate::config::make_private_dir(&above.join("hythe")).unwrap();
        let error = own_group().open_the_way_to(&above.join("hythe/agent.sock")).unwrap_err();
        assert!(matches!(error, StartError::Unreachable { directory, .. } if directory == above));
        assert_eq!(mode(&above), 0o700);
    }

    #[test]
    fn a_group_that_does_not_exist_is_an_error() {
        assert!(Group::find("root").is_ok_and(|group| group.id == 0));
        assert!(matches!(Group::find("no such group"), Err(StartError::Group { .. })));
    }
}
