//! Reports each start once: the engine reports it in its event stream, the workload's task when it inspects, and neither knows of the other.

use std::collections::VecDeque;

use hythe_spec::vocabulary::EventKind;
use hythe_store::{EventRecord, NewEvent};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The engine's own time of a start differs from ours, and from its event, by less.
pub(crate) const SAME: SignedDuration = SignedDuration::from_secs(2);
/// Starts that are remembered: more than an engine repeats.
pub(crate) const REMEMBERED: u32 = 512;

/// Details of a start that no engine reported.
pub(crate) fn synthesised(instance: &str) -> Value {
    json!({ "instance": instance, "synthesised": true })
}

/// Starts that were reported recently.
#[derive(Debug, Default)]
pub(crate) struct Starts(VecDeque<Start>);

#[derive(Debug)]
struct Start {
    time: Timestamp,
    instance: String,
    synthesised: bool,
    /// Its engine and the task have both reported it.
    paired: bool,
}

impl Start {
    fn of(event: &NewEvent) -> Option<Self> {
        let instance = event.details["instance"].as_str()?;
        (event.kind == EventKind::Started).then(|| Self {
            time: event.time,
            instance: instance.to_owned(),
            synthesised: event.details["synthesised"] == true,
            paired: false,
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        let near = self.time.duration_since(other.time).abs() < SAME;
        let other_way = !self.paired && self.synthesised != other.synthesised && near;
        self.instance == other.instance && (other_way || self.time == other.time)
    }
}

impl Starts {
    pub(crate) fn load(events: &[EventRecord]) -> Self {
        Self(events.iter().filter_map(|record| Start::of(&record.event)).collect())
    }

    /// Whether this start was reported already.
    pub(crate) fn is_reported(&self, event: &NewEvent) -> bool {
        Start::of(event).is_some_and(|start| self.0.iter().any(|known| known.is_same(&start)))
    }

    /// Remembers it, reported or held back.
    pub(crate) fn note(&mut self, event: &NewEvent) {
        let Some(start) = Start::of(event) else { return };
        if let Some(known) = self.0.iter_mut().find(|known| known.is_same(&start)) {
            known.paired = true;
            // Where its stream is resumed an engine repeats this very time.
            known.time = if start.synthesised { known.time } else { start.time };
            return;
        }
        if self.0.len() >= REMEMBERED as usize {
            self.0.pop_front();
        }
        self.0.push_back(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(milliseconds: i64, synthesised: bool) -> NewEvent {
        let details = if synthesised { self::synthesised("web-1-1") } else { json!({ "instance": "web-1-1" }) };
        NewEvent {
            time: Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds),
            runtime: None,
            service: None,
            workload: None,
            kind: EventKind::Started.into(),
            message: String::new(),
            details,
        }
    }

    /// Which of them are reported, one after the other.
    fn reported(events: &[(i64, bool)]) -> Vec<bool> {
        let mut starts = Starts::default();
        let mut report = |event: NewEvent| {
            let is_new = !starts.is_reported(&event);
            starts.note(&event);
            is_new
        };
        events.iter().map(|(at, synthesised)| report(start(*at, *synthesised))).collect()
    }

    #[test]
    fn a_start_that_both_tell_of_is_reported_once_whoever_is_first() {
        assert_eq!(reported(&[(0, true), (90, false), (90, false)]), [true, false, false]);
        assert_eq!(reported(&[(90, false), (0, true)]), [true, false]);
    }

    #[test]
    fn starts_of_an_engine_one_soon_after_the_other_are_all_reported() {
        assert_eq!(reported(&[(0, false), (900, false), (1800, false)]), [true; 3]);
        assert_eq!(reported(&[(0, true), (10, false), (1500, false)]), [true, false, true]);
        assert_eq!(reported(&[(0, true), (2000, false)]), [true, true]);
    }
}
