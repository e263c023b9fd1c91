//! What containers and builds can reach of the host by devices, control groups and the network; on control groups of version 2 alone as well, which a
//! private mount namespace shows on any host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use hythe_runtime::{BuildRequest, Images, Plan, Progress};
use hythe_spec::{BuildNetwork, ImageRef};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};

use crate::Named;
use crate::harness::{Harness, busybox};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("device_on_unified_cgroups_is_denied", denied_on_unified),
        ("device_on_this_hosts_cgroups_is_denied", denied_here),
        ("container_has_own_group_in_every_hierarchy", own_groups),
        ("image_of_300_layers_runs", many_layers),
        ("image_of_510_layers_names_the_limit", too_many_layers),
        ("build_runs_with_default_permissions_and_own_network", builds),
        ("network_of_unfinished_build_is_swept_on_connect", sweeps),
    ]
}

/// The image of many layers.
const MANY: &str = "localhost/many:1";

/// The word that makes this program one with nothing but version 2 of control groups.
const UNIFIED: &str = "unified";

/// That program, where this is it.
pub(crate) fn unified() -> Option<ExitCode> {
    if std::env::args().nth(1).as_deref() != Some(UNIFIED) {
        return None;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
    while unmount("/sys/fs/cgroup", UnmountFlags::DETACH).is_ok() {}
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), None).unwrap();
    devices_are_denied();
    Some(ExitCode::SUCCESS)
}

fn denied_on_unified() {
    let output = Command::new("/proc/self/exe").arg(UNIFIED).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn denied_here() {
    devices_are_denied();
}

/// A block device that this process can open, by its numbers.
fn disk() -> (u32, u32) {
    let known = std::fs::read_to_string("/proc/partitions").unwrap();
    let opens = |name: &str| std::fs::File::open(Path::new("/dev").join(name)).is_ok();
    let numbers = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, _, name] = words.as_slice() else { return None };
        opens(name).then_some((major.parse().ok()?, minor.parse().ok()?))
    };
    // The first loop device stands for them, where nothing is attached to it too.
    known.lines().find_map(numbers).unwrap_or((7, 0))
}

fn devices_are_denied() {
    let harness = Harness::new();
    let (major, minor) = disk();
    // `/dev` is where a device may be a device: there nothing but the filter stands between.
    let script = format!(
        "for d in /disk /dev/disk; do /bin/busybox mknod $d b {major} {minor}; head -c 1 $d >/bytes 2>/error && echo opened; cat /error; done; \
         echo x >/dev/null && head -c 1 /dev/zero >/bytes && echo usual"
    );
    let mut plan = harness.plan(1, &script);
    plan.security.capabilities.push("MKNOD".to_owned());
    let id = harness.run(&plan);
    harness.until_exited(&id);
    let expected = ["head: /disk: Permission denied", "head: /dev/disk: Operation not permitted", "usual"];
    assert_eq!(harness.lines(&id), expected);
    harness.end();
}

fn own_groups() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, "cat /proc/self/cgroup; echo ready; sleep 100"));
    let pid = harness.inspect(&id).pid.unwrap();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = format!("/hythe-{}", id.0);
    let others: Vec<&str> = groups.lines().filter(|line| !line.ends_with(&own)).collect();
    assert!(others.is_empty(), "{others:?}");
    harness.end();
}

/// An archive of an image of as many layers.
fn many(harness: &Harness, count: usize) -> PathBuf {
    let archive = harness.root.with_file_name("many.tar");
    crate::image::write_many(&busybox(), MANY, &archive, count);
    archive
}

fn many_layers() {
    let harness = Harness::new();
    harness.load(&many(&harness, 300));
    let plan = Plan { image: MANY.parse::<ImageRef>().unwrap(), ..harness.plan(1, "cat /1 && echo && cat /299") };
    let id = harness.run(&plan);
    harness.until_exited(&id);
    assert_eq!(harness.lines(&id), ["1", "299"]);
    harness.end();
}

fn too_many_layers() {
    let harness = Harness::new();
    let error = harness.try_load(&many(&harness, 510)).unwrap_err();
    assert!(error.message().contains("510 layers") && error.message().contains("500"), "{error}");
    harness.end();
}

/// Lines that a build's command printed.
fn build(harness: &Harness, network: BuildNetwork, command: &str) -> Vec<String> {
    let context = harness.root.with_file_name("context");
    std::fs::create_dir_all(&context).unwrap();
    let dockerfile = context.join("Dockerfile");
    std::fs::write(&dockerfile, format!("FROM localhost/shim-test:1\nRUN {command}\n")).unwrap();
    let image: ImageRef = "localhost/built:1".parse().unwrap();
    let (args, labels) = (BTreeMap::new(), BTreeMap::new());
    let request = BuildRequest { image, context, dockerfile, args, labels, no_cache: true, network };
    let (progress, mut reports) = tokio::sync::mpsc::channel::<Progress>(1000);
    harness.wait(harness.embedded.build(&harness.cx, &request, &progress)).unwrap();
    drop(progress);
    std::iter::from_fn(|| reports.try_recv().ok()).map(|report| report.status).collect()
}

fn builds() {
    let harness = Harness::new();
    let lines =
        build(&harness, BuildNetwork::Default, "cat /proc/self/status; /bin/busybox readlink /proc/self/ns/net");
    let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(field("CapBnd:"), Some("00000000800405fb"));
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (Some("1"), Some("2")));
    let here = std::fs::read_link("/proc/self/ns/net").unwrap();
    let network = lines.iter().find(|line| line.starts_with("net:[")).unwrap();
    assert_ne!(Path::new(network), here);
    if hythe_network::supported().is_ok() {
        let lines = build(&harness, BuildNetwork::Default, "/bin/busybox ip route");
        assert!(lines.iter().any(|line| line.starts_with("default via")), "{lines:?}");
    }
    assert!(networks(&harness).is_empty());
    harness.end();
}

fn networks(harness: &Harness) -> Vec<String> {
    let networks = hythe_runtime::Runtime::networks(&harness.embedded).unwrap();
    harness.wait(networks.list(&harness.cx)).unwrap().into_iter().map(|network| network.name).collect()
}

fn sweeps() {
    if hythe_network::supported().is_err() {
        return;
    }
    let mut harness = Harness::new();
    let ensure = |name: &str| {
        let spec =
            hythe_runtime::NetworkSpec { name: name.to_owned(), labels: crate::harness::owned(), internal: false };
        harness.wait(hythe_runtime::Networks::ensure(&harness.embedded, &harness.cx, &spec)).unwrap();
    };
    ensure("hythe-build-dead");
    ensure("another");
    harness.again();
    assert_eq!(networks(&harness), ["another"]);
    harness.end();
}
