//! Versions of an instance's files: what is in them, and what is not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use hythe_oci::{Registry, RegistryConfig, Store};
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{Filter, Identity, ImageConfig, InstanceId, Owner, Plan, SnapshotMount, State};
use hythe_spec::{ImageRef, Signal};
use tokio::sync::mpsc;

use super::build::built;
use crate::failure::{Failure, Outcome};
use crate::fixture::{Fixture, volume_mount};
use crate::need::Need::{
    Build, EngineCli, Exec, Images, Logs, Owners, Pause, Push, Real, Registry as AtRegistry, Root, SnapshotMounts,
    Snapshots, Volumes,
};
use crate::trial::trials;

trials! { "snapshots":
    a_running_one_is_kept_and_runs_on [Snapshots, Logs],
    a_stopped_one_is_kept [Snapshots, Logs],
    one_that_never_ran_is_kept [Snapshots, Logs],
    a_paused_one_is_kept_and_stays_paused [Snapshots, Logs, EngineCli, Pause],
    one_of_a_snapshot_is_kept [Snapshots, Logs],
    modes_links_and_deletions_come_back [Real, Snapshots, Logs],
    owners_come_back [Real, Snapshots, Logs, Owners],
    what_is_mounted_is_not_in_it [Snapshots, Logs, Volumes],
    settings_are_those_of_the_image [Snapshots, Images, Exec, Build],
    nothing_secret_is_in_it [Real, Snapshots, Logs, Images, AtRegistry, Push],
    its_instances_are_not_taken_for_its_origin [Snapshots, EngineCli],
    a_writer_is_frozen [Real, Snapshots, Logs, Pause],
    the_host_can_look_into_it [Real, Root, Snapshots, Logs, SnapshotMounts],
}

/// The next attempt of a plan, of another image, running this script.
fn of(fixture: &Fixture, image: &ImageRef, attempt: u32, script: &str) -> Plan {
    let mut plan = fixture.script(script);
    plan.image = image.clone();
    plan.identity.attempt = attempt;
    plan
}

/// Runs a script until it says that it is ready.
async fn ready(fixture: &Fixture, script: &str) -> Outcome<(Plan, InstanceId)> {
    let plan = fixture.script(&format!("{script}; echo ready; trap 'exit 0' TERM; while :; do sleep 0.1; done"));
    let id = fixture.ready(&plan).await?;
    Ok((plan, id))
}

async fn a_running_one_is_kept_and_runs_on(fixture: &Fixture) -> Outcome {
    let (plan, id) = ready(fixture, "echo kept > /kept").await?;
    let image = fixture.image_name("kept");
    let snapshot = fixture.commit(&id, &plan, &image).await?;
    assert_eq!((&snapshot.name, &snapshot.identity), (&image.to_string(), &plan.identity));
    assert!(snapshot.id.starts_with("sha256:") && snapshot.id.len() == 71, "{}", snapshot.id);
    assert!(snapshot.size > 0 && snapshot.created.is_some(), "{snapshot:?}");
    assert_eq!(fixture.state(&id).await?, State::Running);
    assert_eq!(fixture.output(&of(fixture, &image, 2, "cat /kept")).await?, "kept\n");
    Ok(())
}

async fn a_stopped_one_is_kept(fixture: &Fixture) -> Outcome {
    let plan = fixture.script("echo kept > /kept");
    let id = fixture.run(&plan).await?;
    fixture.until_exited(&id).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    assert_eq!(fixture.state(&id).await?, State::Exited);
    assert_eq!(fixture.output(&of(fixture, &image, 2, "cat /kept")).await?, "kept\n");
    Ok(())
}

async fn one_that_never_ran_is_kept(fixture: &Fixture) -> Outcome {
    let plan = fixture.script("echo never");
    let id = fixture.create(&plan).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    assert_eq!(fixture.state(&id).await?, State::Created);
    assert_eq!(fixture.output(&of(fixture, &image, 2, "cat /etc/group > /dev/null && echo whole")).await?, "whole\n");
    Ok(())
}

async fn a_paused_one_is_kept_and_stays_paused(fixture: &Fixture) -> Outcome {
    let (plan, id) = ready(fixture, "echo kept > /kept").await?;
    fixture.engine_cli().pause(&plan.name()).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    assert_eq!(fixture.state(&id).await?, State::Paused);
    assert_eq!(fixture.output(&of(fixture, &image, 2, "cat /kept")).await?, "kept\n");
    fixture.engine_cli().unpause(&plan.name()).await?;
    fixture.until(&id, |seen| seen.state == State::Running).await.map(drop)
}

