#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hythe_driver_memory::Memory;

use super::*;

/// Names of slots whose engine does not answer.
type Silent = watched::Sender<BTreeSet<String>>;

/// Slots of these names, each with its way to an in-process engine.
fn runtimes(slots: &[(&str, &str)]) -> (Runtimes, Silent) {
    let silent = Silent::default();
    let connector = |(name, engine): &(&str, &str)| {
        let memory = Memory::builder().name(*engine).build();
        let (kind, silent, asked) = (memory.info().kind, silent.subscribe(), (*name).to_owned());
        let connect: Connect = Arc::new(move || {
            let answer = match silent.borrow().contains(&asked) {
                true => Err(Error::new(ErrorKind::Unavailable, "connect", "silent")),
                false => Ok(memory.clone() as Arc<dyn Runtime>),
            };
            Box::pin(std::future::ready(answer))
        });
        Connector { name: (*name).to_owned(), kind, connect }
    };
    (Runtimes::new(slots.iter().map(connector).collect()), silent)
}

#[tokio::test]
async fn one_engine_by_two_ways_is_the_first_runtime_whoever_is_connected_first() {
    let (runtimes, _) = runtimes(&[("one", "e"), ("two", "e"), ("three", "f")]);
    let (two, one, three) = tokio::join!(runtimes.reach("two"), runtimes.reach("one"), runtimes.reach("three"));
    assert!(one.is_ok() && three.is_ok());
    assert_eq!(two.unwrap_err().message(), "is the same engine as `one`");
    assert_eq!(runtimes.status()[1].error.as_deref(), Some("is the same engine as `one`"));
    assert!(runtimes.get("two").is_err() && runtimes.get("three").is_ok());
}

#[tokio::test]
async fn an_engine_that_is_restarting_is_not_taken_over() {
    let (runtimes, _) = runtimes(&[("one", "e"), ("two", "e")]);
    runtimes.reach("one").await.unwrap();
    runtimes.lost("one", "restarts");
    assert!(runtimes.reach("two").await.is_err());
    runtimes.reach("one").await.unwrap();
}

#[tokio::test]
async fn a_first_way_that_comes_late_takes_its_engine_back() {
    let (runtimes, silent) = runtimes(&[("one", "e"), ("two", "e")]);
    silent.send_modify(|silent| {
        silent.insert("one".to_owned());
    });
    assert!(runtimes.reach("one").await.is_err());
    runtimes.reach("two").await.unwrap();
    silent.send_modify(BTreeSet::clear);
    runtimes.reach("one").await.unwrap();
    assert!(runtimes.get("two").is_err(), "one engine is two runtimes");
    assert!(runtimes.reach("two").await.is_err());
}
