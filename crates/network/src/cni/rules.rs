//! The rules of iptables that belong to a bridge and not to a member: they come with the first member and go with the network.
//!
//! Two keep it apart from other bridges; the plugin `firewall` makes them and never takes them away. One masquerades; it is ours, because the plugin
//! `bridge` makes one for each member, loses it where the member's namespace is gone, and fails to take it away twice.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use hythe_runtime::{Error, ErrorKind, Result};

use super::plugin::HINT;
use crate::SEARCHED;
use crate::subnet::Subnet;

const OPERATION: &str = "change rules of a network";
/// Tables and chains that may have a rule for a bridge, in the order in which the rules go: what sends into a chain before what is in it.
const PLACES: [(&str, &str); 3] = [("nat", "POSTROUTING"), ("filter", APART[0]), ("filter", APART[1])];
/// The chains of the plugin's policy `same-bridge`.
const APART: [&str; 2] = ["CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"];

/// Whether the bridge is kept apart from others.
pub(super) fn is_apart(bridge: &str) -> Result<bool> {
    APART.iter().try_fold(true, |all, chain| Ok(all && !rules("filter", chain, bridge)?.is_empty()))
}

/// Gives what leaves by another way than the bridge the machine's address. Done already: success.
pub(super) fn masquerade(bridge: &str, subnet: Subnet) -> Result<()> {
    let (table, chain) = PLACES[0];
    if !rules(table, chain, bridge)?.is_empty() {
        return Ok(());
    }
    let subnet = subnet.to_string();
    let rule =
        ["--wait", "--table", table, "--append", chain, "-s", &subnet, "!", "-o", bridge, "--jump", "MASQUERADE"];
    run("iptables", &rule, "").map(drop)
}

/// Takes away all rules of a bridge. None: success.
pub(super) fn end(bridge: &str) -> Result<()> {
    let mut batch = String::new();
    for (table, chain) in PLACES {
        for rule in rules(table, chain, bridge)? {
            batch += &format!("*{table}\n{}\nCOMMIT\n", rule.replacen("-A", "-D", 1));
        }
    }
    if batch.is_empty() { Ok(()) } else { run("iptables-restore", &["--wait", "--noflush"], &batch).map(drop) }
}

/// Whether the program can be run.
pub(super) fn supported() -> Result<()> {
    run("iptables", &["--version"], "").map(drop)
}

/// Rules of a chain that name the bridge, as iptables prints and reads them; none where there is no such chain.
fn rules(table: &str, chain: &str, bridge: &str) -> Result<Vec<String>> {
    let listed = run("iptables", &["--wait", "--table", table, "--list-rules"], "")?;
    let begins = format!("-A {chain} ");
    let is_one = |line: &&str| line.starts_with(&begins) && line.split(' ').any(|word| word == bridge);
    Ok(listed.lines().filter(is_one).map(str::to_owned).collect())
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let outcome = || {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", SEARCHED)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that has died already is told of below.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    };
    let refused = |why: &str| Error::new(ErrorKind::Internal, OPERATION, format!("`{program}` failed: {why}"));
    match outcome() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(refused(String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("networks by CNI are unsupported because `{program}` is not installed");
            Err(Error::new(ErrorKind::Unsupported, OPERATION, message).hint(HINT).source(error))
        }
        Err(error) => Err(refused(&error.to_string()).source(error)),
    }
}
