//! A restart that follows from a request that restarted or replaced a dependency: once for each, when the dependency is
//! back at its condition.

use hythe_store::{DesiredRecord, ObservedRecord};

/// How far the dependencies are that were restarted or replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Follow {
    /// There is none.
    #[default]
    None,
    /// None that changed in the end, such as one that was rolled back before it took over.
    Moot,
    /// All are back at their condition: it is restarted now.
    Due,
    /// One has failed.
    Stalled,
    /// One is on its way.
    Waits,
}

/// Whether a restart is still to follow.
pub(crate) fn is_to_follow(desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    desired.follow.iter().any(|(name, count)| observed.followed.get(name).copied().unwrap_or_default() < *count)
}

/// It is started now, or need not be, so that nothing is to follow any more.
pub(super) fn followed(desired: &DesiredRecord, observed: &mut ObservedRecord) {
    observed.followed.clone_from(&desired.follow);
}

/// It is started, after all that it was to be restarted after.
pub(super) fn started(desired: &DesiredRecord, observed: &mut ObservedRecord, follow: Follow) {
    if follow == Follow::Due {
        followed(desired, observed);
    }
}

/// What is known of the dependencies goes into the record.
pub(super) fn take_follow(desired: &DesiredRecord, observed: &mut ObservedRecord, follow: Follow) {
    observed.follow_stalled = follow == Follow::Stalled;
    if follow == Follow::Moot {
        followed(desired, observed);
    }
}
