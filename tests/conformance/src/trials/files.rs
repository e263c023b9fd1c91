//! The root file system, volumes, host paths, memory file systems.

use std::path::Path;

use hythe_runtime::{ErrorKind, Feature, Plan, State};
use hythe_spec::{ByteSize, Mount, MountSource, TmpfsOptions};

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, bind_mount, volume_mount};
use crate::need::Need::{Build, Can, Cannot, Exec, Images, Logs, Owners, Real, SharedVolumes, Snapshots, Volumes};
use crate::trial::trials;
use crate::trials::build::built;

trials! { "files":
    the_root_can_be_written_to [Logs],
    a_read_only_root_is_erofs [Logs, Can(Feature::ReadOnlyRoot)],
    mounts_stay_writable_under_a_read_only_root [Logs, Volumes, Can(Feature::ReadOnlyRoot), Can(Feature::Tmpfs)],
    tmpfs_is_empty_and_writable [Logs, Can(Feature::Tmpfs)],
    tmpfs_has_its_options [Real, Logs, Can(Feature::Tmpfs)],
    tmpfs_with_opened_protections_has_no_others [Real, Logs, Can(Feature::Tmpfs)],
    tmpfs_of_a_share_of_memory_has_that_size [Real, Logs, Can(Feature::Tmpfs)],
    tmpfs_has_its_owner [Real, Logs, Owners, Can(Feature::TmpfsOwner)],
    tmpfs_with_an_owner_is_refused [Cannot(Feature::TmpfsOwner)],
    tmpfs_holds_no_more_files_than_said [Real, Logs, Can(Feature::TmpfsInodes)],
    tmpfs_with_a_limit_of_files_is_refused [Cannot(Feature::TmpfsInodes)],
    tmpfs_over_a_file_of_the_image_is_invalid [Real, Can(Feature::Tmpfs)],
    tmpfs_is_gone_after_a_restart [Exec, Can(Feature::Tmpfs), Can(Feature::RestartInPlace)],
    a_volume_outlives_its_instance [Logs, Volumes],
    a_volume_takes_up_what_the_image_has [Logs, Volumes, Images, Build],
    a_used_volume_keeps_its_own [Logs, Volumes, Images, Build],
    a_volume_takes_up_the_owner [Real, Logs, Volumes, Images, Owners, Build],
    a_volume_can_be_read_only [Logs, Volumes],
    a_volume_of_the_image_is_no_part_of_the_root [Real, Logs, Images, Build],
    a_volume_of_the_image_goes_with_its_instance [Real, Logs, Images, Volumes, Build],
    a_volume_of_the_image_is_in_no_snapshot [Real, Logs, Images, Snapshots, Build],
    a_volume_of_the_image_gives_way_to_a_named_one [Real, Logs, Images, Volumes, Build],
    two_instances_share_a_volume [Exec, Volumes, SharedVolumes],
    a_host_directory_is_read_and_written [Logs, Can(Feature::Binds)],
    a_host_file_is_read [Logs, Can(Feature::Binds)],
    a_host_path_can_be_read_only [Logs, Can(Feature::Binds)],
    a_host_path_with_odd_characters [Logs, Can(Feature::Binds)],
    a_host_path_with_a_comma_is_mounted_or_refused_by_its_name [Logs, Can(Feature::Binds)],
    a_missing_host_path_is_refused_and_not_made [Can(Feature::Binds)],
    start_with_gone_bind_source_names_it_without_debug_output [Real, Can(Feature::Binds)],
    inspect_reports_every_mount [Volumes, Can(Feature::Binds), Can(Feature::Tmpfs)],
}

fn tmpfs(target: &str, size: Option<u64>, mode: Option<u32>) -> Mount {
    let source = MountSource::Tmpfs { size: size.map(ByteSize), mode, options: TmpfsOptions::default() };
    Mount { target: target.to_owned(), source, read_only: false }
}

fn read_only(mut mount: Mount) -> Mount {
    mount.read_only = true;
    mount
}

async fn the_root_can_be_written_to(fixture: &Fixture) -> Outcome {
    assert_eq!(fixture.output(&fixture.script("echo x > /file && cat /file")).await?, "x\n");
    Ok(())
}

async fn a_read_only_root_is_erofs(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script(
        "for d in / /tmp/ /var/ /etc/ /home/app/; do touch ${d}file; done; echo x > /dev/shm/file && cat /dev/shm/file",
    );
    plan.read_only = true;
    let finished = fixture.finish(&plan).await?;
    assert_eq!(finished.stdout, "x\n", "{}", finished.stderr);
    let refusals = finished.stderr.matches("Read-only file system").count();
    assert_eq!(refusals, 5, "{}", finished.stderr);
    assert!(finished.observed.read_only);
    Ok(())
}

