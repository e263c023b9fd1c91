//! The name server of an instance.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hythe_network::Networks;
use hythe_network::dns::{ADDRESS, NameServer, Upstream};
use rustix::event::{PollFd, PollFlags, poll};
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use crate::fixture::{Container, Machine, NEIGHBOUR_V4, PATIENCE, Place, on_a_host};

/// What the servers behind answer.
const BEHIND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// Starts the name server of a container, in a thread of the host's.
fn serve(machine: &Machine, id: &str, container: &Container, upstream: Upstream) {
    let networks = Networks::open(machine.directory.path()).unwrap();
    let mut server = NameServer::start(networks, id, &container.place.path, upstream).unwrap();
    thread::spawn(move || {
        loop {
            poll(&mut [PollFd::new(&server.as_fd(), PollFlags::IN)], None).unwrap();
            server.turn().unwrap();
        }
    });
}

fn query(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(4711);
    let name = Name::new(name).unwrap();
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().unwrap()
}

fn by_udp(place: &Place, query: Vec<u8>) -> Vec<u8> {
    place.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect((ADDRESS, 53)).unwrap();
        socket.send(&query).unwrap();
        let mut reply = vec![0; 64 << 10];
        let length = socket.recv(&mut reply).unwrap();
        reply[..length].to_vec()
    })
}

fn by_tcp(place: &Place, query: Vec<u8>) -> Vec<u8> {
    place.run(move || {
        let mut stream = TcpStream::connect((ADDRESS, 53)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write_message(&mut stream, &query);
        read_message(&mut stream).unwrap()
    })
}

fn write_message(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(message).unwrap();
}

fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// The addresses in a reply, or why there are none.
fn addresses(reply: &[u8]) -> Result<Vec<IpAddr>, RCODE> {
    let packet = Packet::parse(reply).unwrap();
    assert_eq!(packet.id(), 4711);
    if packet.rcode() != RCODE::NoError {
        return Err(packet.rcode());
    }
    let address = |record: &ResourceRecord<'_>| match &record.rdata {
        RData::A(address) => Some(Ipv4Addr::from(address.address).into()),
        RData::AAAA(address) => Some(std::net::Ipv6Addr::from(address.address).into()),
        _ => None,
    };
    Ok(packet.answers.iter().filter_map(address).collect())
}

/// A server that says `BEHIND` to everything, over UDP and TCP, and counts what it was asked.
fn server_behind(place: &Place) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let (datagrams, listener) =
        place.run(|| (UdpSocket::bind("0.0.0.0:53").unwrap(), TcpListener::bind("0.0.0.0:53").unwrap()));
    let answer = |query: &[u8]| {
        let packet = Packet::parse(query).unwrap();
        let mut reply = Packet::new_reply(packet.id());
        reply.questions = packet.questions.clone();
        let name = packet.questions[0].qname.clone();
        reply.answers.push(ResourceRecord::new(name, CLASS::IN, 60, RData::A(A::from(BEHIND))));
        reply.build_bytes_vec().unwrap()
    };
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
            counted.fetch_add(1, Ordering::SeqCst);
            // Of somebody else: it must not be believed.
            let mut forged = answer(&buffer[..length]);
            forged[0] ^= 0xff;
            datagrams.send_to(&forged, from).unwrap();
            datagrams.send_to(&answer(&buffer[..length]), from).unwrap();
        }
    });
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(query) = read_message(&mut stream) {
                counted.fetch_add(1, Ordering::SeqCst);
                write_message(&mut stream, &answer(&query));
            }
        }
    });
    asked
}

#[test]
fn query_for_a_peer_has_its_addresses_over_udp_and_tcp() {
    on_a_host(|machine| {
        machine.network("net", false);
        let (web, db) = (machine.container("web", &["net"]), machine.container("db", &["net"]));
        serve(machine, "web", &web, Upstream::Servers(Vec::new()));
        let [v4, v6] = db.addresses().try_into().unwrap();
        for name in ["db-alias", "DB-Alias", "db-alias.net"] {
            assert_eq!(addresses(&by_udp(&web.place, query(name, TYPE::A))), Ok(vec![v4]), "{name}");
            assert_eq!(addresses(&by_tcp(&web.place, query(name, TYPE::AAAA))), Ok(vec![v6]), "{name}");
        }
        assert_eq!(addresses(&by_udp(&web.place, query("db-alias", TYPE::MX))), Ok(vec![]), "the name exists");
        assert_eq!(addresses(&by_udp(&web.place, query("web", TYPE::A))), Ok(vec![web.addresses()[0]]), "its own");
        assert_eq!(addresses(&by_udp(&web.place, query("nobody", TYPE::A))), Err(RCODE::NameError));
        let IpAddr::V4(address) = v4 else { panic!("IPv4 first") };
        let [a, b, c, d] = address.octets();
        let reply = by_udp(&web.place, query(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), TYPE::PTR));
        let reply = Packet::parse(&reply).unwrap();
        let RData::PTR(name) = &reply.answers[0].rdata else { panic!("{reply:?}") };
        assert_eq!(name.0.to_string(), "db-alias.net");
    });
}

