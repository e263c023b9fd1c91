//! The virtio-serial ports.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::protocol::{CONTROL_PORT, STDERR_PORT, STDOUT_PORT};

const CLASS: &str = "/sys/class/virtio-ports";
/// The host names ports one after the other, after the driver has started.
const APPEARS: Duration = Duration::from_secs(5);

pub(crate) struct Ports {
    pub(crate) control: File,
    pub(crate) stdout: File,
    pub(crate) stderr: File,
}

impl Ports {
    pub(crate) fn open() -> Result<Self, String> {
        Ok(Self { control: open(CONTROL_PORT)?, stdout: open(STDOUT_PORT)?, stderr: open(STDERR_PORT)? })
    }
}

fn open(name: &str) -> Result<File, String> {
    let started = Instant::now();
    loop {
        let failed = match find(name) {
            Some(path) => {
                let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
                match OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path) {
                    Ok(file) => return Ok(file),
                    Err(error) => error.to_string(),
                }
            }
            None => "the virtual machine has none".to_owned(),
        };
        if started.elapsed() > APPEARS {
            return Err(format!("port `{name}`: {failed}"));
        }
        sleep(Duration::from_millis(2));
    }
}

fn find(name: &str) -> Option<String> {
    let ports = fs::read_dir(CLASS).ok()?;
    let is_it = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("name")).is_ok_and(|found| found.trim_end() == name)
    };
    let port = ports.flatten().find(is_it)?;
    Some(format!("/dev/{}", port.file_name().to_string_lossy()))
}