async fn mounts_stay_writable_under_a_read_only_root(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("echo v > /data/file && echo t > /scratch/file && cat /data/file /scratch/file");
    plan.read_only = true;
    plan.mounts = vec![volume_mount(&volume, "/data"), tmpfs("/scratch", None, None)];
    assert_eq!(fixture.output(&plan).await?, "v\nt\n");
    Ok(())
}

async fn tmpfs_is_empty_and_writable(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("ls /etc | wc -l; echo x > /etc/file; cat /etc/file");
    plan.mounts = vec![tmpfs("/etc", None, None)];
    let output = fixture.output(&plan).await?;
    assert!(output.ends_with("x\n"), "{output}");
    // An engine may put its own few files there: hosts, hostname, resolv.conf.
    let count: u32 = output.lines().next().unwrap_or_default().trim().parse()?;
    assert!(count <= 4, "{output}");
    Ok(())
}

async fn tmpfs_has_its_options(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script(
        "grep ' /scratch ' /proc/mounts; stat -c %a /scratch; head -c 2097152 /dev/zero > /scratch/big; echo $?",
    );
    plan.mounts = vec![tmpfs("/scratch", Some(1 << 20), Some(0o750))];
    let output = fixture.output(&plan).await?;
    let options = output.lines().next().unwrap_or_default();
    for option in ["tmpfs", "nosuid", "nodev", "noexec", "size=1024k"] {
        assert!(options.contains(option), "no {option}: {options}");
    }
    assert_eq!(output.lines().nth(1), Some("750"), "{output}");
    assert_ne!(output.lines().nth(2), Some("0"), "more than its size was written");
    Ok(())
}

fn tmpfs_with(target: &str, options: TmpfsOptions) -> Mount {
    let source = MountSource::Tmpfs { size: None, mode: Some(0o755), options };
    Mount { target: target.to_owned(), source, read_only: false }
}

async fn tmpfs_with_opened_protections_has_no_others(fixture: &Fixture) -> Outcome {
    let script = "for m in /e /s /d /ro; do grep \" $m \" /proc/mounts | cut -d' ' -f4; done; \
                  cp /bin/busybox /e/echo && /e/echo executed";
    let mut plan = fixture.script(script);
    let closed = TmpfsOptions::default();
    plan.mounts = vec![
        tmpfs_with("/d", TmpfsOptions { dev: true, ..closed.clone() }),
        tmpfs_with("/e", TmpfsOptions { exec: true, ..closed.clone() }),
        read_only(tmpfs_with("/ro", TmpfsOptions { exec: true, ..closed.clone() })),
        tmpfs_with("/s", TmpfsOptions { suid: true, ..closed }),
    ];
    let output = fixture.output(&plan).await?;
    let lines: Vec<&str> = output.lines().collect();
    for (line, has) in
        [(0, ["nosuid", "nodev"]), (1, ["nodev", "noexec"]), (2, ["nosuid", "noexec"]), (3, ["ro", "nodev"])]
    {
        let options: Vec<&str> =
            lines[line].split(',').filter(|word| word.starts_with("no") || *word == "ro").collect();
        assert!(has.iter().all(|word| options.contains(word)), "{output}");
    }
    for (line, lacks) in [(0, "noexec"), (1, "nosuid"), (2, "nodev"), (3, "noexec")] {
        assert!(!lines[line].split(',').any(|word| word == lacks), "{output}");
    }
    assert_eq!(lines.last(), Some(&"executed"), "{output}");
    Ok(())
}

async fn tmpfs_of_a_share_of_memory_has_that_size(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("grep ' /t ' /proc/mounts; grep MemTotal /proc/meminfo");
    plan.mounts = vec![tmpfs_with("/t", TmpfsOptions { percent: Some(25), ..TmpfsOptions::default() })];
    let output = fixture.output(&plan).await?;
    let number = |start: &str, end: char| -> Outcome<u64> {
        let from = output.find(start).map(|at| &output[at + start.len()..]).unwrap_or_default().trim_start();
        Ok(from.split(end).next().unwrap_or_default().parse()?)
    };
    let (size, memory) = (number("size=", 'k')?, number("MemTotal:", ' ')?);
    assert!(size.abs_diff(memory / 4) <= memory / 100, "{output}");
    Ok(())
}

