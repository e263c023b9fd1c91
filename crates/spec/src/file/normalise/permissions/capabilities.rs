//! `cap_add`, `cap_drop` on top of a base profile.

use super::super::context::Context;
use crate::Permissions;
use crate::file::decode::At;
use crate::file::raw::PermissionsFile;
use crate::nearest::nearest;
use crate::permissions::CAPABILITIES;

const ALL: &str = "ALL";

/// The complete list of what is kept: the base, without what is dropped, with what is added.
pub(super) fn apply(table: &PermissionsFile, permissions: &mut Permissions, cx: &mut Context<'_>) {
    for raw in table.cap_drop.iter().flat_map(|list| &list.value) {
        match capability(raw, cx).as_deref() {
            Some(ALL) => permissions.capabilities.clear(),
            Some(name) => permissions.capabilities.retain(|kept| kept != name),
            None => {}
        }
    }
    for raw in table.cap_add.iter().flat_map(|list| &list.value) {
        match capability(raw, cx).as_deref() {
            Some(ALL) if permissions.privileged => permissions.capabilities = CAPABILITIES.map(str::to_owned).to_vec(),
            Some(ALL) => {
                let finding = cx.findings.error(&raw.place, "every capability is only for a privileged component");
                finding.hint("name the capabilities it needs");
            }
            Some(name) => permissions.capabilities.push(name.to_owned()),
            None => {}
        }
    }
    permissions.capabilities.sort();
    permissions.capabilities.dedup();
}

fn capability(raw: &At<String>, cx: &mut Context<'_>) -> Option<String> {
    let upper = raw.value.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name == ALL || CAPABILITIES.contains(&name) {
        return Some(name.to_owned());
    }
    let finding = cx.findings.error(&raw.place, format!("`{}` is not a capability", raw.value));
    if let Some(known) = nearest(name, CAPABILITIES) {
        finding.hint(format!("did you mean `{known}`?"));
    }
    None
}
