//! What every container is good for, and what becomes of it when its shim dies.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use futures_util::TryStreamExt;
use hythe_host_leaks::unprivileged::USER;
use hythe_runtime::{
    BuildRequest, Exec, ExecRequest, Images, InstanceId, PlanNetwork, Runtime, State, Stop, VolumeSpec, Volumes,
};
use hythe_spec::{ByteSize, Mount, MountSource};

use crate::harness::{Harness, kill, runs};

pub(crate) const TRIALS: &[crate::Named] = &[
    ("it_runs_and_is_gone", it_runs_and_is_gone),
    ("it_is_root_inside_and_its_user_outside", it_is_root_inside),
    ("another_user_inside_is_no_root", another_user_inside),
    ("it_is_stopped_by_a_signal_or_killed", it_is_stopped),
    ("a_volume_outlives_it_and_its_root_can_be_read_only", a_volume_outlives_it),
    ("what_it_made_is_removed_whoever_made_it", what_it_made_is_removed),
    ("what_is_built_belongs_to_root", what_is_built_belongs_to_root),
    ("the_hosts_network_is_had", the_hosts_network),
    ("limits_are_refused_before_anything_is_made", limits_are_refused),
    ("others_of_the_machine_see_nothing", others_see_nothing),
    ("a_killed_shim_takes_its_container_with_it", a_killed_shim),
    ("a_shim_killed_at_any_moment_of_a_start_leaves_a_startable_instance", any_moment_of_a_start),
    ("another_agent_finds_the_same_container", another_agent),
];

pub(crate) const SERVER: &str = "echo ready; while :; do sleep 1; done";

fn it_runs_and_is_gone() {
    let harness = Harness::new();
    assert!(harness.embedded.info().rootless && harness.embedded.stats().is_none());
    let id = harness.run(&harness.plan(1, "echo hello; echo trouble >&2; exit 7"));
    assert_eq!(harness.until_exited(&id).exit.unwrap().code, Some(7));
    assert_eq!(harness.lines(&id), ["hello", "trouble"]);
    harness.end();
}

/// What a command inside says, and its exit code.
pub(crate) fn exec(harness: &Harness, id: &InstanceId, user: Option<&str>, script: &str) -> (String, i32) {
    let request = ExecRequest {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Default::default(),
        user: user.map(str::to_owned),
        workdir: None,
        tty: false,
        stdin: false,
        size: None,
        timeout: None,
    };
    harness.wait(async {
        let session = Exec::exec(&harness.embedded, &harness.cx, &id.to_ref(), &request).await.unwrap();
        let pieces: Vec<_> = session.output.try_collect().await.unwrap();
        let text = pieces.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
        (text, session.exit.await.unwrap())
    })
}

/// Real user ids of a process, as this process sees them.
pub(crate) fn uids(pid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn it_is_root_inside() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    assert_eq!(exec(&harness, &id, None, "busybox id -u; exit 3"), ("0\n".to_owned(), 3));
    assert_eq!(uids(harness.inspect(&id).pid.unwrap()), [crate::outside(0); 4]);
    harness.end();
}

fn another_user_inside() {
    let harness = Harness::new();
    let mut plan = harness.plan(1, SERVER);
    plan.user = Some("1000:50".to_owned());
    let id = harness.run(&plan);
    let about = "busybox id -u; busybox id -g; busybox grep Cap[PE] /proc/self/status; busybox mount -t tmpfs x /mnt 2>/dev/null || echo no";
    let (text, _) = exec(&harness, &id, None, about);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["1000", "50"], "{text}");
    assert_eq!(text.matches("0000000000000000").count(), 2, "{text}");
    assert_eq!(lines.last(), Some(&"no"), "{text}");
    assert_eq!(exec(&harness, &id, Some("7"), "busybox id -u").0, "7\n");
    // With one id, one user may end the other: to the machine they are the same.
    assert_eq!(uids(harness.inspect(&id).pid.unwrap()), [crate::outside(1000); 4]);
    harness.end();
}

