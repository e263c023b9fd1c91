//! What is missing is said.

use hythe_network::{obstacles, supported};
use hythe_runtime::ErrorKind;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::fixture::{HOST_V4, NEIGHBOUR_V4, on_a_host, port, publish, spec};
use crate::kernel;

#[test]
fn this_host_is_supported() {
    on_a_host(|_| supported().unwrap());
}

#[test]
fn without_the_privilege_nothing_is_begun() {
    on_a_host(|machine| {
        let all = capabilities(None).unwrap();
        let without = all.effective - CapabilitySet::NET_ADMIN - CapabilitySet::SYS_ADMIN;
        set_capabilities(None, CapabilitySets { effective: without, ..all }).unwrap();
        let (probed, made) = (supported(), machine.networks.ensure(&spec("net", false)));
        let list = machine.networks.list().unwrap();
        set_capabilities(None, all).unwrap();
        for refused in [probed, made] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.next_step().is_some(), "{error}");
        }
        assert!(list.is_empty(), "half a network is left: {list:?}");
    });
}

#[test]
fn a_firewall_that_stops_the_way_out_is_named_and_stops_nothing_else() {
    on_a_host(|machine| {
        let neighbour = machine.neighbour();
        neighbour.greets(80);
        machine.network("net", false);
        kernel::forward_drops();
        assert!(obstacles().unwrap().is_empty(), "what we open is none, and our own table neither");
        kernel::firewall_by_hand();
        assert_eq!(obstacles().unwrap(), ["inet filter forward"]);
        let web = machine.container("web", &["net"]);
        web.place.cannot_call(NEIGHBOUR_V4, 80);
        web.place.greets(80);
        let published = publish(&web, &[port(None, 80, hythe_spec::Protocol::Tcp)]);
        neighbour.call(HOST_V4, published.ports[0].host_port.unwrap()).unwrap();
    });
}
