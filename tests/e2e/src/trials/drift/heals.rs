//! What somebody changes of a service that heals comes back as desired, once.

use std::time::Duration;

use serde_json::Value;

use super::{Belongings, finds};
use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::wait;

/// Longer than some rounds of the watch.
const ROUNDS: Duration = Duration::from_secs(7);

pub(super) fn heals_what_was_changed_by_hand(fixture: &mut Fixture<'_>) {
    fixture.agent.reconfigure(&format!("drift_interval = '2s'\n{}", fixture.subject.config()));
    let mut belongings = Belongings::new(fixture.engine());
    let other = format!("{}-other", fixture.service);
    belongings.make(&["network", "create", &other], &["network", "rm", "-f", &other]);
    fixture.deploy(&format!("drift = 'heal'\n{}", one(&fixture.service, &stays("up"), "memory = '64m'"))).ok();
    let (update, connect) = ("update --memory 96m --memory-swap 96m ID", format!("network connect {other} ID"));
    let network = format!("networks.{other}");
    let changes = [
        (update, "memory"),
        (&connect, &network),
        ("pause ID", "state"),
        ("rename ID by-hand-ID", "name"),
        // The same as before is healed as before.
        (update, "memory"),
    ];
    let can = |(change, _): &(&str, &str)| *change != update || fixture.engine().changes_what_is_there();
    let changes: Vec<_> = changes.into_iter().filter(can).collect();
    for (number, (change, field)) in changes.iter().enumerate() {
        let before = id(fixture);
        let words = change.replace("ID", &before);
        fixture.engine().run(&words.split(' ').collect::<Vec<_>>());
        let done = |found: &(Vec<Value>, String)| found.0.len() > number && found.1 != before;
        let what = format!("it is replaced after: {change}");
        let (told, _) = wait::until(&what, || (healings(fixture), id(fixture)), done);
        assert_eq!(told[number]["details"]["reason"], *field, "{told:#?}");
        fixture.await_state("running");
        finds(fixture, change, &[]);
        wait::until("what it replaces is gone", || fixture.ids(), |ids| ids.len() == 1);
    }
    let now = id(fixture);
    let seen = || (healings(fixture).len(), id(fixture));
    wait::stays("it is healed once each", ROUNDS, seen, |seen| *seen == (changes.len(), now.clone()));
    println!("{}: {} changes healed, each once", fixture.subject.name, changes.len());
}

fn id(fixture: &Fixture<'_>) -> String {
    fixture.it()["instance"]["id"].as_str().unwrap_or_default().to_owned()
}

fn healings(fixture: &Fixture<'_>) -> Vec<Value> {
    fixture.events().into_iter().filter(|event| event["kind"] == "healing").collect()
}
