//! How an instance was set up in what is not compared: what somebody has to know who takes it over.

use std::net::IpAddr;

use hythe_spec::{ExtraHost, Millis, Restart, Signal};
use serde::{Deserialize, Serialize};

/// Configuration of an instance beyond what [`crate::Observed`] has fields for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configured {
    /// The engine's word for its network: `host`, `none`, `container:…`; bridged for anything else.
    pub network_mode: String,
    /// How the engine itself starts it again; `None`: it does not.
    pub engine_restart: Option<Restart>,
    /// The engine removes it as soon as it ends.
    pub auto_remove: bool,
    /// It has everything of the host.
    pub privileged: bool,
    /// The complete set of capabilities, without `CAP_`, sorted.
    pub capabilities: Vec<String>,
    /// Its process cannot gain privileges by executing a file.
    pub no_new_privileges: bool,
    /// No system call filter.
    pub unconfined: bool,
    /// Its main process has a terminal.
    pub tty: bool,
    /// Its main process's stdin stays open.
    pub stdin: bool,
    /// A minimal init is pid 1.
    pub init: bool,
    /// Signal that asks it to stop, where the engine says it.
    pub stop_signal: Option<Signal>,
    /// Time between that signal and KILL, where the engine says it.
    pub stop_grace: Option<Millis>,
    /// Name servers in place of the engine's.
    pub dns: Vec<IpAddr>,
    /// Lines for its hosts file.
    pub extra_hosts: Vec<ExtraHost>,
    /// What no service file can say, in the engine's words: devices, namespaces of the host, other security options.
    pub beyond: Vec<String>,
}

impl Configured {
    /// The capabilities that are left of a default set after adding and dropping; `ALL` stands for every one.
    pub fn capabilities_of(default: &[&str], add: &[String], drop: &[String]) -> Vec<String> {
        let bare = |name: &String| name.to_uppercase().trim_start_matches("CAP_").to_owned();
        let (add, drop): (Vec<String>, Vec<String>) = (add.iter().map(bare).collect(), drop.iter().map(bare).collect());
        let all = |names: &[String]| names.iter().any(|name| name == "ALL");
        let base: Vec<String> = match (all(&add), all(&drop)) {
            (true, _) => hythe_spec::permissions::CAPABILITIES.map(str::to_owned).to_vec(),
            (false, true) => Vec::new(),
            (false, false) => default.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut kept: Vec<String> = base.into_iter().filter(|name| !drop.contains(name)).collect();
        kept.extend(add.into_iter().filter(|name| name != "ALL"));
        kept.sort();
        kept.dedup();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(add: &[&str], drop: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Configured::capabilities_of(&["CHOWN", "KILL"], &owned(add), &owned(drop))
    }

    #[test]
    fn capabilities_are_the_default_s_changed() {
        assert_eq!(of(&[], &[]), ["CHOWN", "KILL"]);
        assert_eq!(of(&["CAP_NET_RAW"], &["kill"]), ["CHOWN", "NET_RAW"]);
        assert_eq!(of(&["NET_RAW"], &["ALL"]), ["NET_RAW"]);
        assert_eq!(of(&["ALL"], &["KILL"]).len(), hythe_spec::permissions::CAPABILITIES.len() - 1);
    }
}
