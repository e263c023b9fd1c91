//! A user with other ids: files and processes inside are of whom they say they are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hythe_driver_embedded::Config;
use hythe_runtime::{ErrorKind, Images, PlanNetwork, Runtime, SnapshotRequest, VolumeSpec, Volumes};
use hythe_shim::Mapping;
use hythe_spec::{Mount, MountSource};
use hythe_traces::ordinary::{IDS, NAME, USER};

use crate::bed::{self, Bed};
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
    let bed = Bed::new();
    let id = bed.run(&bed.plan(1, SERVER));
    let script = "echo x > /file && busybox chown 1000:50 /file && busybox stat -c %u:%g /file && busybox id -G";
    assert_eq!(exec(&bed, &id, None, script), ("1000:50\n0\n".to_owned(), 0));
    let about = fs::metadata(bed.directory(&id).upper().join("file")).unwrap();
    assert_eq!((about.uid(), about.gid()), (IDS[0].0 + 999, IDS[1].0 + 49));
    // Closed to the user outside, and gone nevertheless.
    let script = "busybox mkdir -p /shut/in && echo x > /shut/in/file && busybox chown -R 7:7 /shut && busybox chmod 700 /shut /shut/in && busybox chown 7:7 /";
    assert_eq!(exec(&bed, &id, None, script).1, 0);
    assert!(fs::read_dir(bed.directory(&id).upper().join("shut")).is_err());
    bed.end();
    assert_eq!(fs::read_dir(bed.root.join("trash")).unwrap().count(), 0);
}

/// An image with files of others, loaded.
fn owned(bed: &Bed) {
    let archive = bed.root.with_file_name("owned.tar");
    let files = [("srv/", 0o700, 70, 71), ("srv/secret", 0o600, 70, 71), ("srv/tool", 0o4755, 0, 5)];
    image::write_with(&bed::busybox(), IMAGE, &archive, &files);
    bed.load(&archive);
}

const OWNED: [&str; 3] = ["/srv 700 70:71", "/srv/secret 600 70:71", "/srv/tool 4755 0:5"];

fn an_image_keeps_its_owners() {
    let bed = Bed::new();
    owned(&bed);
    let mut plan = bed.plan(1, ABOUT);
    plan.image = IMAGE.parse().unwrap();
    let id = bed.run(&plan);
    bed.until_exited(&id);
    assert_eq!(bed.lines(&id)[..3], OWNED);
    assert_eq!(bed.lines(&id)[3], "0");
    bed.end();
    for name in [IMAGE, "localhost/shim-test:1"] {
        bed.wait(Images::remove(&bed.embedded, &bed.cx, &name.parse().unwrap())).unwrap();
    }
    assert_eq!(fs::read_dir(bed.root.join("images/layers")).unwrap().count(), 0);
    let session = fs::read_dir(bed.root.join("images/tmp")).unwrap().flatten().find(|entry| entry.path().is_dir());
    assert_eq!(fs::read_dir(session.unwrap().path()).unwrap().count(), 0, "layers are left where they were put away");
}

fn a_volume_takes_up_owners() {
    let bed = Bed::new();
    owned(&bed);
    let spec = VolumeSpec { name: "data".to_owned(), labels: [("hythe.owner".to_owned(), "me".to_owned())].into() };
    bed.wait(Volumes::ensure(&bed.embedded, &bed.cx, &spec)).unwrap();
    let mut plan = bed.plan(1, ABOUT);
    plan.image = IMAGE.parse().unwrap();
    let source = MountSource::Volume { name: "data".to_owned(), external: false };
    plan.mounts = vec![Mount { target: "/srv".to_owned(), source, read_only: false }];
    let id = bed.run(&plan);
    bed.until_exited(&id);
    assert_eq!(bed.lines(&id)[..3], OWNED);
    bed.remove(&id);
    bed.wait(Volumes::remove(&bed.embedded, &bed.cx, "data")).unwrap();
    bed.end();
    assert_eq!(fs::read_dir(bed.root.join("trash")).unwrap().count(), 0);
}

fn a_snapshot_keeps_owners() {
    let bed = Bed::new();
    let made = "busybox mkdir /srv && echo x > /srv/secret && echo x > /srv/tool && busybox chown 0:5 /srv/tool && busybox chmod 4755 /srv/tool && busybox chmod 600 /srv/secret && busybox chown 70:71 /srv /srv/secret && busybox chmod 700 /srv";
    let id = bed.run(&bed.plan(1, made));
    assert_eq!(bed.until_exited(&id).exit.unwrap().code, 0);
    let image: hythe_spec::ImageRef = "localhost/kept:1".parse().unwrap();
    let request = SnapshotRequest { image: image.clone(), identity: bed.plan(1, "").identity };
    bed.wait(bed.embedded.snapshots().unwrap().commit(&bed.cx, &id, &request)).unwrap();
    let mut plan = bed.plan(2, ABOUT);
    plan.image = image.clone();
    let next = bed.run(&plan);
    bed.until_exited(&next);
    assert_eq!(bed.lines(&next)[..3], OWNED);
    bed.end();
    bed.wait(bed.embedded.snapshots().unwrap().remove(&bed.cx, &image)).unwrap();
}

