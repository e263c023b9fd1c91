//! Packets: published ports, names, and what must not be reached.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hythe_runtime::{ErrorKind, Feature, InstanceId, Plan, PlanNetwork, State};
use hythe_spec::{ExtraHost, HostAddress, Port, Protocol};

use crate::echo::EchoInside;
use crate::failure::{Failure, Outcome, refused};
use crate::need::Need::{Can, Exec, Ipv6, Logs, Networks, Real};
use crate::scene::{Scene, connected};
use crate::trial::trials;

trials! { "network":
    tcp_is_reached_on_loopback [Real, Networks, Can(Feature::PublishTcp)],
    tcp_is_reached_after_a_restart [Real, Networks, Can(Feature::PublishTcp)],
    udp_is_answered [Real, Networks, Can(Feature::PublishUdp)],
    tcp_and_udp_share_a_port [Networks, Can(Feature::PublishTcp), Can(Feature::PublishUdp)],
    a_port_on_loopback_is_on_no_other_address [Real, Networks, Can(Feature::PublishTcp)],
    ipv6_loopback_is_reached [Real, Ipv6, Networks, Can(Feature::PublishTcp), Can(Feature::PublishIpv6)],
    a_port_of_the_engines_choice_is_told_and_reached [Real, Networks, Can(Feature::PublishTcp)],
    ports_of_the_engines_choice_differ [Networks, Can(Feature::PublishTcp)],
    a_taken_port_is_conflict [Networks, Can(Feature::PublishTcp)],
    a_port_taken_by_somebody_else_is_conflict [Real, Networks, Can(Feature::PublishTcp)],
    a_port_is_free_after_the_stop [Networks, Can(Feature::PublishTcp)],
    members_reach_each_other_by_alias [Real, Networks, Exec, Can(Feature::BridgeNetwork)],
    networks_are_apart_by_name [Real, Networks, Exec, Can(Feature::BridgeNetwork)],
    networks_are_apart_by_address [Real, Networks, Exec, Can(Feature::IsolatedNetworks)],
    two_networks_are_both_joined [Real, Networks, Exec, Can(Feature::BridgeNetwork)],
    every_network_is_told [Networks, Can(Feature::BridgeNetwork)],
    none_is_loopback_alone [Real, Logs, Can(Feature::NoNetwork)],
    the_hosts_network_is_the_hosts [Real, Logs, Can(Feature::HostNetwork)],
    extra_hosts_are_in_the_hosts_file [Real, Logs, Networks, Can(Feature::ExtraHosts)],
    the_host_is_reached_as_host_gateway [Real, Exec, Networks, Can(Feature::HostGateway)],
    name_servers_are_taken [Real, Logs, Networks, Can(Feature::Dns)],
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

fn port(host_ip: Option<IpAddr>, host_port: Option<u16>, container_port: u16, protocol: Protocol) -> Port {
    Port { host_ip, host_port, container_port, protocol }
}

/// A number nobody listens on now.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((LOOPBACK, 0))?.local_addr()?.port())
}

/// Greets whoever connects to port 8080.
fn greeter(scene: &Scene, network: &str) -> Plan {
    let mut plan = scene.plan(&["nc", "-ll", "-p", "8080", "-e", "echo", "hello-from-inside"]);
    plan.network = connected(&[network], "web");
    plan
}

fn greeting(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Connects until the greeting comes: the process inside needs a moment to listen.
async fn greeted(address: SocketAddr) -> Outcome {
    let began = Instant::now();
    loop {
        let heard = tokio::task::spawn_blocking(move || greeting(address)).await?;
        match heard {
            Ok(text) if text.contains("hello-from-inside") => return Ok(()),
            heard if began.elapsed() > PATIENCE => {
                return Err(Failure::new(format!("{address} does not greet: {heard:?}")));
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn tcp_is_reached_on_loopback(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(scene, &network);
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp)];
    let id = scene.run(&plan).await?;
    greeted((LOOPBACK, number).into()).await?;
    assert_eq!(scene.inspect(&id).await?.ports, plan.ports);
    Ok(())
}

async fn tcp_is_reached_after_a_restart(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(scene, &network);
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp)];
    let id = scene.run(&plan).await?;
    scene.stop(&id, 0).await?;
    scene.start(&id).await?;
    greeted((LOOPBACK, number).into()).await
}

async fn answered(address: SocketAddr) -> Outcome {
    let ask = move || {
        let socket = UdpSocket::bind((LOOPBACK, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let began = Instant::now();
        loop {
            socket.send_to(b"ping-udp", address)?;
            let mut buffer = [0; 64];
            match socket.recv_from(&mut buffer) {
                Ok((length, _)) => return Ok(buffer[..length] == *b"ping-udp"),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => {}
            }
        }
    };
    assert!(tokio::task::spawn_blocking(ask).await??);
    Ok(())
}

async fn udp_is_answered(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = scene.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 5353, Protocol::Udp)];
    let id = scene.run(&plan).await?;
    let _echo = EchoInside::start(scene, &id, 5353).await?;
    answered((LOOPBACK, number).into()).await
}

async fn tcp_and_udp_share_a_port(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(scene, &network);
    if !scene.subject.real {
        plan.command = scene.server().command;
    }
    plan.ports = vec![
        port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp),
        port(Some(LOOPBACK), Some(number), 8080, Protocol::Udp),
    ];
    let id = scene.run(&plan).await?;
    assert_eq!(scene.inspect(&id).await?.ports, plan.ports, "both are told apart");
    if scene.subject.real {
        greeted((LOOPBACK, number).into()).await?;
        let _echo = EchoInside::start(scene, &id, 8080).await?;
        answered((LOOPBACK, number).into()).await?;
    }
    Ok(())
}

