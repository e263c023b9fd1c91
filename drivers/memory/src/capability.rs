//! What the runtime can honour unless a test says otherwise.

use hythe_runtime::platforms::native_platforms;
use hythe_runtime::{Capability, Feature};

const NO_PACKET_FILTER: &str = "the in-process runtime has no packet filter";

/// Everything but allow-lists and `privileged`.
pub(crate) fn capability() -> Capability {
    Capability::of(Feature::ALL)
        .running(native_platforms())
        .without(Feature::EgressAllowList, NO_PACKET_FILTER)
        .without(Feature::IngressAllowList, NO_PACKET_FILTER)
        .without(Feature::Privileged, "not allowed in the configuration (`allow_privileged`)")
}
