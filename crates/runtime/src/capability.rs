//! Which parts of a plan a runtime can honour, as data, and what a given plan needs.

use std::collections::BTreeMap;

use hythe_spec::{HostAddress, MountSource, Protocol, Seccomp};
use serde::{Deserialize, Serialize};

use crate::{Plan, PlanNetwork};

/// One part of a plan that not every runtime can honour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each name is the part of the plan it stands for; `describe` says it in words")]
pub enum Feature {
    PublishTcp,
    PublishUdp,
    PublishSctp,
    PublishIpv6,
    BridgeNetwork,
    IsolatedNetworks,
    HostNetwork,
    NoNetwork,
    Dns,
    ExtraHosts,
    HostGateway,
    Volumes,
    Binds,
    BindsWithComma,
    Tmpfs,
    ReadOnlyRoot,
    User,
    Init,
    Tty,
    Stdin,
    MemoryLimit,
    CpuLimit,
    PidsLimit,
    Ulimits,
    ShmSize,
    CapabilitySet,
    SeccompDefault,
    SeccompFile,
    SeccompUnconfined,
    NoNewPrivileges,
    Privileged,
    EgressAllowList,
    IngressAllowList,
}

impl Feature {
    /// Every feature, in the order of the capability table.
    pub const ALL: [Self; 33] = [
        Self::PublishTcp,
        Self::PublishUdp,
        Self::PublishSctp,
        Self::PublishIpv6,
        Self::BridgeNetwork,
        Self::IsolatedNetworks,
        Self::HostNetwork,
        Self::NoNetwork,
        Self::Dns,
        Self::ExtraHosts,
        Self::HostGateway,
        Self::Volumes,
        Self::Binds,
        Self::BindsWithComma,
        Self::Tmpfs,
        Self::ReadOnlyRoot,
        Self::User,
        Self::Init,
        Self::Tty,
        Self::Stdin,
        Self::MemoryLimit,
        Self::CpuLimit,
        Self::PidsLimit,
        Self::Ulimits,
        Self::ShmSize,
        Self::CapabilitySet,
        Self::SeccompDefault,
        Self::SeccompFile,
        Self::SeccompUnconfined,
        Self::NoNewPrivileges,
        Self::Privileged,
        Self::EgressAllowList,
        Self::IngressAllowList,
    ];

    /// What it is, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::PublishTcp => "published tcp ports",
            Self::PublishUdp => "published udp ports",
            Self::PublishSctp => "published sctp ports",
            Self::PublishIpv6 => "ports published on an IPv6 address",
            Self::BridgeNetwork => "bridge networks with name resolution",
            Self::IsolatedNetworks => "networks that cannot reach each other by address",
            Self::HostNetwork => "the host's network",
            Self::NoNetwork => "no network",
            Self::Dns => "own name servers",
            Self::ExtraHosts => "extra hosts",
            Self::HostGateway => "the host's address as `host-gateway`",
            Self::Volumes => "named volumes",
            Self::Binds => "host paths",
            Self::BindsWithComma => "host paths with a comma",
            Self::Tmpfs => "tmpfs",
            Self::ReadOnlyRoot => "read-only root",
            Self::User => "user",
            Self::Init => "an init as pid 1",
            Self::Tty => "terminal",
            Self::Stdin => "open stdin",
            Self::MemoryLimit => "memory limit",
            Self::CpuLimit => "cpu limit",
            Self::PidsLimit => "limit of processes",
            Self::Ulimits => "ulimits",
            Self::ShmSize => "size of /dev/shm",
            Self::CapabilitySet => "set of capabilities",
            Self::SeccompDefault => "default system call filter",
            Self::SeccompFile => "system call filter from a file",
            Self::SeccompUnconfined => "no system call filter",
            Self::NoNewPrivileges => "no new privileges",
            Self::Privileged => "privileged",
            Self::EgressAllowList => "allow-list of outgoing connections",
            Self::IngressAllowList => "allow-list of incoming connections",
        }
    }
}

/// Whether a feature can be honoured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "support", rename_all = "lowercase")]
pub enum Support {
    /// It can.
    Yes,
    /// It cannot.
    No {
        /// Why, and what would change that.
        reason: String,
    },
}

/// What one configured runtime can honour. A feature that is not named is not supported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    features: BTreeMap<Feature, Support>,
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
        Self { features: features.into_iter().map(|feature| (feature, Support::Yes)).collect() }
    }

    /// The same without a feature, and why.
    #[must_use]
    pub fn without(mut self, feature: Feature, reason: impl Into<String>) -> Self {
        self.features.insert(feature, Support::No { reason: reason.into() });
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
        needs(plan)
            .into_iter()
            .filter_map(|(feature, field)| match self.features.get(&feature) {
                Some(Support::Yes) => None,
                Some(Support::No { reason }) => Some(Refusal { field, feature, reason: reason.clone() }),
                None => Some(Refusal { field, feature, reason: "not supported by this runtime".to_owned() }),
            })
            .collect()
    }
}

