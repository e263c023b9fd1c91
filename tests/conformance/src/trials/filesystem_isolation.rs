//! What a workload can reach of the host by its files: devices, control groups, the kernel's file systems, volumes, mounts, and builds.

use std::path::Path;

use hythe_runtime::{ErrorKind, Feature, PlanSecret};
use hythe_spec::{BuildNetwork, ByteSize, Mount, MountSource, TmpfsOptions};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, bind_mount, volume_mount};
use crate::need::Need::{Build, Can, CopyUp, Images, Logs, NetworkedBuild, Owners, Real, Volumes};
use crate::trial::trials;
use crate::trials::build::{build, built};
use crate::trials::load::{image_archive, load};

trials! { "filesystem_isolation":
    open_of_device_from_layer_fails [Real, Images, Logs, Owners],
    open_of_made_device_fails [Real, Logs, Can(Feature::CapabilitySet)],
    write_to_cgroups_fails [Real, Logs],
    raise_of_own_limits_fails [Real, Logs, Can(Feature::MemoryLimit), Can(Feature::PidsLimit)],
    create_with_mount_on_kernel_files_is_invalid [Can(Feature::Tmpfs)],
    create_without_pids_is_limited_to_2048 [Real, Logs, Can(Feature::PidsLimit)],
    copy_up_beside_racing_links_leaves_host_alone [Real, Images, Logs, Volumes, CopyUp, Build],
    tmpfs_over_directory_has_its_mode [Real, Images, Logs, Can(Feature::Tmpfs), Build],
    bind_of_file_onto_dangling_link_is_read [Real, Images, Logs, Can(Feature::Binds), Build],
    build_by_default_has_network_of_its_own [Real, Images, NetworkedBuild, Build],
    build_with_network_host_has_the_hosts [Real, Images, Build],
    build_with_network_none_has_no_route [Real, Images, NetworkedBuild, Build],
    build_has_no_more_than_dockers_capabilities [Real, Images, Build],
}

/// A block device that this process can open, by its numbers; else the first loop device, which opens on most hosts.
fn disk() -> (u32, u32) {
    let known = std::fs::read_to_string("/proc/partitions").unwrap_or_default();
    let opens = |name: &str| std::fs::File::open(Path::new("/dev").join(name)).is_ok();
    let numbers = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, _, name] = words.as_slice() else { return None };
        opens(name).then_some((major.parse().ok()?, minor.parse().ok()?))
    };
    known.lines().find_map(numbers).unwrap_or((7, 0))
}

