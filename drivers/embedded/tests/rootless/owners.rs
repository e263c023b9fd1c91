//! A user with other ids: files and processes inside are of whom they say they are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hythe_driver_embedded::Config;
use hythe_host_leaks::unprivileged::{IDS, NAME, USER};
use hythe_runtime::{ErrorKind, Images, PlanNetwork, Runtime, SnapshotRequest, VolumeSpec, Volumes};
use hythe_shim::Mapping;
use hythe_spec::{Mount, MountSource};

use crate::harness::{self, Harness};
use crate::trials::{SERVER, exec, uids};
use crate::{image, outside};

pub(crate) const TRIALS: &[crate::Named] = &[
    ("files_belong_to_whom_they_are_given", files_belong_to_whom_they_are_given),
    ("an_image_keeps_its_owners", an_image_keeps_its_owners),
    ("a_volume_takes_up_owners_and_is_removed", a_volume_takes_up_owners),
    ("a_snapshot_keeps_owners", a_snapshot_keeps_owners),
    ("an_owner_beyond_all_ids_is_told", an_owner_beyond_all_ids),
    ("users_inside_are_apart", users_inside_are_apart),
    ("a_root_keeps_the_ids_it_was_made_with", a_root_keeps_its_ids),
    ("what_a_killed_process_left_is_removed", what_a_killed_process_left),
    ("ids_that_are_refused_are_done_without_from_the_beginning_or_not_at_all", ids_that_are_refused),
];

const IMAGE: &str = "localhost/owned:1";
const ABOUT: &str = "busybox stat -c '%n %a %u:%g' /srv /srv/secret /srv/tool; busybox id -G";

fn files_belong_to_whom_they_are_given() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    let script = "echo x > /file && busybox chown 1000:50 /file && busybox stat -c %u:%g /file && busybox id -G";
    assert_eq!(exec(&harness, &id, None, script), ("1000:50\n0\n".to_owned(), 0));
    let about = fs::metadata(harness.directory(&id).upper().join("file")).unwrap();
    assert_eq!((about.uid(), about.gid()), (IDS[0].0 + 999, IDS[1].0 + 49));
    // Closed to the user outside, and gone nevertheless.
    let script = "busybox mkdir -p /shut/in && echo x > /shut/in/file && busybox chown -R 7:7 /shut && busybox chmod 700 /shut /shut/in && busybox chown 7:7 /";
    assert_eq!(exec(&harness, &id, None, script).1, 0);
    assert!(fs::read_dir(harness.directory(&id).upper().join("shut")).is_err());
    harness.end();
    assert_eq!(fs::read_dir(harness.root.join("trash")).unwrap().count(), 0);
}

/// An image with files of others, loaded.
fn owned(harness: &Harness) {
    let archive = harness.root.with_file_name("owned.tar");
    let files = [("srv/", 0o700, 70, 71), ("srv/secret", 0o600, 70, 71), ("srv/tool", 0o4755, 0, 5)];
    image::write_with(&harness::busybox(), IMAGE, &archive, &files);
    harness.load(&archive);
}

const OWNED: [&str; 3] = ["/srv 700 70:71", "/srv/secret 600 70:71", "/srv/tool 4755 0:5"];

fn an_image_keeps_its_owners() {
    let harness = Harness::new();
    owned(&harness);
    let mut plan = harness.plan(1, ABOUT);
    plan.image = IMAGE.parse().unwrap();
    let id = harness.run(&plan);
    harness.until_exited(&id);
    assert_eq!(harness.lines(&id)[..3], OWNED);
    assert_eq!(harness.lines(&id)[3], "0");
    harness.end();
    for name in [IMAGE, "localhost/shim-test:1"] {
        harness.wait(Images::remove(&harness.embedded, &harness.cx, &name.parse().unwrap())).unwrap();
    }
    assert_eq!(fs::read_dir(harness.root.join("images/layers")).unwrap().count(), 0);
    let session = fs::read_dir(harness.root.join("images/tmp")).unwrap().flatten().find(|entry| entry.path().is_dir());
    assert_eq!(fs::read_dir(session.unwrap().path()).unwrap().count(), 0, "layers are left where they were put away");
}

