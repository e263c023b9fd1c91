//! Firewall rules of private engines: kept apart from those of the machine's own, and removed one by one.
//!
//! A second dockerd would flush the chains of the first, because both call them `DOCKER`. So ours is given an `iptables`
//! that renames the chains, marks each rule with a comment and leaves the FORWARD policy alone. Netavark shares its chains
//! by design; its rules are recognised by the addresses in them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::pool::Pool;
use crate::failure::{Context, Result};
use crate::run;

const TOOLS: [&str; 2] = ["iptables", "ip6tables"];
const NETAVARK_SHARED: [&str; 4] =
    ["NETAVARK_FORWARD", "NETAVARK-HOSTPORT-DNAT", "NETAVARK-HOSTPORT-MASQ", "NETAVARK-HOSTPORT-SETMARK"];
/// Chains of all who use CNI's plugin `firewall`.
const CNI_SHARED: [&str; 4] = ["CNI-FORWARD", "CNI-ADMIN", "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"];
const ENGINE_CHAINS: [&str; 4] = ["DOCKER", "NETAVARK_FORWARD", "CNI-FORWARD", "CNI-HOSTPORT-DNAT"];

/// Writes the renaming `iptables` and `ip6tables` into a directory that goes first in dockerd's `PATH`.
pub(crate) fn write_shims(directory: &Path, id: &str) -> Result<()> {
    let writing = || format!("writing `{}`", directory.display());
    fs::create_dir_all(directory).context(writing)?;
    for tool in TOOLS {
        let Some(real) = run::find(tool) else {
            continue;
        };
        let path = directory.join(tool);
        fs::write(&path, shim(&real, id)).context(writing)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context(writing)?;
    }
    Ok(())
}

fn shim(real: &Path, id: &str) -> String {
    let (prefix, tag) = (prefix(id), tag(id));
    format!(
        r#"#!/bin/sh
# The private engine's chains are called {prefix}* instead of DOCKER*, its rules carry a comment, policies stay.
mark=
left=$#
while [ "$left" -gt 0 ]; do
    word=$1
    shift
    left=$((left - 1))
    case $word in
        DOCKER | DOCKER-*) word={prefix}${{word#DOCKER}} ;;
        -P | --policy) exit 0 ;;
        -A | -I | -C | -D | --append | --insert | --check | --delete) mark=yes ;;
    esac
    set -- "$@" "$word"
done
[ -z "$mark" ] || set -- "$@" -m comment --comment {tag}
exec {real} "$@"
"#,
        real = real.display()
    )
}

/// Removes every rule and chain of this environment.
pub(crate) fn sweep(id: &str, pool: Pool) {
    for tool in TOOLS {
        let ours = |rule: &Rule| rule.text.contains(&tag(id)) || rule.mentions(pool);
        let saved = Saved::read(tool);
        let networks: Vec<_> = saved
            .rules
            .iter()
            .filter(|rule| rule.mentions(pool) && is_network_chain(&rule.chain))
            .map(|rule| rule.chain.clone())
            .collect();
        let leads_there = |rule: &Rule| networks.iter().any(|chain| rule.jumps_to(chain));
        for rule in saved.rules.iter().filter(|rule| ours(rule) || leads_there(rule)) {
            rule.delete(tool);
        }
        for chain in &saved.chains {
            if chain.name.starts_with(&prefix(id)) || networks.contains(&chain.name) {
                chain.delete(tool);
            }
        }
    }
}