async fn tmpfs_has_its_owner(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("stat -c '%u:%g %a' /t; touch /t/file && echo wrote");
    plan.user = Some("1000:1000".to_owned());
    let options = TmpfsOptions { uid: Some(1000), gid: Some(7), ..TmpfsOptions::default() };
    plan.mounts = vec![tmpfs_with("/t", options)];
    assert_eq!(fixture.output(&plan).await?, "1000:7 755\nwrote\n");
    Ok(())
}

async fn tmpfs_with_an_owner_is_refused(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.mounts = vec![tmpfs_with("/t", TmpfsOptions { uid: Some(1000), ..TmpfsOptions::default() })];
    let error = refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::Unsupported);
    assert!(error.to_string().contains("/t"), "{error}");
    assert!(fixture.names().await?.is_empty());
    Ok(())
}

async fn tmpfs_holds_no_more_files_than_said(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("n=0; while [ $n -lt 50 ] && touch /t/$n 2>/dev/null; do n=$((n+1)); done; echo $n");
    plan.mounts = vec![tmpfs_with("/t", TmpfsOptions { inodes: Some(20), ..TmpfsOptions::default() })];
    let made: u64 = fixture.output(&plan).await?.trim().parse()?;
    assert!((15..=20).contains(&made), "{made}");
    Ok(())
}

async fn tmpfs_with_a_limit_of_files_is_refused(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.mounts = vec![tmpfs_with("/t", TmpfsOptions { inodes: Some(20), ..TmpfsOptions::default() })];
    refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::Unsupported);
    assert!(fixture.names().await?.is_empty());
    Ok(())
}

async fn tmpfs_over_a_file_of_the_image_is_invalid(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.mounts = vec![tmpfs("/bin/busybox", None, None)];
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains("/bin/busybox") && error.next_step().is_some(), "{error}");
    Ok(())
}

async fn tmpfs_is_gone_after_a_restart(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("trap 'exit 0' TERM; test -e /scratch/file && exit 5; touch /scratch/file; echo ready; while :; do sleep 0.1; done");
    plan.mounts = vec![tmpfs("/scratch", None, None)];
    let id = fixture.ready(&plan).await?;
    fixture.stop(&id, 5_000).await?;
    fixture.start(&id).await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(fixture.state(&id).await?, State::Running);
    Ok(())
}

async fn a_volume_outlives_its_instance(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("cat /data/file; echo more >> /data/file");
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let first = fixture.finish(&plan).await?;
    assert_eq!(first.stdout, "");
    fixture.remove(&first.observed.id).await?;
    plan.identity.attempt = 2;
    assert_eq!(fixture.output(&plan).await?, "more\n");
    Ok(())
}

const SEEDED: &str = "RUN mkdir -p /data/deep && echo seed > /data/deep/file\n";
const OWNED: &str = "RUN mkdir -p /data/deep && echo seed > /data/deep/file && chown -R 1000:1000 /data\n";

async fn a_volume_takes_up_what_the_image_has(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("cat /data/deep/file");
    plan.image = built(fixture, SEEDED).await?;
    plan.mounts = vec![volume_mount(&volume, "/data")];
    assert_eq!(fixture.output(&plan).await?, "seed\n");
    Ok(())
}

const DECLARED: &str =
    "RUN mkdir -p /data/deep && echo seed > /data/file && chmod 750 /data\nVOLUME [\"/data\", \"/none/yet/\"]\n";
const USE_DECLARED: &str = "cat /data/file; stat -c %a /data; echo more >> /data/file; touch /none/yet/file || echo closed; \
                            grep -cE ' /(data|none/yet) ' /proc/mounts";

async fn a_volume_of_the_image_is_no_part_of_the_root(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script(USE_DECLARED);
    plan.image = built(fixture, DECLARED).await?;
    plan.read_only = fixture.runtime().capability().supports(Feature::ReadOnlyRoot);
    let finished = fixture.finish(&plan).await?;
    assert_eq!(finished.stdout, "seed\n750\n2\n", "{}", finished.stderr);
    let mounts: Vec<_> =
        finished.observed.mounts.iter().map(|it| (it.target.as_str(), it.kind.as_str(), it.given)).collect();
    assert_eq!(mounts, [("/data", "volume", false), ("/none/yet", "volume", false)]);
    Ok(())
}

