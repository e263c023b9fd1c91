//! What the process may do, as the kernel says.

use hythe_runtime::{ErrorKind, Feature, Plan};
use hythe_spec::Seccomp;

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, Cannot, Logs, Real};
use crate::trial::trials;

trials! { "security":
    the_standard_capabilities_are_eleven [Real, Logs, Can(Feature::CapabilitySet)],
    no_capability_is_none [Real, Logs, Can(Feature::CapabilitySet)],
    an_added_capability_is_there_and_no_other [Real, Logs, Can(Feature::CapabilitySet)],
    an_unprivileged_user_has_none [Real, Logs, Can(Feature::User)],
    the_system_call_filter_is_on [Real, Logs, Can(Feature::SeccompDefault)],
    the_system_call_filter_can_be_off [Real, Logs, Can(Feature::SeccompUnconfined)],
    the_system_call_filter_can_be_a_file [Real, Logs, Can(Feature::SeccompFile)],
    no_new_privileges_is_on [Real, Logs, Can(Feature::NoNewPrivileges)],
    no_new_privileges_can_be_off [Real, Logs],
    kernel_files_are_masked [Real, Logs],
    devices_of_the_host_are_not_there [Real, Logs],
    namespaces_are_its_own [Real, Logs],
    privileged_is_refused_unless_allowed [Cannot(Feature::Privileged)],
}

async fn status(fixture: &Fixture, mut plan: Plan, field: &str) -> Outcome<String> {
    let script = format!("grep '^{field}:' /proc/self/status");
    plan.command = Some(vec!["sh".to_owned(), "-c".to_owned(), script]);
    let line = fixture.output(&plan).await?;
    Ok(line.split_whitespace().nth(1).unwrap_or_default().to_owned())
}

async fn capabilities(fixture: &Fixture, plan: Plan, field: &str) -> Outcome<u64> {
    Ok(u64::from_str_radix(&status(fixture, plan, field).await?, 16)?)
}

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP.
const STANDARD: u64 = 0x8004_05fb;

async fn the_standard_capabilities_are_eleven(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    assert_eq!(capabilities(fixture, plan.clone(), "CapEff").await?, STANDARD);
    plan.identity.attempt = 2;
    assert_eq!(capabilities(fixture, plan, "CapBnd").await?, STANDARD);
    Ok(())
}

async fn no_capability_is_none(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.security.capabilities.clear();
    for (attempt, field) in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"].into_iter().enumerate() {
        plan.identity.attempt = u32::try_from(attempt)? + 1;
        assert_eq!(capabilities(fixture, plan.clone(), field).await?, 0, "{field}");
    }
    Ok(())
}

async fn an_added_capability_is_there_and_no_other(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.security.capabilities = vec!["NET_RAW".to_owned()];
    assert_eq!(capabilities(fixture, plan, "CapEff").await?, 1 << 13);
    Ok(())
}

async fn an_unprivileged_user_has_none(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.user = Some("app".to_owned());
    assert_eq!(capabilities(fixture, plan, "CapEff").await?, 0);
    Ok(())
}

async fn the_system_call_filter_is_on(fixture: &Fixture) -> Outcome {
    assert_eq!(status(fixture, fixture.plan(&[]), "Seccomp").await?, "2");
    Ok(())
}

async fn the_system_call_filter_can_be_off(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.security.seccomp = Seccomp::Unconfined;
    assert_eq!(status(fixture, plan, "Seccomp").await?, "0");
    Ok(())
}

async fn the_system_call_filter_can_be_a_file(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("filter.json");
    let filter = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(&path, filter)?;
    let mut plan = fixture.script("mkdir /made; echo code $?; test -d /made || echo absent");
    plan.security.seccomp = Seccomp::File(path.to_str().unwrap().to_owned());
    let finished = fixture.finish(&plan).await?;
    assert_eq!(finished.stdout, "code 1\nabsent\n", "{}", finished.stderr);
    Ok(())
}

async fn no_new_privileges_is_on(fixture: &Fixture) -> Outcome {
    assert_eq!(status(fixture, fixture.plan(&[]), "NoNewPrivs").await?, "1");
    Ok(())
}

async fn no_new_privileges_can_be_off(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.security.no_new_privileges = false;
    assert_eq!(status(fixture, plan, "NoNewPrivs").await?, "0");
    Ok(())
}

async fn kernel_files_are_masked(fixture: &Fixture) -> Outcome {
    let script = "head -c 1 /proc/kcore 2>/dev/null | wc -c; head -c 1 /proc/keys 2>/dev/null | wc -c; \
                  ls /sys/firmware | wc -l; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null || echo refused; \
                  (echo b > /proc/sysrq-trigger) 2>/dev/null || echo refused";
    let output = fixture.output(&fixture.script(script)).await?;
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    assert_eq!(lines, ["0", "0", "0", "refused", "refused"]);
    Ok(())
}

async fn devices_of_the_host_are_not_there(fixture: &Fixture) -> Outcome {
    let script = "for d in /dev/mem /dev/kmsg /dev/kvm /dev/fuse /dev/sda /dev/vda; do test -e $d && echo $d; done; test -c /dev/null && echo null";
    assert_eq!(fixture.output(&fixture.script(script)).await?, "null\n");
    Ok(())
}

async fn namespaces_are_its_own(fixture: &Fixture) -> Outcome {
    let script = "for n in pid mnt uts ipc net; do readlink /proc/self/ns/$n; done";
    let inside = fixture.output(&fixture.script(script)).await?;
    for (name, inside) in ["pid", "mnt", "uts", "ipc", "net"].into_iter().zip(inside.lines()) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}"))?;
        assert_ne!(ours.to_str(), Some(inside), "{name}");
    }
    Ok(())
}

async fn privileged_is_refused_unless_allowed(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.security.privileged = true;
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Unsupported);
    assert!(error.message().contains("permissions.privileged"), "{error}");
    assert!(fixture.names().await?.is_empty());
    Ok(())
}