/// An address of this machine that is not loopback.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

async fn a_port_on_loopback_is_on_no_other_address(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(scene, &network);
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp)];
    scene.run(&plan).await?;
    greeted((LOOPBACK, number).into()).await?;
    if let Some(outer) = outer_address() {
        let heard = tokio::task::spawn_blocking(move || greeting((outer, number).into())).await?;
        assert!(heard.is_err(), "{outer} greets");
    }
    Ok(())
}

async fn ipv6_loopback_is_reached(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(scene, &network);
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    plan.ports = vec![port(Some(address), Some(number), 8080, Protocol::Tcp)];
    let id = scene.run(&plan).await?;
    greeted((address, number).into()).await?;
    assert_eq!(scene.inspect(&id).await?.ports, plan.ports);
    Ok(())
}

async fn a_port_of_the_engines_choice_is_told_and_reached(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let mut plan = greeter(scene, &network);
    plan.ports = vec![port(Some(LOOPBACK), None, 8080, Protocol::Tcp)];
    let id = scene.run(&plan).await?;
    let ports = scene.inspect(&id).await?.ports;
    let [told] = ports.as_slice() else { panic!("{ports:?}") };
    let number = told.host_port.expect("a host port");
    assert_eq!((told.host_ip, told.container_port, told.protocol), (Some(LOOPBACK), 8080, Protocol::Tcp));
    greeted((LOOPBACK, number).into()).await
}

async fn ports_of_the_engines_choice_differ(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let mut numbers = BTreeSet::new();
    for attempt in 1..=3 {
        let mut plan = scene.server();
        plan.identity.attempt = attempt;
        plan.network = connected(&[&network], "web");
        plan.ports = vec![port(Some(LOOPBACK), None, 80, Protocol::Tcp), port(Some(LOOPBACK), None, 81, Protocol::Tcp)];
        let id = scene.run(&plan).await?;
        let ports = scene.inspect(&id).await?.ports;
        assert_eq!(ports.len(), 2, "{ports:?}");
        numbers.extend(ports.iter().filter_map(|port| port.host_port));
    }
    assert_eq!(numbers.len(), 6, "{numbers:?}");
    Ok(())
}

async fn a_taken_port_is_conflict(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = scene.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 80, Protocol::Tcp)];
    let first = scene.run(&plan).await?;
    plan.identity.attempt = 2;
    let error = refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::Conflict);
    assert!(error.message().contains(&number.to_string()), "{error}");
    assert_eq!(scene.state(&first).await?, State::Running);
    // What stays behind is not running and is the very attempt: it starts once the port is free.
    scene.stop(&first, 0).await?;
    let second = scene.run(&plan).await?;
    assert_eq!(scene.state(&second).await?, State::Running);
    Ok(())
}

async fn a_port_taken_by_somebody_else_is_conflict(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let listener = TcpListener::bind((LOOPBACK, 0))?;
    let number = listener.local_addr()?.port();
    let mut plan = scene.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 80, Protocol::Tcp)];
    refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::Conflict);
    assert!(!scene.states().await?.contains(&State::Running));
    Ok(())
}

async fn a_port_is_free_after_the_stop(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let number = free_port()?;
    let mut plan = scene.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 80, Protocol::Tcp)];
    let first = scene.run(&plan).await?;
    scene.stop(&first, 0).await?;
    plan.identity.attempt = 2;
    let second = scene.run(&plan).await?;
    assert_eq!(scene.state(&second).await?, State::Running);
    Ok(())
}

/// A greeter known as `alias` on the network.
async fn greeter_on(scene: &Scene, network: &str, alias: &str) -> Outcome<InstanceId> {
    let mut plan = greeter(scene, network);
    plan.network = connected(&[network], alias);
    plan.identity.component = alias.to_owned();
    plan.hostname = alias.to_owned();
    scene.run(&plan).await
}

