//! The root file system, volumes, host paths, memory file systems.

use std::path::Path;

use hythe_runtime::{ErrorKind, Feature, State};
use hythe_spec::{ByteSize, Mount, MountSource};

use crate::failure::{Outcome, refused};
use crate::need::Need::{Can, Cannot, Exec, Images, Logs, Owners, Real, Volumes};
use crate::scene::{Scene, bind_mount, volume_mount};
use crate::trial::trials;
use crate::trials::build::built;

trials! { "files":
    the_root_can_be_written_to [Logs],
    a_read_only_root_is_erofs [Logs, Can(Feature::ReadOnlyRoot)],
    mounts_stay_writable_under_a_read_only_root [Logs, Volumes, Can(Feature::ReadOnlyRoot), Can(Feature::Tmpfs)],
    tmpfs_is_empty_and_writable [Logs, Can(Feature::Tmpfs)],
    tmpfs_has_its_options [Real, Logs, Can(Feature::Tmpfs)],
    tmpfs_is_gone_after_a_restart [Exec, Can(Feature::Tmpfs)],
    a_volume_outlives_its_instance [Logs, Volumes],
    a_volume_takes_up_what_the_image_has [Logs, Volumes, Images],
    a_used_volume_keeps_its_own [Logs, Volumes, Images],
    a_volume_takes_up_the_owner [Real, Logs, Volumes, Images, Owners],
    a_volume_can_be_read_only [Logs, Volumes],
    two_instances_share_a_volume [Exec, Volumes],
    a_host_directory_is_read_and_written [Logs, Can(Feature::Binds)],
    a_host_file_is_read [Logs, Can(Feature::Binds)],
    a_host_path_can_be_read_only [Logs, Can(Feature::Binds)],
    a_host_path_with_odd_characters [Logs, Can(Feature::Binds)],
    a_host_path_with_a_comma [Logs, Can(Feature::BindsWithComma)],
    a_host_path_with_a_comma_is_refused [Cannot(Feature::BindsWithComma)],
    a_missing_host_path_is_refused_and_not_made [Can(Feature::Binds)],
    inspect_tells_every_mount [Volumes, Can(Feature::Binds), Can(Feature::Tmpfs)],
}

fn tmpfs(target: &str, size: Option<u64>, mode: Option<u32>) -> Mount {
    let source = MountSource::Tmpfs { size: size.map(ByteSize), mode };
    Mount { target: target.to_owned(), source, read_only: false }
}

fn read_only(mut mount: Mount) -> Mount {
    mount.read_only = true;
    mount
}

async fn the_root_can_be_written_to(scene: &Scene) -> Outcome {
    assert_eq!(scene.output(&scene.script("echo x > /file && cat /file")).await?, "x\n");
    Ok(())
}

async fn a_read_only_root_is_erofs(scene: &Scene) -> Outcome {
    let mut plan = scene.script(
        "for d in / /tmp/ /var/ /etc/ /home/app/; do touch ${d}file; done; echo x > /dev/shm/file && cat /dev/shm/file",
    );
    plan.read_only = true;
    let finished = scene.finish(&plan).await?;
    assert_eq!(finished.stdout, "x\n", "{}", finished.stderr);
    let refusals = finished.stderr.matches("Read-only file system").count();
    assert_eq!(refusals, 5, "{}", finished.stderr);
    assert!(finished.observed.read_only);
    Ok(())
}

async fn mounts_stay_writable_under_a_read_only_root(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let mut plan = scene.script("echo v > /data/file && echo t > /scratch/file && cat /data/file /scratch/file");
    plan.read_only = true;
    plan.mounts = vec![volume_mount(&volume, "/data"), tmpfs("/scratch", None, None)];
    assert_eq!(scene.output(&plan).await?, "v\nt\n");
    Ok(())
}

async fn tmpfs_is_empty_and_writable(scene: &Scene) -> Outcome {
    let mut plan = scene.script("ls /etc | wc -l; echo x > /etc/file; cat /etc/file");
    plan.mounts = vec![tmpfs("/etc", None, None)];
    let output = scene.output(&plan).await?;
    assert!(output.ends_with("x\n"), "{output}");
    // An engine may put its own few files there: hosts, hostname, resolv.conf.
    let count: u32 = output.lines().next().unwrap_or_default().trim().parse()?;
    assert!(count <= 4, "{output}");
    Ok(())
}