/// What is left of this environment, for a leak report.
pub(crate) fn leftovers(id: &str, pool: Pool) -> Vec<String> {
    TOOLS
        .iter()
        .flat_map(|tool| {
            let saved = Saved::read(tool);
            let rules = saved.rules.into_iter();
            let rules = rules.filter(|rule| rule.text.contains(&tag(id)) || rule.mentions(pool));
            let chains = saved.chains.into_iter();
            let chains = chains.filter(|chain| chain.name.starts_with(&prefix(id)));
            rules.map(|rule| rule.text).chain(chains.map(|chain| chain.name)).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether netavark has been at work on this machine.
pub(crate) fn has_netavark() -> bool {
    let saved = Saved::read("iptables");
    saved.chains.iter().any(|chain| chain.name == NETAVARK_SHARED[0])
}

/// Whether any container engine keeps chains of its own here.
pub(crate) fn has_engine() -> bool {
    let saved = Saved::read("iptables");
    let is_engine = |chain: &Chain| ENGINE_CHAINS.contains(&chain.name.as_str());
    saved.chains.iter().any(is_engine)
}

/// Removes netavark's shared chains unless some network still uses them.
pub(crate) fn remove_idle_netavark() {
    let saved = Saved::read("iptables");
    if saved.chains.iter().any(|chain| is_network_chain(&chain.name)) {
        return;
    }
    saved.remove(&NETAVARK_SHARED);
}

/// Whether CNI's plugin `firewall` has been at work on this machine.
pub(crate) fn has_cni() -> bool {
    Saved::read("iptables").chains.iter().any(|chain| chain.name == CNI_SHARED[0])
}

/// Removes that plugin's shared chains unless there is a rule for anybody in them.
pub(crate) fn remove_idle_cni() {
    let saved = Saved::read("iptables");
    let is_for_somebody = |rule: &Rule| [" -i ", " -o ", " -s ", " -d "].iter().any(|word| rule.text.contains(word));
    if !saved.rules.iter().any(|rule| CNI_SHARED.contains(&rule.chain.as_str()) && is_for_somebody(rule)) {
        saved.remove(&CNI_SHARED);
    }
}

fn prefix(id: &str) -> String {
    format!("H{id}")
}

fn tag(id: &str) -> String {
    format!("hythe-env-{id}")
}

/// `NETAVARK-1D8721804F16F` and `NETAVARK-DN-…`: one network's, not shared by all.
fn is_network_chain(chain: &str) -> bool {
    chain.starts_with("NETAVARK") && !NETAVARK_SHARED.contains(&chain)
}

struct Chain {
    table: String,
    name: String,
}

impl Chain {
    fn delete(&self, tool: &str) {
        for action in ["-F", "-X"] {
            run::succeeds(run::command(tool).args(["-w", "-t", &self.table, action, &self.name]));
        }
    }
}

struct Rule {
    table: String,
    chain: String,
    text: String,
}

impl Rule {
    fn delete(&self, tool: &str) {
        let words = words(&self.text);
        run::succeeds(run::command(tool).args(["-w", "-t", &self.table, "-D"]).args(words.iter().skip(1)));
    }

    fn jumps_to(&self, chain: &str) -> bool {
        let words = words(&self.text);
        words.windows(2).any(|pair| pair[0] == "-j" && pair[1] == chain)
    }

    fn mentions(&self, pool: Pool) -> bool {
        self.text
            .split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .filter_map(|word| word.parse::<Ipv4Addr>().ok())
            .any(|address| pool.contains(address))
    }
}

#[derive(Default)]
struct Saved {
    chains: Vec<Chain>,
    rules: Vec<Rule>,
}

impl Saved {
    fn read(tool: &str) -> Self {
        let text = run::output(&mut run::command(&format!("{tool}-save")));
        Self::parse(&text.unwrap_or_default())
    }

    /// Removes chains, and first what jumps to them.
    fn remove(&self, names: &[&str]) {
        let jumps = |rule: &&Rule| names.iter().any(|chain| rule.jumps_to(chain));
        self.rules.iter().filter(jumps).for_each(|rule| rule.delete("iptables"));
        for chain in self.chains.iter().filter(|chain| names.contains(&chain.name.as_str())) {
            chain.delete("iptables");
        }
    }

    fn parse(text: &str) -> Self {
        let mut saved = Self::default();
        let mut table = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name.to_owned();
            } else if let Some(chain) = line.strip_prefix(':') {
                let name = chain.split(' ').next().unwrap_or_default().to_owned();
                saved.chains.push(Chain { table: table.clone(), name });
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let chain = rule.split(' ').next().unwrap_or_default().to_owned();
                let (table, text) = (table.clone(), line.to_owned());
                saved.rules.push(Rule { table, chain, text });
            }
        }
        saved
    }
}

/// Splits a saved rule the way iptables-restore reads it: double quotes group, a backslash escapes within them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '\\' if quoted => word.extend(letters.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_rules_are_read_back_word_by_word() {
        let saved = Saved::parse(
            "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -m comment --comment \"a \\\"b\\\" c\" -j X\nCOMMIT\n",
        );
        assert_eq!(saved.chains[0].name, "POSTROUTING");
        let rule = &saved.rules[0];
        assert_eq!((rule.table.as_str(), rule.chain.as_str()), ("nat", "POSTROUTING"));
        assert!(words(&rule.text).contains(&"a \"b\" c".to_owned()));
        assert!(rule.jumps_to("X") && !rule.jumps_to("Y"));
    }

    #[test]
    fn docker_chain_names_stay_within_the_kernels_limit() {
        let longest = "DOCKER-ISOLATION-STAGE-2".replace("DOCKER", &prefix("01234567"));
        assert!(longest.len() <= 28);
    }
}
