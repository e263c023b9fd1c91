//! The filter tables of before nf_tables, changed by the program of whoever filled them: they have no interface of their own worth the name.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use crate::SEARCHED;

const PROGRAMS: [(&str, &str); 2] = [("ip_tables_names", "iptables-legacy"), ("ip6_tables_names", "ip6tables-legacy")];
const SIDES: [&str; 2] = ["-i", "-o"];

pub(super) fn is_loaded() -> bool {
    PROGRAMS.iter().any(|(names, _)| has_filter(names))
}

/// Puts our two rules to the head of `FORWARD` where they are not there.
pub(super) fn open(prefix: &str) -> io::Result<()> {
    each(|program, side| match run(program, "-C", side, prefix) {
        Ok(false) => run(program, "-I", side, prefix).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::warn!(
                program,
                "legacy filter rules are loaded, and the program that could let our bridges through is absent"
            );
            Ok(())
        }
        looked => looked.map(drop),
    })
}

pub(super) fn close(prefix: &str) -> io::Result<()> {
    each(|program, side| match run(program, "-D", side, prefix) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

fn each(act: impl Fn(&str, &str) -> io::Result<()>) -> io::Result<()> {
    let loaded = PROGRAMS.iter().filter(|(names, _)| has_filter(names));
    loaded.flat_map(|(_, program)| SIDES.map(|side| (program, side))).try_for_each(|(program, side)| act(program, side))
}

fn has_filter(names: &str) -> bool {
    let tables = fs::read_to_string(format!("/proc/thread-self/net/{names}")).unwrap_or_default();
    tables.lines().any(|table| table == "filter")
}

fn run(program: &str, action: &str, side: &str, prefix: &str) -> io::Result<bool> {
    let links = format!("{prefix}+");
    let mut command = Command::new(program);
    command.env("PATH", SEARCHED).args(["-w", action, "FORWARD", side, &links, "-j", "ACCEPT"]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(status.success())
}
