//! Groups, kernel parameters, words of the resolver, devices and the bounds of a log: what a plan grants beyond the image.

use std::collections::BTreeMap;
use std::path::Path;

use hythe_runtime::{ErrorKind, Feature, LogOptions, Plan, State};
use hythe_spec::{ByteSize, Device, LogLimits};

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, connected, words};
use crate::need::Need::{Can, Cannot, Exec, Logs, Networks, Real};
use crate::trial::trials;

trials! { "grants":
    further_groups_are_those_of_every_process [Real, Logs, Exec, Can(Feature::GroupAdd)],
    a_group_that_the_image_lacks_is_invalid [Real, Can(Feature::GroupAdd)],
    run_with_unfit_kernel_parameter_is_invalid_and_reported_once [Real, Can(Feature::Sysctls)],
    kernel_parameters_are_its_own [Real, Logs, Networks, Can(Feature::Sysctls)],
    search_domains_and_options_are_in_the_resolv_conf [Real, Logs, Networks, Can(Feature::DnsSearch)],
    a_dot_is_no_search_domain [Real, Logs, Networks, Can(Feature::DnsSearch)],
    search_domains_stand_on_the_hosts_network_too [Real, Logs, Can(Feature::DnsSearch), Can(Feature::HostNetwork)],
    a_granted_device_can_be_opened [Real, Logs, Can(Feature::Devices)],
    a_device_is_held_to_what_it_allows [Real, Logs, Can(Feature::DeviceAccess)],
    a_device_that_the_host_lacks_is_invalid [Real, Can(Feature::Devices)],
    a_log_is_held_to_its_size [Real, Logs, Can(Feature::LogSize)],
    what_is_granted_is_reported [Can(Feature::GroupAdd), Can(Feature::Sysctls), Can(Feature::DnsSearch), Can(Feature::Devices)],
    a_cdi_name_is_refused_where_it_means_nothing [Cannot(Feature::CdiDevices)],
}

/// A device that the kernel gives to nobody by itself, and that does nothing when it is opened. An unprivileged user may open hardly any of the host's, and none is
/// closed to his processes by a filter: there it is one that is open to all, in a place where there is none.
fn device(fixture: &Fixture, target: &str, access: &str) -> Outcome<Device> {
    let idle = ["/dev/fuse", "/dev/net/tun", "/dev/loop-control"];
    let there = idle.into_iter().find(|path| Path::new(path).exists());
    let path = if fixture.runtime().info().rootless { "/dev/zero" } else { there.expect("this host has one of them") };
    Ok(format!("{path}:{target}:{access}").parse()?)
}

async fn further_groups_are_those_of_every_process(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("id -G; sleep 1000");
    plan.user = Some("1000:1000".to_owned());
    plan.group_add = words(&["1001", "root"]);
    let id = fixture.run(&plan).await?;
    let has = |text: &str| {
        let groups: Vec<&str> = text.split_whitespace().collect();
        assert!(["0", "1000", "1001"].iter().all(|group| groups.contains(group)), "{groups:?}");
    };
    fixture.until_line(&id, "1001").await?;
    let lines = fixture.lines(&id, &LogOptions::default()).await?;
    has(&String::from_utf8_lossy(&lines[0].line));
    has(&fixture.exec(&id, &["id", "-G"]).await?.text());
    Ok(())
}

async fn a_group_that_the_image_lacks_is_invalid(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.group_add = words(&["nobodys"]);
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains("nobodys"), "{error}");
    assert!(!fixture.states().await?.contains(&State::Running));
    Ok(())
}

async fn kernel_parameters_are_its_own(fixture: &Fixture) -> Outcome {
    const FILE: &str = "/proc/sys/net/ipv4/tcp_fin_timeout";
    let network = fixture.network("net").await?;
    let mut plan = fixture.script(&format!("cat {FILE}"));
    plan.network = connected(&[&network], "web");
    plan.sysctls = BTreeMap::from([("net.ipv4.tcp_fin_timeout".to_owned(), "17".to_owned())]);
    assert_eq!(fixture.output(&plan).await?.trim(), "17");
    assert_ne!(std::fs::read_to_string(FILE)?.trim(), "17", "the host has its own");
    Ok(())
}

async fn run_with_unfit_kernel_parameter_is_invalid_and_reported_once(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.sysctls = BTreeMap::from([("kernel.msgmax".to_owned(), "many".to_owned())]);
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    let told = error.message();
    assert!(told.to_lowercase().matches("invalid argument").count() == 1 && error.next_step().is_some(), "{error}");
    plan.identity.attempt = 2;
    plan.sysctls = BTreeMap::from([("fs.mqueue.none".to_owned(), "1".to_owned())]);
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    let told = error.message().replace('/', ".");
    assert!(told.contains("fs.mqueue.none") && !told.contains("Nix(") && !told.contains(" { "), "{error}");
    Ok(())
}

/// The words of a line of the `resolv.conf`.
async fn resolver(fixture: &Fixture, mut plan: Plan, key: &str) -> Outcome<Vec<String>> {
    plan.command = Some(words(&["cat", "/etc/resolv.conf"]));
    let text = fixture.output(&plan).await?;
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    Ok(lines.filter(|line| line.first() == Some(&key)).flat_map(|line| words(&line[1..])).collect())
}

