//! What is missing is said.

use hythe_driver_embedded::network::supported;
use hythe_runtime::ErrorKind;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::scene::{on_a_machine, spec};

#[test]
fn this_machine_is_supported() {
    on_a_machine(|_| supported().unwrap());
}

#[test]
fn without_the_privilege_nothing_is_begun() {
    on_a_machine(|machine| {
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
