//! Profiles from files, as Docker and Podman read them.

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Group, Profile, Rules, add, number};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Debug, Default, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Reads a profile for a process with these capabilities (without `CAP_`).
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str, capabilities: &[String]) -> Result<Profile, String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let default = action(&document.default_action, document.default_errno_ret)?;
    let mut groups: Vec<Group> = Vec::new();
    for entry in document.syscalls {
        if !entry.applies(capabilities) {
            continue;
        }
        let action = action(&entry.action, entry.errno_ret)?;
        let at = groups.iter().position(|group| group.action == action).unwrap_or_else(|| {
            groups.push(Group { action: action.clone(), rules: Rules::new() });
            groups.len() - 1
        });
        let conditions = entry.args.iter().flatten().map(Argument::condition).collect::<Result<Vec<_>, _>>()?;
        // Names that this architecture does not have mean nothing here.
        for number in entry.names.iter().chain(&entry.name).filter_map(|name| number(name)) {
            add(&mut groups[at].rules, number, conditions.clone())?;
        }
    }
    groups.retain(|group| !group.rules.is_empty() && group.action != default);
    Ok(Profile { default, groups })
}

/// The profile as `linux.seccomp` of the OCI runtime specification: without what other capabilities and architectures have.
///
/// # Errors
/// What is wrong with the text.
pub fn document(text: &str, capabilities: &[String]) -> Result<Value, String> {
    // What cannot be compiled here is refused here.
    parse(text, capabilities)?;
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let one = |entry: &Entry| {
        let names: Vec<&String> = entry.names.iter().chain(&entry.name).collect();
        let args: Vec<Value> = entry.args.iter().flatten().map(Argument::runtime).collect();
        let mut rule = json!({ "names": names, "action": entry.action, "args": args });
        errno(&mut rule, "errnoRet", &entry.action, entry.errno_ret);
        rule
    };
    let calls: Vec<Value> = document.syscalls.iter().filter(|entry| entry.applies(capabilities)).map(one).collect();
    let mut profile = json!({ "defaultAction": document.default_action, "syscalls": calls });
    errno(&mut profile, "defaultErrnoRet", &document.default_action, document.default_errno_ret);
    Ok(profile)
}

/// Only these actions have a number.
fn errno(rule: &mut Value, field: &str, action: &str, number: Option<u32>) {
    if let (Some(number), "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") = (number, action) {
        rule[field] = json!(number);
    }
}

impl Entry {
    fn applies(&self, capabilities: &[String]) -> bool {
        let has = |name: &String| capabilities.iter().any(|given| Some(given.as_str()) == name.strip_prefix("CAP_"));
        let here = |name: &String| match std::env::consts::ARCH {
            "x86_64" => name == "amd64",
            "aarch64" => name == "arm64",
            other => name == other,
        };
        let included = self.includes.caps.iter().all(has)
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(here));
        included && !self.excludes.caps.iter().any(has) && !self.excludes.arches.iter().any(here)
    }
}

impl Argument {
    fn runtime(&self) -> Value {
        json!({ "index": self.index, "value": self.value, "valueTwo": self.value_two, "op": self.op })
    }

    fn condition(&self) -> Result<SeccompCondition, String> {
        let (op, value) = match self.op.as_str() {
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, self.value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, self.value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, self.value),
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, self.value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, self.value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, self.value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(self.value), self.value_two),
            other => return Err(format!("unknown comparison `{other}`")),
        };
        SeccompCondition::new(self.index, SeccompCmpArgLen::Qword, op, value).map_err(|error| error.to_string())
    }
}

fn action(word: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    Ok(match word {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(1)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno.unwrap_or(1)),
        other => return Err(format!("unknown action `{other}`")),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#;

    #[test]
    fn rules_depend_on_the_capabilities() {
        let calls = |capabilities: &[String]| {
            let profile = parse(TEXT, capabilities).unwrap();
            profile.groups.iter().map(|group| group.rules.len()).collect::<Vec<_>>()
        };
        assert_eq!(calls(&[]), [3, 1]);
        assert_eq!(calls(&["SYS_ADMIN".to_owned()]), [4]);
        assert_eq!(parse(TEXT, &[]).unwrap().compile().unwrap().len(), 2);
    }

    #[test]
    fn document_has_the_rules_of_the_capabilities_alone() {
        let names = |capabilities: &[String]| {
            let document = document(TEXT, capabilities).unwrap();
            document["syscalls"].as_array().unwrap().iter().map(|rule| rule["names"][0].clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), [json!("read"), json!("clone3"), json!("socket")]);
        assert_eq!(names(&["SYS_ADMIN".to_owned()]), [json!("read"), json!("mount"), json!("socket")]);
        let clone3 = &document(TEXT, &[]).unwrap()["syscalls"][1];
        assert_eq!((&clone3["errnoRet"], &clone3["action"]), (&json!(38), &json!("SCMP_ACT_ERRNO")));
        assert!(document(r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#, &[]).unwrap_err().contains("SCMP_ACT_MAYBE"));
    }

    #[test]
    fn parse_of_invalid_profile_names_the_reason() {
        assert!(parse("{}", &[]).unwrap_err().contains("defaultAction"));
        assert!(parse(r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#, &[]).unwrap_err().contains("SCMP_ACT_MAYBE"));
    }
}
