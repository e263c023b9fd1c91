//! Everything of one root.

use std::fs;
use std::path::Path;

use crate::{command_line, links, named_in_rules, names, processes, tables};

/// Directories of a root that are empty when there is nothing in it.
const DIRECTORIES: [&str; 8] =
    ["instances", "names", "making", "trash", "volumes", "networks/networks", "networks/members", "networks/instances"];

/// What there is of instances, volumes and networks of a root: files, processes that name it, mounts below it in whichever process, links and rules.
/// Images may stay.
pub fn of_root(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for directory in DIRECTORIES {
        found.extend(names(root.join(directory)).into_iter().map(|name| format!("file {directory}/{name}")));
    }
    let path = root.display().to_string();
    for pid in processes() {
        let line = command_line(pid);
        if line.contains(&path) {
            found.push(format!("process {pid} {line}"));
        }
        // Below it, or made of what is below it; the root itself may be a disk of its own.
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        if let Some(mount) = mounts.lines().find(|mount| mount.contains(&format!("{path}/"))) {
            let point = mount.split(' ').nth(4).unwrap_or_default();
            found.push(format!("mount {point} in process {pid} {line}"));
        }
    }
    if let Some(digits) = digits(root) {
        let prefix = format!("hythe{digits}");
        found.extend(
            links().into_iter().filter(|link| link.starts_with(&prefix)).map(|link| format!("interface {link}")),
        );
        let table = format!("hythe_{digits}");
        found.extend(tables().into_iter().filter(|name| *name == table).map(|name| format!("firewall table {name}")));
        let rules = named_in_rules().into_iter().filter(|links| *links == prefix);
        found.extend(rules.map(|links| format!("firewall rule for {links}")));
    }
    found
}

/// The four digits by which links and rules of a root are told from others; the same reckoning as the driver's own.
fn digits(root: &Path) -> Option<String> {
    let realm = fs::read_to_string(root.join("networks/realm.json")).ok()?;
    let (_, list) = realm.split_once('[')?;
    let bytes: Vec<u64> = list.split([',', ']']).map_while(|text| text.trim().parse().ok()).collect();
    let [first, second, third, ..] = bytes[..] else { return None };
    let mut number = ((first << 16) | (second << 8) | third) % 36_u64.pow(4);
    let mut digits = [0; 4];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 36).ok()?];
        number /= 36;
    }
    String::from_utf8(digits.to_vec()).ok()
}
