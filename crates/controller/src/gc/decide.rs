//! What is garbage, and since when. Pure: two lists and a clock in, candidates out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hythe_runtime::Identity;
use jiff::{SignedDuration, Timestamp};

/// Two scans that are closer together count as one.
pub(super) const MIN_INTERVAL: Duration = Duration::from_secs(3);

/// Kind of an object that may be orphaned.
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
    /// An image that this agent brought.
    Image,
}

impl ObjectKind {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::File => "file",
            Self::Image => "image",
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

/// A desired workload, and the instances that it refers to.
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

/// What is desired at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) workloads: BTreeMap<String, WantedWorkload>,
    /// Services that are known.
    pub(crate) services: BTreeSet<String>,
    /// Those that are being deployed, changed or removed right now: their objects are not orphaned.
    pub(crate) busy: BTreeSet<String>,
    /// Highest generation of each undeployed workload.
    pub(crate) undeployed: BTreeMap<String, u64>,
}

/// When an object was first and last observed to be orphaned, and in how many scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) count: u32,
}

/// An orphaned object.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What.
    pub object: Object,
    /// Why it is orphaned.
    pub reason: String,
    /// When it was first observed to be orphaned.
    pub first_seen: Timestamp,
    /// In how many consecutive scans it was observed to be orphaned; scans at almost the same moment count once.
    pub observations: u32,
    /// When it was made, where its engine says it.
    pub created: Option<Timestamp>,
    /// It is old enough, and was observed often enough, to be collected.
    pub eligible: bool,
}

/// Every orphaned object. Updates `observed`: an object that is referred to again, or is gone, is dropped from it.
pub(crate) fn candidates(
    wanted: &Wanted,
    seen: &[Seen],
    observed: &mut BTreeMap<Object, Observation>,
    min_age: Duration,
    now: Timestamp,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut still = BTreeMap::new();
    for one in seen {
        let Some(reason) = orphan_reason(wanted, one, seen) else { continue };
        let seen_orphaned = observe(observed.get(&one.object), now);
        still.insert(one.object.clone(), seen_orphaned);
        let old = |since: Timestamp| now.duration_since(since) >= SignedDuration::try_from(min_age).unwrap_or_default();
        found.push(Candidate {
            object: one.object.clone(),
            reason,
            first_seen: seen_orphaned.first,
            observations: seen_orphaned.count,
            created: one.created,
            eligible: seen_orphaned.count >= 2 && old(seen_orphaned.first) && one.created.is_none_or(old),
        });
    }
    *observed = still;
    found
}

fn observe(before: Option<&Observation>, now: Timestamp) -> Observation {
    match before {
        // A clock that was set back begins anew.
        Some(before) if before.last <= now => {
            let apart = now.duration_since(before.last) >= SignedDuration::try_from(MIN_INTERVAL).unwrap_or_default();
            if apart {
                Observation { first: before.first, last: now, count: before.count.saturating_add(1) }
            } else {
                *before
            }
        }
        _ => Observation { first: now, last: now, count: 1 },
    }
}

/// Why it is orphaned; `None`: it is not, or may not be.
fn orphan_reason(wanted: &Wanted, one: &Seen, all: &[Seen]) -> Option<String> {
    if one.object.service.as_ref().is_some_and(|service| wanted.busy.contains(service)) {
        return None;
    }
    match one.object.kind {
        ObjectKind::Instance => orphaned_instance(wanted, &one.object, one.identity.as_ref()?),
        ObjectKind::Network | ObjectKind::Volume => orphaned_resource(wanted, &one.object, all),
        ObjectKind::File => Some("set aside and no longer needed".to_owned()),
        // Judged by `images`, which knows since when.
        ObjectKind::Image => None,
    }
}

fn orphaned_instance(wanted: &Wanted, object: &Object, identity: &Identity) -> Option<String> {
    let workload = identity.workload();
    let Some(known) = wanted.workloads.get(&workload) else {
        // Without a tombstone, the store may have lost the workload: it is adopted from its labels, not collected.
        let undeployed = wanted.undeployed.get(&workload).is_some_and(|highest| identity.generation <= *highest);
        return undeployed.then(|| format!("workload `{workload}` was undeployed"));
    };
    let superseded = !known.refers_to(object) && identity.generation <= known.generation;
    superseded.then(|| format!("workload `{workload}` does not use it (generation {})", identity.generation))
}