async fn tmpfs_has_its_options(scene: &Scene) -> Outcome {
    let mut plan = scene.script(
        "grep ' /scratch ' /proc/mounts; stat -c %a /scratch; head -c 2097152 /dev/zero > /scratch/big; echo $?",
    );
    plan.mounts = vec![tmpfs("/scratch", Some(1 << 20), Some(0o750))];
    let output = scene.output(&plan).await?;
    let options = output.lines().next().unwrap_or_default();
    for option in ["tmpfs", "nosuid", "nodev", "noexec", "size=1024k"] {
        assert!(options.contains(option), "no {option}: {options}");
    }
    assert_eq!(output.lines().nth(1), Some("750"), "{output}");
    assert_ne!(output.lines().nth(2), Some("0"), "more than its size was written");
    Ok(())
}

async fn tmpfs_is_gone_after_a_restart(scene: &Scene) -> Outcome {
    let mut plan = scene.script("trap 'exit 0' TERM; test -e /scratch/file && exit 5; touch /scratch/file; echo ready; while :; do sleep 0.1; done");
    plan.mounts = vec![tmpfs("/scratch", None, None)];
    let id = scene.ready(&plan).await?;
    scene.stop(&id, 5_000).await?;
    scene.start(&id).await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(scene.state(&id).await?, State::Running);
    Ok(())
}

async fn a_volume_outlives_its_instance(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let mut plan = scene.script("cat /data/file; echo more >> /data/file");
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let first = scene.finish(&plan).await?;
    assert_eq!(first.stdout, "");
    scene.remove(&first.observed.id).await?;
    plan.identity.attempt = 2;
    assert_eq!(scene.output(&plan).await?, "more\n");
    Ok(())
}

const SEEDED: &str = "RUN mkdir -p /data/deep && echo seed > /data/deep/file\n";
const OWNED: &str = "RUN mkdir -p /data/deep && echo seed > /data/deep/file && chown -R 1000:1000 /data\n";

async fn a_volume_takes_up_what_the_image_has(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let mut plan = scene.script("cat /data/deep/file");
    plan.image = built(scene, SEEDED).await?;
    plan.mounts = vec![volume_mount(&volume, "/data")];
    assert_eq!(scene.output(&plan).await?, "seed\n");
    Ok(())
}

async fn a_used_volume_keeps_its_own(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let mut plan = scene.script("echo own > /data/file");
    plan.mounts = vec![volume_mount(&volume, "/data")];
    scene.output(&plan).await?;
    let mut plan = scene.script("ls /data");
    plan.identity.attempt = 2;
    plan.image = built(scene, SEEDED).await?;
    plan.mounts = vec![volume_mount(&volume, "/data")];
    assert_eq!(scene.output(&plan).await?, "file\n");
    Ok(())
}

async fn a_volume_takes_up_the_owner(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let mut plan = scene.script("stat -c %u:%g /data /data/deep/file; touch /data/mine && echo written");
    plan.image = built(scene, OWNED).await?;
    plan.user = Some("app".to_owned());
    plan.mounts = vec![volume_mount(&volume, "/data")];
    assert_eq!(scene.output(&plan).await?, "1000:1000\n1000:1000\nwritten\n");
    Ok(())
}

async fn a_volume_can_be_read_only(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let mut plan = scene.script("touch /data/file; echo code $?");
    plan.mounts = vec![read_only(volume_mount(&volume, "/data"))];
    let finished = scene.finish(&plan).await?;
    assert!(finished.stderr.contains("Read-only file system"), "{}", finished.stderr);
    assert_eq!(finished.stdout, "code 1\n");
    Ok(())
}

async fn two_instances_share_a_volume(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let mut plan = scene.server();
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let first = scene.run(&plan).await?;
    plan.identity.attempt = 2;
    plan.mounts = vec![volume_mount(&volume, "/elsewhere")];
    let second = scene.run(&plan).await?;
    scene.exec(&first, &["sh", "-c", "echo told > /data/file"]).await?;
    assert_eq!(scene.exec(&second, &["cat", "/elsewhere/file"]).await?.text(), "told");
    Ok(())
}

