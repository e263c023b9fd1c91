//! What must not be reached is not, and what must is, whatever others' rules say.

use crate::fixture::{HOST_V4, HOST_V6, NEIGHBOUR_V4, NEIGHBOUR_V6, call, on_a_host, port, publish};
use crate::kernel;

#[test]
fn networks_are_apart_by_address() {
    on_a_host(|machine| {
        machine.network("one", false);
        machine.network("two", false);
        let (one, two) = (machine.container("a", &["one"]), machine.container("b", &["two"]));
        two.place.greets(80);
        for address in two.addresses() {
            call(address, 80).expect("the host itself reaches it");
            one.place.cannot_call(address, 80);
        }
        // And still when somebody flushed the rules and the next one came.
        kernel::delete_table(&machine.networks.table());
        one.place.call(two.addresses()[0], 80).expect("without rules nothing keeps them apart");
        let _next = machine.container("c", &["one"]);
        one.place.cannot_call(two.addresses()[0], 80);
    });
}

#[test]
fn the_outside_is_reached_under_the_hosts_address() {
    on_a_host(|machine| {
        let neighbour = machine.neighbour();
        neighbour.greets(80);
        neighbour.echoes(53);
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        assert_eq!(web.place.call(NEIGHBOUR_V4, 80).unwrap(), HOST_V4.to_string());
        assert_eq!(web.place.ask(NEIGHBOUR_V4, 53).unwrap(), "ping");
        assert_eq!(web.place.call(NEIGHBOUR_V6, 80).unwrap(), HOST_V6.to_string());
    });
}

#[test]
fn the_outside_does_not_reach_in() {
    on_a_host(|machine| {
        let neighbour = machine.neighbour();
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        web.place.greets(80);
        let address = web.addresses()[0];
        neighbour.run(move || kernel::route("eth0", address, 32, HOST_V4));
        neighbour.cannot_call(address, 80);
        call(address, 80).unwrap();
    });
}

#[test]
fn an_internal_network_has_no_way_out() {
    on_a_host(|machine| {
        let neighbour = machine.neighbour();
        neighbour.greets(80);
        // Somebody else turned forwarding on.
        machine.network("open", false);
        machine.network("closed", true);
        let (one, two) = (machine.container("a", &["closed"]), machine.container("b", &["closed"]));
        two.place.greets(80);
        for address in two.addresses() {
            one.place.call(address, 80).unwrap();
        }
        let published = publish(&two, &[port(None, 80, hythe_spec::Protocol::Tcp)]);
        call(HOST_V4, published.ports[0].host_port.unwrap()).unwrap();
        // Not even who makes a route of their own, to somebody who knows the way back.
        let (gateway, address) = (one.attached.gateways[0], one.addresses()[0]);
        neighbour.run(move || kernel::route("eth0", address, 32, HOST_V4));
        one.place.cannot_call(NEIGHBOUR_V4, 80);
        one.place.run(move || kernel::default_route("eth0", gateway));
        one.place.cannot_call(NEIGHBOUR_V4, 80);
    });
}

#[test]
fn the_drop_policy_of_docker_is_in_nobodys_way() {
    on_a_host(|machine| {
        kernel::forward_drops();
        let neighbour = machine.neighbour();
        neighbour.greets(80);
        machine.network("net", false);
        machine.network("other", false);
        let (web, db) = (machine.container("web", &["net"]), machine.container("db", &["net"]));
        let apart = machine.container("apart", &["other"]);
        db.place.greets(80);
        for address in db.addresses() {
            web.place.call(address, 80).unwrap();
            apart.place.cannot_call(address, 80);
        }
        assert_eq!(web.place.call(NEIGHBOUR_V4, 80).unwrap(), HOST_V4.to_string());
        web.place.call(NEIGHBOUR_V6, 80).unwrap();
        let published = publish(&db, &[port(None, 80, hythe_spec::Protocol::Tcp)]);
        neighbour.call(HOST_V4, published.ports[0].host_port.unwrap()).unwrap();
        assert_eq!(kernel::forward_rules(), 2, "one for each direction, not for each network");
        as_iptables_reads(&machine.networks.link_prefix());
        machine.is_clean();
        assert_eq!(kernel::forward_rules(), 0);
    });
}

#[test]
fn docker_may_come_later() {
    on_a_host(|machine| {
        machine.network("net", false);
        let (web, db) = (machine.container("web", &["net"]), machine.container("db", &["net"]));
        db.place.greets(80);
        kernel::forward_drops();
        machine.networks.restore().unwrap();
        web.place.call(db.addresses()[0], 80).unwrap();
    });
}

/// The program sees rules like its own, where there is one.
fn as_iptables_reads(prefix: &str) {
    match std::process::Command::new("iptables-nft").args(["-S", "FORWARD"]).output() {
        Ok(told) => {
            let text = String::from_utf8_lossy(&told.stdout).into_owned();
            let wanted =
                format!("-P FORWARD DROP\n-A FORWARD -o {prefix}+ -j ACCEPT\n-A FORWARD -i {prefix}+ -j ACCEPT\n");
            assert_eq!(text, wanted, "{}", String::from_utf8_lossy(&told.stderr));
        }
        Err(error) => eprintln!("skipped: how iptables reads our rules: {error}"),
    }
}
