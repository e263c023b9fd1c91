//! The driver against real engines: dockerd, and Podman's API on a socket.
//!
//! `HYTHE_TEST_ENV` names a JSON file that says which are up; without it each test says so and passes.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says why it did nothing")]

mod bench;

use std::collections::BTreeMap;
use std::time::Duration;

use bench::Bench;
use futures_util::{StreamExt, TryStreamExt};
use hythe_runtime::{
    Attachment, Cursor, ErrorKind, EventKind, ExecRequest, Filter, InstanceRef, LogLine, LogOptions, NetworkSpec, Plan,
    PlanNetwork, Runtime, State, StdStream, Stop, VolumeSpec,
};
use hythe_spec::{ByteSize, Millicores, Mount, MountSource, Port, Protocol, Resources};
use tokio::io::AsyncWriteExt;

macro_rules! on_both {
    ($($name:ident)*) => {
        mod docker { $(#[tokio::test] async fn $name() { if let Some(bench) = super::bench::bench("docker").await { super::$name(bench).await } })* }
        mod podman_api { $(#[tokio::test] async fn $name() { if let Some(bench) = super::bench::bench("podman_api").await { super::$name(bench).await } })* }
    };
}

on_both! { lifecycle failures confinement logs follows execs watches networks volumes images stats stops }

async fn lifecycle(bench: Bench) {
    let Bench { docker, cx, .. } = &bench;
    let mut plan = bench.plan("echo hello; sleep 100");
    plan.resources = Resources {
        memory: Some(ByteSize(64 << 20)),
        cpus: Some(Millicores(500)),
        pids: Some(40),
        ..Resources::default()
    };
    let (first, second) = tokio::join!(docker.create(cx, &plan), docker.create(cx, &plan));
    let id = first.unwrap();
    assert_eq!(second.unwrap(), id);
    assert_eq!(docker.inspect(cx, &id.to_ref()).await.unwrap().state, State::Created);
    assert_eq!(docker.run(cx, &plan).await.unwrap(), id);
    docker.start(cx, &id.to_ref()).await.unwrap();
    let seen = docker.inspect(cx, &id.to_ref()).await.unwrap();
    assert_eq!((seen.state, seen.name.as_str(), seen.exit.as_ref()), (State::Running, plan.name().as_str(), None));
    assert_eq!(seen.identity.as_ref(), Some(&plan.identity));
    assert_eq!(seen.labels.get("user").unwrap(), "la\"bel");
    assert_eq!(
        (seen.resources.memory, seen.resources.cpus, seen.resources.pids),
        (plan.resources.memory, plan.resources.cpus, plan.resources.pids)
    );
    assert_eq!(seen.env.get("A").unwrap(), "b=c d");
    assert!(seen.pid.is_some() && seen.started.is_some() && seen.image_id.is_some());
    let row = docker.list(cx, &Filter { labels: plan.identity.labels() }).await.unwrap();
    assert_eq!(row.len(), 1);
    assert_eq!((&row[0].id, row[0].state, &row[0].identity), (&id, State::Running, &seen.identity));
    assert_eq!(docker.remove(cx, &id.to_ref()).await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut other = plan.clone();
    other.identity.plan_hash = "other".to_owned();
    assert_eq!(docker.create(cx, &other).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    docker.stop(cx, &id.to_ref(), &Stop { signal: None, grace: Duration::from_millis(500) }).await.unwrap();
    docker.stop(cx, &id.to_ref(), &Stop { signal: None, grace: Duration::ZERO }).await.unwrap();
    let seen = docker.inspect(cx, &id.to_ref()).await.unwrap();
    assert_eq!((seen.state, seen.exit.unwrap().code), (State::Exited, Some(137)));
    assert_eq!(docker.list(cx, &Filter { labels: plan.identity.labels() }).await.unwrap()[0].exit_code, Some(137));
    docker.remove(cx, &id.to_ref()).await.unwrap();
    docker.remove(cx, &id.to_ref()).await.unwrap();
    assert_eq!(docker.inspect(cx, &id.to_ref()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(docker.start(cx, &id.to_ref()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn failures(bench: Bench) {
    let Bench { docker, cx, .. } = &bench;
    for (command, code) in [("/no/such", 127), ("no-such-word", 127), ("/etc", 126)] {
        let mut plan = bench.plan("");
        plan.command = Some(vec![command.to_owned()]);
        let id = docker.create(cx, &plan).await.unwrap();
        let error = docker.start(cx, &id.to_ref()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains(command), "{error}");
        assert_eq!(docker.inspect(cx, &id.to_ref()).await.unwrap().exit.unwrap().code, Some(code), "{command}");
        docker.remove(cx, &id.to_ref()).await.unwrap();
    }
    type Case = (ErrorKind, &'static str, fn(&mut Plan));
    let cases: [Case; 5] = [
        (ErrorKind::NotFound, "no-such-image", |plan| plan.image = "localhost/no-such-image:1".parse().unwrap()),
        (ErrorKind::Invalid, "no-such-user", |plan| plan.user = Some("no-such-user".to_owned())),
        (ErrorKind::Invalid, "/no/such/source", |plan| plan.mounts = vec![bind("/no/such/source", "/x")]),
        (ErrorKind::NotFound, "no-such-volume", |plan| plan.mounts = vec![volume("no-such-volume", "/x")]),
        (ErrorKind::NotFound, "no-such-network", |plan| plan.network = bridged(&["no-such-network"])),
    ];
    for (kind, word, change) in cases {
        let mut plan = bench.plan("true");
        change(&mut plan);
        let error = docker.run(cx, &plan).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(word), "{error}");
        docker.remove(cx, &InstanceRef::name(plan.name())).await.unwrap();
    }
    assert!(!std::path::Path::new("/no").exists());
}

fn bind(source: &str, target: &str) -> Mount {
    let source = MountSource::Bind { path: source.to_owned(), propagation: None, selinux: Some('z') };
    Mount { target: target.to_owned(), source, read_only: true }
}

fn volume(name: &str, target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        source: MountSource::Volume { name: name.to_owned(), external: false },
        read_only: false,
    }
}

fn bridged(networks: &[&str]) -> PlanNetwork {
    let attach = |name: &&str| Attachment { network: (*name).to_owned(), aliases: vec!["me".to_owned()] };
    PlanNetwork::Networks { attachments: networks.iter().map(attach).collect() }
}

async fn confinement(bench: Bench) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "bound").unwrap();
    let mut plan = bench.plan(
        "pwd; hostname; cat /b/file; echo; touch /b/x /tmp/x /run/x /x; touch /t/x /dev/shm/x && echo written; grep -E ' /t ' /proc/mounts; \
         grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; ulimit -n; cat /proc/1/comm; cat /etc/hosts",
    );
    plan.read_only = true;
    plan.init = true;
    plan.workdir = Some("/new/dir".to_owned());
    plan.security.capabilities = vec!["CHOWN".to_owned()];
    plan.resources.ulimits = vec![hythe_spec::Ulimit::parse("nofile", "512:1024").unwrap()];
    plan.extra_hosts = vec!["db:10.1.2.3".parse().unwrap(), "six:::1".parse().unwrap()];
    let tmpfs = MountSource::Tmpfs { size: Some(ByteSize(1 << 20)), mode: Some(0o1770), options: Default::default() };
    plan.mounts = vec![
        bind(directory.path().to_str().unwrap(), "/b"),
        Mount { target: "/t".to_owned(), source: tmpfs, read_only: false },
    ];
    let id = bench.docker.create(&bench.cx, &plan).await.unwrap();
    let seen = bench.docker.inspect(&bench.cx, &id.to_ref()).await.unwrap();
    assert_eq!(
        seen.mounts
            .iter()
            .map(|mount| (mount.target.as_str(), mount.kind.as_str(), mount.read_only))
            .collect::<Vec<_>>(),
        [("/b", "bind", true), ("/t", "tmpfs", false)]
    );
    assert!(seen.read_only);
    assert_eq!(
        seen.resources.ulimits.iter().filter(|limit| limit.name == "nofile").collect::<Vec<_>>(),
        [&plan.resources.ulimits[0]]
    );
    let text = bench.output(&plan).await;
    let words = [
        "/new/dir\n",
        "box\n",
        "bound\n",
        "/b/x: Read-only",
        "/tmp/x: Read-only",
        "/x: Read-only",
        "written\n",
        "nosuid,nodev,noexec",
        "size=1024k,mode=1770",
        "CapEff:\t0000000000000001",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "512\n",
        "10.1.2.3",
        "::1",
    ];
    for word in words {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    assert!(!text.contains("\nsh\n"), "no init:\n{text}");
}

async fn logs(bench: Bench) {
    let script = "printf 'a\\n\\nb\\377c\\n'; sleep 0.1; echo err >&2; head -c 1000000 /dev/zero | tr '\\0' x; echo; sleep 0.1; printf last";
    let id = bench.run(&bench.plan(script)).await;
    bench.ended(&id).await;
    let all = bench.lines(&id, LogOptions::default()).await;
    let out: Vec<&LogLine> = all.iter().filter(|line| line.stream == StdStream::Stdout).collect();
    let sizes: Vec<(usize, bool)> = out.iter().map(|line| (line.line.len(), line.terminated)).collect();
    assert!(matches!(sizes[..], [(1, true), (0, true), (3 | 5, true), (1_000_000, true), (4, false)]), "{sizes:?}");
    assert!(out[3].line.iter().all(|byte| *byte == b'x'));
    assert_eq!(
        all.iter().filter(|line| line.stream == StdStream::Stderr).map(|line| &line.line[..]).collect::<Vec<_>>(),
        [b"err"]
    );
    assert!(all.iter().all(|line| line.time.is_some()));
    for (tail, expected) in [(0, 0), (1, 1), (2, 2), (100, 6)] {
        let tail = LogOptions { tail: Some(tail), ..LogOptions::default() };
        assert_eq!(bench.lines(&id, tail.clone()).await, all[all.len() - expected..]);
        assert_eq!(bench.lines(&id, LogOptions { follow: true, ..tail }).await, all[all.len() - expected..]);
    }
    let id2 = bench.run(&bench.plan("seq 1 3000; sleep 0.5; seq 3001 3003")).await;
    bench.ended(&id2).await;
    for (tail, first) in [(5, "2999"), (500, "2504"), (4000, "1")] {
        for follow in [false, true] {
            let lines = bench.lines(&id2, LogOptions { tail: Some(tail), follow, ..LogOptions::default() }).await;
            assert_eq!((lines.len() as u64, &lines[0].line[..]), (tail.min(3003), first.as_bytes()), "{tail} {follow}");
        }
    }
    bench.end(&id2).await;
    let future = LogOptions {
        since: Some(hythe_runtime::Clock::system().now() + Duration::from_secs(100)),
        ..LogOptions::default()
    };
    assert_eq!(bench.lines(&id, future).await, []);
    let past = LogOptions {
        until: Some(hythe_runtime::Clock::system().now() - Duration::from_secs(100)),
        ..LogOptions::default()
    };
    assert_eq!(bench.lines(&id, past).await, []);
    bench.end(&id).await;
    let id = bench.docker.create(&bench.cx, &bench.plan("true")).await.unwrap();
    assert_eq!(bench.lines(&id, LogOptions::default()).await, []);
    bench.end(&id).await;
    let mut plan = bench.plan("head -c 40000 /dev/zero | tr '\\0' x; echo; printf end");
    plan.tty = true;
    let id = bench.run(&plan).await;
    bench.ended(&id).await;
    let sizes: Vec<usize> = bench.lines(&id, LogOptions::default()).await.iter().map(|line| line.line.len()).collect();
    assert_eq!(sizes, [40001, 3]);
    bench.end(&id).await;
}

async fn follows(bench: Bench) {
    let id = bench.run(&bench.plan("for i in 1 2 3 4 5; do echo $i; sleep 0.3; done; printf end")).await;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let words: Vec<String> =
        bench.lines(&id, follow).await.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect();
    assert_eq!(words, ["1", "2", "3", "4", "5", "end"]);
    bench.end(&id).await;
    let id = bench.run(&bench.plan("while true; do echo x; sleep 0.2; done")).await;
    let until = hythe_runtime::Clock::system().now() + Duration::from_secs(1);
    let lines = bench.lines(&id, LogOptions { follow: true, until: Some(until), ..LogOptions::default() }).await;
    assert!(!lines.is_empty());
    bench.end(&id).await;
}

async fn execs(bench: Bench) {
    let Bench { docker, cx, .. } = &bench;
    let id = bench.run(&bench.plan("sleep 100")).await;
    let exec = docker.exec().unwrap();
    let request = |command: &[&str]| ExecRequest {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        ..ExecRequest::default()
    };
    let session = exec.exec(cx, &id.to_ref(), &request(&["sh", "-c", "echo out; echo err >&2; exit 7"])).await.unwrap();
    let parts: Vec<_> = session.output.try_collect().await.unwrap();
    let of = |stream| {
        parts.iter().filter(|(from, _)| *from == stream).flat_map(|(_, bytes)| bytes.to_vec()).collect::<Vec<u8>>()
    };
    assert_eq!((of(StdStream::Stdout), of(StdStream::Stderr)), (b"out\n".to_vec(), b"err\n".to_vec()));
    assert_eq!(session.exit.await.unwrap(), 7);
    for (command, code) in [("/no/such", 127), ("/etc", 126)] {
        let session = exec.exec(cx, &id.to_ref(), &request(&[command])).await.unwrap();
        let _: Vec<_> = session.output.collect().await;
        assert_eq!(session.exit.await.unwrap(), code, "{command}");
    }
    let piped = ExecRequest { stdin: true, ..request(&["sh", "-c", "cat; echo done >&2"]) };
    let mut session = exec.exec(cx, &id.to_ref(), &piped).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    let total: usize = 16 << 20;
    let writer = tokio::spawn(async move {
        let bytes: Vec<u8> = (0..total).map(|at| (at % 251) as u8).collect();
        stdin.write_all(&bytes).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let mut at = 0;
    while let Some((stream, bytes)) = session.output.try_next().await.unwrap() {
        if stream == StdStream::Stdout {
            assert!(
                bytes.iter().enumerate().all(|(offset, byte)| *byte == ((at + offset) % 251) as u8),
                "wrong after {at}"
            );
            at += bytes.len();
        }
    }
    writer.await.unwrap();
    assert_eq!((at, session.exit.await.unwrap()), (total, 0));
    let size = hythe_runtime::TerminalSize { columns: 91, rows: 17 };
    let shown =
        ExecRequest { tty: true, size: Some(size), ..request(&["sh", "-c", "sleep 0.5; stty size; printf prompt"]) };
    let session = exec.exec(cx, &id.to_ref(), &shown).await.unwrap();
    let parts: Vec<_> = session.output.map(|part| part.unwrap().1).collect().await;
    assert_eq!(String::from_utf8_lossy(&parts.concat()), "17 91\r\nprompt");
    bench.docker.stop(cx, &id.to_ref(), &Stop { signal: None, grace: Duration::ZERO }).await.unwrap();
    assert_eq!(exec.exec(cx, &id.to_ref(), &request(&["true"])).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(
        exec.attach(cx, &id.to_ref(), &hythe_runtime::AttachRequest::default()).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    bench.end(&id).await;
    let mut plan = bench.plan("read line; echo got $line; exit 5");
    plan.stdin = true;
    let id = bench.run(&plan).await;
    let mut session =
        exec.attach(cx, &id.to_ref(), &hythe_runtime::AttachRequest { stdin: true, size: None }).await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"word\n").await.unwrap();
    let parts: Vec<_> = session.output.map(|part| part.unwrap().1).collect().await;
    assert_eq!((parts.concat(), session.exit.await.unwrap()), (b"got word\n".to_vec(), 5));
    bench.end(&id).await;
}

async fn watches(bench: Bench) {
    let Bench { docker, cx, .. } = &bench;
    let mut events = docker.watch(cx, Cursor::START).await.unwrap();
    let plan = bench.plan("exit 3");
    let id = bench.run(&plan).await;
    bench.ended(&id).await;
    docker.remove(cx, &id.to_ref()).await.unwrap();
    let (mut kinds, mut cursors) = (Vec::new(), Vec::new());
    while kinds.last() != Some(&EventKind::Removed) {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap().unwrap();
        if event.id == id && !matches!(event.kind, EventKind::Updated { .. }) {
            assert_eq!(event.name.as_deref(), Some(plan.name().as_str()));
            cursors.push(event.cursor);
            kinds.push(event.kind);
        }
    }
    let exit = hythe_runtime::Exit::from_code(3);
    assert_eq!(kinds, [EventKind::Created, EventKind::Started, EventKind::Stopped { exit }, EventKind::Removed]);
    let mut rest = docker.watch(cx, cursors[1].clone()).await.unwrap();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), rest.next()).await.unwrap().unwrap().unwrap();
        if event.id == id && !matches!(event.kind, EventKind::Updated { .. }) {
            assert_eq!(event.kind, kinds[2]);
            break;
        }
    }
}

async fn networks(bench: Bench) {
    let Bench { docker, cx, .. } = &bench;
    let names = ["a", "b"].map(|end| format!("dt{}-{}-{end}", std::process::id(), docker.info().engine));
    let networks = docker.networks().unwrap();
    for name in &names {
        let labels = BTreeMap::from([("hythe.owner".to_owned(), "driver-test".to_owned())]);
        let spec = NetworkSpec { name: name.clone(), labels, internal: false };
        let (first, second, third) =
            tokio::join!(networks.ensure(cx, &spec), networks.ensure(cx, &spec), networks.ensure(cx, &spec));
        first.and(second).and(third).unwrap();
        let same = networks.list(cx).await.unwrap().into_iter().filter(|network| network.name == *name).count();
        assert_eq!(same, 1);
        let foreign = NetworkSpec { labels: BTreeMap::new(), ..spec };
        assert_eq!(networks.ensure(cx, &foreign).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
    let mut plan = bench.plan("sleep 100");
    plan.network = bridged(&[&names[0], &names[1]]);
    let port = |protocol, host_ip: Option<&str>| Port {
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port: None,
        container_port: 53,
        protocol,
    };
    plan.ports = vec![port(Protocol::Tcp, Some("127.0.0.1")), port(Protocol::Udp, Some("127.0.0.1"))];
    let id = bench.run(&plan).await;
    let seen = docker.inspect(cx, &id.to_ref()).await.unwrap();
    assert_eq!(seen.networks.iter().map(|network| network.name.clone()).collect::<Vec<_>>(), names);
    assert!(
        seen.networks.iter().all(|network| !network.addresses.is_empty() && network.aliases.iter().flatten().any(|alias| alias == "me")),
        "{:?}",
        seen.networks
    );
    let mut shown: Vec<_> =
        seen.ports.iter().map(|port| (port.container_port, port.protocol, port.host_port.is_some())).collect();
    shown.sort();
    assert_eq!(shown, [(53, Protocol::Tcp, true), (53, Protocol::Udp, true)].to_vec(), "{:?}", seen.ports);
    let row = docker.list(cx, &Filter { labels: plan.identity.labels() }).await.unwrap().remove(0);
    assert_eq!((row.ports, row.networks), (seen.ports.clone(), names.to_vec()));
    let mut taken = bench.plan("sleep 1");
    taken.network = bridged(&[&names[0]]);
    taken.ports = seen.ports.iter().filter(|port| port.protocol == Protocol::Tcp).cloned().collect();
    assert_eq!(docker.run(cx, &taken).await.unwrap_err().kind(), ErrorKind::Conflict);
    docker.remove(cx, &InstanceRef::name(taken.name())).await.unwrap();
    assert_eq!(networks.remove(cx, &names[0], "driver-test").await.unwrap_err().kind(), ErrorKind::Conflict);
    bench.end(&id).await;
    for name in &names {
        networks.remove(cx, name, "driver-test").await.unwrap();
        networks.remove(cx, name, "driver-test").await.unwrap();
    }
}

async fn volumes(bench: Bench) {
    let Bench { docker, cx, .. } = &bench;
    let name = format!("dt{}-{}", std::process::id(), docker.info().engine);
    let volumes = docker.volumes().unwrap();
    let spec = VolumeSpec {
        name: name.clone(),
        labels: BTreeMap::from([("hythe.owner".to_owned(), "driver-test".to_owned())]),
    };
    let (first, second) = tokio::join!(volumes.ensure(cx, &spec), volumes.ensure(cx, &spec));
    first.and(second).unwrap();
    let foreign = VolumeSpec { labels: BTreeMap::new(), ..spec.clone() };
    assert_eq!(volumes.ensure(cx, &foreign).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let mut plan = bench.plan("ls /etc > /v/x; cat /v/x");
    plan.mounts = vec![volume(&name, "/v")];
    let id = bench.run(&plan).await;
    bench.ended(&id).await;
    let error = volumes.remove(cx, &name, "driver-test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains(&plan.name()), "{error}");
    let mount = docker.inspect(cx, &id.to_ref()).await.unwrap().mounts.remove(0);
    assert_eq!((mount.kind.as_str(), mount.source.as_str(), mount.target.as_str()), ("volume", name.as_str(), "/v"));
    docker.remove(cx, &id.to_ref()).await.unwrap();
    assert!(volumes.list(cx).await.unwrap().iter().any(|volume| volume.name == name));
    volumes.remove(cx, &name, "driver-test").await.unwrap();
    volumes.remove(cx, &name, "driver-test").await.unwrap();
}

async fn images(bench: Bench) {
    let Bench { docker, cx, image, registry } = &bench;
    let images = docker.images().unwrap();
    let (sink, mut reports) = tokio::sync::mpsc::channel(10_000);
    let base = images.get(cx, &image.parse().unwrap()).await.unwrap();
    assert!(base.tags.contains(image), "{base:?}");
    assert_eq!(images.get(cx, &"localhost/none:1".parse().unwrap()).await.unwrap_err().kind(), ErrorKind::NotFound);
    let context = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(context.path().join(name), text).unwrap();
    file("Dockerfile", &format!("FROM {image}\nARG WORD\nCOPY . /c\nRUN echo built-$WORD && ls /c > /listing\n"));
    file("wanted", "1");
    file("secret", "2");
    file(".dockerignore", "secret\n");
    let name = format!("localhost/dt{}-{}:1", std::process::id(), docker.info().engine).parse().unwrap();
    let request = hythe_runtime::BuildRequest {
        image: name,
        context: context.path().to_owned(),
        dockerfile: context.path().join("Dockerfile"),
        args: BTreeMap::from([("WORD".to_owned(), "well".to_owned())]),
        labels: BTreeMap::new(),
        no_cache: true,
        network: Default::default(),
    };
    let built = images.build(cx, &request, &sink).await.unwrap();
    assert_eq!(images.get(cx, &request.image).await.unwrap().id, built.id);
    let mut output = String::new();
    while let Ok(report) = reports.try_recv() {
        output.push_str(&report.status);
    }
    assert!(output.contains("built-well"), "{output}");
    let mut plan = bench.plan("cat /listing");
    plan.image = request.image.clone();
    let listing = bench.output(&plan).await;
    assert!(listing.contains("wanted") && !listing.contains("secret"), "{listing}");
    file("Dockerfile", &format!("FROM {image}\nRUN echo about-to-fail; false\n"));
    let error = images.build(cx, &request, &sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("about-to-fail"), "{error}");
    if let Some(registry) = registry {
        let remote: hythe_spec::ImageRef =
            format!("{registry}/dt{}/{}:1", std::process::id(), docker.info().engine).parse().unwrap();
        images.tag(cx, &request.image, &remote).await.unwrap();
        images.push(cx, &remote, &sink).await.unwrap();
        let digest = images.resolve(cx, &remote).await.unwrap().digest;
        images.remove(cx, &remote).await.unwrap();
        let pulled = images.pull(cx, &remote, None, &sink).await.unwrap();
        assert!(pulled.digests.iter().any(|known| known.ends_with(&digest)), "{pulled:?} {digest}");
        let by_digest = hythe_spec::ImageRef { digest: Some(digest), ..remote.clone() };
        assert_eq!(images.pull(cx, &by_digest, None, &sink).await.unwrap().id, pulled.id);
        let missing = hythe_spec::ImageRef { tag: Some("none".to_owned()), ..remote.clone() };
        assert_eq!(images.pull(cx, &missing, None, &sink).await.unwrap_err().kind(), ErrorKind::NotFound);
        images.remove(cx, &remote).await.unwrap();
    }
    images.remove(cx, &request.image).await.unwrap();
    images.remove(cx, &request.image).await.unwrap();
    let closed = "127.0.0.1:9/x:1".parse().unwrap();
    assert_eq!(images.pull(cx, &closed, None, &sink).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(images.list(cx).await.unwrap().iter().any(|known| known.tags.contains(image)));
}

async fn stats(bench: Bench) {
    let mut plan = bench.plan("sleep 100");
    plan.resources.memory = Some(ByteSize(64 << 20));
    let id = bench.run(&plan).await;
    let stats = bench.docker.stats().unwrap();
    let sample = stats.sample(&bench.cx, &id.to_ref()).await.unwrap();
    assert!(sample.cpu_nanos > 0 && sample.memory_bytes > 0, "{sample:?}");
    assert_eq!(sample.memory_limit, Some(64 << 20));
    bench.docker.stop(&bench.cx, &id.to_ref(), &Stop { signal: None, grace: Duration::ZERO }).await.unwrap();
    assert_eq!(stats.sample(&bench.cx, &id.to_ref()).await.unwrap_err().kind(), ErrorKind::Conflict);
    bench.end(&id).await;
}

async fn stops(bench: Bench) {
    let Bench { docker, cx, .. } = &bench;
    let id = bench
        .run(&bench.plan("trap 'exit 42' TERM; trap 'exit 43' USR1; echo ready; while true; do sleep 0.1; done"))
        .await;
    bench.ready(&id, 1).await;
    docker.stop(cx, &id.to_ref(), &Stop { signal: None, grace: Duration::from_secs(10) }).await.unwrap();
    assert_eq!(docker.inspect(cx, &id.to_ref()).await.unwrap().exit.unwrap().code, Some(42));
    docker.start(cx, &id.to_ref()).await.unwrap();
    bench.ready(&id, 2).await;
    docker
        .stop(cx, &id.to_ref(), &Stop { signal: Some(hythe_spec::Signal(10)), grace: Duration::from_secs(10) })
        .await
        .unwrap();
    assert_eq!(docker.inspect(cx, &id.to_ref()).await.unwrap().exit.unwrap().code, Some(43));
    bench.end(&id).await;
    let id = bench.run(&bench.plan("trap '' TERM; echo ready; while true; do sleep 0.1; done")).await;
    bench.ready(&id, 1).await;
    let slow = Stop { signal: None, grace: Duration::from_secs(2) };
    let instance = id.to_ref();
    let (stopped, ()) = tokio::join!(docker.stop(cx, &instance, &slow), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(docker.inspect(cx, &id.to_ref()).await.unwrap().state, State::Stopping);
    });
    stopped.unwrap();
    assert_eq!(docker.inspect(cx, &id.to_ref()).await.unwrap().exit.unwrap().signal, Some(hythe_spec::Signal::KILL));
    bench.end(&id).await;
}
