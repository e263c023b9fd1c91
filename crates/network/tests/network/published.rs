//! Published ports answer where they should and nowhere else.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};

use hythe_spec::Protocol::{Tcp, Udp};

use crate::fixture::{HOST_V4, HOST_V6, ask, call, on_a_host, port, publish};
use crate::kernel;

const LOOPBACK_V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn tcp_and_udp_answer_on_every_address() {
    on_a_host(|machine| {
        machine.network("net", false);
        let neighbour = machine.neighbour();
        let web = machine.container("web", &["net"]);
        web.place.greets(80);
        web.place.echoes(53);
        let published = publish(&web, &[port(None, 80, Tcp), port(None, 53, Udp)]);
        let [tcp, udp] = [0, 1].map(|at| published.ports[at].host_port.unwrap());
        for address in [LOOPBACK_V4, LOOPBACK_V6, HOST_V4, HOST_V6] {
            call(address, tcp).unwrap();
            assert_eq!(ask(address, udp).unwrap(), "ping");
        }
        for address in [HOST_V4, HOST_V6] {
            neighbour.call(address, tcp).unwrap();
            assert_eq!(neighbour.ask(address, udp).unwrap(), "ping");
        }
    });
}

#[test]
fn the_instance_itself_and_other_networks_reach_a_published_port() {
    on_a_host(|machine| {
        machine.network("net", false);
        machine.network("other", false);
        let _neighbour = machine.neighbour();
        let web = machine.container("web", &["net"]);
        let (beside, apart) = (machine.container("beside", &["net"]), machine.container("apart", &["other"]));
        web.place.greets(80);
        web.place.echoes(53);
        let published = publish(&web, &[port(None, 80, Tcp), port(None, 53, Udp)]);
        let [tcp, udp] = [0, 1].map(|at| published.ports[at].host_port.unwrap());
        for from in [&web, &beside, &apart] {
            let gateways = from.attached.gateways.clone();
            for address in gateways.into_iter().chain([HOST_V4]) {
                from.place.call(address, tcp).unwrap();
                assert_eq!(from.place.ask(address, udp).unwrap(), "ping", "{address}");
            }
        }
    });
}

#[test]
fn a_port_on_loopback_is_reached_from_nowhere_else() {
    on_a_host(|machine| {
        machine.network("net", false);
        let neighbour = machine.neighbour();
        let (web, beside) = (machine.container("web", &["net"]), machine.container("beside", &["net"]));
        web.place.greets(80);
        web.place.echoes(53);
        let published = publish(&web, &[port(Some(LOOPBACK_V4), 80, Tcp), port(Some(LOOPBACK_V4), 53, Udp)]);
        let [tcp, udp] = [0, 1].map(|at| published.ports[at].host_port.unwrap());
        call(LOOPBACK_V4, tcp).unwrap();
        assert_eq!(ask(LOOPBACK_V4, udp).unwrap(), "ping");
        // Both go so far as to send what is for loopback to the machine.
        let gateway = beside.attached.gateways[0];
        for (place, link, gateway) in [(&neighbour, "eth0", HOST_V4), (&beside.place, "eth0", gateway)] {
            place.run(move || {
                for setting in ["all", link] {
                    std::fs::write(format!("/proc/sys/net/ipv4/conf/{setting}/route_localnet"), "1").unwrap();
                }
                kernel::route(link, LOOPBACK_V4, 32, gateway);
            });
            for address in [HOST_V4, HOST_V6, gateway, LOOPBACK_V4] {
                place.cannot_call(address, tcp);
                place.cannot_ask(address, udp);
            }
        }
    });
}

#[test]
fn a_port_is_free_when_its_holder_is_gone_and_taken_before() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        web.place.greets(80);
        let published = publish(&web, &[port(None, 80, Tcp)]);
        let same = published.ports.clone();
        hythe_network::ports::reserve(&same).unwrap_err();
        call(LOOPBACK_V4, same[0].host_port.unwrap()).unwrap();
        drop(published);
        let begun = std::time::Instant::now();
        while hythe_network::ports::reserve(&same).is_err() {
            assert!(begun.elapsed() < crate::fixture::PATIENCE);
            std::thread::yield_now();
        }
    });
}

#[test]
fn large_bodies_and_half_closed_connections_are_carried_whole() {
    const SIZE: usize = 8 << 20;
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        // Reads to the end, waits, and only then sends everything back: what comes meanwhile has to wait somewhere.
        let listener = web.place.run(|| std::net::TcpListener::bind("0.0.0.0:80").unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        let published = publish(&web, &[port(None, 80, Tcp)]);
        let mut stream = TcpStream::connect((LOOPBACK_V4, published.ports[0].host_port.unwrap())).unwrap();
        let sent: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == sent, "{} of {SIZE} bytes came back, or others", back.len());
    });
}

#[test]
fn a_port_nobody_listens_on_inside_cuts_the_caller_off() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        let published = publish(&web, &[port(None, 80, Tcp)]);
        let error = call(LOOPBACK_V4, published.ports[0].host_port.unwrap()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_cut_connection_is_cut_on_the_other_side_too() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        let listener = web.place.run(|| std::net::TcpListener::bind("0.0.0.0:80").unwrap());
        let published = publish(&web, &[port(None, 80, Tcp)]);
        let caller = TcpStream::connect((LOOPBACK_V4, published.ports[0].host_port.unwrap())).unwrap();
        let (mut inside, _) = listener.accept().unwrap();
        // Nobody reads, so all buffers between fill up; then the caller is gone.
        inside.set_nonblocking(true).unwrap();
        while inside.write(&[0; 65536]).is_ok() {}
        rustix::net::sockopt::set_socket_linger(&caller, Some(std::time::Duration::ZERO)).unwrap();
        drop(caller);
        inside.set_nonblocking(false).unwrap();
        inside.set_read_timeout(Some(crate::fixture::PATIENCE)).unwrap();
        assert_eq!(inside.read(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn many_connections_at_once_are_all_served() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        web.place.greets(80);
        let published = publish(&web, &[port(None, 80, Tcp)]);
        let number = published.ports[0].host_port.unwrap();
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..100).map(|_| scope.spawn(|| call(LOOPBACK_V4, number))).collect();
            calls.into_iter().for_each(|call| drop(call.join().unwrap().unwrap()));
        });
    });
}