async fn search_domains_and_options_are_in_the_resolv_conf(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let mut plan = fixture.plan(&[]);
    plan.network = connected(&[&network], "web");
    plan.dns_search = words(&["a.example", "b.example"]);
    plan.dns_options = words(&["timeout:3", "ndots:2"]);
    assert_eq!(resolver(fixture, plan.clone(), "search").await?, ["a.example", "b.example"]);
    plan.identity.attempt = 2;
    let options = resolver(fixture, plan, "options").await?;
    assert!(["timeout:3", "ndots:2"].iter().all(|option| options.contains(&(*option).to_owned())), "{options:?}");
    assert!(!options.contains(&"ndots:0".to_owned()), "{options:?}");
    Ok(())
}

async fn a_dot_is_no_search_domain(fixture: &Fixture) -> Outcome {
    let network = fixture.network("net").await?;
    let mut plan = fixture.plan(&[]);
    plan.network = connected(&[&network], "web");
    plan.dns_search = words(&["."]);
    // Engines leave the line out, or write the dot.
    assert!(resolver(fixture, plan, "search").await?.iter().all(|domain| domain == "."));
    Ok(())
}

async fn search_domains_stand_on_the_hosts_network_too(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.network = hythe_runtime::PlanNetwork::Host;
    plan.dns_search = words(&["a.example"]);
    assert_eq!(resolver(fixture, plan, "search").await?, ["a.example"]);
    Ok(())
}

async fn a_granted_device_can_be_opened(fixture: &Fixture) -> Outcome {
    let script = "(: < /dev/some/granted) && echo opened; test -c /dev/some/granted && echo device; \
                  test -c /dev/all/tun && echo and tun";
    let mut plan = fixture.script(script);
    plan.devices = vec![device(fixture, "/dev/some/granted", "rwm")?];
    // A directory is all devices in it.
    let has_directory = Path::new("/dev/net/tun").exists();
    if has_directory {
        plan.devices.push("/dev/net:/dev/all".parse()?);
    }
    let finished = fixture.finish(&plan).await?;
    let expected = if has_directory { "opened\ndevice\nand tun\n" } else { "opened\ndevice\n" };
    assert_eq!(finished.stdout, expected, "{}", finished.stderr);
    Ok(())
}

async fn a_device_is_held_to_what_it_allows(fixture: &Fixture) -> Outcome {
    let script = "(: < /dev/granted) && echo read; (: >> /dev/granted) || echo not written";
    let mut plan = fixture.script(script);
    plan.devices = vec![device(fixture, "/dev/granted", "r")?];
    let finished = fixture.finish(&plan).await?;
    assert_eq!(finished.stdout, "read\nnot written\n", "{}", finished.stderr);
    Ok(())
}

async fn a_device_that_the_host_lacks_is_invalid(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.devices = vec!["/dev/no-such-device".parse()?];
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains("/dev/no-such-device"), "{error}");
    assert!(!fixture.states().await?.contains(&State::Running));
    Ok(())
}

async fn a_log_is_held_to_its_size(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("seq 1 20000");
    let max_files = fixture.runtime().capability().supports(Feature::LogFiles).then_some(2);
    plan.logs = Some(LogLimits { max_size: Some(ByteSize(16 << 10)), max_files });
    let id = fixture.run(&plan).await?;
    fixture.until_exited(&id).await?;
    let lines = fixture.lines(&id, &LogOptions::default()).await?;
    // A line takes at least 20 bytes of a file: its time, its stream, its text.
    assert!(!lines.is_empty() && lines.len() < 2 * (32 << 10) / 20, "{} lines are left", lines.len());
    assert_eq!(lines.last().map(|line| &line.line[..]), Some(&b"20000"[..]));
    Ok(())
}

async fn what_is_granted_is_reported(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.network = match fixture.runtime().networks() {
        Some(_) => connected(&[&fixture.network("net").await?], "web"),
        None => plan.network,
    };
    plan.group_add = words(&["1001", "root"]);
    plan.dns_search = words(&["a.example"]);
    plan.dns_options = words(&["ndots:2"]);
    plan.sysctls = BTreeMap::from([("net.ipv4.tcp_fin_timeout".to_owned(), "17".to_owned())]);
    plan.devices = vec!["/dev/full:/dev/granted:rw".parse()?];
    let seen = fixture.inspect(&fixture.create(&plan).await?).await?;
    let all = [plan.all_sysctls(fixture.runtime().info().rootless), plan.sysctls];
    assert_eq!(seen.group_add, Some(plan.group_add));
    assert_eq!((seen.dns_search, seen.dns_options), (Some(plan.dns_search), Some(plan.dns_options)));
    assert!(seen.sysctls.as_ref().is_none_or(|sysctls| all.contains(sysctls)), "{:?}", seen.sysctls);
    assert!(seen.devices.as_ref().is_none_or(|devices| *devices == plan.devices), "{:?}", seen.devices);
    Ok(())
}

async fn a_cdi_name_is_refused_where_it_means_nothing(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.devices = vec!["vendor.com/class=one".parse()?];
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Unsupported);
    assert!(error.message().contains("vendor.com/class=one"), "{error}");
    assert!(fixture.names().await?.is_empty());
    Ok(())
}
