//! The state machine over random histories, against a model of an engine that fails, forgets and lies as real ones do.

mod model;

use hythe_spec::Restart;
use hythe_store::{Desired, Phase};
use jiff::SignedDuration;
use proptest::prelude::*;

use self::model::{Fate, Happening, World};
use super::{DependencyGate, Input, Step, is_settled, request_is_answered};

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => any::<bool>().prop_map(|healthy| Happening::Deploy { healthy }),
        2 => Just(Happening::Stop),
        2 => Just(Happening::Start),
        1 => Just(Happening::Restart),
        2 => any::<bool>().prop_map(|seen| Happening::Files { seen }),
        1 => Just(Happening::Undeploy),
        2 => Just(Happening::Kill),
        1 => Just(Happening::RemoveByHand),
        1 => Just(Happening::EngineLost),
        1 => Just(Happening::EngineBack),
        3 => any::<bool>().prop_map(Happening::Healthy),
        1 => Just(Happening::Pause),
        1 => Just(Happening::Withdraw),
        1 => Just(Happening::Drift),
        8 => (1u8..12).prop_map(Happening::Steps),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Works),
        1 => Just(Fate::LosesReply),
        1 => Just(Fate::Fails),
        1 => any::<bool>().prop_map(|acted| Fate::Crashes { acted }),
        1 => Just(Fate::Repeats),
    ]
}

/// Lives through a history; nothing forbidden may happen on the way.
fn live(history: &[(Happening, Vec<Fate>)]) -> World {
    let mut world = World::new();
    for (happening, fates) in history {
        if world.forgotten {
            break;
        }
        world.happen(*happening);
        if let Happening::Steps(count) = happening {
            for at in 0..usize::from(*count) {
                if world.forgotten || !world.advance(fates[at % fates.len()]) {
                    break;
                }
            }
        }
    }
    if !world.engine.up && !world.forgotten {
        world.come_back();
    }
    world
}

fn history() -> impl Strategy<Value = Vec<(Happening, Vec<Fate>)>> {
    prop::collection::vec((happening(), prop::collection::vec(fate(), 1..6)), 1..40)
}

/// One that runs in generation 2.
fn running() -> World {
    let mut world = World::new();
    world.happen(Happening::Deploy { healthy: false });
    world.settle();
    world
}

#[test]
fn what_overtakes_a_replacement_waits_for_its_dependencies_as_that_did() {
    let mut world = running();
    let before = world.current().and_then(|current| current.id.clone());
    world.happen(Happening::Deploy { healthy: true });
    world.settle();
    assert_eq!(world.engine.made.len(), 2, "generation 3 runs and is not ready yet");
    world.gate = DependencyGate::Waiting("job".to_owned());
    world.happen(Happening::Deploy { healthy: false });
    world.settle();
    assert_eq!(world.current().and_then(|current| current.id.clone()), before, "{:#?}", world.trace);
    assert!(world.engine.made.values().all(|made| made.generation == 2 && made.running), "{:#?}", world.trace);
    world.gate = DependencyGate::Open;
    world.settle();
    assert_eq!(world.current().map(|current| current.generation), Some(4));
}

#[test]
fn what_ends_before_it_was_stopped_to_be_restarted_is_started_again() {
    for steps in 0..4 {
        let mut world = running();
        world.desired.spec.component.restart = Restart::No;
        if let Some(current) = &mut world.observed.current {
            current.spec.component.restart = Restart::No;
        }
        // A look is due when it is asked for.
        world.hear(Input::Stale);
        world.happen(Happening::Restart);
        for _ in 0..steps {
            world.advance(Fate::Crashes { acted: false });
        }
        world.happen(Happening::Kill);
        world.settle();
        assert_eq!(world.observed.phase, Phase::Running, "{:#?}", world.trace);
        assert!(world.observed.restarted == world.desired.restart && world.observed.restart_requested.is_none());
    }
}

/// It is a restart by the policy that is counted; a requested one is reported as the request.
#[test]
fn a_start_whose_outcome_nobody_knows_is_counted_as_any_other() {
    let crashes = [false, true].map(|acted| Fate::Crashes { acted });
    for fate in [Fate::Works, Fate::LosesReply, Fate::Fails].into_iter().chain(crashes) {
        for (happening, restarts) in [(Happening::Kill, 1), (Happening::Restart, 0)] {
            let mut world = running();
            world.now += SignedDuration::from_hours(1);
            world.hear(Input::Stale);
            world.settle();
            world.happen(happening);
            let mut met = false;
            while !met {
                let went = world.advance_with(|step| {
                    met = step == Step::Start;
                    if met { fate } else { Fate::Works }
                });
                assert!(went, "{:#?}", world.trace);
            }
            world.settle();
            assert_eq!(world.observed.restarts, restarts, "{fate:?} {:#?}", world.trace);
        }
    }
}

