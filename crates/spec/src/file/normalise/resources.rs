//! Limits.

use super::context::Context;
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::{ComponentFile, LimitTable};
use crate::file::shapes::{Or, Scalar};
use crate::units::{MAX_PIDS, MAX_SIZE};
use crate::validate::MAX_LOG_FILES;
use crate::{ByteSize, LogLimits, ParseError, Resources, Ulimit};

/// The limits of a component.
pub(super) fn resources(path: &str, raw: &ComponentFile, cx: &mut Context<'_>) -> Resources {
    let cpus = cx.either(("cpus", raw.cpus.as_ref()), ("vcpus", raw.vcpus.as_ref()));
    let parts: [(&str, Option<&Place>); 5] = [
        ("memory", raw.memory.as_ref().map(|at| &at.place).or(raw.memory_mb.as_ref().map(|at| &at.place))),
        ("cpus", cpus.map(|at| &at.place)),
        ("pids", raw.pids.as_ref().map(|at| &at.place)),
        ("shm_size", raw.shm_size.as_ref().map(|at| &at.place)),
        ("ulimits", raw.ulimits.as_ref().map(|at| &at.place)),
    ];
    for (name, place) in parts {
        if let Some(place) = place {
            cx.places.put(format!("{path}.resources.{name}"), place);
        }
    }
    Resources {
        memory: memory(raw, cx),
        cpus: cx.parse_scalar(cpus),
        pids: cx.number(raw.pids.as_ref(), 1..=MAX_PIDS, "a number of processes"),
        shm_size: cx.parse_scalar(raw.shm_size.as_ref()),
        ulimits: ulimits(raw, cx),
    }
}

/// How much of its log is kept; nothing where nothing is said.
pub(super) fn logs(raw: &ComponentFile, cx: &mut Context<'_>) -> Option<LogLimits> {
    let table = &raw.logs.as_ref()?.value;
    let max_size = cx.parse_scalar(table.max_size.as_ref());
    let max_files = cx.number(table.max_files.as_ref(), 1..=MAX_LOG_FILES, "a number of files");
    let limits = LogLimits { max_size, max_files };
    (limits != LogLimits::default()).then_some(limits)
}

fn memory(raw: &ComponentFile, cx: &mut Context<'_>) -> Option<ByteSize> {
    if let (Some(memory), Some(mebibytes)) = (&raw.memory, &raw.memory_mb) {
        let finding = cx.findings.error(&mebibytes.place, "`memory` and `memory_mb` mean the same");
        finding.related(&memory.place, "given here already");
    }
    let mebibytes = cx.number(raw.memory_mb.as_ref(), 1..=MAX_SIZE >> 20, "a number of mebibytes");
    let from_mebibytes = mebibytes.map(|mebibytes| ByteSize(mebibytes << 20));
    cx.parse_scalar(raw.memory.as_ref()).or(from_mebibytes)
}

fn ulimits(raw: &ComponentFile, cx: &mut Context<'_>) -> Vec<Ulimit> {
    let mut limits = Vec::new();
    for (name, limit) in raw.ulimits.iter().flat_map(|table| &table.value.0) {
        let place = if Ulimit::NAMES.contains(&name.value.as_str()) { &limit.place } else { &name.place };
        limits.extend(cx.findings.check(place, ulimit(&name.value, limit)));
    }
    limits.sort_by(|one, two| one.name.cmp(&two.name));
    limits
}

fn ulimit(name: &str, limit: &At<Or<Scalar, LimitTable>>) -> Result<Ulimit, ParseError> {
    match &limit.value {
        Or::First(value) => Ulimit::parse(name, &value.text()),
        Or::Second(table) => {
            let soft = table.soft.as_ref().map(|at| at.value).unwrap_or_default();
            let hard = table.hard.as_ref().map_or(soft, |at| at.value);
            Ulimit::parse(name, &format!("{soft}:{hard}"))
        }
    }
}
