//! What of the host and the kernel a component is granted beyond its image: groups, kernel parameters, devices.

use super::context::Context;
use super::environment;
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::ComponentFile;
use crate::{Component, Device};

/// Reads them into the component.
pub(super) fn grants(path: &str, raw: &ComponentFile, component: &mut Component, cx: &mut Context<'_>) {
    let groups = raw.group_add.iter().flat_map(|list| &list.value);
    component.group_add = groups.map(|group| group.value.text()).collect();
    component.sysctls = environment::labels(raw.sysctls.as_ref(), cx);
    component.devices = devices(path, raw.devices.as_ref(), cx);
}

fn devices(path: &str, raw: Option<&At<Vec<At<String>>>>, cx: &mut Context<'_>) -> Vec<Device> {
    let mut devices: Vec<(Device, Place)> = Vec::new();
    for item in raw.into_iter().flat_map(|list| &list.value) {
        devices.extend(cx.parse(item).map(|device| (device, item.place.clone())));
    }
    devices.sort_by(|(one, _), (two, _)| one.cmp(two));
    for (index, (_, place)) in devices.iter().enumerate() {
        cx.places.put(format!("{path}.devices[{index}]"), place);
    }
    devices.into_iter().map(|(device, _)| device).collect()
}
