//! Packets: published ports, names, and what must not be reached.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hythe_runtime::{ErrorKind, Feature, InstanceId, Plan, PlanNetwork, State};
use hythe_spec::{ExtraHost, HostAddress, Port, Protocol};

use crate::echo::EchoInside;
use crate::failure::{Failure, Outcome, refused};
use crate::fixture::{Fixture, connected};
use crate::need::Need::{Can, Exec, Ipv6, Logs, Networks, Real};
use crate::trial::trials;

trials! { "network":
    tcp_is_reached_on_loopback [Real, Networks, Can(Feature::PublishTcp)],
    tcp_is_reached_after_a_restart [Real, Networks, Can(Feature::PublishTcp), Can(Feature::RestartInPlace)],
    udp_is_answered [Real, Networks, Can(Feature::PublishUdp)],
    tcp_and_udp_share_a_port [Networks, Can(Feature::PublishTcp), Can(Feature::PublishUdp)],
    a_port_on_loopback_is_on_no_other_address [Real, Networks, Can(Feature::PublishTcp)],
    ipv6_loopback_is_reached [Real, Ipv6, Networks, Can(Feature::PublishTcp), Can(Feature::PublishIpv6)],
    a_port_of_the_engines_choice_is_reported_and_reached [Real, Networks, Can(Feature::PublishTcp)],
    ports_of_the_engines_choice_differ [Networks, Can(Feature::PublishTcp)],
    a_taken_port_is_conflict [Networks, Can(Feature::PublishTcp)],
    a_port_taken_by_somebody_else_is_conflict [Real, Networks, Can(Feature::PublishTcp)],
    a_port_is_free_after_the_stop [Networks, Can(Feature::PublishTcp)],
    members_reach_each_other_by_alias [Real, Networks, Exec, Can(Feature::Networks)],
    nslookup_of_a_peer_has_its_address [Real, Networks, Exec, Can(Feature::Networks)],
    networks_are_apart_by_name [Real, Networks, Exec, Can(Feature::Networks)],
    networks_are_apart_by_address [Real, Networks, Exec, Can(Feature::IsolatedNetworks)],
    two_networks_are_both_joined [Real, Networks, Exec, Can(Feature::Networks)],
    every_network_is_reported [Networks, Can(Feature::Networks)],
    a_user_listens_below_1024_and_may_ping_where_the_runtime_is_roots [Real, Networks],
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
fn greeter(fixture: &Fixture, network: &str) -> Plan {
    let mut plan = fixture.plan(&["nc", "-ll", "-p", "8080", "-e", "echo", "hello-from-inside"]);
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

async fn tcp_is_reached_on_loopback(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(fixture, &network);
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp)];
    let id = fixture.run(&plan).await?;
    greeted((LOOPBACK, number).into()).await?;
    assert_eq!(fixture.inspect(&id).await?.ports, plan.ports);
    Ok(())
}

async fn tcp_is_reached_after_a_restart(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(fixture, &network);
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp)];
    let id = fixture.run(&plan).await?;
    fixture.stop(&id, 0).await?;
    fixture.start(&id).await?;
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

async fn udp_is_answered(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = fixture.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 5353, Protocol::Udp)];
    let id = fixture.run(&plan).await?;
    let _echo = EchoInside::start(fixture, &id, 5353).await?;
    answered((LOOPBACK, number).into()).await
}

async fn tcp_and_udp_share_a_port(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(fixture, &network);
    if !fixture.subject.real {
        plan.command = fixture.server().command;
    }
    plan.ports = vec![
        port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp),
        port(Some(LOOPBACK), Some(number), 8080, Protocol::Udp),
    ];
    let id = fixture.run(&plan).await?;
    assert_eq!(fixture.inspect(&id).await?.ports, plan.ports, "both are told apart");
    if fixture.subject.real {
        greeted((LOOPBACK, number).into()).await?;
        let _echo = EchoInside::start(fixture, &id, 8080).await?;
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

async fn a_port_on_loopback_is_on_no_other_address(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(fixture, &network);
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 8080, Protocol::Tcp)];
    fixture.run(&plan).await?;
    greeted((LOOPBACK, number).into()).await?;
    if let Some(outer) = outer_address() {
        let heard = tokio::task::spawn_blocking(move || greeting((outer, number).into())).await?;
        assert!(heard.is_err(), "{outer} greets");
    }
    Ok(())
}

async fn ipv6_loopback_is_reached(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = greeter(fixture, &network);
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    plan.ports = vec![port(Some(address), Some(number), 8080, Protocol::Tcp)];
    let id = fixture.run(&plan).await?;
    greeted((address, number).into()).await?;
    assert_eq!(fixture.inspect(&id).await?.ports, plan.ports);
    Ok(())
}

async fn a_port_of_the_engines_choice_is_reported_and_reached(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let mut plan = greeter(fixture, &network);
    plan.ports = vec![port(Some(LOOPBACK), None, 8080, Protocol::Tcp)];
    let id = fixture.run(&plan).await?;
    let ports = fixture.inspect(&id).await?.ports;
    let [told] = ports.as_slice() else { panic!("{ports:?}") };
    let number = told.host_port.expect("a host port");
    assert_eq!((told.host_ip, told.container_port, told.protocol), (Some(LOOPBACK), 8080, Protocol::Tcp));
    greeted((LOOPBACK, number).into()).await
}