/// Of a service that is not known, and of which nothing of ours is left on that runtime.
fn orphaned_resource(wanted: &Wanted, object: &Object, all: &[Seen]) -> Option<String> {
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

    fn resource(kind: ObjectKind) -> Seen {
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

    fn undeployed(generation: u64) -> Wanted {
        Wanted { undeployed: BTreeMap::from([("shop-web".to_owned(), generation)]), ..Wanted::default() }
    }

    fn reasons(wanted: &Wanted, seen: &[Seen]) -> Vec<String> {
        let found = candidates(wanted, seen, &mut BTreeMap::new(), MINUTE, at(0));
        assert!(found.iter().all(|candidate| !candidate.eligible), "eligible after one scan: {found:?}");
        found.into_iter().map(|candidate| candidate.reason).collect()
    }

    #[test]
    fn instance_that_a_workload_refers_to_is_not_orphaned() {
        assert_eq!(reasons(&knows(3, &["shop-web-3-1"]), &[instance(3, 1)]), [""; 0]);
        let mut by_id = knows(3, &["renamed"]);
        by_id.workloads.get_mut("shop-web").unwrap().instances[0].0 = Some("id-of-shop-web-3-1".to_owned());
        assert_eq!(reasons(&by_id, &[instance(3, 1)]), [""; 0]);
    }

    #[test]
    fn engine_reached_as_two_runtimes_has_no_orphans() {
        let mut again = instance(3, 1);
        again.object.runtime = "other".to_owned();
        assert_eq!(reasons(&knows(3, &["shop-web-3-1"]), &[instance(3, 1), again]), [""; 0]);
    }

    #[test]
    fn older_attempt_of_a_known_workload_is_orphaned() {
        assert_eq!(reasons(&knows(3, &["shop-web-3-2"]), &[instance(2, 1), instance(3, 1), instance(3, 2)]).len(), 2);
    }

    #[test]
    fn newer_generation_than_the_store_knows_is_not_orphaned() {
        assert_eq!(reasons(&knows(3, &["shop-web-3-1"]), &[instance(4, 1)]), [""; 0]);
    }

    #[test]
    fn unknown_workload_is_orphaned_only_with_a_tombstone() {
        assert_eq!(reasons(&Wanted::default(), &[instance(1, 1)]), [""; 0]);
        assert_eq!(reasons(&undeployed(1), &[instance(1, 1)]).len(), 1);
        assert_eq!(reasons(&undeployed(1), &[instance(2, 1)]), [""; 0], "made after it was undeployed");
    }

    #[test]
    fn busy_service_has_no_orphans() {
        let busy = Wanted { busy: BTreeSet::from(["shop".to_owned()]), ..undeployed(9) };
        assert_eq!(reasons(&busy, &[instance(1, 1), resource(ObjectKind::Network)]), [""; 0]);
    }

    #[test]
    fn networks_and_volumes_stay_with_their_service_and_its_instances() {
        for kind in [ObjectKind::Network, ObjectKind::Volume] {
            assert_eq!(reasons(&knows(1, &[]), &[resource(kind)]), [""; 0]);
            assert_eq!(reasons(&Wanted::default(), &[instance(1, 1), resource(kind)]), [""; 0]);
            assert_eq!(reasons(&Wanted::default(), &[resource(kind)]).len(), 1);
        }
    }

    /// Scans at these seconds; whether the instance is eligible at the last.
    fn eligible(seconds: &[i64], created: Option<i64>) -> bool {
        let mut observed = BTreeMap::new();
        let mut seen = instance(1, 1);
        seen.created = created.map(at);
        let mut last = false;
        for second in seconds {
            let found = candidates(&undeployed(1), &[seen.clone()], &mut observed, MINUTE, at(*second));
            last = found[0].eligible;
        }
        last
    }

    #[test]
    fn two_scans_and_a_minute_make_it_eligible() {
        assert!(!eligible(&[0], None));
        assert!(!eligible(&[0, 59], None));
        assert!(eligible(&[0, 60], None));
        assert!(eligible(&[0, 1, 2, 61], None));
        assert!(!eligible(&[0, 60], Some(1)), "created after it was first observed: another one of that name");
        assert!(!eligible(&[100, 0], None), "the clock was set back");
    }

    #[test]
    fn scans_at_the_same_moment_count_once() {
        let mut observed = BTreeMap::new();
        let seen = [instance(1, 1)];
        for second in [0, 1, 2] {
            let found = candidates(&undeployed(1), &seen, &mut observed, Duration::ZERO, at(second));
            assert_eq!((found[0].observations, found[0].eligible), (1, false));
        }
        assert!(candidates(&undeployed(1), &seen, &mut observed, Duration::ZERO, at(3))[0].eligible);
    }

    #[test]
    fn object_that_is_referred_to_again_starts_over() {
        let mut observed = BTreeMap::new();
        let seen = [instance(1, 1)];
        candidates(&undeployed(1), &seen, &mut observed, MINUTE, at(0));
        assert!(candidates(&knows(1, &["shop-web-1-1"]), &seen, &mut observed, MINUTE, at(50)).is_empty());
        let found = candidates(&undeployed(1), &seen, &mut observed, MINUTE, at(100));
        assert_eq!((found[0].observations, found[0].first_seen), (1, at(100)));
    }
}
