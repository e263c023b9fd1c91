//! Bridges of the engines: making docker's, finding and removing all that carry an address of the pool.

use std::fs;
use std::path::Path;

use super::pool::Pool;
use crate::failure::Result;
use crate::run;

/// Makes sure a bridge of this name is up with this `address/prefix`.
pub(crate) fn ensure_bridge(name: &str, address: &str) -> Result<()> {
    let ip = |words: &[&str]| run::output(run::command("ip").args(words));
    if !exists(name) {
        ip(&["link", "add", name, "type", "bridge"])?;
    }
    ip(&["address", "replace", address, "dev", name])?;
    ip(&["link", "set", name, "up"])?;
    Ok(())
}

/// Removes every bridge of the pool.
pub(crate) fn sweep(pool: Pool) {
    for name in bridges(pool) {
        run::succeeds(run::command("ip").args(["link", "delete", &name]));
    }
}

/// Interfaces that carry an address of the pool.
pub(crate) fn bridges(pool: Pool) -> Vec<String> {
    let mut ip = run::command("ip");
    let lines = run::output(ip.args(["-4", "-o", "address", "show"])).unwrap_or_default();
    lines
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let address = words.get(3)?.split('/').next()?.parse().ok()?;
            pool.contains(address).then(|| (*words.get(1)?).to_owned().into())?
        })
        .collect()
}

/// Ends of virtual cables that hang on one of the pool's bridges or on nothing.
pub(crate) fn cables(pool: Pool) -> Vec<String> {
    let bridges = bridges(pool);
    fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("veth"))
        .filter(|name| master(name).is_none_or(|master| bridges.contains(&master)))
        .collect()
}

fn exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn master(name: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/class/net/{name}/master")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}
