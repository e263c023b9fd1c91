//! Layers stacked by overlayfs, without devices: what is a device is made in `/dev`, which is another file system.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount, move_mount,
};

use crate::error::{Doing, ShimError, ShimErrorKind};

/// Bytes of options that `mount` takes, with the zero at their end.
const PAGE: usize = 4096;
/// What overlayfs stacks.
const MOST: usize = 500;

/// What is stacked.
#[derive(Debug)]
pub(crate) struct Layers<'a> {
    /// Highest first.
    pub(crate) lower: &'a [OwnedFd],
    pub(crate) upper: BorrowedFd<'a>,
    pub(crate) work: BorrowedFd<'a>,
    /// Attributes are those that an unprivileged user may write.
    pub(crate) user_attributes: bool,
}

/// A descriptor: short, and without a character that means something to overlayfs.
fn name(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

impl Layers<'_> {
    pub(crate) fn mount(&self, root: &Path) -> Result<(), ShimError> {
        let count = self.lower.len();
        if count > MOST {
            let message = format!("the image has {count} layers; overlayfs stacks at most {MOST}");
            return Err(ShimError::new(ShimErrorKind::Unsupported, message));
        }
        let stacked = match self.options() {
            Some(options) => mount(c"overlay", root, c"overlay", MountFlags::NODEV, Some(options.as_c_str())),
            None => match self.mount_by_steps(root) {
                Err(Errno::INVAL | Errno::NOSYS) => return Err(too_many(count)),
                stacked => stacked,
            },
        };
        stacked.doing(format_args!("stack {count} layers with overlayfs at `{}`", root.display()))
    }

    /// `None`: they are too long for one call.
    fn options(&self) -> Option<CString> {
        let names: Vec<String> = self.lower.iter().map(name).collect();
        let own = if self.user_attributes { "userxattr," } else { "" };
        let (lower, upper, work) = (names.join(":"), name(self.upper), name(self.work));
        let options = CString::new(format!("{own}lowerdir={lower},upperdir={upper},workdir={work}")).ok()?;
        (options.as_bytes_with_nul().len() <= PAGE).then_some(options)
    }

    /// A call for each layer, which Linux has since 6.5.
    fn mount_by_steps(&self, root: &Path) -> rustix::io::Result<()> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        fsconfig_set_string(context, "source", "overlay")?;
        if self.user_attributes {
            fsconfig_set_flag(context, "userxattr")?;
        }
        for layer in self.lower {
            fsconfig_set_string(context, "lowerdir+", name(layer))?;
        }
        fsconfig_set_string(context, "upperdir", name(self.upper))?;
        fsconfig_set_string(context, "workdir", name(self.work))?;
        fsconfig_create(context)?;
        let mounted = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
        move_mount(mounted.as_fd(), "", CWD, root, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }
}

fn too_many(count: usize) -> ShimError {
    let message = format!(
        "the image has {count} layers, more than fit into the {PAGE} bytes that this kernel takes; \
         use Linux 6.5 or later, or squash the image"
    );
    ShimError::new(ShimErrorKind::Unsupported, message)
}
