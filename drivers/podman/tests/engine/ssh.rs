//! A podman behind ssh: a real server on loopback, in a mount namespace of its own, that forwards to the environment's service.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use hythe_driver_podman::{Config, connect};
use hythe_runtime::{ErrorKind, LogOptions, Runtime, State};

use crate::bench::{Bench, PATIENCE};
use crate::facets::{command, output};

/// A server, its keys and a client that knows them.
struct Server {
    directory: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Server {
    /// `None` with the reason printed.
    fn start(bench: &Bench) -> Option<Self> {
        let Some([program, libraries]) = &bench.sshd else {
            eprintln!("skipped: the environment has no ssh server");
            return None;
        };
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a private ssh server needs root");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("hythe-ssh-").tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for key in ["host", "user"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key)));
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let shown = |name: &str| path(name).display().to_string();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n",
            shown("host"),
            shown("user.pub")
        );
        fs::write(path("settings"), settings).unwrap();
        // The server wants a user and a directory that this host need not have.
        let users = fs::read_to_string("/etc/passwd").unwrap();
        fs::write(path("passwd"), format!("{users}sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")).unwrap();
        let script = "mount --bind \"$1\" /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd && exec \"$2\" -D -e -f \"$3\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).args([path("passwd"), program.clone(), path("settings")]);
        command.env("LD_LIBRARY_PATH", libraries).stdin(Stdio::null()).stderr(fs::File::create(path("log")).unwrap());
        let process = command.spawn().unwrap();
        let mut server = Self { directory, port, process };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server.know_host();
        Some(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// OpenSSH's client looks for known hosts in the home of the user that the host's database names: ours are given to it.
    fn know_host(&self) {
        let key = fs::read_to_string(self.path("host.pub")).unwrap();
        fs::write(self.path("known"), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
        fs::create_dir(self.path("bin")).unwrap();
        let client = self.path("bin/ssh");
        let known = self.path("known");
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F none -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} \"$@\"\n",
            known.display()
        );
        fs::write(&client, script).unwrap();
        fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn config(&self, socket: &str) -> Config {
        let search = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        Config {
            // The environment's one is a script with a store that a client of another host does not name.
            program: PathBuf::from("podman"),
            socket: Some(format!("ssh://root@127.0.0.1:{}{socket}", self.port)),
            identity: Some(self.path("user")),
            env: BTreeMap::from([("PATH".to_owned(), search)]),
            ..Config::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Those that serve a connection end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The bench, its socket and a server, or `None` with the reason printed.
async fn reachable(owner: &str) -> Option<(Bench, String, Server)> {
    let bench = crate::bench::bench(owner).await?;
    let Some(socket) = bench.socket.clone() else {
        eprintln!("skipped: the environment has no service of podman");
        return None;
    };
    let server = Server::start(&bench)?;
    Some((bench, socket, server))
}

/// Ssh processes of this one that forward to the server.
fn clients(port: u16) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is = |pid: &u32| {
        let line = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("ssh\0") && line.contains(&format!("-p\0{port}\0"))
    };
    pids.filter(is).collect()
}

#[tokio::test]
async fn operations_through_ssh_act_on_the_other_podman_and_survive_a_lost_connection() {
    let Some((mut bench, socket, server)) = reachable("ssh").await else { return };
    bench.podman = connect(server.config(&socket)).await.unwrap();
    let id = bench.podman.run(&bench.cx, &bench.plan("ssh", &["sh", "-c", "echo said; sleep 1000"])).await.unwrap();
    let exec = bench.podman.exec().unwrap();
    let mut session = exec.exec(&bench.cx, &id.to_ref(), &command(&["sh", "-c", "echo ran; exit 3"])).await.unwrap();
    assert_eq!(output(&mut session).await, (b"ran\n".to_vec(), Vec::new()));
    assert_eq!(session.exit.await.unwrap(), 3);
    let logs = bench.podman.logs().unwrap().logs(&bench.cx, &id.to_ref(), &LogOptions::default()).await.unwrap();
    let lines: Vec<_> = logs.try_collect().await.unwrap();
    assert_eq!(lines.iter().map(|line| line.line.to_vec()).collect::<Vec<_>>(), [b"said"]);

    let [client] = clients(server.port)[..] else { panic!("{:?}", clients(server.port)) };
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(client.cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let again = async {
        loop {
            match bench.podman.inspect(&bench.cx, &id.to_ref()).await {
                Ok(seen) => return seen,
                Err(lost) => assert!(lost.kind() == ErrorKind::Unavailable && lost.is_temporary(), "{lost:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, again).await.unwrap().state, State::Running);
    bench.remove(&id).await;
    let port = server.port;
    drop(bench);
    let began = Instant::now();
    while !clients(port).is_empty() {
        assert!(began.elapsed() < PATIENCE, "ssh stays behind");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn connect_through_ssh_with_wrong_key_or_socket_says_what_ssh_says() {
    let Some((_bench, socket, server)) = reachable("refused").await else { return };
    let unknown_key = Config { identity: Some(server.path("host")), ..server.config(&socket) };
    let error = connect(unknown_key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("Permission denied"), "{error}");
    let error = connect(server.config("/nowhere/podman.sock")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("open failed"), "{error}");
    fs::write(server.path("known"), "").unwrap();
    let error = connect(server.config(&socket)).await.unwrap_err();
    assert!(error.message().contains("Host key verification failed"), "{error}");
}

#[tokio::test]
async fn connect_to_unknown_connection_names_those_that_there_are() {
    if crate::bench::bench("connections").await.is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join("containers.conf");
    fs::write(&settings, "[engine.service_destinations.box]\nuri = \"ssh://me@box/run/podman/podman.sock\"\n").unwrap();
    let env = BTreeMap::from([("CONTAINERS_CONF".to_owned(), settings.display().to_string())]);
    let config = Config { env, connection: Some("other".to_owned()), ..Config::default() };
    let error = connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("no connection `other`"), "{error}");
    assert!(error.next_step().is_some_and(|hint| hint.contains("box")), "{error:?}");
}