/// Whether `id` hears the greeter of that name, tried for a while where it is hoped for.
async fn hears(scene: &Scene, id: &InstanceId, name: &str, hoped: bool) -> Outcome<bool> {
    let began = Instant::now();
    loop {
        let executed = scene.exec(id, &["nc", "-w", "2", name, "8080"]).await?;
        if executed.text().contains("hello-from-inside") {
            return Ok(true);
        }
        if !hoped || began.elapsed() > PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn members_reach_each_other_by_alias(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let one = greeter_on(scene, &network, "one").await?;
    let two = greeter_on(scene, &network, "two").await?;
    assert!(hears(scene, &one, "two", true).await?);
    assert!(hears(scene, &two, "one", true).await?);
    Ok(())
}

async fn networks_are_apart_by_name(scene: &Scene) -> Outcome {
    let (left, right) = (scene.network("left").await?, scene.network("right").await?);
    let one = greeter_on(scene, &left, "one").await?;
    greeter_on(scene, &right, "two").await?;
    assert!(hears(scene, &one, "one", true).await?, "it hears itself");
    assert!(!hears(scene, &one, "two", false).await?);
    Ok(())
}

async fn networks_are_apart_by_address(scene: &Scene) -> Outcome {
    let (left, right) = (scene.network("left").await?, scene.network("right").await?);
    let one = greeter_on(scene, &left, "one").await?;
    let two = greeter_on(scene, &right, "two").await?;
    assert!(hears(scene, &one, "one", true).await?, "it hears itself");
    let address = scene.inspect(&two).await?.networks[0].addresses[0].to_string();
    assert!(!hears(scene, &one, &address, false).await?);
    Ok(())
}

async fn two_networks_are_both_joined(scene: &Scene) -> Outcome {
    let (left, right) = (scene.network("left").await?, scene.network("right").await?);
    greeter_on(scene, &left, "one").await?;
    greeter_on(scene, &right, "two").await?;
    let mut plan = scene.server();
    plan.network = connected(&[&left, &right], "both");
    plan.identity.component = "both".to_owned();
    let both = scene.run(&plan).await?;
    assert!(hears(scene, &both, "one", true).await?);
    assert!(hears(scene, &both, "two", true).await?);
    Ok(())
}

async fn every_network_is_told(scene: &Scene) -> Outcome {
    let (left, right) = (scene.network("left").await?, scene.network("right").await?);
    let mut plan = scene.server();
    plan.network = connected(&[&right, &left], "both");
    let id = scene.run(&plan).await?;
    let networks = scene.inspect(&id).await?.networks;
    let names: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, [left.as_str(), right.as_str()]);
    for network in &networks {
        assert!(!network.addresses.is_empty(), "{network:?}");
        assert!(network.aliases.iter().flatten().any(|alias| alias == "both"), "{network:?}");
    }
    Ok(())
}

async fn none_is_loopback_alone(scene: &Scene) -> Outcome {
    let output =
        scene.output(&scene.script("grep -c : /proc/net/dev; ip -o link | grep -v lo: | grep UP | wc -l")).await?;
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    assert_eq!(lines.get(1), Some(&"0"), "{output}");
    Ok(())
}

async fn the_hosts_network_is_the_hosts(scene: &Scene) -> Outcome {
    let mut plan = scene.plan(&["readlink", "/proc/self/ns/net"]);
    plan.network = PlanNetwork::Host;
    let inside = scene.output(&plan).await?;
    let ours = std::fs::read_link("/proc/self/ns/net")?;
    assert_eq!(Some(inside.trim()), ours.to_str());
    Ok(())
}

async fn extra_hosts_are_in_the_hosts_file(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let mut plan = scene.script("cat /etc/hosts");
    plan.network = connected(&[&network], "web");
    plan.extra_hosts = vec![
        ExtraHost { name: "db.local".to_owned(), address: HostAddress::Ip("10.1.2.3".parse()?) },
        ExtraHost { name: "six.local".to_owned(), address: HostAddress::Ip("2001:db8::7".parse()?) },
    ];
    let hosts = scene.output(&plan).await?;
    let has = |address: &str, name: &str| {
        hosts.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().starts_with(&[address, name]))
    };
    assert!(has("10.1.2.3", "db.local") && has("2001:db8::7", "six.local"), "{hosts}");
    Ok(())
}

async fn the_host_is_reached_as_host_gateway(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let number = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            if stream.and_then(|mut stream| stream.write_all(b"hello-from-the-host\n")).is_err() {
                return;
            }
        }
    });
    let mut plan = scene.server();
    plan.network = connected(&[&network], "web");
    plan.extra_hosts = vec![ExtraHost { name: "the-host".to_owned(), address: HostAddress::HostGateway }];
    let id = scene.run(&plan).await?;
    let executed = scene.exec(&id, &["nc", "-w", "5", "the-host", &number.to_string()]).await?;
    assert_eq!(executed.text(), "hello-from-the-host", "{executed:?}");
    Ok(())
}

async fn name_servers_are_taken(scene: &Scene) -> Outcome {
    let network = scene.network("net").await?;
    let mut plan = scene.script("cat /etc/resolv.conf");
    plan.network = PlanNetwork::None;
    // On a bridge an engine may stand in front with a server of its own; the host's network has none in between.
    if scene.runtime().capability().supports(Feature::HostNetwork) {
        plan.network = PlanNetwork::Host;
    } else {
        plan.network = connected(&[&network], "web");
    }
    plan.dns = vec!["192.0.2.53".parse()?, "192.0.2.54".parse()?];
    let text = scene.output(&plan).await?;
    let servers: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::trim).collect();
    assert_eq!(servers, ["192.0.2.53", "192.0.2.54"]);
    Ok(())
}