async fn a_host_directory_is_read_and_written(scene: &Scene) -> Outcome {
    let host = tempfile::tempdir()?;
    std::fs::write(host.path().join("in"), "from the host\n")?;
    let mut plan = scene.script("cat /host/in; echo from inside > /host/out");
    plan.mounts = vec![bind_mount(host.path(), "/host")];
    assert_eq!(scene.output(&plan).await?, "from the host\n");
    assert_eq!(std::fs::read_to_string(host.path().join("out"))?, "from inside\n");
    Ok(())
}

async fn a_host_file_is_read(scene: &Scene) -> Outcome {
    let host = tempfile::tempdir()?;
    let file = host.path().join("file");
    std::fs::write(&file, "one file\n")?;
    let mut plan = scene.script("cat /etc/one.conf");
    plan.mounts = vec![read_only(bind_mount(&file, "/etc/one.conf"))];
    assert_eq!(scene.output(&plan).await?, "one file\n");
    Ok(())
}

async fn a_host_path_can_be_read_only(scene: &Scene) -> Outcome {
    let host = tempfile::tempdir()?;
    let mut plan = scene.script("touch /host/file; echo code $?");
    plan.mounts = vec![read_only(bind_mount(host.path(), "/host"))];
    let finished = scene.finish(&plan).await?;
    assert!(finished.stderr.contains("Read-only file system"), "{}", finished.stderr);
    assert!(!host.path().join("file").exists());
    Ok(())
}

async fn a_host_path_with_odd_characters(scene: &Scene) -> Outcome {
    reads_below(scene, "a b:c=d 'e' \u{e9}").await
}

async fn a_host_path_with_a_comma(scene: &Scene) -> Outcome {
    reads_below(scene, "a,b,readonly").await
}

async fn reads_below(scene: &Scene, name: &str) -> Outcome {
    let host = tempfile::tempdir()?;
    let odd = host.path().join(name);
    std::fs::create_dir(&odd)?;
    std::fs::write(odd.join("file"), "found\n")?;
    let mut plan = scene.script("cat /host/file");
    plan.mounts = vec![bind_mount(&odd, "/host")];
    assert_eq!(scene.output(&plan).await?, "found\n");
    Ok(())
}

async fn a_host_path_with_a_comma_is_refused(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.mounts = vec![bind_mount(std::path::Path::new("/tmp/a,b"), "/host")];
    let error = refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::Unsupported);
    assert!(error.message().contains("volumes"), "{error}");
    Ok(())
}

async fn a_missing_host_path_is_refused_and_not_made(scene: &Scene) -> Outcome {
    let host = tempfile::tempdir()?;
    let missing = host.path().join("missing");
    let mut plan = scene.server();
    plan.mounts = vec![bind_mount(&missing, "/host")];
    let error = refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains(missing.to_str().unwrap()), "{error}");
    assert!(!missing.exists(), "it was made");
    assert!(!scene.states().await?.contains(&State::Running));
    Ok(())
}

async fn inspect_tells_every_mount(scene: &Scene) -> Outcome {
    let volume = scene.volume("data").await?;
    let host = tempfile::tempdir()?;
    let mut plan = scene.server();
    plan.mounts = vec![
        volume_mount(&volume, "/a-volume"),
        read_only(bind_mount(host.path(), "/b-bind")),
        tmpfs("/c-tmpfs", Some(1 << 20), None),
    ];
    let id = scene.create(&plan).await?;
    let mounts = scene.inspect(&id).await?.mounts;
    let rows: Vec<_> = mounts.iter().map(|m| (m.target.as_str(), m.kind.as_str(), m.read_only)).collect();
    assert_eq!(rows, [("/a-volume", "volume", false), ("/b-bind", "bind", true), ("/c-tmpfs", "tmpfs", false)]);
    assert_eq!(mounts[0].source, volume);
    assert_eq!(Path::new(&mounts[1].source), host.path());
    Ok(())
}
