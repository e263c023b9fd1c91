//! What a plan needs of the runtime that is to run it.

use hythe_spec::{Device, HostAddress, Isolation, MountSource, Probe, Protocol, Seccomp};

use crate::{Feature, Plan, PlanNetwork, Security};

/// What a plan needs of a runtime with this isolation, and the field of the component that asks for it.
pub fn needs(plan: &Plan, isolation: Isolation) -> Vec<(Feature, String)> {
    let mut needs = Vec::new();
    needs_network(plan, &mut needs);
    needs_files(plan, &mut needs);
    needs_process(plan, &mut needs);
    needs_limits(plan, &mut needs);
    needs_security(plan, isolation, &mut needs);
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
        PlanNetwork::Networks { .. } => Feature::Networks,
    };
    need(needs, true, feature, "network");
    need(needs, !plan.dns.is_empty(), Feature::Dns, "dns");
    need(needs, !plan.dns_search.is_empty(), Feature::DnsSearch, "dns_search");
    need(needs, !plan.dns_options.is_empty(), Feature::DnsSearch, "dns_options");
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
        if let MountSource::Tmpfs { options, .. } = &mount.source {
            need(needs, options.uid.is_some() || options.gid.is_some(), Feature::TmpfsOwner, &field);
            need(needs, options.inodes.is_some(), Feature::TmpfsInodes, &field);
        }
    }
    need(needs, !plan.secrets.is_empty(), Feature::Secrets, "secrets");
    need(needs, plan.read_only, Feature::ReadOnlyRoot, "read_only");
}

fn needs_process(plan: &Plan, needs: &mut Needs) {
    need(needs, plan.user.is_some(), Feature::User, "user");
    need(needs, plan.init, Feature::Init, "init");
    need(needs, plan.tty, Feature::Tty, "tty");
    need(needs, plan.stdin, Feature::Stdin, "stdin");
    need(needs, plan.platform.is_some(), Feature::Platform, "platform");
    need(needs, plan.stop_signal.is_some(), Feature::StopSignal, "stop_signal");
    let exec_probe = plan.health.as_ref().is_some_and(|health| matches!(health.probe, Probe::Exec { .. }));
    need(needs, exec_probe, Feature::ExecProbe, "health.exec");
    need(needs, !plan.group_add.is_empty(), Feature::GroupAdd, "group_add");
    need(needs, !plan.sysctls.is_empty(), Feature::Sysctls, "sysctls");
    for device in &plan.devices {
        let field = format!("devices ({device})");
        match device {
            Device::Path { access, .. } => {
                need(needs, true, Feature::Devices, &field);
                need(needs, !(access.contains('r') && access.contains('w')), Feature::DeviceAccess, &field);
            }
            Device::Cdi { .. } => need(needs, true, Feature::CdiDevices, &field),
        }
    }
}

fn needs_limits(plan: &Plan, needs: &mut Needs) {
    need(needs, plan.resources.memory.is_some(), Feature::MemoryLimit, "memory");
    need(needs, plan.resources.cpus.is_some(), Feature::CpuLimit, "cpus");
    need(needs, plan.resources.pids.is_some(), Feature::PidsLimit, "pids");
    need(needs, plan.resources.shm_size.is_some(), Feature::ShmSize, "shm_size");
    need(needs, !plan.resources.ulimits.is_empty(), Feature::Ulimits, "ulimits");
    let logs = plan.logs.unwrap_or_default();
    need(needs, logs.max_size.is_some(), Feature::LogSize, "logs.max_size");
    need(needs, logs.max_files.is_some(), Feature::LogFiles, "logs.max_files");
}