fn it_is_stopped() {
    let harness = Harness::new();
    let polite = harness.run(&harness.plan(1, "trap 'echo bye; exit 4' TERM; while :; do sleep 0.1; done"));
    let deaf = harness.run(&harness.plan(2, "trap '' TERM; while :; do sleep 0.1; done"));
    let how = Stop { signal: None, grace: Duration::from_secs(3) };
    for id in [&polite, &deaf] {
        harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &how)).unwrap();
    }
    assert_eq!(
        (harness.inspect(&polite).exit.unwrap().code, harness.lines(&polite)),
        (Some(4), vec!["bye".to_owned()])
    );
    assert_eq!(harness.inspect(&deaf).exit.unwrap().code, Some(137));
    harness.end();
}

fn a_volume_outlives_it() {
    let harness = Harness::new();
    let spec = VolumeSpec { name: "data".to_owned(), labels: [("hythe.owner".to_owned(), "me".to_owned())].into() };
    harness.wait(Volumes::ensure(&harness.embedded, &harness.cx, &spec)).unwrap();
    let source = MountSource::Volume { name: "data".to_owned(), external: false };
    let mounted = |attempt: u32, script: &str| {
        let mut plan = harness.plan(attempt, script);
        plan.mounts = vec![Mount { target: "/data".to_owned(), source: source.clone(), read_only: false }];
        plan.read_only = true;
        plan
    };
    let first = harness.run(&mounted(1, "echo kept > /data/file; echo x > /file || echo closed"));
    harness.until_exited(&first);
    assert!(harness.lines(&first).contains(&"closed".to_owned()));
    harness.remove(&first);
    let second = harness.run(&mounted(2, "cat /data/file"));
    harness.until_exited(&second);
    assert_eq!(harness.lines(&second), ["kept"]);
    let volumes = harness.wait(Volumes::list(&harness.embedded, &harness.cx)).unwrap();
    let file = std::path::Path::new(volumes[0].path.as_ref().unwrap()).join("file");
    assert_eq!(std::fs::metadata(file).unwrap().uid(), USER);
    harness.remove(&second);
    harness.wait(Volumes::remove(&harness.embedded, &harness.cx, "data", "me")).unwrap();
    harness.end();
}

fn what_it_made_is_removed() {
    let harness = Harness::new();
    let script = "busybox mkdir -p /a/b/c && echo x > /a/b/c/file && busybox rm -r /bin/true && busybox chmod 0 /a/b /a && busybox id -u";
    let mut plan = harness.plan(1, script);
    harness.until_exited(&harness.run(&plan));
    plan.identity.attempt = 2;
    plan.user = Some("1000".to_owned());
    let id = harness.run(&plan);
    harness.until_exited(&id);
    // With one id, all that is there is its own.
    let said = if crate::has_ids() { "mkdir: can't create directory '/a/': Permission denied" } else { "1000" };
    assert_eq!(harness.lines(&id), [said]);
    // Looks that nothing is left.
    harness.end();
}

/// In the image, which may be pushed: there its user is nobody.
fn what_is_built_belongs_to_root() {
    let harness = Harness::new();
    let context = tempfile::tempdir().unwrap();
    let dockerfile = context.path().join("Dockerfile");
    std::fs::write(&dockerfile, "FROM localhost/shim-test:1\nRUN echo x > /built\n").unwrap();
    let request = BuildRequest {
        context: context.path().to_owned(),
        dockerfile,
        image: "localhost/built:1".parse().unwrap(),
        args: Default::default(),
        labels: Default::default(),
        no_cache: false,
        network: Default::default(),
    };
    let (progress, _reports) = tokio::sync::mpsc::channel(1);
    harness.wait(Images::build(&harness.embedded, &harness.cx, &request, &progress)).unwrap();
    let blobs = std::fs::read_dir(harness.root.join("images/blobs/sha256")).unwrap().flatten();
    let owners = |path: std::path::PathBuf| {
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let built = archive.entries().unwrap().flatten().find(|entry| entry.path().unwrap().ends_with("built"))?;
        Some((built.header().uid().unwrap(), built.header().gid().unwrap()))
    };
    assert_eq!(blobs.filter_map(|blob| owners(blob.path())).collect::<Vec<_>>(), [(0, 0)]);
    harness.end();
}