#[test]
fn changed_files_are_signalled_once_and_the_instance_stays() {
    let mut world = running();
    let before = world.current().and_then(|current| current.id.clone());
    world.happen(Happening::Files { seen: true });
    assert!(request_is_answered(&world.desired, &world.observed).is_none());
    world.settle();
    let signals = |world: &World| world.trace.iter().filter(|line| line.contains("Signal")).count();
    assert_eq!((signals(&world), world.files), (1, 1), "{:#?}", world.trace);
    assert!(matches!(request_is_answered(&world.desired, &world.observed), Some(Ok(()))));
    world.happen(Happening::Stop);
    world.happen(Happening::Start);
    world.settle();
    let current = world.current().cloned().expect("it runs");
    assert_eq!((signals(&world), current.id), (1, before), "{:#?}", world.trace);
    assert_eq!(current.spec.component.file_digests["/f"], "1");
}

#[test]
fn file_that_the_instance_cannot_see_replaces_it() {
    let mut world = running();
    world.happen(Happening::Files { seen: false });
    world.settle();
    let made: Vec<(u64, bool)> = world.engine.made.values().map(|made| (made.files, made.running)).collect();
    assert_eq!(made, [(1, true)], "{:#?}", world.trace);
    assert_eq!(world.current().map(|current| (current.generation, current.attempt)), Some((2, 2)));
}

#[test]
fn of_what_was_just_asked_for_nothing_is_settled() {
    let mut world = running();
    assert!(is_settled(&world.desired, &world.observed));
    world.ask(Desired::Running);
    assert!(!is_settled(&world.desired, &world.observed));
}

/// Histories for each property, other ones in each run.
fn cases() -> u32 {
    if std::env::var_os("HYTHE_TEST_FULL").is_some() { 3000 } else { 1000 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_explicit_stop_always_wins(history in history()) {
        let mut world = live(&history);
        if !world.forgotten {
            world.happen(Happening::Stop);
            world.settle();
            prop_assert!(world.engine.made.values().all(|made| !made.running), "{:#?}", world.trace);
            prop_assert_eq!(world.observed.phase, Phase::Stopped);
            prop_assert!(matches!(request_is_answered(&world.desired, &world.observed), Some(Ok(()))));
            // Nor does anything start it later.
            world.now += SignedDuration::from_hours(1);
            world.engine.up = false;
            world.hear(Input::Lost("gone".to_owned()));
            world.settle();
            world.come_back();
            world.settle();
            prop_assert!(world.engine.made.values().all(|made| !made.running), "{:#?}", world.trace);
        }
    }

    #[test]
    fn every_state_has_a_way_out(history in history()) {
        let mut world = live(&history);
        if !world.forgotten {
            world.happen(Happening::Deploy { healthy: false });
            world.settle();
            let running: Vec<u64> = world.engine.made.values().filter(|m| m.running).map(|m| m.generation).collect();
            prop_assert_eq!(running, vec![world.desired.generation], "{:#?}\n{:#?}", world.trace, world.observed);
            prop_assert!(world.observed.previous.is_none() && world.observed.phase == Phase::Running);
            prop_assert!(matches!(request_is_answered(&world.desired, &world.observed), Some(Ok(()))));
        }
    }

    #[test]
    fn what_runs_has_read_the_files_of_the_last_deploy(history in history(), seen: bool, fates in prop::collection::vec(fate(), 1..9)) {
        let mut world = live(&history);
        if !world.forgotten && world.desired.desired == Desired::Running {
            world.happen(Happening::Files { seen });
            for fate in fates {
                world.advance(fate);
            }
            if !world.engine.up {
                world.come_back();
            }
            world.settle();
            let rolled_back = world.observed.rolled_back_from == Some(world.desired.generation);
            if world.observed.phase == Phase::Running && world.observed.previous.is_none() && !rolled_back {
                let read: Vec<u64> = world.engine.made.values().filter(|made| made.running).map(|made| made.files).collect();
                prop_assert_eq!(read, vec![world.files], "{:#?}\n{:#?}", world.trace, world.observed);
            }
        }
    }

    #[test]
    fn an_undeploy_leaves_nothing(history in history()) {
        let mut world = live(&history);
        if !world.forgotten {
            world.happen(Happening::Undeploy);
            world.settle();
            prop_assert!(world.forgotten && world.engine.made.is_empty(), "{:#?}\n{:#?}", world.trace, world.engine);
        }
    }

    #[test]
    fn a_failed_replacement_gives_back_what_ran(history in history()) {
        let mut world = live(&history);
        if !world.forgotten {
            world.happen(Happening::Deploy { healthy: false });
            world.settle();
            let before = world.current().and_then(|current| current.id.clone());
            world.happen(Happening::Deploy { healthy: true });
            world.settle();
            prop_assert_eq!(world.engine.made.len(), 2, "the old one goes before the new one is good: {:#?}", world.trace);
            world.happen(Happening::Healthy(false));
            world.settle();
            prop_assert_eq!(world.current().and_then(|current| current.id.clone()), before, "{:#?}", world.trace);
            prop_assert_eq!(world.engine.made.len(), 1);
            prop_assert!(world.observed.phase == Phase::Running && world.observed.rolled_back_from == Some(world.desired.generation));
            prop_assert!(matches!(request_is_answered(&world.desired, &world.observed), Some(Err(_))));
        }
    }
}
