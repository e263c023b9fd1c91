//! Users and groups, as the image's own files have them.

use std::fs;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Looks up `name|uid[:group|gid]` and further groups.
pub(crate) fn find(user: Option<&str>, more: &[String]) -> Result<Identity, String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    identify(user, more, &read("/etc/passwd"), &read("/etc/group"))
}

fn identify(user: Option<&str>, more: &[String], passwd: &str, group: &str) -> Result<Identity, String> {
    let (name, group_name) = match user.unwrap_or("0").split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user.unwrap_or("0"), None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let account = rows(passwd).find(|row| row.len() >= 6 && (row[0] == name || row[2] == name));
    let (uid, gid, login, home) = match &account {
        Some(row) => (id(row[2], "user")?, id(row[3], "group")?, Some(row[0]), row[5]),
        None => (name.parse().map_err(|_| format!("the image has no user `{name}`"))?, 0, None, ""),
    };
    let gid_of = |name: &str| -> Result<u32, String> {
        let row = rows(group).find(|row| row.len() >= 3 && (row[0] == name || row[2] == name));
        let text = row.map_or(name, |row| row[2]);
        text.parse().map_err(|_| format!("the image has no group `{name}`"))
    };
    let is_member = |row: &Vec<&str>| {
        row.get(3).is_some_and(|members| login.is_some_and(|login| members.split(',').any(|member| member == login)))
    };
    let mut groups: Vec<u32> = match group_name {
        // A group that is named explicitly is the only one.
        Some(_) => Vec::new(),
        None => rows(group).filter(is_member).filter_map(|row| row[2].parse().ok()).collect(),
    };
    let gid = group_name.map_or(Ok(gid), gid_of)?;
    groups.push(gid);
    for name in more {
        groups.push(gid_of(name)?);
    }
    groups.sort_unstable();
    groups.dedup();
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    Ok(Identity { uid, gid, groups, home })
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn id(text: &str, what: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("the image has a {what} with the id `{text}`"))
}
