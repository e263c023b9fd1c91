//! What a process of a container has of the one that started it: nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hythe_runtime::{AttachRequest, ErrorKind, ExecRequest, Feature, InstanceId};
use hythe_spec::{Mount, MountSource, Seccomp};
use tokio::io::AsyncWriteExt;

use crate::failure::{Failure, Outcome, refused};
use crate::fixture::{Executed, Fixture, drain, words};
use crate::need::Need::{Build, Can, Exec, Images, Logs, Real};
use crate::trial::trials;
use crate::trials::build::{build, built};

trials! { "process_isolation":
    main_process_has_only_stdio [Real, Logs],
    exec_has_only_stdio [Real, Exec],
    workdir_through_link_of_proc_does_not_escape [Real, Logs],
    exec_workdir_through_link_of_proc_does_not_escape [Real, Exec],
    exec_workdir_in_proc_is_invalid [Exec],
    workdir_of_image_through_link_of_proc_does_not_escape [Real, Logs, Images, Build],
    build_step_in_workdir_through_link_of_proc_does_not_escape [Real, Images, Build],
    entrypoint_script_run_by_proc_self_exe_reaches_no_program_of_the_host [Real, Logs, Images, Build],
    exec_with_missing_workdir_is_126_or_127 [Real, Exec],
    exec_with_missing_user_is_invalid [Exec],
    signals_are_neither_ignored_nor_blocked [Real, Logs, Exec],
    init_is_limited_as_its_program [Real, Logs, Can(Feature::Init), Can(Feature::CapabilitySet)],
    exec_below_init_works [Real, Exec, Can(Feature::Init)],
    session_keyring_is_its_own [Real, Logs, Exec, Can(Feature::SeccompUnconfined)],
    home_of_unlisted_user_is_root_directory [Real, Logs, Exec, Can(Feature::User)],
    exec_ends_with_its_process [Real, Exec],
    exec_on_terminal_ends_with_its_process [Real, Exec, Can(Feature::Tty)],
    exec_over_its_time_is_killed_with_its_group [Real, Exec],
    exec_over_its_time_is_killed_without_its_session [Real, Exec],
    exec_within_its_time_is_left_alone [Exec],
    exec_with_large_environment_works [Real, Exec],
    attach_after_end_of_input_is_conflict [Exec, Can(Feature::Stdin), Logs],
}

/// Of the shell, listed by another process: a listing has a descriptor of its own.
const DESCRIPTORS: &str = "ls /proc/$$/fd; true";
/// Where the working directory is, and whether going up from it ends at the root.
const WHERE: &str = "cd ../../../../../../../../../../.. && \
                     test \"$(stat -c %d:%i .)\" = \"$(stat -c %d:%i /)\" && echo inside || echo outside";
/// Descriptors that an engine may have open.
const NUMBERS: std::ops::Range<u32> = 3..16;

async fn main_process_has_only_stdio(fixture: &Fixture) -> Outcome {
    let output = fixture.output(&fixture.script(DESCRIPTORS)).await?;
    assert_eq!(output.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
    Ok(())
}

async fn exec_has_only_stdio(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let executed = fixture.exec(&id, &["sh", "-c", DESCRIPTORS]).await?;
    assert_eq!(executed.text().split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
    Ok(())
}

/// An image may have such links; here somebody makes them in a volume's place, the root of the container.
async fn workdir_through_link_of_proc_does_not_escape(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    for number in NUMBERS {
        std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), directory.path().join(number.to_string()))?;
    }
    for (attempt, number) in (1..).zip(NUMBERS) {
        let mut plan = fixture.script(WHERE);
        plan.identity.attempt = attempt;
        plan.mounts = vec![bound(directory.path(), "/links")];
        plan.workdir = Some(format!("/links/{number}"));
        // An engine that refuses to start it is as good as one that starts it elsewhere.
        if let Ok(id) = fixture.run(&plan).await {
            fixture.until_exited(&id).await?;
            let lines = fixture.lines(&id, &Default::default()).await?;
            let said: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect();
            assert!(!said.contains(&"outside".to_owned()), "descriptor {number}");
        }
    }
    Ok(())
}