fn the_hosts_network() {
    let harness = Harness::new();
    let mut plan = harness.plan(1, "busybox readlink /proc/self/ns/net; busybox ls /sys/class");
    plan.network = PlanNetwork::Host;
    let id = harness.run(&plan);
    assert_eq!(harness.until_exited(&id).exit.unwrap().code, Some(0), "{:?}", harness.lines(&id));
    let here = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(Some(here.to_string_lossy().as_ref()), harness.lines(&id).first().map(String::as_str));
    harness.end();
}

fn limits_are_refused() {
    let harness = Harness::new();
    let mut plan = harness.plan(1, "true");
    plan.resources.memory = Some(ByteSize(64 << 20));
    plan.resources.pids = Some(10);
    let refused = harness.embedded.capability().refusals(&plan);
    let fields: Vec<&str> = refused.iter().map(|refusal| refusal.field.as_str()).collect();
    assert_eq!(fields, ["memory", "pids"]);
    assert!(refused.iter().all(|refusal| refusal.reason.contains("cgroup")), "{refused:?}");
}

fn others_see_nothing() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    let root = harness.directory(&id).path().ancestors().nth(2).unwrap().to_owned();
    let about = std::fs::metadata(&root).unwrap();
    assert_eq!((about.uid(), about.permissions().mode() & 0o777), (USER, 0o700));
    harness.end();
}

fn a_killed_shim() {
    for init in [false, true] {
        let harness = Harness::new();
        let mut plan = harness.plan(1, SERVER);
        plan.init = init;
        let id = harness.run(&plan);
        let pid = harness.inspect(&id).pid.unwrap();
        kill(harness.shim(&id).unwrap());
        let observed = harness.inspect(&id);
        let exit = observed.exit.unwrap();
        assert_eq!((observed.state, exit.code), (State::Exited, Some(137)));
        assert!(exit.error.unwrap().contains("supervisor"));
        assert!(!runs(pid), "the container lives on");
        harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
        assert_eq!(harness.inspect(&id).state, State::Running);
        harness.end();
    }
}

fn any_moment_of_a_start() {
    let harness = Harness::new();
    let id = harness.wait(harness.embedded.create(&harness.cx, &harness.plan(1, SERVER))).unwrap();
    let others = inside(&id);
    for round in 0..40 {
        let directory = harness.directory(&id);
        let killer = std::thread::spawn(move || {
            for _ in 0..20_000 {
                if let Some(pid) = directory.shim().unwrap() {
                    std::thread::sleep(Duration::from_micros(round * 1_500));
                    return kill(pid);
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        // It may or may not have come so far as to say that it started.
        let _ = harness.wait(harness.embedded.start(&harness.cx, &id.to_ref()));
        killer.join().unwrap();
        let state = harness.inspect(&id).state;
        assert!(matches!(state, State::Created | State::Exited), "round {round}: {state:?}");
        assert_eq!(inside(&id), others, "round {round}: processes are left");
    }
    harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
    assert_eq!(harness.inspect(&id).state, State::Running);
    harness.end();
}

/// Processes that see files of an instance.
fn inside(id: &InstanceId) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let sees = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("mountinfo")).is_ok_and(|mounts| mounts.contains(&id.0))
    };
    processes.filter(sees).count()
}

fn another_agent() {
    let mut harness = Harness::new();
    // It runs until both agents have looked at it, however long that takes.
    let script = "trap 'echo after; exit 3' TERM; echo before; while :; do sleep 0.1; done";
    let id = harness.run(&harness.plan(1, script));
    while harness.lines(&id).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = harness.inspect(&id).pid;
    harness.again();
    assert_eq!(harness.inspect(&id).pid, pid);
    let how = Stop { signal: None, grace: Duration::from_secs(60) };
    harness.wait(harness.embedded.stop(&harness.cx, &id.to_ref(), &how)).unwrap();
    assert_eq!(harness.until_exited(&id).exit.unwrap().code, Some(3));
    assert_eq!(harness.lines(&id), ["before", "after"]);
    harness.end();
}
