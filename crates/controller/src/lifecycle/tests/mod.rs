//! The machine over random histories, against a model of an engine that fails, forgets and lies as real ones do.

mod model;

use hythe_store::Phase;
use jiff::SignedDuration;
use proptest::prelude::*;

use self::model::{Fate, Happening, World};
use super::{Input, request_is_answered};

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => any::<bool>().prop_map(|healthy| Happening::Deploy { healthy }),
        2 => Just(Happening::Stop),
        2 => Just(Happening::Start),
        1 => Just(Happening::Restart),
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

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
            prop_assert!(world.observed.phase == Phase::Running && world.observed.gave_up == Some(world.desired.generation));
            prop_assert!(matches!(request_is_answered(&world.desired, &world.observed), Some(Err(_))));
        }
    }
}
