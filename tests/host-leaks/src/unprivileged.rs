//! Ordinary users that trials start programs as. No machine knows them; what one of them needs of `/etc` only its own processes see.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

/// Such a user, and a group of the same number.
pub const USER: u32 = 64_321;
/// First and count of the ids that [`give_ids`] gives: of users, of groups.
pub const IDS: [(u32, u32); 2] = [(1_640_000, 65_536), (1_740_000, 65_536)];
/// The name that comes with them.
pub const NAME: &str = "hythe-trial";

/// Where the program is that maps ids, if it is here.
pub fn newuidmap() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|place| place.join("newuidmap")).find(|path| path.exists())
}

/// Gives the user a name and ids, which only this thread and what it starts sees from now on: `/etc` is another. The user may change
/// `/etc/subuid`, where it is listed by name, and `/etc/subgid`, where it is by number. Hides `/mnt`. As root.
///
/// # Errors
/// What the kernel says.
pub fn give_ids() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
    mount(c"tmpfs", "/mnt", c"tmpfs", MountFlags::empty(), None)?;
    let upper = Path::new("/mnt/upper");
    fs::create_dir(upper)?;
    fs::create_dir("/mnt/work")?;
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    fs::write(upper.join("passwd"), format!("{users}\n{NAME}:x:{USER}:{USER}::/:/bin/sh\n"))?;
    for (file, who, (first, count)) in [("subuid", NAME.to_owned(), IDS[0]), ("subgid", USER.to_string(), IDS[1])] {
        let path = upper.join(file);
        fs::write(&path, format!("{who}:{first}:{count}\n"))?;
        chown(path, Some(USER), Some(USER))?;
    }
    let options = c"lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work";
    Ok(mount(c"overlay", "/etc", c"overlay", MountFlags::empty(), Some(options))?)
}
