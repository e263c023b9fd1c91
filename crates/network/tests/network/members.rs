//! Members of a network find and reach each other.

use std::os::unix::fs::MetadataExt;

use crate::fixture::on_a_host;

#[test]
fn members_reach_each_other_by_name() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        let db = machine.container("db", &["net"]);
        db.place.greets(5432);
        let addresses = web.resolve("db-alias");
        assert_eq!(addresses, db.addresses());
        assert_eq!(addresses.len(), 2, "IPv4 and IPv6");
        for (address, own) in addresses.into_iter().zip(web.addresses()) {
            assert_eq!(web.place.call(address, 5432).unwrap(), own.to_string(), "seen from its own address");
        }
        assert_eq!(web.resolve("web"), web.addresses());
    });
}

#[test]
fn names_follow_who_comes_and_goes_in_the_same_file() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        let (before, file) = (web.hosts(), std::fs::metadata(&web.attached.hosts).unwrap().ino());
        let db = machine.container("db", &["net"]);
        assert!(web.hosts().starts_with(&before), "a newcomer only adds");
        assert_eq!(web.resolve("db-alias"), db.addresses());
        machine.networks.detach("db").unwrap();
        assert_eq!(web.hosts(), before);
        assert_eq!(std::fs::metadata(&web.attached.hosts).unwrap().ino(), file, "the mounted file is still the one");
    });
}

#[test]
fn two_networks_are_both_joined() {
    on_a_host(|machine| {
        machine.network("front", false);
        machine.network("back", false);
        let both = machine.container("both", &["front", "back"]);
        let (front, back) = (machine.container("front1", &["front"]), machine.container("back1", &["back"]));
        for other in [&front, &back] {
            other.place.greets(80);
            for address in other.addresses() {
                both.place.call(address, 80).unwrap();
            }
        }
        assert_eq!(both.resolve("front1-alias"), front.addresses());
        assert_eq!(both.resolve("back1-alias"), back.addresses());
        assert_eq!(both.resolve("both").len(), 4);
        assert!(front.resolve("back1-alias").is_empty(), "no name crosses");
    });
}

#[test]
fn attaching_again_is_the_same_and_a_new_namespace_is_served() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        let db = machine.container("db", &["net"]);
        db.place.greets(80);
        let again = machine.try_attach(&web.place, "web", &["net"]).unwrap();
        assert_eq!(again, web.attached);
        assert_eq!(machine.networks.observe("web").unwrap(), Some(again));
        web.place.call(db.addresses()[0], 80).unwrap();
        // A restarted container has another namespace.
        let reborn = crate::fixture::Place::new();
        assert_eq!(machine.try_attach(&reborn, "web", &["net"]).unwrap(), web.attached);
        reborn.call(db.addresses()[0], 80).unwrap();
    });
}

#[test]
fn loopback_alone_is_brought_up() {
    on_a_host(|_| {
        let place = crate::fixture::Place::new();
        place.greets(80);
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        place.cannot_call(loopback, 80);
        hythe_network::loopback(&place.path).unwrap();
        place.call(loopback, 80).unwrap();
        assert_eq!(place.run(crate::kernel::links), ["lo"]);
        let absent = std::path::Path::new("/proc/1/task/1/ns/no-such");
        let error = hythe_network::loopback(absent).unwrap_err();
        assert_eq!(error.kind(), hythe_runtime::ErrorKind::NotFound);
    });
}
