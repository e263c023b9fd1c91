//! Files that engines put into every container: hosts, resolv.conf, hostname.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::protocol::Config;
use crate::{context, mounts};

const FOLDER: &str = "/files";
/// Links that are followed from one name at most.
const LINKS: usize = 40;

/// A file that is written, and where it belongs.
pub(crate) struct Generated {
    tree: OwnedFd,
    target: &'static str,
}

/// Writes the files in memory, before the image's root is entered: nothing of the image is changed.
pub(crate) fn write(config: &Config) -> Result<Vec<Generated>, String> {
    fs::create_dir_all(FOLDER).map_err(context(FOLDER))?;
    mount("tmpfs", FOLDER, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"size=1m,mode=755"))
        .map_err(context(FOLDER))?;
    let mut contents = vec![("/etc/hosts", hosts(config))];
    contents.extend(config.dns.as_ref().map(|dns| ("/etc/resolv.conf", resolv_conf(dns))));
    contents.extend(config.hostname.as_ref().map(|hostname| ("/etc/hostname", format!("{hostname}\n"))));
    let mut generated = Vec::new();
    for (target, content) in contents {
        let path = format!("{FOLDER}/{}", target.rsplit('/').next().unwrap_or_default());
        fs::write(&path, content).map_err(context(&path))?;
        generated.push(Generated { tree: mounts::clone_of(&path)?, target });
    }
    unmount(FOLDER, UnmountFlags::DETACH).map_err(context(FOLDER))?;
    Ok(generated)
}

/// Puts the files over those of the image.
pub(crate) fn put(generated: Vec<Generated>) -> Result<(), String> {
    for Generated { tree, target } in generated {
        mounts::attach(&tree, false, target).map_err(context(format!("`{target}`")))?;
    }
    Ok(())
}

fn hosts(config: &Config) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    let addresses = config.network.iter().flat_map(|interface| &interface.addresses);
    let own = addresses.filter_map(|address| address.split('/').next()?.parse::<IpAddr>().ok()).next();
    if let Some(hostname) = &config.hostname {
        let address = own.map_or("127.0.1.1".to_owned(), |address| address.to_string());
        writeln!(text, "{address}\t{hostname}").ok();
    }
    for host in &config.hosts {
        writeln!(text, "{}\t{}", host.address, host.names.join(" ")).ok();
    }
    text
}

fn resolv_conf(dns: &crate::protocol::Dns) -> String {
    let mut text = String::new();
    for (word, values) in [("search", &dns.search), ("options", &dns.options)] {
        if !values.is_empty() {
            writeln!(text, "{word} {}", values.join(" ")).ok();
        }
    }
    for server in &dns.servers {
        writeln!(text, "nameserver {server}").ok();
    }
    text
}

/// Makes an empty file where there is none, at the end of links.
pub(crate) fn make_file(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let mut place = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&place) {
            Ok(to) => place = place.parent().unwrap_or(Path::new("/")).join(to),
            Err(_) => return create(&place),
        }
    }
    Err("its links have no end".to_owned())
}

fn create(place: &PathBuf) -> Result<(), String> {
    if let Some(folder) = place.parent() {
        mounts::make_directory(folder)?;
    }
    fs::File::create(place).map(drop).map_err(|error| error.to_string())
}