async fn ports_of_the_engines_choice_differ(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let mut numbers = BTreeSet::new();
    for attempt in 1..=3 {
        let mut plan = fixture.server();
        plan.identity.attempt = attempt;
        plan.network = connected(&[&network], "web");
        plan.ports = vec![port(Some(LOOPBACK), None, 80, Protocol::Tcp), port(Some(LOOPBACK), None, 81, Protocol::Tcp)];
        let id = fixture.run(&plan).await?;
        let ports = fixture.inspect(&id).await?.ports;
        assert_eq!(ports.len(), 2, "{ports:?}");
        numbers.extend(ports.iter().filter_map(|port| port.host_port));
    }
    assert_eq!(numbers.len(), 6, "{numbers:?}");
    Ok(())
}

async fn a_taken_port_is_conflict(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = fixture.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 80, Protocol::Tcp)];
    let first = fixture.run(&plan).await?;
    plan.identity.attempt = 2;
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Conflict);
    assert!(error.message().contains(&number.to_string()), "{error}");
    assert_eq!(fixture.state(&first).await?, State::Running);
    // What stays behind is not running and is the very attempt: it starts once the port is free.
    fixture.stop(&first, 0).await?;
    let second = fixture.run(&plan).await?;
    assert_eq!(fixture.state(&second).await?, State::Running);
    Ok(())
}

async fn a_port_taken_by_somebody_else_is_conflict(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let listener = TcpListener::bind((LOOPBACK, 0))?;
    let number = listener.local_addr()?.port();
    let mut plan = fixture.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 80, Protocol::Tcp)];
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Conflict);
    assert!(error.next_step().is_some(), "it says what to do: {error}");
    assert!(!fixture.states().await?.contains(&State::Running));
    Ok(())
}

async fn a_port_is_free_after_the_stop(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let number = free_port()?;
    let mut plan = fixture.server();
    plan.network = connected(&[&network], "web");
    plan.ports = vec![port(Some(LOOPBACK), Some(number), 80, Protocol::Tcp)];
    let first = fixture.run(&plan).await?;
    fixture.stop(&first, 0).await?;
    plan.identity.attempt = 2;
    let second = fixture.run(&plan).await?;
    assert_eq!(fixture.state(&second).await?, State::Running);
    Ok(())
}

/// A greeter known as `alias` on the network.
async fn greeter_on(fixture: &Fixture, network: &str, alias: &str) -> Outcome<InstanceId> {
    let mut plan = greeter(fixture, network);
    plan.network = connected(&[network], alias);
    plan.identity.component = alias.to_owned();
    plan.hostname = alias.to_owned();
    fixture.run(&plan).await
}

