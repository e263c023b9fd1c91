//! Many at once, and how long one takes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hythe_network::{ATTACH_STEPS, Networks, ports, relay::Relay};

use crate::fixture::{Place, attach, on_a_host, port};

#[test]
fn two_hundred_at_once() {
    const MANY: usize = 200;
    on_a_host(|machine| {
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
fn calls_that_race_for_one_instance_have_their_turns() {
    on_a_host(|machine| {
        machine.network("net", false);
        let place = Place::new();
        let passed = Arc::new(Mutex::new(Vec::new()));
        let log = passed.clone();
        let slow = Arc::new(move |step: &'static str| {
            log.lock().unwrap().push((std::thread::current().id(), step));
            // Room for another to come between.
            std::thread::sleep(std::time::Duration::from_millis(10));
        });
        let networks = Networks::open(machine.directory.path()).unwrap().with_hook(slow);
        let attach = || attach(&networks, &place, "web", &["net"]).unwrap();
        let attached: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..3).map(|_| scope.spawn(attach)).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert!(attached.iter().all(|one| *one == attached[0]));
        for turn in passed.lock().unwrap().chunks(ATTACH_STEPS.len()) {
            assert!(turn.iter().zip(ATTACH_STEPS).all(|(passed, step)| *passed == (turn[0].0, step)), "{turn:?}");
        }
    });
}

#[test]
#[ignore = "a measurement, to be run alone"]
fn how_long_an_attach_takes() {
    const RUNS: usize = 50;
    on_a_host(|machine| {
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

#[test]
#[ignore = "a measurement, to be run alone"]
fn how_much_a_relay_carries() {
    const SIZE: usize = 2 << 30;
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        let listener = web.place.run(|| std::net::TcpListener::bind("0.0.0.0:80").unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::io::copy(&mut std::io::Read::take(std::io::repeat(0), SIZE as u64), &mut stream.unwrap()).unwrap();
            }
        });
        let published = crate::fixture::publish(&web, &[port(None, 80, hythe_spec::Protocol::Tcp)]);
        let direct = std::net::SocketAddr::new(web.attached.address().unwrap(), 80);
        let relayed = (std::net::Ipv4Addr::LOCALHOST, published.ports[0].host_port.unwrap()).into();
        for (what, address) in [("direct", direct), ("by the relay", relayed)] {
            let begun = Instant::now();
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
            eprintln!("{what}: {:.1} Gbit/s", SIZE as f64 * 8e-9 / begun.elapsed().as_secs_f64());
        }
    });
}