fn entry(layer: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, content: &[u8]) -> Outcome {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    if kind == EntryType::Block {
        let (major, minor) = disk();
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    Ok(layer.append_data(&mut header, path, content)?)
}

async fn open_of_device_from_layer_fails(fixture: &Fixture) -> Outcome {
    let busybox = std::env::var_os("HYTHE_TEST_BUSYBOX").unwrap_or_else(|| "/bin/busybox".into());
    let mut layer = Builder::new(Vec::new());
    entry(&mut layer, EntryType::Directory, "bin", &[])?;
    entry(&mut layer, EntryType::Regular, "bin/busybox", &std::fs::read(Path::new(&busybox))?)?;
    entry(&mut layer, EntryType::Block, "disk", &[])?;
    let (directory, name) = (tempfile::tempdir()?, fixture.image_name("device"));
    let path = image_archive(directory.path(), &name, layer.into_inner()?, json!({ "Cmd": ["/bin/busybox"] }))?;
    load(fixture, &path).await?;
    let mut plan = fixture.plan(&["/bin/busybox", "head", "-c", "16", "/disk"]);
    plan.image = name;
    let finished = fixture.finish(&plan).await?;
    assert_eq!((finished.code(), finished.stdout.as_str()), (1, ""), "{}", finished.stderr);
    Ok(())
}

async fn open_of_made_device_fails(fixture: &Fixture) -> Outcome {
    let (major, minor) = disk();
    let script =
        "for d in /disk /dev/disk /t/disk; do mknod $d b $0 $1; head -c 16 $d && echo opened $d; done; echo end";
    let mut plan = fixture.plan(&["sh", "-c", script, &major.to_string(), &minor.to_string()]);
    plan.security.capabilities.push("MKNOD".to_owned());
    let options = TmpfsOptions { dev: true, ..TmpfsOptions::default() };
    let source = MountSource::Tmpfs { size: None, mode: None, options };
    plan.mounts = vec![Mount { target: "/t".to_owned(), source, read_only: false }];
    let finished = fixture.finish(&plan).await?;
    assert_eq!(finished.stdout, "end\n", "{}", finished.stderr);
    Ok(())
}

async fn write_to_cgroups_fails(fixture: &Fixture) -> Outcome {
    // Where hierarchies are mounted may be a memory file system, which is nobody else's.
    let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do [ -e $d/cgroup.procs ] && mkdir $d/made 2>/dev/null && rmdir $d/made && echo made in $d; done; \
                  grep -E ' - cgroup2? ' /proc/self/mountinfo | grep -v ' ro,'; echo end";
    assert_eq!(fixture.output(&fixture.script(script)).await?, "end\n");
    Ok(())
}

async fn raise_of_own_limits_fails(fixture: &Fixture) -> Outcome {
    let script = "cd /sys/fs/cgroup; try() { [ -e $2 ] || return; (echo $1 > $2) 2>/dev/null && echo wrote $2; cat $2 2>/dev/null; }; \
                  try -1 memory/memory.limit_in_bytes; try max pids/pids.max; try max memory.max; try max pids.max; true";
    let mut plan = fixture.script(script);
    plan.resources.memory = Some(ByteSize(48 << 20));
    plan.resources.pids = Some(33);
    assert_eq!(fixture.output(&plan).await?, format!("{}\n33\n", 48 << 20));
    Ok(())
}

fn tmpfs(target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        source: MountSource::Tmpfs { size: None, mode: None, options: Default::default() },
        read_only: false,
    }
}

async fn create_with_mount_on_kernel_files_is_invalid(fixture: &Fixture) -> Outcome {
    for target in ["/proc", "/proc/sys", "/sys", "/sys/fs/cgroup", "/srv/../proc/self"] {
        let mut plan = fixture.server();
        plan.mounts = vec![tmpfs(target)];
        let error = refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::Invalid);
        assert!(error.message().contains(target), "{error}");
    }
    let mut plan = fixture.server();
    plan.secrets = vec![PlanSecret { target: "/proc/secret".to_owned(), path: "/dev/null".to_owned() }];
    refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(fixture.names().await?.is_empty());
    Ok(())
}

async fn create_without_pids_is_limited_to_2048(fixture: &Fixture) -> Outcome {
    let script = "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max";
    assert_eq!(fixture.output(&fixture.script(script)).await?, "2048\n");
    Ok(())
}

/// Another component that shares the volume puts links where the image's directories will be.
async fn copy_up_beside_racing_links_leaves_host_alone(fixture: &Fixture) -> Outcome {
    const MANY: u32 = 600;
    let make =
        format!("RUN for n in $(seq {MANY}); do mkdir -p /srv/data/d$n; echo image > /srv/data/d$n/file; done\n");
    let image = built(fixture, &make).await?;
    let victim = tempfile::tempdir()?;
    let volume = fixture.volume("data").await?;
    let link = format!("ln -s {} /data/d$n", victim.path().display());
    let script = format!(
        "echo ready; until [ \"$(ls -A /data)\" ]; do :; done; for n in $(seq {MANY} -1 1); do {link} 2>/dev/null; done"
    );
    let mut racer = fixture.script(&script);
    racer.mounts = vec![volume_mount(&volume, "/data")];
    racer.identity.component = "racer".to_owned();
    let racer = fixture.ready(&racer).await?;
    let mut plan = fixture.script("ls /srv/data | wc -l");
    plan.image = image;
    plan.mounts = vec![volume_mount(&volume, "/srv/data")];
    assert_eq!(fixture.output(&plan).await?.trim(), MANY.to_string());
    fixture.until_exited(&racer).await?;
    let written: Vec<_> = std::fs::read_dir(victim.path())?.flatten().collect();
    assert!(written.is_empty(), "the image's files are on the host: {written:?}");
    Ok(())
}

