//! What an image may say, and its processes may reach, without harm to the host.

use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use hythe_runtime::{ErrorKind, Exec, ExecRequest, InstanceId, Plan, Runtime, StdStream, TerminalSize};
use hythe_spec::{Mount, MountSource, TmpfsOptions};
use rustix::fs::{StatVfsMountFlags, statvfs};
use tar::EntryType;

use crate::Named;
use crate::harness::{Harness, busybox};
use crate::image;

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("run_with_workdir_of_the_image_in_proc_is_invalid", workdir_in_proc),
        ("run_with_workdir_through_a_link_of_proc_is_invalid", workdir_through_link),
        ("run_with_a_pipe_for_the_users_of_the_image_does_not_hang", pipe_for_users),
        ("run_with_a_variable_without_a_name_is_invalid", nameless_variable),
        ("run_of_image_with_unfit_places_is_invalid_with_its_reason", unfit_places),
        ("run_with_mount_that_a_link_in_a_volume_leads_astray_is_invalid", led_astray),
        ("run_of_the_runtimes_own_program_is_126", own_program),
        ("exec_of_script_without_its_interpreter_names_it", interpreters),
        ("the_supervisor_and_the_init_are_a_read_only_file", read_only_program),
        ("exec_goes_on_while_the_disk_is_full", full_disk),
        ("exec_leaves_no_sockets_behind", sockets),
        ("forty_execs_at_once_get_a_socket_each", crowd),
        ("a_terminal_has_its_size_from_the_start", first_size),
    ]
}

const SERVER: &str = "echo ready; while :; do sleep 1; done";

/// Writes one that means harm: pipes in place of files, links, and any config.
fn write_hostile(busybox: &Path, name: &str, to: &Path, pipes: &[&str], links: &[(String, String)], config: &str) {
    let mut layer = image::base(busybox);
    for path in pipes {
        layer.append_data(&mut image::header(EntryType::Fifo, 0), path, &[][..]).unwrap();
    }
    for (path, target) in links {
        layer.append_link(&mut image::header(EntryType::Symlink, 0), path, target).unwrap();
    }
    image::pack(layer, name, to, config);
}

/// A plan for an image that says this.
fn hostile(harness: &Harness, word: &str, pipes: &[&str], links: &[(String, String)], config: &str) -> Plan {
    let name = format!("localhost/hostile-{word}:1");
    let archive = harness.root.with_file_name(format!("{word}.tar"));
    write_hostile(&busybox(), &name, &archive, pipes, links, config);
    harness.load(&archive);
    Plan { image: name.parse().unwrap(), ..harness.plan(1, SERVER) }
}

fn refused(harness: &Harness, plan: &Plan, kind: ErrorKind, text: &str) {
    let error = harness.wait(harness.embedded.run(&harness.cx, plan)).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(text), "{error}");
}

/// Output and exit code.
fn exec(harness: &Harness, id: &InstanceId, request: &ExecRequest) -> (String, i32) {
    harness.wait(async {
        let session = Exec::exec(&harness.embedded, &harness.cx, &id.to_ref(), request).await.unwrap();
        let pieces: Vec<(StdStream, _)> = session.output.try_collect().await.unwrap();
        let text = pieces.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
        (text, session.exit.await.unwrap())
    })
}

fn command(words: &[&str]) -> ExecRequest {
    ExecRequest { command: words.iter().map(|word| (*word).to_owned()).collect(), ..ExecRequest::default() }
}