async fn one_of_a_snapshot_is_kept(fixture: &Fixture) -> Outcome {
    let (plan, id) = ready(fixture, "echo one > /one").await?;
    let (first, second) = (fixture.image_name("first"), fixture.image_name("second"));
    fixture.commit(&id, &plan, &first).await?;
    let next = of(fixture, &first, 2, "echo two > /two");
    let id = fixture.run(&next).await?;
    fixture.until_exited(&id).await?;
    let snapshot = fixture.commit(&id, &next, &second).await?;
    assert_eq!(snapshot.identity, next.identity, "it is the later one's, not the earlier's");
    fixture.remove(&id).await?;
    fixture.snapshots().remove(&fixture.cx, &first).await?;
    assert_eq!(fixture.output(&of(fixture, &second, 3, "cat /one /two")).await?, "one\ntwo\n");
    Ok(())
}

async fn modes_links_and_deletions_come_back(fixture: &Fixture) -> Outcome {
    let make = "mkdir -p /d/e && echo x > /d/e/f && chmod 4711 /d/e/f && chmod 1777 /d && ln -s /d/e/f /link && ln /d/e/f /hard \
        && mkfifo /pipe && rm /etc/group && rm -r /home/app && mkdir /home/app && echo new > /home/app/new";
    let (plan, id) = ready(fixture, make).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let look = "stat -c %a /d/e/f; stat -c %a /d; readlink /link; [ /hard -ef /d/e/f ] && echo same; [ -p /pipe ] && echo pipe; \
        [ -e /etc/group ] || echo gone; ls -A /home/app; cat /link";
    let seen = fixture.output(&of(fixture, &image, 2, look)).await?;
    assert_eq!(seen, "4711\n1777\n/d/e/f\nsame\npipe\ngone\nnew\nx\n");
    Ok(())
}

async fn owners_come_back(fixture: &Fixture) -> Outcome {
    let (plan, id) = ready(fixture, "mkdir /d && echo x > /d/f && chown 1000:1000 /d && chown 7:8 /d/f").await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let seen = fixture.output(&of(fixture, &image, 2, "stat -c %u:%g /d /d/f")).await?;
    assert_eq!(seen, "1000:1000\n7:8\n");
    Ok(())
}

async fn what_is_mounted_is_not_in_it(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("echo private > /data/file; echo kept > /kept");
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let id = fixture.run(&plan).await?;
    fixture.until_exited(&id).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let seen = fixture.output(&of(fixture, &image, 2, "cat /kept; ls /data; true")).await?;
    assert_eq!(seen, "kept\n");
    Ok(())
}

const SECRET: &str = "s3cret-of-the-instance";

/// An instance whose every setting is another than its image's.
async fn altered(fixture: &Fixture, base: &ImageRef) -> Outcome<(Plan, InstanceId)> {
    let mut plan = fixture.server();
    plan.image = base.clone();
    let env = [("DATABASE_TOKEN", SECRET), ("KEPT", SECRET), ("PLAIN", SECRET)];
    plan.env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    plan.annotations = BTreeMap::from([("note".to_owned(), SECRET.to_owned()), ("team".to_owned(), SECRET.to_owned())]);
    plan.user = Some("root".to_owned());
    plan.workdir = Some("/tmp".to_owned());
    plan.stop_signal = Some(Signal::TERM);
    plan.entrypoint = Some(vec!["sh".to_owned()]);
    let script = plan.command.take().unwrap_or_default();
    plan.command = Some(script[1..].to_vec());
    let id = fixture.run(&plan).await?;
    Ok((plan, id))
}

const SETTINGS: &str = "ENV KEPT=\"of the image\"\nLABEL team=image\nWORKDIR /srv\nUSER app\nSTOPSIGNAL SIGINT\n\
    ENTRYPOINT [\"sleep\"]\nCMD [\"1000\"]\n";

async fn config(fixture: &Fixture, image: &ImageRef) -> Outcome<ImageConfig> {
    let config = fixture.images().get(&fixture.cx, image).await?.config;
    config.ok_or_else(|| Failure::new(format!("`{image}` has no configuration")))
}

async fn settings_are_those_of_the_image(fixture: &Fixture) -> Outcome {
    let base = built(fixture, SETTINGS).await?;
    let (plan, id) = altered(fixture, &base).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let (base, kept) = (config(fixture, &base).await?, config(fixture, &image).await?);
    let process = |config: &ImageConfig| {
        (
            config.entrypoint.clone(),
            config.command.clone(),
            config.user.clone(),
            config.workdir.clone(),
            config.stop_signal,
        )
    };
    assert_eq!(process(&kept), process(&base));
    for (key, value) in &base.env {
        assert_eq!(kept.env.get(key), Some(value), "{key}");
    }
    for key in ["DATABASE_TOKEN", "PLAIN"] {
        assert!(kept.env.get(key).is_none_or(String::is_empty), "{:?}", kept.env);
    }
    assert_eq!(kept.labels.get("team"), base.labels.get("team"));
    assert!(kept.labels.get("note").is_none_or(String::is_empty), "{:?}", kept.labels);
    assert_eq!(Identity::from_labels(&kept.labels), None);
    assert_eq!(snapshot_of(&kept.labels), Some(plan.identity.clone()));
    // One of it runs by itself, as whoever the image says.
    let mut next = of(fixture, &image, 2, "");
    next.command = None;
    let id = fixture.run(&next).await?;
    assert_eq!(fixture.state(&id).await?, State::Running);
    let seen = fixture.exec(&id, &["sh", "-c", "echo $KEPT; pwd; echo $PLAIN"]).await?;
    assert_eq!(seen.text(), "of the image\n/srv");
    Ok(())
}

