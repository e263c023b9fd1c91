//! The agent's id. It is kept beside the store, not in it: losing the store must not lose the workloads.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::StartError;

const FILE: &str = "owner";

/// The id in the state directory; made at the first start.
pub(crate) fn load_or_make(state_dir: &Path) -> Result<String, StartError> {
    let path = state_dir.join(FILE);
    let io = |source| StartError::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) if is_id(text.trim()) => Ok(text.trim().to_owned()),
        Ok(_) => Err(StartError::Owner { path }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = random_id().map_err(io)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
            file.write_all(format!("{id}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
            Ok(id)
        }
        Err(error) => Err(io(error)),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn random_id() -> std::io::Result<String> {
    let mut bytes = [0u8; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
