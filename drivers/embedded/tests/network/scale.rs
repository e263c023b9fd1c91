//! Many at once, and how long one takes.

use std::collections::BTreeSet;
use std::time::Instant;

use hythe_driver_embedded::network::{ports, relay::Relay};

use crate::scene::{Place, on_a_machine, port};

#[test]
fn two_hundred_at_once() {
    const MANY: usize = 200;
    on_a_machine(|machine| {
        machine.network("net", false);
        let places: Vec<Place> = (0..MANY).map(|_| Place::new()).collect();
        let attached: Vec<_> = std::thread::scope(|scope| {
            let attach = |(at, place)| scope.spawn(move || machine.try_attach(place, &format!("i{at}"), &["net"]));
            let calls: Vec<_> = places.iter().enumerate().map(attach).collect();
            calls.into_iter().map(|call| call.join().unwrap().unwrap()).collect()
        });
        let addresses: BTreeSet<_> = attached.iter().flat_map(|one| one.networks[0].addresses.clone()).collect();
        assert_eq!(addresses.len(), 2 * MANY);
        places[0].greets(80);
        places[MANY - 1].call(attached[0].address().unwrap(), 80).unwrap();
        for one in &attached {
            let hosts = std::fs::read_to_string(&one.hosts).unwrap();
            assert_eq!(hosts.matches("-alias\n").count(), 2 * MANY, "everybody knows everybody");
        }
        std::thread::scope(|scope| {
            let detach = |at| scope.spawn(move || machine.networks.detach(&format!("i{at}")));
            let calls: Vec<_> = (0..MANY).map(detach).collect();
            calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
        });
    });
}

#[test]
#[ignore = "a measurement, to be run alone"]
fn how_long_an_attach_takes() {
    const RUNS: usize = 50;
    on_a_machine(|machine| {
        let _neighbour = machine.neighbour();
        machine.network("net", false);
        let (mut attach, mut detach) = (Vec::new(), Vec::new());
        for at in 0..RUNS {
            let (place, id) = (Place::new(), format!("i{at}"));
            let begun = Instant::now();
            let reserved = ports::reserve(&[port(None, 80, hythe_spec::Protocol::Tcp)]).unwrap();
            let attached = machine.try_attach(&place, &id, &["net"]).unwrap();
            let relay = Relay::new(reserved, attached.address().unwrap()).unwrap();
            attach.push(begun.elapsed());
            drop(relay);
            let begun = Instant::now();
            machine.networks.detach(&id).unwrap();
            detach.push(begun.elapsed());
        }
        for (what, mut times) in [("attach with a port", attach), ("detach", detach)] {
            times.sort();
            eprintln!("{what}: median {:?}, fastest {:?}, slowest {:?}", times[RUNS / 2], times[0], times[RUNS - 1]);
        }
    });
}
