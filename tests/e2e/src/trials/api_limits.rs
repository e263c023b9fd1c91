//! The agent and its clients in bounded time: connections that say nothing, bodies that do not come, an agent that is stopped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::home::{Ends, Home};
use crate::http::free_port;
use crate::program::{Following, Ran, Running};
use crate::sse::Reader;
use crate::trial::trials;
use crate::wait;

trials!("api_limits":
    half_open_connections_end_and_leave_the_socket_and_streams_alone Memory,
    a_stopped_agent_is_5_in_bounded_time Memory,
    a_command_waits_for_the_agent_that_has_the_database Memory,
    members_of_the_socket_group_may_use_the_socket_and_others_not Ids,
);

/// More than are served at once.
const HALF_OPEN: usize = 700;
/// More than the time that a head may take.
const A_WHILE: Duration = Duration::from_secs(14);

fn half_open_connections_end_and_leave_the_socket_and_streams_alone(fixture: &mut Fixture<'_>) {
    let port = free_port();
    let config = format!("listen = \"127.0.0.1:{port}\"\n{}", fixture.subject.config());
    fixture.agent.reconfigure(&config);
    let socket = fixture.agent.socket();
    let mut stream = Reader::follow(&socket, 0, false);
    let mut silent = UnixStream::connect(&socket).unwrap();
    let open = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nX-").unwrap();
        stream
    };
    let mut half_open: Vec<TcpStream> = (0..HALF_OPEN).map(open).collect();
    let begun = Instant::now();
    fixture.hythe(&["ps"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(5), "the socket waited for TCP: {:?}", begun.elapsed());
    for stream in half_open.iter_mut().take(50) {
        ends(stream, "half a request");
    }
    silent.set_read_timeout(Some(A_WHILE)).unwrap();
    assert_eq!(silent.read(&mut [0; 64]).unwrap_or(1), 0, "a connection without a request stays open");
    std::thread::sleep(A_WHILE.saturating_sub(begun.elapsed()));
    // One that has been read from all the time is still served.
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    let told = std::iter::from_fn(|| stream.next()).find(|message| message.kind == "deployed");
    assert!(told.is_some(), "the stream was cut off");
}

#[track_caller]
fn ends(stream: &mut TcpStream, what: &str) {
    stream.set_read_timeout(Some(A_WHILE)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{what} stays open: {error}"),
    }
}

/// Lets an agent go on, whatever the trial came to.
struct Stopped(Pid);

impl Stopped {
    fn stop(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may be gone.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn a_stopped_agent_is_5_in_bounded_time(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    let follower = Following::start(&mut fixture.agent.command(&["events", "-f", "--after", "0", "--json"]));
    follower.wait_for_kind("started");
    let pid = Pid::from_raw(i32::try_from(fixture.agent.version()["pid"].as_i64().unwrap()).unwrap()).unwrap();
    let stopped = Stopped::stop(pid);
    let begun = Instant::now();
    for words in [&["ps"][..], &["version"], &["exec", &fixture.service, "true"]] {
        fixture.hythe(words).ends_with(5).says(&["does not answer within", "hint:"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(45), "took {:?}", begun.elapsed());
    drop(stopped);
    // What was following goes on.
    fixture.hythe(&["stop", &fixture.service]).ok();
    follower.wait_for_kind("stopped");
}

fn a_command_waits_for_the_agent_that_has_the_database(_: &mut Fixture<'_>) {
    let home = Home::new("[[runtimes]]\nkind = \"memory\"\n");
    let _ends = Ends(&home);
    let elsewhere = home.path("run/other.sock");
    let first = Running::start(&mut home.command(&["agent", "--socket", &elsewhere.display().to_string()]));
    wait::until("the first agent listens", || elsewhere.exists(), |exists| *exists);
    let mut waiting = Running::start(&mut home.command(&["ps", "--json"]));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!waiting.is_over(), "did not wait: {:?}", waiting.end());
    first.kill();
    let second = Running::start(&mut home.command(&["agent"]));
    assert_eq!(waiting.end().ok().out, "[]\n");
    second.kill();
}

fn members_of_the_socket_group_may_use_the_socket_and_others_not(_: &mut Fixture<'_>) {
    let (group, id) = unprivileged_group();
    let run = tempfile::Builder::new().prefix("he2e").tempdir().unwrap();
    std::fs::set_permissions(run.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let place = |name: &str| run.path().join(name).display().to_string();
    std::fs::write(place("agent.toml"), format!("socket_group = \"{group}\"\n[[runtimes]]\nkind = \"memory\"\n"))
        .unwrap();
    let socket = place("hythe/agent.sock");
    let mut agent = crate::program::command(crate::program::path());
    agent.args(["agent", "--config", &place("agent.toml"), "--state-dir", &place("state"), "--socket", &socket]);
    let agent = Running::start(&mut agent);
    let (home, ordinary) = (Home::new(""), 54_321);
    let ask = |gid: u32| {
        use std::os::unix::process::CommandExt;
        Ran::of(home.command(&["--host", &socket, "ps", "--json"]).uid(ordinary).gid(gid))
    };
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait::until("the agent listens", || ask(id).code, |code| *code == Some(0));
        ask(ordinary).ends_with(5).says(&["no agent answers", "group"]);
    }));
    let log = agent.kill().err;
    assert!(asked.is_ok() && log.contains("group"), "{log}");
}

/// A group of this machine that is not root's.
fn unprivileged_group() -> (String, u32) {
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let parsed = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    });
    parsed.into_iter().find(|(_, id): &(String, u32)| *id != 0).unwrap()
}
