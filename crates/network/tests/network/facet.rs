//! Networks as things to make, list and remove; and what failures leave.

use hythe_runtime::ErrorKind;

use crate::fixture::{Place, on_a_host, spec};
use crate::kernel;

#[test]
fn a_network_is_made_once_for_its_owner() {
    on_a_host(|machine| {
        let networks = &machine.networks;
        networks.ensure(&spec("net", false)).unwrap();
        networks.ensure(&spec("net", false)).unwrap();
        let mut strange = spec("net", false);
        strange.labels.insert("hythe.owner".to_owned(), "somebody".to_owned());
        assert_eq!(networks.ensure(&strange).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(networks.ensure(&spec("../net", false)).unwrap_err().kind(), ErrorKind::Invalid);
        let list = networks.list().unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].driver.as_str(), list[0].subnets.len()), ("bridge", 2));
        assert_eq!(list[0].labels, spec("net", false).labels);
        networks.remove("net").unwrap();
        networks.remove("net").unwrap();
    });
}

#[test]
fn racing_calls_make_one_network() {
    on_a_host(|machine| {
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..16).map(|_| scope.spawn(|| machine.networks.ensure(&spec("net", false)))).collect();
            calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
        });
        assert_eq!(machine.networks.list().unwrap().len(), 1);
    });
}

#[test]
fn a_network_in_use_stays() {
    on_a_host(|machine| {
        machine.network("net", false);
        let _web = machine.container("web", &["net"]);
        let error = machine.networks.remove("net").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("`web`"), "{error}");
        machine.networks.detach("web").unwrap();
        machine.networks.detach("web").unwrap();
        machine.networks.remove("net").unwrap();
    });
}

#[test]
fn a_subnet_that_the_host_uses_is_left_alone() {
    on_a_host(|machine| {
        let _neighbour = machine.neighbour();
        // All but the last /22 lead somewhere.
        for bit in 0..12_u32 {
            let network = u32::from_be_bytes([10, 192, 0, 0]) + ((0xfff << (12 - bit)) & 0xfff) * 1024;
            let address = std::net::Ipv4Addr::from(network).into();
            kernel::route("lan0", address, u8::try_from(11 + bit).unwrap(), crate::fixture::NEIGHBOUR_V4);
        }
        machine.network("net", false);
        assert!(machine.networks.list().unwrap()[0].subnets.contains(&"10.255.252.0/22".to_owned()));
        assert_eq!(machine.networks.ensure(&spec("more", false)).unwrap_err().kind(), ErrorKind::Exhausted);
    });
}

#[test]
fn what_cannot_be_whole_is_undone() {
    on_a_host(|machine| {
        machine.network("one", false);
        machine.network("two", false);
        let place = Place::new();
        let other = Place::new();
        // The name of its second link is taken.
        let path = other.path.clone();
        place.run(move || kernel::pair("eth1", "x", &path));
        machine.try_attach(&place, "web", &["one", "two"]).unwrap_err();
        assert_eq!(machine.networks.observe("web").unwrap(), None);
        assert_eq!(place.run(kernel::links), ["lo", "eth1"]);
        assert!(kernel::links().iter().all(|link| !link.starts_with(&format!("{}v", machine.networks.link_prefix()))));
        let absent = machine.try_attach(&place, "web", &["one", "three"]).unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound);
        assert_eq!(machine.try_attach(&place, "web", &["one", "one"]).unwrap_err().kind(), ErrorKind::Invalid);
        machine.try_attach(&place, "web", &["one"]).unwrap();
        // What is whole is not torn down by a later call that fails.
        machine.try_attach(&place, "web", &["three"]).unwrap_err();
        assert!(machine.networks.observe("web").unwrap().is_some());
    });
}

#[test]
fn other_networks_or_wrong_names_are_refused_and_change_nothing() {
    on_a_host(|machine| {
        machine.network("one", false);
        machine.network("two", false);
        let web = machine.container("web", &["one"]);
        let hosts = web.hosts();
        assert_eq!(machine.try_attach(&web.place, "web", &["two"]).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(machine.networks.observe("web").unwrap().as_ref(), Some(&web.attached));
        for id in ["../web", "", "a b"] {
            assert_eq!(machine.try_attach(&web.place, id, &["one"]).unwrap_err().kind(), ErrorKind::Invalid, "{id}");
        }
        let attachments =
            [hythe_runtime::Attachment { network: "one".to_owned(), aliases: vec!["x\n192.0.2.66 db".to_owned()] }];
        let request = hythe_network::AttachRequest {
            instance: "evil",
            namespace: &web.place.path,
            attachments: &attachments,
            hostname: "evil",
            extra_hosts: &[],
        };
        assert_eq!(machine.networks.attach(&request).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(web.hosts(), hosts);
    });
}