async fn a_volume_of_the_image_goes_with_its_instance(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script(USE_DECLARED);
    plan.image = built(fixture, DECLARED).await?;
    let first = fixture.finish(&plan).await?;
    fixture.remove(&first.observed.id).await?;
    let left = fixture.volumes().list(&fixture.cx).await?;
    let names: Vec<_> = first.observed.mounts.iter().map(|mount| &mount.source).collect();
    assert!(names.len() == 2 && left.iter().all(|volume| !names.contains(&&volume.name)), "{names:?} are left");
    // An engine's list may leave out those that have no name of a user's.
    for name in names {
        let mut user = fixture.server();
        user.identity.attempt = 3;
        user.mounts = vec![volume_mount(name, "/left")];
        refused(fixture.runtime().create(&fixture.cx, &user).await, ErrorKind::NotFound);
    }
    plan.identity.attempt = 2;
    assert_eq!(fixture.output(&plan).await?, "seed\n750\n2\n");
    Ok(())
}

async fn a_volume_of_the_image_is_in_no_snapshot(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script(&format!("{USE_DECLARED}; echo root > /of-root"));
    plan.image = built(fixture, DECLARED).await?;
    let first = fixture.finish(&plan).await?;
    let kept = fixture.image_name("kept");
    fixture.commit(&first.observed.id, &plan, &kept).await?;
    let mut again = fixture.script("cat /of-root /data/file");
    again.image = kept;
    again.identity.attempt = 2;
    assert_eq!(fixture.output(&again).await?, "root\nseed\n");
    Ok(())
}

async fn a_volume_of_the_image_gives_way_to_a_named_one(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("cat /data/file; echo more >> /data/file");
    plan.image = built(fixture, DECLARED).await?;
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let first = fixture.finish(&plan).await?;
    fixture.remove(&first.observed.id).await?;
    plan.identity.attempt = 2;
    assert_eq!(fixture.output(&plan).await?, "seed\nmore\n");
    Ok(())
}

async fn a_used_volume_keeps_its_own(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("echo own > /data/file");
    plan.mounts = vec![volume_mount(&volume, "/data")];
    fixture.output(&plan).await?;
    let mut plan = fixture.script("ls /data");
    plan.identity.attempt = 2;
    plan.image = built(fixture, SEEDED).await?;
    plan.mounts = vec![volume_mount(&volume, "/data")];
    assert_eq!(fixture.output(&plan).await?, "file\n");
    Ok(())
}

async fn a_volume_takes_up_the_owner(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("stat -c %u:%g /data /data/deep/file; touch /data/mine && echo written");
    plan.image = built(fixture, OWNED).await?;
    plan.user = Some("app".to_owned());
    plan.mounts = vec![volume_mount(&volume, "/data")];
    assert_eq!(fixture.output(&plan).await?, "1000:1000\n1000:1000\nwritten\n");
    Ok(())
}

async fn a_volume_can_be_read_only(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("touch /data/file; echo code $?");
    plan.mounts = vec![read_only(volume_mount(&volume, "/data"))];
    let finished = fixture.finish(&plan).await?;
    assert!(finished.stderr.contains("Read-only file system"), "{}", finished.stderr);
    assert_eq!(finished.stdout, "code 1\n");
    Ok(())
}

async fn two_instances_share_a_volume(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.server();
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let first = fixture.run(&plan).await?;
    plan.identity.attempt = 2;
    plan.mounts = vec![volume_mount(&volume, "/elsewhere")];
    let second = fixture.run(&plan).await?;
    fixture.exec(&first, &["sh", "-c", "echo told > /data/file"]).await?;
    assert_eq!(fixture.exec(&second, &["cat", "/elsewhere/file"]).await?.text(), "told");
    Ok(())
}

async fn a_host_directory_is_read_and_written(fixture: &Fixture) -> Outcome {
    let host = tempfile::tempdir()?;
    std::fs::write(host.path().join("in"), "from the host\n")?;
    let mut plan = fixture.script("cat /host/in; echo from inside > /host/out");
    plan.mounts = vec![bind_mount(host.path(), "/host")];
    assert_eq!(fixture.output(&plan).await?, "from the host\n");
    assert_eq!(std::fs::read_to_string(host.path().join("out"))?, "from inside\n");
    Ok(())
}

async fn a_host_file_is_read(fixture: &Fixture) -> Outcome {
    let host = tempfile::tempdir()?;
    let file = host.path().join("file");
    std::fs::write(&file, "one file\n")?;
    let mut plan = fixture.script("cat /etc/one.conf");
    plan.mounts = vec![read_only(bind_mount(&file, "/etc/one.conf"))];
    assert_eq!(fixture.output(&plan).await?, "one file\n");
    Ok(())
}