fn bound(source: &Path, target: &str) -> Mount {
    let path = source.to_str().unwrap().to_owned();
    let source = MountSource::Bind { path, propagation: None, selinux: None };
    Mount { target: target.to_owned(), source, read_only: true }
}

/// What came of a process, wherever it is told that there is none.
async fn outcome(fixture: &Fixture, id: &InstanceId, request: ExecRequest) -> Result<Executed, Failure> {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, fixture.exec_with(id, request)).await.map_err(|_| Failure::new("it hangs"))?
}

async fn exec_workdir_through_link_of_proc_does_not_escape(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    for number in NUMBERS {
        let link = format!("/tmp/{number}");
        fixture.exec(&id, &["ln", "-s", &format!("/proc/self/fd/{number}"), &link]).await?;
        let request = ExecRequest { workdir: Some(link), command: words(&["sh", "-c", WHERE]), ..Default::default() };
        if let Ok(executed) = outcome(fixture, &id, request).await {
            assert_ne!(executed.text(), "outside", "descriptor {number}");
        }
    }
    Ok(())
}

async fn exec_workdir_in_proc_is_invalid(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    for workdir in ["/proc/self/fd/3", "/tmp/../proc", "//sys/kernel"] {
        let request = ExecRequest { workdir: Some(workdir.to_owned()), command: words(&["pwd"]), ..Default::default() };
        let error = refused(fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await, ErrorKind::Invalid);
        assert!(error.message().contains(workdir), "{error}");
    }
    Ok(())
}

/// Links that an image brings in a layer, and whose `WORKDIR` is one of them.
const LINKS: &str = "RUN for n in 3 4 5 6 7 8 9 10 11 12 13 14 15; do ln -s /proc/self/fd/$n /fd$n; done\n";

async fn workdir_of_image_through_link_of_proc_does_not_escape(fixture: &Fixture) -> Outcome {
    let base = built(fixture, LINKS).await?;
    for (attempt, number) in (1..).zip([3, 7, 8, 9]) {
        let mut plan = fixture.script(WHERE);
        plan.identity.attempt = attempt;
        plan.image = base.clone();
        plan.workdir = Some(format!("/fd{number}"));
        if let Ok(id) = fixture.run(&plan).await {
            fixture.until_exited(&id).await?;
            let lines = fixture.lines(&id, &Default::default()).await?;
            assert!(!lines.iter().any(|line| *line.line == *b"outside"), "descriptor {number}");
        }
    }
    Ok(())
}

/// The steps of a build run with the descriptors of whatever builds.
async fn build_step_in_workdir_through_link_of_proc_does_not_escape(fixture: &Fixture) -> Outcome {
    let context = tempfile::tempdir()?;
    let base = built(fixture, LINKS).await?;
    for workdir in ["/fd7", "/proc/self/fd/7", "/fd8"] {
        let text = format!("FROM {base}\nWORKDIR {workdir}\nRUN {WHERE}\n");
        let (_, reports) = build(fixture, context.path(), &fixture.image_name("escape"), &text, |_| {}).await;
        assert!(!reports.iter().any(|report| report.status.trim() == "outside"), "{workdir}: {reports:?}");
    }
    Ok(())
}

/// What runs the script is the container's own program, or nothing: never what started the container.
async fn entrypoint_script_run_by_proc_self_exe_reaches_no_program_of_the_host(fixture: &Fixture) -> Outcome {
    let make =
        "RUN printf '#!/proc/self/exe\\necho script\\n' > /script && chmod 755 /script\nENTRYPOINT [\"/script\"]\n";
    let mut plan = fixture.plan(&[]);
    (plan.entrypoint, plan.command) = (None, None);
    plan.image = built(fixture, make).await?;
    // The program that it names is the one that executes it: to start it may fail, and to say anything of that program is a fault.
    let Ok(id) = fixture.run(&plan).await else { return Ok(()) };
    fixture.until_exited(&id).await?;
    let observed = fixture.inspect(&id).await?;
    let lines = fixture.lines(&id, &Default::default()).await?;
    let said: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect();
    assert!(!said.iter().any(|line| line.contains("hythe") || line == "script"), "{said:?}");
    assert_ne!(observed.exit.and_then(|exit| exit.code), Some(0), "{said:?}");
    let mut after = fixture.script("echo fine");
    after.identity.attempt = 2;
    assert_eq!(fixture.output(&after).await?, "fine\n");
    Ok(())
}

