//! Profiles in the words of the OCI runtime specification, for engines that compile them themselves.

use serde_json::{Value, json};
use syscalls::Sysno;

use super::standard::{AF_VSOCK, ENOSYS, EPERM, LAST_KNOWN, NAMESPACES, PERSONALITIES, refused};

/// The default profile, as [`super::standard`] but for a personality that is refused, which fails with `ENOSYS`.
pub fn standard_document(capabilities: &[String]) -> Value {
    let is_admin = capabilities.iter().any(|given| given == "SYS_ADMIN");
    let refused = refused(capabilities);
    let (mut allowed, mut eperm) = (Vec::new(), Vec::new());
    for call in Sysno::iter().filter(|call| call.id().cast_unsigned() <= LAST_KNOWN) {
        match call.name() {
            name if refused.contains(&name) => eperm.push(name),
            "clone" | "clone3" if !is_admin => {}
            "personality" | "socket" => {}
            name => allowed.push(name),
        }
    }
    let eq = |value: u64| json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
    let ne = |value: u64| json!([{ "index": 0, "value": value, "op": "SCMP_CMP_NE" }]);
    let masked =
        |mask: u64, value: u64| json!([{ "index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" }]);
    let one = |name: &str, args: Value| json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": args });
    let mut calls = vec![
        json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": eperm, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM }),
        one("socket", ne(AF_VSOCK)),
        json!({ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, "args": eq(AF_VSOCK) }),
    ];
    calls.extend(PERSONALITIES.map(|personality| one("personality", eq(personality))));
    if !is_admin {
        calls.push(one("clone", masked(NAMESPACES, 0)));
        let bits = (0..64).map(|bit| 1_u64 << bit).filter(|bit| NAMESPACES & bit != 0);
        calls.extend(bits.map(|bit| {
            json!({ "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, "args": masked(bit, bit) })
        }));
    }
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": ENOSYS, "syscalls": calls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_document_without_sys_admin_refuses_what_needs_it() {
        let names =
            |capabilities: &[String], at: usize| standard_document(capabilities)["syscalls"][at]["names"].clone();
        let has = |names: &Value, name: &str| names.as_array().is_some_and(|all| all.contains(&json!(name)));
        assert!(has(&names(&[], 1), "mount") && !has(&names(&[], 0), "mount") && has(&names(&[], 0), "openat"));
        assert!(has(&names(&["SYS_ADMIN".to_owned()], 0), "clone3") && !has(&names(&[], 0), "clone"));
    }
}
