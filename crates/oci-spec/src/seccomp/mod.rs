//! Seccomp profiles and their compilation to BPF; no native library is needed.
//!
//! A profile is a default action and groups of system calls with one action each. The kernel takes the strictest answer of all installed filters, and of two
//! equally strict ones the latest. So the first filter allows every call that any group names and applies the default to the rest; one more filter follows
//! for each other action.

mod document;
mod runtime;
mod standard;

use std::collections::BTreeMap;

pub use seccompiler::BpfProgram;
use seccompiler::{SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

pub use document::{document, parse};
pub use runtime::standard_document;
pub use standard::standard;

/// Calls by number, with the conditions under which a group's action is meant; no condition: always.
pub(crate) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls with one action.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) action: SeccompAction,
    pub(crate) rules: Rules,
}

/// A seccomp profile for a process with known capabilities.
#[derive(Debug)]
pub struct Profile {
    pub(crate) default: SeccompAction,
    pub(crate) groups: Vec<Group>,
}

/// Adds a call to rules; one that was unconditional stays so.
pub(crate) fn add(rules: &mut Rules, number: i64, conditions: Vec<SeccompCondition>) -> Result<(), String> {
    if conditions.is_empty() {
        rules.insert(number, Vec::new());
        return Ok(());
    }
    let rule = SeccompRule::new(conditions).map_err(|error| error.to_string())?;
    match rules.get_mut(&number) {
        Some(always) if always.is_empty() => {}
        Some(some) => some.push(rule),
        None => drop(rules.insert(number, vec![rule])),
    }
    Ok(())
}

impl Profile {
    /// The filters, in the order in which they must be installed.
    ///
    /// # Errors
    /// Why it cannot be compiled for this architecture.
    pub fn compile(self) -> Result<Vec<BpfProgram>, String> {
        let mut programs = Vec::new();
        if self.default != SeccompAction::Allow {
            let mut named = Rules::new();
            for group in &self.groups {
                for (number, rules) in &group.rules {
                    match named.get_mut(number) {
                        Some(known) if known.is_empty() || rules.is_empty() => known.clear(),
                        Some(known) => known.extend(rules.iter().cloned()),
                        None => drop(named.insert(*number, rules.clone())),
                    }
                }
            }
            programs.push(filter(named, self.default.clone(), SeccompAction::Allow)?);
        }
        for group in self.groups.into_iter().filter(|group| group.action != SeccompAction::Allow) {
            programs.push(filter(group.rules, SeccompAction::Allow, group.action)?);
        }
        Ok(programs)
    }
}

fn filter(rules: Rules, otherwise: SeccompAction, action: SeccompAction) -> Result<BpfProgram, String> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filter = SeccompFilter::new(rules, otherwise, action, architecture).map_err(|error| error.to_string())?;
    filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())
}

/// Number of a call on this architecture; `None`: it has none of that name.
pub(crate) fn number(name: &str) -> Option<i64> {
    let call: syscalls::Sysno = name.parse().ok()?;
    Some(i64::from(call.id()))
}