/// All of an image's content, as a registry has it.
async fn nothing_secret_is_in_it(fixture: &Fixture) -> Outcome {
    let (plan, id) = altered(fixture, &fixture.subject.image.clone()).await?;
    fixture.until_line(&id, "ready").await?;
    let image = fixture.image_at(fixture.subject.registry.as_deref().unwrap_or_default(), "kept");
    fixture.commit(&id, &plan, &image).await?;
    fixture.images().push(&fixture.cx, &image, &mpsc::channel(1).0).await?;
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path())?;
    store.pull(&Registry::new(RegistryConfig::default())?, &image, |_| ()).await?;
    let mut looked = 0;
    for entry in std::fs::read_dir(directory.path().join("blobs/sha256"))? {
        let text = String::from_utf8_lossy(&std::fs::read(entry?.path())?).into_owned();
        assert!(!text.contains(SECRET), "{text}");
        looked += usize::from(text.contains("hythe.snapshot.owner"));
    }
    assert_eq!(looked, 1, "the configuration was among it");
    Ok(())
}

async fn its_instances_are_not_taken_for_its_origin(fixture: &Fixture) -> Outcome {
    let plan = fixture.script("true");
    let id = fixture.create(&plan).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let name = fixture.foreign_instance(format!("{}-foreign", fixture.service));
    fixture.engine_cli().run_foreign(&name, &image).await?;
    assert_eq!(fixture.names().await?, [plan.name()]);
    let found = fixture.runtime().list(&fixture.cx, &Filter::default()).await?;
    let foreign = found.iter().find(|row| row.name == name);
    assert_eq!(foreign.map(|row| row.identity.clone()), Some(None));
    assert_eq!(foreign.map(|row| Owner::of(&row.labels, &fixture.owner)), Some(Owner::None));
    Ok(())
}

async fn a_writer_is_frozen(fixture: &Fixture) -> Outcome {
    // Whoever copies is long in coming from the first file to the last, and both are there when
    // it is asked for.
    let script = "dd if=/dev/zero of=/m bs=1M count=96 2> /dev/null; i=0; \
        write() { i=$((i + 1)); echo $i > /n; mv /n /a; echo $i > /n; mv /n /z; }; \
        write; echo ready; while :; do write; done";
    let plan = fixture.script(script);
    let id = fixture.ready(&plan).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    assert_eq!(fixture.state(&id).await?, State::Running);
    let seen = fixture.output(&of(fixture, &image, 2, "cat /a /z")).await?;
    let numbers: Vec<u64> = seen.lines().map(str::parse).collect::<Result<_, _>>()?;
    assert!(matches!(numbers[..], [a, z] if a == z || a == z + 1), "{numbers:?}");
    Ok(())
}

async fn the_host_can_look_into_it(fixture: &Fixture) -> Outcome {
    let (plan, id) = ready(fixture, "echo kept > /kept; rm /etc/group").await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let mounts = fixture.snapshots().mounts(&fixture.cx, &image).await?;
    let [mount] = mounts.as_slice() else { panic!("{mounts:?}") };
    assert!(mount.options.iter().any(|option| option == "ro"), "{mount:?}");
    let directory = tempfile::tempdir()?;
    let seen = looked_into(mount, directory.path())?;
    assert_eq!(seen, "kept\nroot\n", "the new file, one of the image, nothing that is gone, and nobody can write");
    Ok(())
}

/// In a mount namespace of its own, so that nothing is left.
fn looked_into(mount: &SnapshotMount, at: &Path) -> Outcome<String> {
    let script = "mount -t \"$1\" -o \"$2\" \"$3\" \"$4\" && cd \"$4\" && cat kept && grep -o ^root etc/passwd | head -n 1 \
        && [ ! -e etc/group ] && ! touch new 2> /dev/null";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", &mount.kind, &mount.options.join(","), &mount.source])
        .arg(at)
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::new(format!("{mount:?}: {}", String::from_utf8_lossy(&output.stderr))))
}