async fn exec_with_missing_workdir_is_126_or_127(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let workdir = Some("/no/such/directory".to_owned());
    let executed =
        fixture.exec_with(&id, ExecRequest { workdir, command: words(&["pwd"]), ..Default::default() }).await?;
    assert!(matches!(executed.code, 126 | 127), "{executed:?}");
    let said = [executed.stdout, executed.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("/no/such/directory"), "the reason is not told");
    assert_ne!(fixture.exec(&id, &["ls", "/no"]).await?.code, 0, "it was made");
    Ok(())
}

async fn exec_with_missing_user_is_invalid(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let request = ExecRequest { user: Some("nosuch".to_owned()), command: words(&["id"]), ..Default::default() };
    let error = match fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await {
        Ok(mut session) => {
            use futures_util::StreamExt;
            while session.output.next().await.is_some() {}
            refused(session.exit.await, ErrorKind::Invalid)
        }
        refusal => refused(refusal, ErrorKind::Invalid),
    };
    assert!(error.message().contains("nosuch"), "{error}");
    Ok(())
}

async fn signals_are_neither_ignored_nor_blocked(fixture: &Fixture) -> Outcome {
    // As below `nohup`; Rust ignores PIPE besides.
    ignore_hangup();
    // No shell, which ignores some of its own.
    let command = ["grep", "-E", "^Sig(Ign|Blk):", "/proc/self/status"];
    let output = fixture.output(&fixture.plan(&command)).await?;
    assert_eq!(kept(&output)?, 0, "{output}");
    let mut server = fixture.server();
    server.identity.attempt = 2;
    let id = fixture.run(&server).await?;
    let output = fixture.exec(&id, &command).await?.text();
    assert_eq!(kept(&output)?, 0, "{output}");
    Ok(())
}

/// Signals 1 to 31 that are ignored or blocked; dockerd's own runtime ignores one beyond.
fn kept(status: &str) -> Outcome<u64> {
    let sets = status.split_whitespace().filter(|word| !word.ends_with(':'));
    let mut all = 0;
    for set in sets {
        all |= u64::from_str_radix(set, 16)? & 0x7fff_ffff;
    }
    Ok(all)
}

fn ignore_hangup() {
    // SAFETY: no handler is installed.
    #[expect(unsafe_code, reason = "there is no safe way to ignore a signal")]
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGHUP, nix::sys::signal::SigHandler::SigIgn).unwrap();
    }
}

async fn init_is_limited_as_its_program(fixture: &Fixture) -> Outcome {
    let fields = "^(CapBnd|NoNewPrivs|Seccomp):";
    let script = format!(
        "grep -E '{fields}' /proc/1/status; echo --; grep -E '{fields}' /proc/self/status; echo --; \
         grep '^CapEff:' /proc/1/status /proc/self/status; echo $$"
    );
    for (attempt, promise) in [(1, true), (2, false)] {
        let mut plan = fixture.script(&script);
        plan.identity.attempt = attempt;
        plan.init = true;
        plan.security.no_new_privileges = promise;
        // Who may trace it would have what it has.
        plan.security.capabilities.push("SYS_PTRACE".to_owned());
        let output = fixture.output(&plan).await?;
        let parts: Vec<&str> = output.split("--\n").collect();
        assert_eq!(parts[0], parts[1], "pid 1, and its program");
        assert!(parts[0].contains("Seccomp:\t2"), "{output}");
        let effective = |at: usize| -> Outcome<u64> {
            let line = parts[2].lines().nth(at).unwrap_or_default();
            Ok(u64::from_str_radix(line.split_whitespace().nth(1).unwrap_or_default(), 16)?)
        };
        let (init, program) = (effective(0)?, effective(1)?);
        assert_eq!(init & !program, 0, "pid 1 has more: {output}");
        assert_ne!(parts[2].lines().nth(2), Some("1"), "there is no init: {output}");
    }
    Ok(())
}