async fn a_host_path_can_be_read_only(fixture: &Fixture) -> Outcome {
    let host = tempfile::tempdir()?;
    let mut plan = fixture.script("touch /host/file; echo code $?");
    plan.mounts = vec![read_only(bind_mount(host.path(), "/host"))];
    let finished = fixture.finish(&plan).await?;
    assert!(finished.stderr.contains("Read-only file system"), "{}", finished.stderr);
    assert!(!host.path().join("file").exists());
    Ok(())
}

async fn a_host_path_with_odd_characters(fixture: &Fixture) -> Outcome {
    reads_below(fixture, "a b:c=d 'e' \u{e9}").await
}

/// An engine that takes the comma for a separator must not mount something else.
async fn a_host_path_with_a_comma_is_mounted_or_refused_by_its_name(fixture: &Fixture) -> Outcome {
    const NAME: &str = "a,b,readonly";
    let host = tempfile::tempdir()?;
    let plan = reading_below(fixture, &host, NAME)?;
    match fixture.runtime().create(&fixture.cx, &plan).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            assert!(error.message().contains(NAME), "{error}");
            assert!(fixture.names().await?.is_empty());
        }
        created => {
            created?;
            assert_eq!(fixture.output(&plan).await?, "found\n");
        }
    }
    Ok(())
}

async fn reads_below(fixture: &Fixture, name: &str) -> Outcome {
    let host = tempfile::tempdir()?;
    let plan = reading_below(fixture, &host, name)?;
    assert_eq!(fixture.output(&plan).await?, "found\n");
    Ok(())
}

/// Reads a file that says `found` in a directory of this name.
fn reading_below(fixture: &Fixture, host: &tempfile::TempDir, name: &str) -> Outcome<Plan> {
    let odd = host.path().join(name);
    std::fs::create_dir(&odd)?;
    std::fs::write(odd.join("file"), "found\n")?;
    let mut plan = fixture.script("cat /host/file");
    plan.mounts = vec![bind_mount(&odd, "/host")];
    Ok(plan)
}

async fn a_missing_host_path_is_refused_and_not_made(fixture: &Fixture) -> Outcome {
    let host = tempfile::tempdir()?;
    let missing = host.path().join("missing");
    let mut plan = fixture.server();
    plan.mounts = vec![bind_mount(&missing, "/host")];
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains(missing.to_str().unwrap()), "{error}");
    assert!(!missing.exists(), "it was made");
    assert!(!fixture.states().await?.contains(&State::Running));
    Ok(())
}

async fn start_with_gone_bind_source_names_it_without_debug_output(fixture: &Fixture) -> Outcome {
    let host = tempfile::tempdir()?;
    let gone = host.path().join("gone");
    std::fs::create_dir(&gone)?;
    let mut plan = fixture.script("true");
    plan.mounts = vec![bind_mount(&gone, "/host")];
    let id = fixture.run(&plan).await?;
    fixture.until_exited(&id).await?;
    std::fs::remove_dir(&gone)?;
    let error = fixture.runtime().start(&fixture.cx, &id.to_ref()).await.expect_err("its bind source is gone");
    let message = error.message();
    assert!(message.contains(gone.to_str().unwrap()), "{message}");
    assert!(message.len() < 500, "{message}");
    assert!(![" { ", "Some(", "Err(", "Os {"].iter().any(|shape| message.contains(shape)), "{message}");
    assert!(!gone.exists(), "it was made");
    Ok(())
}

async fn inspect_reports_every_mount(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let host = tempfile::tempdir()?;
    let mut plan = fixture.server();
    plan.mounts = vec![
        volume_mount(&volume, "/a-volume"),
        read_only(bind_mount(host.path(), "/b-bind")),
        tmpfs("/c-tmpfs", Some(1 << 20), None),
    ];
    let id = fixture.create(&plan).await?;
    let mounts = fixture.inspect(&id).await?.mounts;
    let rows: Vec<_> = mounts.iter().map(|m| (m.target.as_str(), m.kind.as_str(), m.read_only)).collect();
    assert_eq!(rows, [("/a-volume", "volume", false), ("/b-bind", "bind", true), ("/c-tmpfs", "tmpfs", false)]);
    assert_eq!(mounts[0].source, volume);
    assert_eq!(Path::new(&mounts[1].source), host.path());
    Ok(())
}
