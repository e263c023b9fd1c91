//! The test image as an archive, made of one static busybox, for an environment without a registry.

use std::process::Command;

use hythe_spec::ImageRef;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::failure::Outcome;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\n";
const DIRECTORIES: [(&str, u32, u64); 9] = [
    ("bin", 0o755, 0),
    ("dev", 0o755, 0),
    ("etc", 0o755, 0),
    ("home", 0o755, 0),
    ("home/app", 0o755, 1000),
    ("proc", 0o755, 0),
    ("root", 0o700, 0),
    ("tmp", 0o1777, 0),
    ("var", 0o755, 0),
];

fn header(kind: EntryType, mode: u32, owner: u64, size: usize) -> Outcome<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(u64::try_from(size)?);
    Ok(header)
}

fn file(to: &mut Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> Outcome {
    let mut header = header(EntryType::Regular, mode, 0, content.len())?;
    Ok(to.append_data(&mut header, path, content)?)
}

fn layer(busybox: &[u8]) -> Outcome<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for (path, mode, owner) in DIRECTORIES {
        layer.append_data(&mut header(EntryType::Directory, mode, owner, 0)?, path, &[][..])?;
    }
    file(&mut layer, "bin/busybox", 0o755, busybox)?;
    file(&mut layer, "etc/passwd", 0o644, PASSWD.as_bytes())?;
    file(&mut layer, "etc/group", 0o644, GROUP.as_bytes())?;
    for applet in applets(busybox)?.iter().filter(|applet| *applet != "busybox") {
        let mut header = header(EntryType::Symlink, 0o777, 0, 0)?;
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn applets(busybox: &[u8]) -> Outcome<Vec<String>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("busybox");
    std::fs::write(&path, busybox)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let listed = Command::new(&path).arg("--list").output()?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

/// What `docker save` would write.
pub(super) fn archive(busybox: &[u8], image: &ImageRef) -> Outcome<Vec<u8>> {
    let layer = layer(busybox)?;
    let digits: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digits}")] },
        "history": [],
    });
    let index = json!([{ "Config": "config.json", "RepoTags": [image.to_string()], "Layers": ["layer.tar"] }]);
    let mut archive = Builder::new(Vec::new());
    file(&mut archive, "config.json", 0o644, config.to_string().as_bytes())?;
    file(&mut archive, "layer.tar", 0o644, &layer)?;
    file(&mut archive, "manifest.json", 0o644, index.to_string().as_bytes())?;
    Ok(archive.into_inner()?)
}