#[test]
fn query_for_a_replaced_peer_has_the_new_address() {
    on_a_host(|machine| {
        machine.network("net", false);
        let (web, db) = (machine.container("web", &["net"]), machine.container("db", &["net"]));
        serve(machine, "web", &web, Upstream::Servers(Vec::new()));
        let ask = || addresses(&by_udp(&web.place, query("db-alias", TYPE::A)));
        assert_eq!(ask(), Ok(vec![db.addresses()[0]]));
        machine.networks.detach("db").unwrap();
        assert_eq!(ask(), Err(RCODE::NameError));
        let other = machine.container("db", &["net"]);
        assert_eq!(ask(), Ok(vec![other.addresses()[0]]));
    });
}

#[test]
fn instance_may_listen_on_port_53_itself() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        serve(machine, "web", &web, Upstream::Servers(Vec::new()));
        let own = web.place.run(|| (UdpSocket::bind("0.0.0.0:53").is_ok(), TcpListener::bind("0.0.0.0:53").is_ok()));
        assert_eq!(own, (true, true));
    });
}

#[test]
fn query_for_another_name_is_answered_by_the_server_behind() {
    on_a_host(|machine| {
        let neighbour = machine.neighbour();
        let asked = server_behind(&neighbour);
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        // Nobody is at the first.
        let silent = "192.0.2.77".parse().unwrap();
        serve(machine, "web", &web, Upstream::Servers(vec![silent, NEIGHBOUR_V4]));
        assert_eq!(addresses(&by_udp(&web.place, query("a.example", TYPE::A))), Ok(vec![BEHIND.into()]));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(addresses(&by_tcp(&web.place, query("b.example", TYPE::A))), Ok(vec![BEHIND.into()]));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn query_from_an_internal_network_is_not_forwarded() {
    on_a_host(|machine| {
        let neighbour = machine.neighbour();
        let asked = server_behind(&neighbour);
        machine.network("net", true);
        let web = machine.container("web", &["net"]);
        serve(machine, "web", &web, Upstream::Servers(vec![NEIGHBOUR_V4]));
        assert_eq!(addresses(&by_udp(&web.place, query("secret.example", TYPE::A))), Err(RCODE::NameError));
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn query_without_a_reachable_server_is_a_failure() {
    on_a_host(|machine| {
        let _neighbour = machine.neighbour();
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        // It is there, and refuses.
        serve(machine, "web", &web, Upstream::Servers(vec![NEIGHBOUR_V4]));
        assert_eq!(addresses(&by_udp(&web.place, query("a.example", TYPE::A))), Err(RCODE::ServerFailure));
        assert_eq!(addresses(&by_tcp(&web.place, query("a.example", TYPE::A))), Err(RCODE::ServerFailure));
    });
}

#[test]
fn garbage_and_idle_connections_do_not_stop_it() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        serve(machine, "web", &web, Upstream::Servers(Vec::new()));
        let idle = web.place.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let to = SocketAddr::from((ADDRESS, 53));
            for length in [0, 1, 11, 12, 13, 600, 4000] {
                socket.send_to(&vec![0xff; length], to).unwrap();
                socket.send_to(&vec![0; length], to).unwrap();
            }
            (0..200).filter_map(|_| TcpStream::connect(to).ok()).collect::<Vec<_>>()
        });
        assert_eq!(addresses(&by_udp(&web.place, query("web", TYPE::A))), Ok(vec![web.addresses()[0]]));
        drop(idle);
        let mut tries = 0;
        let reply = loop {
            // Those that were closed have to be seen first.
            let reply = web.place.run(|| {
                let mut stream = TcpStream::connect((ADDRESS, 53)).ok()?;
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let message = query("web", TYPE::A);
                stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).ok()?;
                stream.write_all(&message).ok()?;
                read_message(&mut stream)
            });
            tries += 1;
            match reply {
                Some(reply) => break reply,
                None => assert!(tries < 1000, "no connection is served any more"),
            }
        };
        assert_eq!(addresses(&reply), Ok(vec![web.addresses()[0]]));
    });
}
