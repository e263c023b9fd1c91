//! What is garbage, and since when. Pure: two lists and a clock in, candidates out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hythe_runtime::Identity;
use jiff::{SignedDuration, Timestamp};

/// Two looks that are closer together count as one.
const APART: Duration = Duration::from_secs(3);

/// Kind of an object that may be left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// An instance of a workload.
    Instance,
    /// A service's network.
    Network,
    /// A service's volume, with its data.
    Volume,
    /// A file in the state directory.
    File,
}

impl ObjectKind {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::File => "file",
        }
    }
}

/// An object of ours that was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Kind.
    pub kind: ObjectKind,
    /// Name of the runtime that has it; empty for files.
    pub runtime: String,
    /// The engine's id, or the name where there is none.
    pub id: String,
    /// Its name, or path.
    pub name: String,
    /// The service it says it belongs to.
    pub service: Option<String>,
}

/// An object with what decides about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) object: Object,
    /// Which attempt an instance is.
    pub(crate) identity: Option<Identity>,
    pub(crate) created: Option<Timestamp>,
}

/// A workload that is wanted, and the instances that it refers to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WantedWorkload {
    pub(crate) generation: u64,
    /// Id where known, and name of each. Whatever the runtime: one engine may be reached as two.
    pub(crate) instances: Vec<(Option<String>, String)>,
}

impl WantedWorkload {
    /// Whether it refers to this object.
    pub(crate) fn refers_to(&self, object: &Object) -> bool {
        self.instances.iter().any(|(id, name)| id.as_ref() == Some(&object.id) || *name == object.name)
    }
}

/// What is wanted at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) workloads: BTreeMap<String, WantedWorkload>,
    /// Services that are known.
    pub(crate) services: BTreeSet<String>,
    /// Those that are being deployed, changed or removed right now: nothing of theirs is judged.
    pub(crate) busy: BTreeSet<String>,
    /// Highest generation of workloads that were forgotten on purpose.
    pub(crate) forgotten: BTreeMap<String, u64>,
}

/// When an object was first seen unwanted, and how often since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) looks: u32,
}

/// Something that nobody wants any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What.
    pub object: Object,
    /// Why it is unwanted.
    pub reason: String,
    /// When it was first seen unwanted.
    pub first_seen: Timestamp,
    /// Agreeing looks so far; looks at almost the same moment count once.
    pub looks: u32,
    /// When it was made, where its engine says it.
    pub created: Option<Timestamp>,
    /// It is old enough and was seen often enough to be collected.
    pub ripe: bool,
}

/// Every unwanted object, with what was noticed so far brought up to date; what is wanted again or gone is noticed no more.
pub(crate) fn candidates(
    wanted: &Wanted,
    seen: &[Seen],
    noticed: &mut BTreeMap<Object, Noticed>,
    min_age: Duration,
    now: Timestamp,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut still = BTreeMap::new();
    for one in seen {
        let Some(reason) = unwanted(wanted, one, seen) else { continue };
        let notice = look_again(noticed.get(&one.object), now);
        still.insert(one.object.clone(), notice);
        let old = |since: Timestamp| now.duration_since(since) >= SignedDuration::try_from(min_age).unwrap_or_default();
        found.push(Candidate {
            object: one.object.clone(),
            reason,
            first_seen: notice.first,
            looks: notice.looks,
            created: one.created,
            ripe: notice.looks >= 2 && old(notice.first) && one.created.is_none_or(old),
        });
    }
    *noticed = still;
    found
}

fn look_again(before: Option<&Noticed>, now: Timestamp) -> Noticed {
    match before {
        // A clock that was set back begins anew.
        Some(before) if before.last <= now => {
            let apart = now.duration_since(before.last) >= SignedDuration::try_from(APART).unwrap_or_default();
            if apart {
                Noticed { first: before.first, last: now, looks: before.looks.saturating_add(1) }
            } else {
                *before
            }
        }
        _ => Noticed { first: now, last: now, looks: 1 },
    }
}