async fn exec_below_init_works(fixture: &Fixture) -> Outcome {
    for (attempt, user) in [(1, None), (2, Some("app"))] {
        let mut plan = fixture.server();
        plan.identity.attempt = attempt;
        plan.init = true;
        plan.user = user.map(str::to_owned);
        let id = fixture.run(&plan).await?;
        let executed = fixture.exec(&id, &["echo", "here"]).await?;
        assert_eq!((executed.text().as_str(), executed.code), ("here", 0), "{user:?}: {executed:?}");
    }
    Ok(())
}

/// Prints the number of its session keyring: no shell can.
const KEYRING: &str = r#"
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(void) { printf("%ld\n", syscall(SYS_keyctl, 0, -3, 0)); return 0; }
"#;

/// A static program, or `None` where there is no compiler for one.
fn compiled(source: &str, directory: &Path) -> Outcome<Option<PathBuf>> {
    let program = directory.join("keyring");
    let compiler =
        Command::new("cc").args(["-static", "-x", "c", "-", "-o"]).arg(&program).stdin(Stdio::piped()).spawn();
    let Ok(mut compiler) = compiler else { return Ok(None) };
    compiler.stdin.take().unwrap().write_all(source.as_bytes())?;
    Ok(compiler.wait()?.success().then_some(program))
}

async fn session_keyring_is_its_own(fixture: &Fixture) -> Outcome {
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let Some(program) = compiled(KEYRING, directory.path())? else {
        println!("skipped: there is no compiler of C");
        return Ok(());
    };
    let here = String::from_utf8(Command::new(&program).output()?.stdout)?;
    let mut seen = vec![here.trim().to_owned()];
    for attempt in 1..=2 {
        let mut plan = fixture.script("/tool/keyring; echo ready; while :; do sleep 0.1; done");
        plan.identity.attempt = attempt;
        plan.security.seccomp = Seccomp::Unconfined;
        plan.mounts = vec![bound(directory.path(), "/tool")];
        let id = fixture.ready(&plan).await?;
        let lines = fixture.lines(&id, &Default::default()).await?;
        let main = String::from_utf8_lossy(&lines[0].line).into_owned();
        assert!(main.parse::<i64>()? > 0, "{main}");
        assert!(!seen.contains(&main), "the main process has the keyring of another: {main} of {seen:?}");
        let executed = fixture.exec(&id, &["/tool/keyring"]).await?.text();
        assert!(!seen.contains(&executed), "an executed process has the keyring of another: {executed} of {seen:?}");
        seen.push(main);
    }
    Ok(())
}

async fn home_of_unlisted_user_is_root_directory(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("echo $HOME; echo ready; while :; do sleep 0.1; done");
    plan.user = Some("4242".to_owned());
    let id = fixture.ready(&plan).await?;
    assert_eq!(fixture.lines(&id, &Default::default()).await?[0].line.as_ref(), b"/");
    assert_eq!(fixture.exec(&id, &["sh", "-c", "echo $HOME"]).await?.text(), "/");
    for (user, home) in [("app", "/home/app"), ("0", "/root"), ("4243:7", "/")] {
        let command = words(&["sh", "-c", "echo $HOME"]);
        let request = ExecRequest { user: Some(user.to_owned()), command, ..Default::default() };
        assert_eq!(fixture.exec_with(&id, request).await?.text(), home, "{user}");
    }
    Ok(())
}

async fn exec_ends_with_its_process(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    for script in ["sleep 60 & echo STARTED", "(while :; do echo tick; sleep 1; done) & echo STARTED; exit 3"] {
        let request = ExecRequest { command: words(&["sh", "-c", script]), ..Default::default() };
        let session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
        let executed = tokio::time::timeout(Duration::from_secs(15), drain(session)).await??;
        assert!(executed.text().contains("STARTED"), "{executed:?}");
        assert_eq!(executed.code, if script.ends_with("exit 3") { 3 } else { 0 });
    }
    let alive = fixture.exec(&id, &["sh", "-c", "ps | grep -c '[s]leep 60'"]).await?.text();
    assert_eq!(alive, "1", "what runs in the background goes on");
    Ok(())
}