fn a_volume_takes_up_owners() {
    let harness = Harness::new();
    owned(&harness);
    let spec = VolumeSpec { name: "data".to_owned(), labels: [("hythe.owner".to_owned(), "me".to_owned())].into() };
    harness.wait(Volumes::ensure(&harness.embedded, &harness.cx, &spec)).unwrap();
    let mut plan = harness.plan(1, ABOUT);
    plan.image = IMAGE.parse().unwrap();
    let source = MountSource::Volume { name: "data".to_owned(), external: false };
    plan.mounts = vec![Mount { target: "/srv".to_owned(), source, read_only: false }];
    let id = harness.run(&plan);
    harness.until_exited(&id);
    assert_eq!(harness.lines(&id)[..3], OWNED);
    harness.remove(&id);
    harness.wait(Volumes::remove(&harness.embedded, &harness.cx, "data", "me")).unwrap();
    harness.end();
    assert_eq!(fs::read_dir(harness.root.join("trash")).unwrap().count(), 0);
}

fn a_snapshot_keeps_owners() {
    let harness = Harness::new();
    let made = "busybox mkdir /srv && echo x > /srv/secret && echo x > /srv/tool && busybox chown 0:5 /srv/tool && busybox chmod 4755 /srv/tool && busybox chmod 600 /srv/secret && busybox chown 70:71 /srv /srv/secret && busybox chmod 700 /srv";
    let id = harness.run(&harness.plan(1, made));
    assert_eq!(harness.until_exited(&id).exit.unwrap().code, Some(0));
    let image: hythe_spec::ImageRef = "localhost/kept:1".parse().unwrap();
    let request = SnapshotRequest { image: image.clone(), identity: harness.plan(1, "").identity };
    harness.wait(harness.embedded.snapshots().unwrap().commit(&harness.cx, &id.to_ref(), &request)).unwrap();
    let mut plan = harness.plan(2, ABOUT);
    plan.image = image.clone();
    let next = harness.run(&plan);
    harness.until_exited(&next);
    assert_eq!(harness.lines(&next)[..3], OWNED);
    harness.end();
    harness.wait(harness.embedded.snapshots().unwrap().remove(&harness.cx, &image)).unwrap();
}

fn an_owner_beyond_all_ids() {
    let harness = Harness::new();
    let archive = harness.root.with_file_name("far.tar");
    image::write_with(&harness::busybox(), "localhost/far:1", &archive, &[("far", 0o644, 70_000, 0)]);
    let (progress, _reports) = tokio::sync::mpsc::channel(1);
    let error = harness.wait(Images::load(&harness.embedded, &harness.cx, &archive, None, &progress)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("`far`") && error.message().contains("none of the ids"), "{error}");
    let images = harness.wait(Images::list(&harness.embedded, &harness.cx)).unwrap();
    assert_eq!(images.len(), 1, "{images:?}");
}

fn users_inside_are_apart() {
    let harness = Harness::new();
    let mut plan = harness.plan(1, SERVER);
    plan.user = Some("1000".to_owned());
    plan.network = PlanNetwork::Host;
    let id = harness.run(&plan);
    assert_eq!(uids(harness.inspect(&id).pid.unwrap()), [outside(1000); 4]);
    let (text, code) = exec(&harness, &id, Some("7"), "kill -9 1");
    assert!(code != 0 && text.contains("not permitted"), "{text}");
    // A user beyond all ids is one by itself, as for a user without other ids.
    assert_eq!(exec(&harness, &id, Some("70000"), "busybox id -u").0, "70000\n");
    // Its supervisor's death is the end of one of another user too.
    let pid = harness.inspect(&id).pid.unwrap();
    harness::kill(harness.shim(&id).unwrap());
    assert_eq!(harness.inspect(&id).exit.unwrap().code, Some(137));
    assert!(!harness::runs(pid), "the container lives on");
    harness.end();
}