/// Why nobody wants it; `None`: somebody may.
fn unwanted(wanted: &Wanted, one: &Seen, all: &[Seen]) -> Option<String> {
    if one.object.service.as_ref().is_some_and(|service| wanted.busy.contains(service)) {
        return None;
    }
    match one.object.kind {
        ObjectKind::Instance => unwanted_instance(wanted, &one.object, one.identity.as_ref()?),
        ObjectKind::Network | ObjectKind::Volume => unwanted_belonging(wanted, &one.object, all),
        ObjectKind::File => Some("set aside and no longer needed".to_owned()),
    }
}

fn unwanted_instance(wanted: &Wanted, object: &Object, identity: &Identity) -> Option<String> {
    let workload = identity.workload();
    let Some(known) = wanted.workloads.get(&workload) else {
        // One that the store never forgot may be one that the store has lost: it is read back from its labels, not collected.
        let forgotten = wanted.forgotten.get(&workload).is_some_and(|highest| identity.generation <= *highest);
        return forgotten.then(|| format!("workload `{workload}` was undeployed"));
    };
    let superseded = !known.refers_to(object) && identity.generation <= known.generation;
    superseded.then(|| format!("workload `{workload}` does not use it (generation {})", identity.generation))
}

/// Of a service that is not known, and of which nothing of ours is left on that runtime.
fn unwanted_belonging(wanted: &Wanted, object: &Object, all: &[Seen]) -> Option<String> {
    let service = object.service.as_ref()?;
    let alive = all.iter().any(|other| {
        other.object.kind == ObjectKind::Instance
            && other.object.runtime == object.runtime
            && other.object.service.as_ref() == Some(service)
    });
    (!wanted.services.contains(service) && !alive).then(|| format!("service `{service}` does not exist"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn object(kind: ObjectKind, name: &str) -> Object {
        Object {
            kind,
            runtime: "memory".to_owned(),
            id: format!("id-of-{name}"),
            name: name.to_owned(),
            service: Some("shop".to_owned()),
        }
    }

    fn instance(generation: u64, attempt: u32) -> Seen {
        let identity = Identity {
            owner: "me".to_owned(),
            service: "shop".to_owned(),
            component: "web".to_owned(),
            generation,
            attempt,
            plan_hash: String::new(),
        };
        let object = object(ObjectKind::Instance, &identity.instance_name());
        Seen { object, identity: Some(identity), created: Some(at(-3600)) }
    }

    fn belonging(kind: ObjectKind) -> Seen {
        Seen { object: object(kind, "shop-thing"), identity: None, created: None }
    }

    fn knows(generation: u64, instances: &[&str]) -> Wanted {
        let refer = |name: &&str| (None, (*name).to_owned());
        let workload = WantedWorkload { generation, instances: instances.iter().map(refer).collect() };
        Wanted {
            workloads: BTreeMap::from([("shop-web".to_owned(), workload)]),
            services: BTreeSet::from(["shop".to_owned()]),
            ..Wanted::default()
        }
    }

    fn forgot(generation: u64) -> Wanted {
        Wanted { forgotten: BTreeMap::from([("shop-web".to_owned(), generation)]), ..Wanted::default() }
    }

    fn reasons(wanted: &Wanted, seen: &[Seen]) -> Vec<String> {
        let found = candidates(wanted, seen, &mut BTreeMap::new(), MINUTE, at(0));
        assert!(found.iter().all(|candidate| !candidate.ripe), "ripe on one look: {found:?}");
        found.into_iter().map(|candidate| candidate.reason).collect()
    }

    #[test]
    fn what_a_workload_refers_to_by_name_or_id_is_wanted() {
        assert_eq!(reasons(&knows(3, &["shop-web-3-1"]), &[instance(3, 1)]), [""; 0]);
        let mut by_id = knows(3, &["renamed"]);
        by_id.workloads.get_mut("shop-web").unwrap().instances[0].0 = Some("id-of-shop-web-3-1".to_owned());
        assert_eq!(reasons(&by_id, &[instance(3, 1)]), [""; 0]);
    }

    #[test]
    fn one_engine_reached_as_two_runtimes_has_no_garbage() {
        let mut again = instance(3, 1);
        again.object.runtime = "other".to_owned();
        assert_eq!(reasons(&knows(3, &["shop-web-3-1"]), &[instance(3, 1), again]), [""; 0]);
    }

    #[test]
    fn an_older_attempt_of_a_known_workload_is_not() {
        assert_eq!(reasons(&knows(3, &["shop-web-3-2"]), &[instance(2, 1), instance(3, 1), instance(3, 2)]).len(), 2);
    }

    #[test]
    fn a_newer_generation_than_the_store_knows_is_left_alone() {
        assert_eq!(reasons(&knows(3, &["shop-web-3-1"]), &[instance(4, 1)]), [""; 0]);
    }

    #[test]
    fn an_unknown_workload_is_garbage_only_where_it_was_forgotten_on_purpose() {
        assert_eq!(reasons(&Wanted::default(), &[instance(1, 1)]), [""; 0]);
        assert_eq!(reasons(&forgot(1), &[instance(1, 1)]).len(), 1);
        assert_eq!(reasons(&forgot(1), &[instance(2, 1)]), [""; 0], "made after it was forgotten");
    }

    #[test]
    fn nothing_of_a_busy_service_is_judged() {
        let busy = Wanted { busy: BTreeSet::from(["shop".to_owned()]), ..forgot(9) };
        assert_eq!(reasons(&busy, &[instance(1, 1), belonging(ObjectKind::Network)]), [""; 0]);
    }

    #[test]
    fn belongings_stay_with_their_service_and_with_its_instances() {
        for kind in [ObjectKind::Network, ObjectKind::Volume] {
            assert_eq!(reasons(&knows(1, &[]), &[belonging(kind)]), [""; 0]);
            assert_eq!(reasons(&Wanted::default(), &[instance(1, 1), belonging(kind)]), [""; 0]);
            assert_eq!(reasons(&Wanted::default(), &[belonging(kind)]).len(), 1);
        }
    }

    /// Looks at these seconds; whether it is ripe at the last.
    fn ripe(seconds: &[i64], created: Option<i64>) -> bool {
        let mut noticed = BTreeMap::new();
        let mut seen = instance(1, 1);
        seen.created = created.map(at);
        let mut last = false;
        for second in seconds {
            let found = candidates(&forgot(1), &[seen.clone()], &mut noticed, MINUTE, at(*second));
            last = found[0].ripe;
        }
        last
    }

    #[test]
    fn two_looks_apart_and_a_minute_make_it_ripe() {
        assert!(!ripe(&[0], None));
        assert!(!ripe(&[0, 59], None));
        assert!(ripe(&[0, 60], None));
        assert!(ripe(&[0, 1, 2, 61], None));
        assert!(!ripe(&[0, 60], Some(1)), "made after it was first seen unwanted: another one of that name");
        assert!(!ripe(&[100, 0], None), "the clock was set back");
    }

    #[test]
    fn looks_at_the_same_moment_count_once() {
        let mut noticed = BTreeMap::new();
        let seen = [instance(1, 1)];
        for second in [0, 1, 2] {
            let found = candidates(&forgot(1), &seen, &mut noticed, Duration::ZERO, at(second));
            assert_eq!((found[0].looks, found[0].ripe), (1, false));
        }
        assert!(candidates(&forgot(1), &seen, &mut noticed, Duration::ZERO, at(3))[0].ripe);
    }

    #[test]
    fn what_is_wanted_again_begins_anew() {
        let mut noticed = BTreeMap::new();
        let seen = [instance(1, 1)];
        candidates(&forgot(1), &seen, &mut noticed, MINUTE, at(0));
        assert!(candidates(&knows(1, &["shop-web-1-1"]), &seen, &mut noticed, MINUTE, at(50)).is_empty());
        let found = candidates(&forgot(1), &seen, &mut noticed, MINUTE, at(100));
        assert_eq!((found[0].looks, found[0].first_seen), (1, at(100)));
    }
}