async fn exec_on_terminal_ends_with_its_process(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let command = words(&["sh", "-c", "trap '' HUP; sleep 60 & echo STARTED"]);
    let request = ExecRequest { tty: true, command, ..Default::default() };
    let session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    let executed = tokio::time::timeout(Duration::from_secs(15), drain(session)).await??;
    assert!(executed.text().contains("STARTED"), "{executed:?}");
    Ok(())
}

/// Waits until none of these processes is left.
async fn until_gone(fixture: &Fixture, id: &InstanceId, pattern: &str) -> Outcome {
    for _ in 0..100 {
        let count = fixture.exec(id, &["sh", "-c", &format!("ps -o args | grep -c '{pattern}'")]).await?.text();
        if count == "0" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(Failure::new(format!("`{pattern}` is still there")))
}

fn timed(script: &str, timeout: u64) -> ExecRequest {
    let timeout = Some(Duration::from_millis(timeout));
    ExecRequest { command: words(&["sh", "-c", script]), timeout, ..Default::default() }
}

async fn exec_over_its_time_is_killed_with_its_group(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let request = timed("sleep 1001 & sleep 1002; echo never", 1_500);
    let mut session = fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &request).await?;
    let ended = async {
        use futures_util::StreamExt;
        while session.output.next().await.is_some() {}
        session.exit.await
    };
    let exit = tokio::time::timeout(Duration::from_secs(30), ended).await?;
    refused(exit, ErrorKind::Timeout);
    until_gone(fixture, &id, "[s]leep 100[12]").await?;
    assert_eq!(fixture.exec(&id, &["true"]).await?.code, 0);
    Ok(())
}

async fn exec_over_its_time_is_killed_without_its_session(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    drop(fixture.exec_facet().exec(&fixture.cx, &id.to_ref(), &timed("sleep 1003; true", 1_500)).await?);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    until_gone(fixture, &id, "[s]leep 1003").await
}

async fn exec_within_its_time_is_left_alone(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let executed = fixture.exec_with(&id, timed("echo done; exit 4", 60_000)).await?;
    assert_eq!((executed.text().as_str(), executed.code), ("done", 4));
    Ok(())
}

async fn exec_with_large_environment_works(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.server()).await?;
    let env = (0..300).map(|number| (format!("V{number}"), "x\"".repeat(2_000))).collect();
    let command = words(&["sh", "-c", "env | wc -c"]);
    let executed = fixture.exec_with(&id, ExecRequest { command, env, ..Default::default() }).await?;
    assert!(executed.text().parse::<usize>()? > 1_200_000, "{}", executed.text());
    let env = [("BIG".to_owned(), "x".repeat(140_000))].into();
    let request = ExecRequest { command: words(&["true"]), env, ..Default::default() };
    match fixture.exec_with(&id, request).await {
        Ok(executed) => assert_ne!(executed.code, 0, "the kernel takes 131,071 bytes"),
        Err(failure) => assert!(!failure.to_string().contains("not running"), "{failure}"),
    }
    Ok(())
}

async fn attach_after_end_of_input_is_conflict(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("echo ready; cat; echo end; while :; do sleep 0.1; done");
    plan.stdin = true;
    let id = fixture.ready(&plan).await?;
    let mut session =
        fixture.exec_facet().attach(&fixture.cx, &id.to_ref(), &AttachRequest { stdin: true, size: None }).await?;
    let mut stdin = session.stdin.take().expect("a stdin");
    stdin.write_all(b"one\n").await?;
    stdin.shutdown().await?;
    drop(stdin);
    fixture.until_line(&id, "end").await?;
    drop(session);
    let error = refused(
        fixture.exec_facet().attach(&fixture.cx, &id.to_ref(), &AttachRequest { stdin: true, size: None }).await,
        ErrorKind::Conflict,
    );
    assert!(error.message().contains("closed"), "{error}");
    fixture.exec_facet().attach(&fixture.cx, &id.to_ref(), &AttachRequest { stdin: false, size: None }).await?;
    Ok(())
}