async fn connect(root: &Path) -> hythe_runtime::Result<hythe_driver_embedded::Embedded> {
    hythe_driver_embedded::connect(Config { root: root.to_owned(), ..Config::default() }).await
}

fn warnings(harness: &Harness, embedded: &hythe_driver_embedded::Embedded) -> String {
    harness.wait(embedded.probe(&harness.cx)).unwrap().warnings.join("\n")
}

fn a_root_keeps_its_ids() {
    let mut harness = Harness::new();
    assert!(!warnings(&harness, &harness.embedded).contains("belong to this user"));
    let id = harness.run(&harness.plan(1, SERVER));
    harness.again();
    assert_eq!(exec(&harness, &id, Some("5"), "busybox id -u").0, "5\n");
    harness.end();
    // One that somebody without other ids has made.
    let root = harness.root.with_file_name("earlier");
    fs::create_dir_all(root.join("instances")).unwrap();
    let earlier = harness.wait(connect(&root)).unwrap();
    assert!(warnings(&harness, &earlier).contains("belong to this user"));
    assert_eq!(Mapping::of_place(&root.join("user")).unwrap(), Some(None));
}

/// As one leaves that was killed while it unpacked, or removed.
fn what_a_killed_process_left() {
    let mut harness = Harness::new();
    let places = ["images/tmp/dead", "trash/dead", "making/dead"].map(|place| harness.root.join(place));
    for place in &places {
        fs::create_dir(place).unwrap();
    }
    fs::write(harness.root.join("images/tmp/dead.lock"), "").unwrap();
    let mut plan = harness.plan(1, "for n in 0 1 2; do busybox mkdir -p /$n/shut/in && busybox chown -R 7:7 /$n/shut && busybox chmod 700 /$n/shut; done");
    let mount = |(at, path): (usize, &std::path::PathBuf)| {
        let source = MountSource::Bind { path: path.to_str().unwrap().to_owned(), propagation: None, selinux: None };
        Mount { target: format!("/{at}"), source, read_only: false }
    };
    plan.mounts = places.iter().enumerate().map(mount).collect();
    assert_eq!(harness.until_exited(&harness.run(&plan)).exit.unwrap().code, Some(0));
    assert!(places.iter().all(|place| place.join("shut").exists()));
    harness.again();
    for place in &places {
        assert!(!place.exists(), "`{}` is left", place.display());
    }
    harness.end();
}

fn ids_that_are_refused() {
    let harness = Harness::new();
    let given = fs::read_to_string("/etc/subuid").unwrap();
    // Somebody takes a part of them away.
    fs::write("/etc/subuid", format!("{NAME}:{}:100\n", IDS[0].0)).unwrap();
    let refused = harness.wait(connect(&harness.root));
    fs::write("/etc/subuid", &given).unwrap();
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("newuidmap") && error.message().contains("not allowed"), "{error}");
    assert!(error.next_step().unwrap().contains("/etc/subuid"), "{error}");
    let id = harness.run(&harness.plan(1, "busybox id -u"));
    harness.until_exited(&id);
    harness.end();
    // A number that `newgidmap` takes for the name of somebody else.
    fs::write("/etc/subgid", format!("0{USER}:{}:10\n", IDS[1].0)).unwrap();
    let root = harness.root.with_file_name("without");
    let without = harness.wait(connect(&root));
    fs::write("/etc/subgid", format!("{USER}:{}:{}\n", IDS[1].0, IDS[1].1)).unwrap();
    let without = without.unwrap();
    assert!(warnings(&harness, &without).contains("newgidmap"), "{}", warnings(&harness, &without));
    assert_eq!(Mapping::of_place(&root.join("user")).unwrap(), Some(None));
}
