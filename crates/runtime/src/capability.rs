//! Which parts of a plan a runtime can honour, as data, and why a plan is refused.

use std::collections::BTreeMap;

use hythe_spec::{Isolation, Platform};
use serde::{Deserialize, Serialize};

use crate::needs::needs;
use crate::{Feature, Plan, Support};

/// What one configured runtime can honour. A feature that is not named is not supported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    features: BTreeMap<Feature, Support>,
    #[serde(default)]
    isolation: Isolation,
    /// What its machine runs, the machine itself first; empty: not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<Platform>,
}

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Field of the component that asks for it.
    pub field: String,
    /// What it asks for.
    pub feature: Feature,
    /// Why the runtime cannot.
    pub reason: String,
}

impl Capability {
    /// A capability that honours exactly these.
    pub fn of(features: impl IntoIterator<Item = Feature>) -> Self {
        let features = features.into_iter().map(|feature| (feature, Support::Yes)).collect();
        Self { features, ..Self::default() }
    }

    /// The same, with what separates its workloads from the host.
    #[must_use]
    pub fn isolated_by(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// What separates its workloads from the host.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// The same without a feature, and why.
    #[must_use]
    pub fn without(mut self, feature: Feature, reason: impl Into<String>) -> Self {
        self.features.insert(feature, Support::No { reason: reason.into() });
        self
    }

    /// The same for a machine that runs images for these and no others, the machine itself first.
    #[must_use]
    pub fn running(mut self, platforms: Vec<Platform>) -> Self {
        self.platforms = platforms;
        self
    }

    /// Whether a feature can be honoured.
    pub fn supports(&self, feature: Feature) -> bool {
        self.features.get(&feature) == Some(&Support::Yes)
    }

    /// Support of every feature, in table order.
    pub fn table(&self) -> impl Iterator<Item = (Feature, Support)> + '_ {
        Feature::ALL.into_iter().map(|feature| {
            let support = self.features.get(&feature).cloned();
            (feature, support.unwrap_or_else(|| Support::No { reason: "not supported by this runtime".to_owned() }))
        })
    }

    /// Every part of the plan that cannot be honoured; empty: the plan fits.
    pub fn refusals(&self, plan: &Plan) -> Vec<Refusal> {
        needs(plan, self.isolation)
            .into_iter()
            .filter_map(|(feature, field)| match self.features.get(&feature) {
                Some(Support::Yes) => None,
                Some(Support::No { reason }) => Some(Refusal { field, feature, reason: reason.clone() }),
                None => Some(Refusal { field, feature, reason: "not supported by this runtime".to_owned() }),
            })
            .chain(self.other_platform(plan))
            .collect()
    }

    /// What the machine is for, where it cannot run an image for the other; `None` too where the machine is not known.
    pub fn platform_unlike(&self, other: &Platform) -> Option<&Platform> {
        let runs = self.platforms.iter().any(|known| known.architecture() == other.architecture());
        self.platforms.first().filter(|_| !runs)
    }

    fn other_platform(&self, plan: &Plan) -> Option<Refusal> {
        let wanted = plan.platform.as_ref()?;
        let own = self.platform_unlike(wanted).filter(|_| self.supports(Feature::Platform))?;
        let reason = format!(
            "the host is `{own}`, and this runtime cannot emulate `{wanted}` on it; Podman and Docker can with an emulator \
             (`qemu-user-static`), once the agent is restarted"
        );
        Some(Refusal { field: "platform".to_owned(), feature: Feature::Platform, reason })
    }
}
