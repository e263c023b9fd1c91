//! The words that engines of Docker's kind have for how an instance was set up, in the seam's terms. Pure.
//!
//! For: every driver that reads such an engine's documents. Not for: the documents, which differ in form.

use hythe_spec::{ExtraHost, Signal};
use serde_json::Value;

use crate::{NetworkMode, ObservedSeccomp};

/// Options for security that have fields of their own.
const NO_NEW_PRIVILEGES: &str = "no-new-privileges";
const SECCOMP: &str = "seccomp";
/// Characters of an engine's word that are told; a whole profile may stand in it.
const LONGEST: usize = 60;
/// Modes of a namespace that is the instance's own.
const OWN: [&str; 3] = ["", "private", "shareable"];

/// The network it was made for.
pub fn network_mode(word: &str) -> NetworkMode {
    match word {
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        other if other.contains(':') || ["slirp4netns", "pasta", "private"].contains(&other) => {
            NetworkMode::Other(other.to_owned())
        }
        _ => NetworkMode::Networks,
    }
}

/// The system call filter among the options for security.
pub fn seccomp(options: &[String]) -> ObservedSeccomp {
    match options.iter().find_map(|option| value_of(option, SECCOMP)) {
        None => ObservedSeccomp::Default,
        Some("unconfined") => ObservedSeccomp::Unconfined,
        Some(_) => ObservedSeccomp::Profile,
    }
}

/// Whether executing a file gains no privileges, among the options for security.
pub fn no_new_privileges(options: &[String]) -> bool {
    let is_set = |option: &String| matches!(value_of(option, NO_NEW_PRIVILEGES), Some("" | "true"));
    options.iter().any(is_set)
}

/// What follows a key and `=` or `:`; nothing where the key stands alone.
fn value_of<'a>(option: &'a str, key: &str) -> Option<&'a str> {
    let rest = option.strip_prefix(key)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix(['=', ':']) }
}

/// The engine's own restart policy: `no`, `always`, `on-failure:3`.
pub fn restart(name: &str, most: u64) -> String {
    match (name, most) {
        ("", _) => "no".to_owned(),
        (name, 0) => name.to_owned(),
        (name, most) => format!("{name}:{most}"),
    }
}

/// Lines for the hosts file, sorted; `name:address` each.
pub fn hosts(lines: &[String]) -> Vec<ExtraHost> {
    let mut hosts: Vec<ExtraHost> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    hosts.sort();
    hosts
}

/// A signal by number or name; 0 and nothing are none.
pub fn signal(word: &Value) -> Option<Signal> {
    match word {
        Value::Number(number) => u8::try_from(number.as_u64()?).ok().filter(|number| *number != 0).map(Signal),
        Value::String(name) => name.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What of an instance no plan can ask for.
#[derive(Debug, Clone, Copy)]
pub struct Unmodelled<'a> {
    /// Every option for security.
    pub security: &'a [String],
    /// Kinds of namespaces with their modes.
    pub namespaces: &'a [(&'a str, &'a str)],
    /// Kinds of things with how many it has.
    pub counted: &'a [(&'a str, usize)],
}

impl Unmodelled<'_> {
    /// For people, a phrase each.
    pub fn told(&self) -> Vec<String> {
        let has_field = |option: &str| {
            let known = [(NO_NEW_PRIVILEGES, "", "true"), (SECCOMP, "unconfined", "unconfined")];
            known.iter().any(|(key, one, other)| value_of(option, key).is_some_and(|v| v == *one || v == *other))
        };
        let options = self.security.iter().filter(|option| !has_field(option)).map(|option| {
            let start: String = option.chars().take(LONGEST).collect();
            format!("security option `{start}`")
        });
        let shared = self.namespaces.iter().filter(|(_, mode)| !OWN.contains(mode));
        let shared = shared.map(|(kind, mode)| format!("{kind} namespace `{mode}`"));
        let counted = self.counted.iter().filter(|(_, count)| *count > 0);
        options.chain(shared).chain(counted.map(|(what, count)| format!("{count} {what}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(options: &[&str]) -> Vec<String> {
        options.iter().map(|option| (*option).to_owned()).collect()
    }

    #[test]
    fn a_network_of_its_own_is_distinguished_from_one_that_no_plan_asks_for() {
        let modes = ["none", "host", "default", "shop", "container:x", "ns:/run/netns/x", "pasta"].map(network_mode);
        let other = |word: &str| NetworkMode::Other(word.to_owned());
        let (none, host, bridged) = (NetworkMode::None, NetworkMode::Host, NetworkMode::Networks);
        let expected =
            [none, host, bridged.clone(), bridged, other("container:x"), other("ns:/run/netns/x"), other("pasta")];
        assert_eq!(modes, expected);
    }

    #[test]
    fn options_for_security_are_written_in_more_than_one_way() {
        let set = |option| no_new_privileges(&options(&["label=disable", option]));
        let cases =
            ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true", "no-new-privileges=false"];
        assert_eq!(cases.map(set), [true, true, true, false]);
        let filter = |option| seccomp(&options(&[option]));
        assert_eq!(filter("label=disable"), ObservedSeccomp::Default);
        assert_eq!([filter("seccomp=unconfined"), filter("seccomp:unconfined")], [ObservedSeccomp::Unconfined; 2]);
        assert_eq!(filter("seccomp=/etc/filter.json"), ObservedSeccomp::Profile);
    }

    #[test]
    fn a_policy_says_how_often() {
        assert_eq!([restart("", 0), restart("always", 0), restart("on-failure", 3)], ["no", "always", "on-failure:3"]);
    }

    #[test]
    fn a_signal_is_a_number_or_a_name() {
        let words = [json!(15), json!("SIGTERM"), json!("TERM"), json!("15"), json!(0), json!(""), json!(null)];
        let term = Some(Signal::TERM);
        assert_eq!(words.each_ref().map(signal), [term, term, term, term, None, None, None]);
    }

    #[test]
    fn what_has_a_field_of_its_own_is_not_beyond() {
        let unmodelled = |security: &[&str], namespaces: &[(&str, &str)], counted: &[(&str, usize)]| {
            Unmodelled { security: &options(security), namespaces, counted }.told()
        };
        let usual = [("pid", ""), ("ipc", "shareable"), ("uts", "private")];
        assert_eq!(unmodelled(&["no-new-privileges", "seccomp=unconfined"], &usual, &[("devices", 0)]), [""; 0]);
        let told = unmodelled(&["label=disable", "seccomp=/f"], &[("pid", "host")], &[("devices", 2)]);
        let expected =
            ["security option `label=disable`", "security option `seccomp=/f`", "pid namespace `host`", "2 devices"];
        assert_eq!(told, expected);
        assert!(unmodelled(&[&format!("seccomp={}", "x".repeat(999))], &[], &[])[0].len() < 99);
    }
}
