//! `cap_add`, `cap_drop` on top of a base profile.

use super::super::context::Context;
use crate::Permissions;
use crate::file::decode::At;
use crate::file::raw::PermissionsFile;
use crate::nearest::nearest;
use crate::permissions::CAPABILITIES;

const ALL: &str = "ALL";

/// The complete list of what is kept: the base, with what is added, without what is dropped. `ALL` is the base where it is named.
pub(super) fn apply(table: &PermissionsFile, permissions: &mut Permissions, cx: &mut Context<'_>) {
    let dropped = named(table.cap_drop.as_ref(), cx);
    let added = named(table.cap_add.as_ref(), cx);
    if let Some((first, _)) = dropped.first().filter(|_| permissions.privileged) {
        let finding =
            cx.findings.error(&first.place, "a privileged component has every capability, whatever is dropped");
        finding.hint("remove `cap_drop`, or `privileged` and name the capabilities it needs");
    }
    for (raw, name) in &added {
        if name == ALL && !permissions.privileged {
            let finding = cx.findings.error(&raw.place, "every capability is only for a privileged component");
            finding.hint("name the capabilities it needs");
        }
        if let Some((other, _)) = dropped.iter().find(|(_, other)| name == other) {
            let finding = cx.findings.error(&raw.place, format!("`{name}` is added and dropped"));
            finding.related(&other.place, "dropped here");
        }
    }
    let has = |list: &[(&At<String>, String)], wanted: &str| list.iter().any(|(_, name)| name == wanted);
    let base = std::mem::take(&mut permissions.capabilities);
    let kept = CAPABILITIES.into_iter().filter(|name| {
        let in_base = base.iter().any(|known| known == name) && !has(&dropped, ALL);
        has(&added, name) || (in_base || has(&added, ALL) && permissions.privileged) && !has(&dropped, name)
    });
    permissions.capabilities = kept.map(str::to_owned).collect();
}

/// The known capabilities of a list, with where each is named.
fn named<'a>(list: Option<&'a At<Vec<At<String>>>>, cx: &mut Context<'_>) -> Vec<(&'a At<String>, String)> {
    let items = list.into_iter().flat_map(|list| &list.value);
    items.filter_map(|raw| capability(raw, cx).map(|name| (raw, name))).collect()
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