/// What a plan needs and the field of the component that asks for it.
pub fn needs(plan: &Plan) -> Vec<(Feature, String)> {
    let mut needs = Vec::new();
    needs_network(plan, &mut needs);
    needs_files(plan, &mut needs);
    needs_process(plan, &mut needs);
    needs_limits(plan, &mut needs);
    needs_security(plan, &mut needs);
    needs
}

type Needs = Vec<(Feature, String)>;

fn need(needs: &mut Needs, when: bool, feature: Feature, field: &str) {
    if when {
        needs.push((feature, field.to_owned()));
    }
}

fn needs_network(plan: &Plan, needs: &mut Needs) {
    for (at, port) in plan.ports.iter().enumerate() {
        let feature = match port.protocol {
            Protocol::Tcp => Feature::PublishTcp,
            Protocol::Udp => Feature::PublishUdp,
            Protocol::Sctp => Feature::PublishSctp,
        };
        let field = format!("ports[{at}]");
        need(needs, true, feature, &field);
        need(needs, port.host_ip.is_some_and(|ip| ip.is_ipv6()), Feature::PublishIpv6, &field);
    }
    let feature = match plan.network {
        PlanNetwork::None => Feature::NoNetwork,
        PlanNetwork::Host => Feature::HostNetwork,
        PlanNetwork::Bridged { .. } => Feature::BridgeNetwork,
    };
    need(needs, true, feature, "network");
    need(needs, !plan.dns.is_empty(), Feature::Dns, "dns");
    need(needs, !plan.extra_hosts.is_empty(), Feature::ExtraHosts, "extra_hosts");
    let gateway = plan.extra_hosts.iter().any(|host| host.address == HostAddress::HostGateway);
    need(needs, gateway, Feature::HostGateway, "extra_hosts");
    let listed = plan.outbound.as_ref().is_some_and(|out| !out.allow_host.is_empty() || !out.allow_port.is_empty());
    need(needs, listed, Feature::EgressAllowList, "permissions.network.outbound");
    need(needs, !plan.inbound.allow_host.is_empty(), Feature::IngressAllowList, "permissions.network.inbound");
}

fn needs_files(plan: &Plan, needs: &mut Needs) {
    for mount in &plan.mounts {
        let feature = match mount.source {
            MountSource::Volume { .. } => Feature::Volumes,
            MountSource::Bind { .. } => Feature::Binds,
            MountSource::Tmpfs { .. } => Feature::Tmpfs,
        };
        let field = format!("volumes ({})", mount.target);
        need(needs, true, feature, &field);
        let comma = matches!(&mount.source, MountSource::Bind { path, .. } if path.contains(','));
        need(needs, comma, Feature::BindsWithComma, &field);
    }
    need(needs, plan.read_only, Feature::ReadOnlyRoot, "read_only");
}

fn needs_process(plan: &Plan, needs: &mut Needs) {
    need(needs, plan.user.is_some(), Feature::User, "user");
    need(needs, plan.init, Feature::Init, "init");
    need(needs, plan.tty, Feature::Tty, "tty");
    need(needs, plan.stdin, Feature::Stdin, "stdin");
}

fn needs_limits(plan: &Plan, needs: &mut Needs) {
    need(needs, plan.resources.memory.is_some(), Feature::MemoryLimit, "memory");
    need(needs, plan.resources.cpus.is_some(), Feature::CpuLimit, "cpus");
    need(needs, plan.resources.pids.is_some(), Feature::PidsLimit, "pids");
    need(needs, plan.resources.shm_size.is_some(), Feature::ShmSize, "shm_size");
    need(needs, !plan.resources.ulimits.is_empty(), Feature::Ulimits, "ulimits");
}

fn needs_security(plan: &Plan, needs: &mut Needs) {
    let security = &plan.security;
    need(needs, security.privileged, Feature::Privileged, "permissions.privileged");
    need(needs, !security.privileged, Feature::CapabilitySet, "permissions");
    need(needs, security.no_new_privileges, Feature::NoNewPrivileges, "permissions.no_new_privileges");
    let feature = match security.seccomp {
        Seccomp::Default => Feature::SeccompDefault,
        Seccomp::Unconfined => Feature::SeccompUnconfined,
        Seccomp::File(_) => Feature::SeccompFile,
    };
    need(needs, true, feature, "permissions.seccomp");
}