async fn tmpfs_over_directory_has_its_mode(fixture: &Fixture) -> Outcome {
    let image = built(fixture, "RUN mkdir /srv && mkdir /srv/own && chmod 750 /srv/own\n").await?;
    let mut plan = fixture.script("stat -c %a /srv/own /srv/new");
    plan.image = image;
    plan.mounts = vec![tmpfs("/srv/own"), tmpfs("/srv/new")];
    assert_eq!(fixture.output(&plan).await?, "750\n1777\n");
    Ok(())
}

async fn bind_of_file_onto_dangling_link_is_read(fixture: &Fixture) -> Outcome {
    let image = built(fixture, "RUN ln -s /usr/share/absent/zone /etc/zone\n").await?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("zone");
    std::fs::write(&path, "of the host\n")?;
    let mut plan = fixture.plan(&["cat", "/etc/zone", "/usr/share/absent/zone"]);
    plan.image = image;
    plan.mounts = vec![bind_mount(&path, "/etc/zone")];
    assert_eq!(fixture.output(&plan).await?, "of the host\nof the host\n");
    Ok(())
}

/// What a command prints that a build runs.
async fn said_by_build(fixture: &Fixture, network: BuildNetwork, command: &str) -> Outcome<String> {
    let context = tempfile::tempdir()?;
    let text = format!("FROM {}\nRUN echo said: $({command})\n", fixture.subject.image);
    let (outcome, reports) =
        build(fixture, context.path(), &fixture.image_name("says"), &text, |request| request.network = network).await;
    outcome?;
    let mut lines = reports.iter().filter_map(|report| report.status.trim().strip_prefix("said: "));
    Ok(lines.next_back().unwrap_or_default().to_owned())
}

fn own_network() -> Outcome<String> {
    Ok(std::fs::read_link("/proc/self/ns/net")?.display().to_string())
}

async fn build_by_default_has_network_of_its_own(fixture: &Fixture) -> Outcome {
    let network = said_by_build(fixture, BuildNetwork::Default, "readlink /proc/self/ns/net").await?;
    assert!(network.starts_with("net:[") && network != own_network()?, "{network}");
    Ok(())
}

async fn build_with_network_host_has_the_hosts(fixture: &Fixture) -> Outcome {
    let network = said_by_build(fixture, BuildNetwork::Host, "readlink /proc/self/ns/net").await?;
    assert_eq!(network, own_network()?);
    Ok(())
}

async fn build_with_network_none_has_no_route(fixture: &Fixture) -> Outcome {
    let lines = said_by_build(fixture, BuildNetwork::None, "wc -l < /proc/net/route").await?;
    assert_eq!(lines, "1", "there is a route beside the heading");
    Ok(())
}

/// AUDIT_WRITE, MKNOD and NET_RAW beside the standard eleven; Docker lets no build have less.
const DOCKERS: u64 = 0xa804_25fb;

async fn build_has_no_more_than_dockers_capabilities(fixture: &Fixture) -> Outcome {
    let fields = "grep -E '^(CapBnd|Seccomp):' /proc/self/status";
    let said = said_by_build(fixture, BuildNetwork::Host, fields).await?;
    let words: Vec<&str> = said.split_whitespace().collect();
    let [_, bounding, _, "2"] = words.as_slice() else { panic!("{said}") };
    assert_eq!(u64::from_str_radix(bounding, 16)? & !DOCKERS, 0, "{said}");
    Ok(())
}