/// A virtual machine satisfies what the standard profile is for: no capability or system call of a guest acts on the host's kernel.
/// What differs from the standard was asked for, and is needed everywhere.
fn needs_security(plan: &Plan, isolation: Isolation, needs: &mut Needs) {
    let (security, standard) = (&plan.security, Security::standard());
    let asked = |differs: bool| differs || isolation != Isolation::Vm;
    need(needs, security.privileged, Feature::Privileged, "permissions.privileged");
    let own_set = asked(security.capabilities != standard.capabilities);
    need(needs, !security.privileged && own_set, Feature::CapabilitySet, "permissions");
    let no_new = security.no_new_privileges && asked(!standard.no_new_privileges);
    need(needs, no_new, Feature::NoNewPrivileges, "permissions.no_new_privileges");
    let feature = match security.seccomp {
        Seccomp::Default => Feature::SeccompDefault,
        Seccomp::Unconfined => Feature::SeccompUnconfined,
        Seccomp::File(_) => Feature::SeccompFile,
    };
    need(needs, asked(security.seccomp != standard.seccomp), feature, "permissions.seccomp");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by it")]

    use hythe_spec::{Component, Health, OnFailure};

    use super::*;
    use crate::{Capability, Identity};

    fn plan(change: impl FnOnce(&mut Component)) -> Plan {
        let mut component = Component::new("web", "localhost/web:1".parse().unwrap());
        change(&mut component);
        let identity = Identity {
            owner: "o".to_owned(),
            service: "web".to_owned(),
            component: "web".to_owned(),
            generation: 1,
            attempt: 1,
            plan_hash: "h".to_owned(),
        };
        Plan::resolve(&std::collections::BTreeMap::new(), &component, identity)
    }

    fn refused(capability: &Capability, plan: &Plan) -> Vec<Feature> {
        capability.refusals(plan).into_iter().map(|refusal| refusal.feature).collect()
    }

    fn health(probe: Probe) -> Health {
        Health {
            probe,
            interval: hythe_spec::Millis(1000),
            timeout: hythe_spec::Millis(1000),
            retries: 1,
            start_period: hythe_spec::Millis(0),
            start_interval: None,
            on_failure: OnFailure::default(),
        }
    }

    #[test]
    fn a_virtual_machine_without_seccomp_satisfies_the_standard_profile() {
        let features = [Feature::Networks, Feature::PidsLimit];
        let (vm, container) = (Capability::of(features).isolated_by(Isolation::Vm), Capability::of(features));
        assert_eq!(refused(&vm, &plan(|_| ())), []);
        let wanted = [Feature::CapabilitySet, Feature::NoNewPrivileges, Feature::SeccompDefault];
        assert_eq!(refused(&container.isolated_by(Isolation::Container), &plan(|_| ())), wanted);
    }

    #[test]
    fn a_virtual_machine_that_cannot_do_what_was_asked_for_is_refused() {
        let vm = Capability::of([Feature::Networks]).isolated_by(Isolation::Vm);
        let own_profile = plan(|component| component.permissions.seccomp = Seccomp::File("/p.json".to_owned()));
        assert_eq!(refused(&vm, &own_profile), [Feature::SeccompFile]);
        let no_filter = plan(|component| component.permissions.seccomp = Seccomp::Unconfined);
        assert_eq!(refused(&vm, &no_filter), [Feature::SeccompUnconfined]);
        let fewer = plan(|component| component.permissions.capabilities.clear());
        assert_eq!(refused(&vm, &fewer), [Feature::CapabilitySet]);
        let privileged = plan(|component| component.permissions.privileged = true);
        assert!(refused(&vm, &privileged).contains(&Feature::Privileged));
    }

    #[test]
    fn a_health_check_by_a_command_needs_a_runtime_that_can_run_one() {
        let without = Capability::of(Feature::ALL).without(Feature::ExecProbe, "a unikernel runs one program");
        let exec = plan(|component| component.health = Some(health(Probe::Exec { command: vec!["true".to_owned()] })));
        let refusals = without.refusals(&exec);
        assert_eq!((refusals.len(), refusals[0].field.as_str()), (1, "health.exec"), "{refusals:?}");
        let tcp = plan(|component| component.health = Some(health(Probe::Tcp { port: 80 })));
        assert_eq!(refused(&without, &tcp), []);
    }

    #[test]
    fn a_stop_signal_needs_a_runtime_that_can_send_it() {
        let without = Capability::of(Feature::ALL).without(Feature::StopSignal, "the guest has a power button only");
        let quit = plan(|component| component.stop_signal = Some("QUIT".parse().unwrap()));
        assert_eq!(refused(&without, &quit), [Feature::StopSignal]);
        assert_eq!(refused(&without, &plan(|_| ())), []);
    }
}
