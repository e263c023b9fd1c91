//! What the process may do.

use hythe_runtime::{ObservedSeccomp, ObservedSecurity, Security};
use hythe_spec::Seccomp;

use super::found::Found;

pub(super) fn security(desired: &Security, seen: &ObservedSecurity, found: &mut Found) {
    let Security { capabilities, seccomp, no_new_privileges, privileged } = desired;
    let ObservedSecurity {
        capabilities: has_capabilities,
        privileged: is_privileged,
        seccomp: has_seccomp,
        no_new_privileges: has_no_new_privileges,
    } = seen;
    found.same_if_reported("permissions.privileged", privileged, is_privileged.as_ref());
    found.same_if_reported("permissions.no_new_privileges", no_new_privileges, has_no_new_privileges.as_ref());
    // Privileged is more than every other word.
    if *privileged || *is_privileged == Some(true) {
        return;
    }
    found.same_if_reported("permissions.capabilities", capabilities, has_capabilities.as_ref());
    let seccomp = match seccomp {
        Seccomp::Default => ObservedSeccomp::Default,
        Seccomp::Unconfined => ObservedSeccomp::Unconfined,
        Seccomp::File(_) => ObservedSeccomp::Profile,
    };
    found.same_if_reported("permissions.seccomp", &seccomp, has_seccomp.as_ref());
}