fn an_owner_beyond_all_ids() {
    let bed = Bed::new();
    let archive = bed.root.with_file_name("far.tar");
    image::write_with(&bed::busybox(), "localhost/far:1", &archive, &[("far", 0o644, 70_000, 0)]);
    let (progress, _reports) = tokio::sync::mpsc::channel(1);
    let error = bed.wait(Images::load(&bed.embedded, &bed.cx, &archive, &progress)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("`far`") && error.message().contains("none of the ids"), "{error}");
    let images = bed.wait(Images::list(&bed.embedded, &bed.cx)).unwrap();
    assert_eq!(images.len(), 1, "{images:?}");
}

fn users_inside_are_apart() {
    let bed = Bed::new();
    let mut plan = bed.plan(1, SERVER);
    plan.user = Some("1000".to_owned());
    plan.network = PlanNetwork::Host;
    let id = bed.run(&plan);
    assert_eq!(uids(bed.inspect(&id).pid.unwrap()), [outside(1000); 4]);
    let (text, code) = exec(&bed, &id, Some("7"), "kill -9 1");
    assert!(code != 0 && text.contains("not permitted"), "{text}");
    // A user beyond all ids is one by itself, as for a user without other ids.
    assert_eq!(exec(&bed, &id, Some("70000"), "busybox id -u").0, "70000\n");
    // Its supervisor's death is the end of one of another user too.
    let pid = bed.inspect(&id).pid.unwrap();
    bed::kill(bed.shim(&id).unwrap());
    assert_eq!(bed.inspect(&id).exit.unwrap().code, 137);
    assert!(!bed::runs(pid), "the container lives on");
    bed.end();
}

async fn connect(root: &Path) -> hythe_runtime::Result<hythe_driver_embedded::Embedded> {
    hythe_driver_embedded::connect(Config { root: root.to_owned(), ..Config::default() }).await
}

fn warnings(bed: &Bed, embedded: &hythe_driver_embedded::Embedded) -> String {
    bed.wait(embedded.probe(&bed.cx)).unwrap().warnings.join("\n")
}

fn a_root_keeps_its_ids() {
    let mut bed = Bed::new();
    assert!(!warnings(&bed, &bed.embedded).contains("belong to this user"));
    let id = bed.run(&bed.plan(1, SERVER));
    bed.again();
    assert_eq!(exec(&bed, &id, Some("5"), "busybox id -u").0, "5\n");
    bed.end();
    // One that somebody without other ids has made.
    let root = bed.root.with_file_name("earlier");
    fs::create_dir_all(root.join("instances")).unwrap();
    let earlier = bed.wait(connect(&root)).unwrap();
    assert!(warnings(&bed, &earlier).contains("belong to this user"));
    assert_eq!(Mapping::of_place(&root.join("user")).unwrap(), Some(None));
}

/// As one leaves that was killed while it unpacked, or removed.
fn what_a_killed_process_left() {
    let mut bed = Bed::new();
    let places = ["images/tmp/dead", "trash/dead", "making/dead"].map(|place| bed.root.join(place));
    for place in &places {
        fs::create_dir(place).unwrap();
    }
    fs::write(bed.root.join("images/tmp/dead.lock"), "").unwrap();
    let mut plan = bed.plan(1, "for n in 0 1 2; do busybox mkdir -p /$n/shut/in && busybox chown -R 7:7 /$n/shut && busybox chmod 700 /$n/shut; done");
    let mount = |(at, path): (usize, &std::path::PathBuf)| {
        let source = MountSource::Bind { path: path.to_str().unwrap().to_owned(), propagation: None, selinux: None };
        Mount { target: format!("/{at}"), source, read_only: false }
    };
    plan.mounts = places.iter().enumerate().map(mount).collect();
    assert_eq!(bed.until_exited(&bed.run(&plan)).exit.unwrap().code, 0);
    assert!(places.iter().all(|place| place.join("shut").exists()));
    bed.again();
    for place in &places {
        assert!(!place.exists(), "`{}` is left", place.display());
    }
    bed.end();
}

fn ids_that_are_refused() {
    let bed = Bed::new();
    let given = fs::read_to_string("/etc/subuid").unwrap();
    // Somebody takes a part of them away.
    fs::write("/etc/subuid", format!("{NAME}:{}:100\n", IDS[0].0)).unwrap();
    let refused = bed.wait(connect(&bed.root));
    fs::write("/etc/subuid", &given).unwrap();
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("newuidmap") && error.message().contains("not allowed"), "{error}");
    assert!(error.next_step().unwrap().contains("/etc/subuid"), "{error}");
    let id = bed.run(&bed.plan(1, "busybox id -u"));
    bed.until_exited(&id);
    bed.end();
    // A number that `newgidmap` takes for the name of somebody else.
    fs::write("/etc/subgid", format!("0{USER}:{}:10\n", IDS[1].0)).unwrap();
    let root = bed.root.with_file_name("without");
    let without = bed.wait(connect(&root));
    fs::write("/etc/subgid", format!("{USER}:{}:{}\n", IDS[1].0, IDS[1].1)).unwrap();
    let without = without.unwrap();
    assert!(warnings(&bed, &without).contains("newgidmap"), "{}", warnings(&bed, &without));
    assert_eq!(Mapping::of_place(&root.join("user")).unwrap(), Some(None));
}