fn workdir_in_proc() {
    let harness = Harness::new();
    let plan = hostile(&harness, "workdir", &[], &[], r#"{"WorkingDir":"/proc/self/fd/7"}"#);
    refused(&harness, &plan, ErrorKind::Invalid, "/proc/self/fd/7");
    harness.end();
}

fn workdir_through_link() {
    let harness = Harness::new();
    for number in 3..20 {
        let links = [("escape".to_owned(), format!("/proc/self/fd/{number}"))];
        let config = r#"{"WorkingDir":"/escape"}"#;
        let mut plan = hostile(&harness, &format!("link{number}"), &[], &links, config);
        plan.identity.attempt = number;
        refused(&harness, &plan, ErrorKind::Invalid, "/escape");
    }
    harness.end();
}

fn pipe_for_users() {
    let harness = Harness::new();
    for (attempt, user, home) in [(1, None, "/"), (2, Some("7:8"), "/")] {
        let mut plan = hostile(&harness, &format!("pipe{attempt}"), &["etc/passwd", "etc/group"], &[], "{}");
        plan.identity.attempt = attempt;
        plan.user = user.map(str::to_owned);
        let run =
            async { tokio::time::timeout(Duration::from_secs(20), harness.embedded.run(&harness.cx, &plan)).await };
        let id = harness.wait(run).expect("it hangs").unwrap();
        assert_eq!(exec(&harness, &id, &command(&["sh", "-c", "echo $HOME"])), (format!("{home}\n"), 0));
    }
    let mut plan = hostile(&harness, "pipe3", &["etc/passwd"], &[], "{}");
    (plan.identity.attempt, plan.user) = (3, Some("app".to_owned()));
    refused(&harness, &plan, ErrorKind::Invalid, "app");
    harness.end();
}

fn nameless_variable() {
    let harness = Harness::new();
    let plan = hostile(&harness, "nameless", &[], &[], r#"{"Env":["=x","PATH=/bin"]}"#);
    refused(&harness, &plan, ErrorKind::Invalid, "name");
    harness.end();
}

fn unfit_places() {
    let harness = Harness::new();
    let links =
        [("data", "/dev"), ("up", "/"), ("kernel", "../sys"), ("loop", "/loop"), ("one", "two"), ("two", "one")];
    let links = links.map(|(path, target)| (path.to_owned(), target.to_owned()));
    let volume = |path: &str| format!(r#"{{"Volumes":{{"{path}":{{}}}}}}"#);
    let workdir = |path: &str| format!(r#"{{"WorkingDir":"{path}"}}"#);
    let cases = [
        (volume("/data/x"), "`/data/x` is a link to `/dev/x`"),
        (volume("/data/null"), "`/data/null` is a link to `/dev/null`"),
        (volume("/dev/null"), "a volume at `/dev/null`"),
        (volume("/kernel/fs/x"), "`/kernel/fs/x` is a link to `/sys/fs/x`"),
        (volume("/up"), "`/up` is a link to `/`"),
        (volume("/one/x"), "in a circle"),
        (volume("/bin/busybox"), "`/bin/busybox` of the image is a file"),
        (volume("/bin/busybox/x"), "`/bin/busybox/x` of the image is below a file"),
        (workdir("/loop"), "in a circle"),
        (workdir("/one/x"), "in a circle"),
        (workdir("/bin/busybox/x"), "is no directory"),
    ];
    for (attempt, (config, reason)) in (1..).zip(&cases) {
        let mut plan = hostile(&harness, &format!("unfit{attempt}"), &[], &links, config);
        plan.identity.attempt = attempt;
        refused(&harness, &plan, ErrorKind::Invalid, reason);
    }
    harness.end();
}

fn led_astray() {
    let harness = Harness::new();
    let volume = tempfile::tempdir_in("/var/tmp").unwrap();
    let mount = |target: &str, source| Mount { target: target.to_owned(), source, read_only: false };
    let path = volume.path().display().to_string();
    let link = volume.path().join("x");
    for (attempt, leads_to) in (1..).zip(["/proc", "/proc/sys", "/sys", "/sys/kernel", "/sys/fs/cgroup", "/"]) {
        std::os::unix::fs::symlink(leads_to, &link).unwrap();
        let memory = MountSource::Tmpfs { size: None, mode: None, options: TmpfsOptions::default() };
        let bind = MountSource::Bind { path: path.clone(), propagation: None, selinux: None };
        let plan =
            Plan { mounts: vec![mount("/data", bind), mount("/data/x", memory)], ..harness.plan(attempt, SERVER) };
        let error = harness.wait(harness.embedded.run(&harness.cx, &plan)).expect_err(leads_to);
        // Without `/` or `/proc` libcontainer itself comes to an end before anything is looked at.
        let is_told = error.kind() == ErrorKind::Invalid || ["/", "/proc"].contains(&leads_to);
        assert!(is_told && !error.message().contains("BrokenChannel"), "{leads_to}: {error}");
        std::fs::remove_file(&link).unwrap();
    }
    harness.end();
}

fn interpreters() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    let write = "printf '#!%s\\n' $1 > /$0; /bin/busybox chmod +x /$0";
    for (name, interpreter, expected, reason) in [
        ("absent", "/no/such -x", 127, "`/absent`: its interpreter `/no/such` is not found"),
        ("windows", "/bin/sh\r", 127, "its interpreter `/bin/sh\\r` is not found"),
        ("nested", "/absent", 127, "its interpreter `/no/such` is not found"),
        ("own", "/proc/self/exe", 126, "the runtime's own program"),
        ("nested-own", "/own", 126, "the runtime's own program"),
    ] {
        assert_eq!(exec(&harness, &id, &command(&["sh", "-c", write, name, interpreter])), (String::new(), 0));
        let (text, code) = exec(&harness, &id, &command(&[&format!("/{name}")]));
        assert!(code == expected && text.contains(reason), "{name}: {code} {text}");
    }
    harness.end();
}

fn own_program() {
    let harness = Harness::new();
    let mut plan = harness.plan(1, "");
    plan.command = Some(vec!["/proc/self/exe".to_owned()]);
    refused(&harness, &plan, ErrorKind::Invalid, "the runtime's own program");
    let id = harness.run(
        &harness.plan(2, "ln=/bin/busybox; $ln ln -s /proc/self/exe /self; echo ready; while :; do sleep 1; done"),
    );
    std::thread::sleep(Duration::from_millis(300));
    for program in ["/proc/self/exe", "/proc/thread-self/exe", "/self"] {
        let (text, code) = exec(&harness, &id, &command(&[program]));
        assert!(code == 126 && text.contains("the runtime's own program"), "{program}: {code} {text}");
    }
    // The container's own program is nobody's secret: busybox wonders what it is called.
    let (text, _) = exec(&harness, &id, &command(&["/proc/1/exe", "true"]));
    assert!(text.contains("applet not found"), "{text}");
    harness.end();
}

fn is_read_only(pid: i32) -> bool {
    let file = Path::new("/proc").join(pid.to_string()).join("exe");
    statvfs(file).unwrap().f_flag.contains(StatVfsMountFlags::RDONLY)
}

fn read_only_program() {
    let harness = Harness::new();
    let id = harness.run(&Plan { init: true, ..harness.plan(1, SERVER) });
    assert!(is_read_only(harness.shim(&id).unwrap()), "the supervisor's file can be written to");
    let init = harness.inspect(&id).pid.unwrap();
    assert!(is_read_only(init.try_into().unwrap()), "the init's file can be written to");
    harness.end();
}

fn full_disk() {
    let (_mounted, harness) = crate::deaths::small();
    let id = harness.run(&harness.plan(1, "head -c 80000000 /dev/zero > /fill; echo full; while :; do sleep 1; done"));
    for _ in 0..100 {
        if std::fs::write(harness.root.join("probe"), [0; 8192]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(exec(&harness, &id, &command(&["echo", "still"])), ("still\n".to_owned(), 0));
    let terminal = ExecRequest { tty: true, ..command(&["echo", "still"]) };
    assert_eq!(exec(&harness, &id, &terminal), ("still\r\n".to_owned(), 0));
    let _ = std::fs::remove_file(harness.root.join("probe"));
    harness.end();
}

fn sockets() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    for tty in [false, true] {
        for _ in 0..3 {
            exec(&harness, &id, &ExecRequest { tty, ..command(&["true"]) });
        }
    }
    let engine = harness.directory(&id).engine();
    let seen = Path::new("/proc").join(harness.shim(&id).unwrap().to_string()).join("root");
    let seen = seen.join(engine.strip_prefix("/").unwrap());
    let names = |directory: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&seen), [id.0.as_str()], "sockets of terminals");
    let left: Vec<_> = names(&seen.join(&id.0)).into_iter().filter(|name| name.starts_with("tenant")).collect();
    assert!(left.is_empty(), "{left:?}");
    harness.end();
}

fn crowd() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    let request = command(&["true"]);
    for round in 0..8 {
        let made = (0..40)
            .map(|_| async { Exec::exec(&harness.embedded, &harness.cx, &id.to_ref(), &request).await?.exit.await });
        let made = harness.wait(futures_util::future::join_all(made));
        let failed: Vec<_> = made.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
        assert!(failed.is_empty(), "round {round}: {failed:?}");
    }
    harness.end();
}

fn first_size() {
    let harness = Harness::new();
    let id = harness.run(&harness.plan(1, SERVER));
    let size = Some(TerminalSize { columns: 123, rows: 45 });
    let request = ExecRequest { tty: true, size, ..command(&["/bin/busybox", "stty", "size"]) };
    for _ in 0..20 {
        assert_eq!(exec(&harness, &id, &request), ("45 123\r\n".to_owned(), 0));
    }
    harness.end();
}