/// Whether `id` hears the greeter of that name, tried for a while where it is hoped for.
async fn hears(fixture: &Fixture, id: &InstanceId, name: &str, hoped: bool) -> Outcome<bool> {
    let began = Instant::now();
    loop {
        let executed = fixture.exec(id, &["nc", "-w", "2", name, "8080"]).await?;
        if executed.text().contains("hello-from-inside") {
            return Ok(true);
        }
        if !hoped || began.elapsed() > PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn members_reach_each_other_by_alias(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let one = greeter_on(fixture, &network, "one").await?;
    let two = greeter_on(fixture, &network, "two").await?;
    assert!(hears(fixture, &one, "two", true).await?);
    assert!(hears(fixture, &two, "one", true).await?);
    Ok(())
}

/// By the name server that `/etc/resolv.conf` names, and never by the hosts file.
async fn nslookup_of_a_peer_has_its_address(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let one = greeter_on(fixture, &network, "one").await?;
    let two = greeter_on(fixture, &network, "two").await?;
    let networks = fixture.inspect(&two).await?.networks;
    let address = networks.iter().flat_map(|network| &network.addresses).find(|address| address.is_ipv4());
    let address = address.ok_or_else(|| Failure::new("no IPv4 address"))?.to_string();
    let began = Instant::now();
    loop {
        let said = fixture.exec(&one, &["nslookup", "two"]).await?.text();
        if said.split_whitespace().any(|word| word == address) {
            return Ok(());
        }
        assert!(began.elapsed() < PATIENCE, "{address} is not in: {said}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn networks_are_apart_by_name(fixture: &Fixture) -> Outcome {
    let (left, right) = (fixture.network("left").await?, fixture.network("right").await?);
    let one = greeter_on(fixture, &left, "one").await?;
    greeter_on(fixture, &right, "two").await?;
    assert!(hears(fixture, &one, "one", true).await?, "it hears itself");
    assert!(!hears(fixture, &one, "two", false).await?);
    Ok(())
}

async fn networks_are_apart_by_address(fixture: &Fixture) -> Outcome {
    let (left, right) = (fixture.network("left").await?, fixture.network("right").await?);
    let one = greeter_on(fixture, &left, "one").await?;
    let two = greeter_on(fixture, &right, "two").await?;
    assert!(hears(fixture, &one, "one", true).await?, "it hears itself");
    let address = fixture.inspect(&two).await?.networks[0].addresses[0].to_string();
    assert!(!hears(fixture, &one, &address, false).await?);
    Ok(())
}

async fn two_networks_are_both_joined(fixture: &Fixture) -> Outcome {
    let (left, right) = (fixture.network("left").await?, fixture.network("right").await?);
    greeter_on(fixture, &left, "one").await?;
    greeter_on(fixture, &right, "two").await?;
    let mut plan = fixture.server();
    plan.network = connected(&[&left, &right], "both");
    plan.identity.component = "both".to_owned();
    let both = fixture.run(&plan).await?;
    assert!(hears(fixture, &both, "one", true).await?);
    assert!(hears(fixture, &both, "two", true).await?);
    Ok(())
}

async fn every_network_is_reported(fixture: &Fixture) -> Outcome {
    let (left, right) = (fixture.network("left").await?, fixture.network("right").await?);
    let mut plan = fixture.server();
    plan.network = connected(&[&right, &left], "both");
    let id = fixture.run(&plan).await?;
    let networks = fixture.inspect(&id).await?.networks;
    let names: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, [left.as_str(), right.as_str()]);
    for network in &networks {
        assert!(!network.addresses.is_empty(), "{network:?}");
        assert!(network.aliases.iter().flatten().any(|alias| alias == "both"), "{network:?}");
    }
    Ok(())
}

/// As Docker has it. An unprivileged user's runtime cannot open the echo socket to groups that the user has not.
async fn a_user_listens_below_1024_and_may_ping_where_the_runtime_is_roots(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let mut plan = fixture.script("timeout 1 nc -l -p 80; echo nc $?; cat /proc/sys/net/ipv4/ping_group_range");
    plan.user = Some("1000:1000".to_owned());
    plan.network = connected(&[&network], "web");
    let text = fixture.output(&plan).await?;
    // 143 or 124: it listened until its time was over.
    assert!(["nc 143", "nc 124"].iter().any(|line| text.contains(line)), "{text}");
    assert!(text.contains("0\t2147483647") || fixture.runtime().info().rootless, "{text}");
    Ok(())
}

async fn none_is_loopback_alone(fixture: &Fixture) -> Outcome {
    let output =
        fixture.output(&fixture.script("grep -c : /proc/net/dev; ip -o link | grep -v lo: | grep UP | wc -l")).await?;
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    assert_eq!(lines.get(1), Some(&"0"), "{output}");
    Ok(())
}

async fn the_hosts_network_is_the_hosts(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&["readlink", "/proc/self/ns/net"]);
    plan.network = PlanNetwork::Host;
    let inside = fixture.output(&plan).await?;
    let ours = std::fs::read_link("/proc/self/ns/net")?;
    assert_eq!(Some(inside.trim()), ours.to_str());
    Ok(())
}

async fn extra_hosts_are_in_the_hosts_file(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let mut plan = fixture.script("cat /etc/hosts");
    plan.network = connected(&[&network], "web");
    plan.extra_hosts = vec![
        ExtraHost { name: "db.local".to_owned(), address: HostAddress::Ip("10.1.2.3".parse()?) },
        ExtraHost { name: "six.local".to_owned(), address: HostAddress::Ip("2001:db8::7".parse()?) },
    ];
    let hosts = fixture.output(&plan).await?;
    let has = |address: &str, name: &str| {
        hosts.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().starts_with(&[address, name]))
    };
    assert!(has("10.1.2.3", "db.local") && has("2001:db8::7", "six.local"), "{hosts}");
    Ok(())
}

async fn the_host_is_reached_as_host_gateway(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let number = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            if stream.and_then(|mut stream| stream.write_all(b"hello-from-the-host\n")).is_err() {
                return;
            }
        }
    });
    let mut plan = fixture.server();
    plan.network = connected(&[&network], "web");
    plan.extra_hosts = vec![ExtraHost { name: "the-host".to_owned(), address: HostAddress::HostGateway }];
    let id = fixture.run(&plan).await?;
    let executed = fixture.exec(&id, &["nc", "-w", "5", "the-host", &number.to_string()]).await?;
    assert_eq!(executed.text(), "hello-from-the-host", "{executed:?}");
    Ok(())
}

async fn name_servers_are_taken(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("cat /etc/resolv.conf");
    plan.network = PlanNetwork::None;
    // On a bridge an engine may stand in front with a server of its own; without one, and on the host's network, nobody does.
    if fixture.runtime().capability().supports(Feature::HostNetwork) {
        plan.network = PlanNetwork::Host;
    }
    plan.dns = vec!["192.0.2.53".parse()?, "192.0.2.54".parse()?];
    let text = fixture.output(&plan).await?;
    let servers: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::trim).collect();
    assert_eq!(servers, ["192.0.2.53", "192.0.2.54"]);
    Ok(())
}
