//! Logs, exec, stats, networks, volumes and images.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bench::{Bench, PATIENCE};
use futures_util::StreamExt;
use hythe_runtime::{
    AttachRequest, Attachment, BuildRequest, ErrorKind, ExecRequest, Feature, Filter, InstanceId, InstanceRef, LogLine,
    LogOptions, NetworkSpec, PlanNetwork, Runtime, Session, StdStream, TerminalSize, VolumeSpec, identity,
};
use hythe_spec::{ByteSize, ImageRef, Millicores, Mount, MountSource, Port, Protocol};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

const PIPED: usize = 64 << 20;

async fn lines(bench: &Bench, id: &InstanceId, options: LogOptions) -> Vec<LogLine> {
    let stream = bench.podman.logs().unwrap().logs(&bench.cx, &id.to_ref(), &options).await.unwrap();
    tokio::time::timeout(PATIENCE, stream.map(Result::unwrap).collect()).await.unwrap()
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect()
}

#[tokio::test]
async fn logs_are_exact() {
    let Some(bench) = crate::bench::bench("logs").await else {
        return;
    };
    let script =
        "echo one; echo two >&2; head -c 1048575 /dev/zero | tr '\\0' x; echo; printf 'bad\\377byte\\n'; printf tail";
    let id = bench.podman.run(&bench.cx, &bench.plan("logs", &["sh", "-c", script])).await.unwrap();
    let followed = lines(&bench, &id, LogOptions { follow: true, ..LogOptions::default() }).await;
    bench.ended(&id).await;
    let all = lines(&bench, &id, LogOptions::default()).await;
    assert_eq!(all, followed);
    let out: Vec<&LogLine> = all.iter().filter(|line| line.stream == StdStream::Stdout).collect();
    assert_eq!(out.iter().map(|line| line.line.len()).collect::<Vec<_>>(), [3, (1 << 20) - 1, 8, 4]);
    assert_eq!((&out[2].line[..], out[3].terminated), (&b"bad\xffbyte"[..], false));
    let last = lines(&bench, &id, LogOptions { tail: Some(1), ..LogOptions::default() }).await;
    assert_eq!(texts(&last), ["tail"]);
    assert!(lines(&bench, &id, LogOptions { tail: Some(0), ..LogOptions::default() }).await.is_empty());
    bench.remove(&id).await;
    let created = bench.podman.create(&bench.cx, &bench.plan("never", &["true"])).await.unwrap();
    assert!(lines(&bench, &created, LogOptions { follow: true, ..LogOptions::default() }).await.is_empty());
    bench.remove(&created).await;
}

#[tokio::test]
async fn an_early_long_line_is_one() {
    let Some(bench) = crate::bench::bench("early").await else {
        return;
    };
    for round in 0..5 {
        let mut plan = bench.plan("early", &["sh", "-c", "head -c 1048575 /dev/zero | tr '\\0' x; printf 'y\nz'"]);
        plan.identity.attempt = round + 1;
        let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
        let followed = lines(&bench, &id, LogOptions { follow: true, ..LogOptions::default() }).await;
        assert_eq!(
            followed.iter().map(|line| line.line.len()).collect::<Vec<_>>(),
            [1 << 20, 1],
            "one line of the most that is given in one part"
        );
        assert_eq!(lines(&bench, &id, LogOptions::default()).await, followed);
        bench.ended(&id).await;
        // Another run: its first word does not go on with the last one of the run before.
        bench.podman.start(&bench.cx, &id.to_ref()).await.unwrap();
        bench.ended(&id).await;
        let both: Vec<usize> =
            lines(&bench, &id, LogOptions::default()).await.iter().map(|line| line.line.len()).collect();
        assert_eq!(both, [1 << 20, 1, 1 << 20, 1]);
        let last = lines(&bench, &id, LogOptions { tail: Some(1), ..LogOptions::default() }).await;
        assert_eq!(texts(&last), ["z"]);
        bench.remove(&id).await;
    }
}

pub(crate) async fn output(session: &mut Session) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(chunk) = session.output.next().await {
        match chunk.unwrap() {
            (StdStream::Stdout, bytes) => out.extend_from_slice(&bytes),
            (StdStream::Stderr, bytes) => err.extend_from_slice(&bytes),
        }
    }
    (out, err)
}

pub(crate) fn command(words: &[&str]) -> ExecRequest {
    ExecRequest { command: words.iter().map(|word| (*word).to_owned()).collect(), ..ExecRequest::default() }
}

#[tokio::test]
async fn exec_carries_streams_and_codes() {
    let Some(bench) = crate::bench::bench("exec").await else {
        return;
    };
    let id = bench.podman.run(&bench.cx, &bench.plan("exec", &["sleep", "1000"])).await.unwrap();
    let exec = bench.podman.exec().unwrap();
    let mut session =
        exec.exec(&bench.cx, &id.to_ref(), &command(&["sh", "-c", "echo out; echo err >&2; exit 125"])).await.unwrap();
    assert_eq!(output(&mut session).await, (b"out\n".to_vec(), b"err\n".to_vec()));
    assert_eq!(session.exit.await.unwrap(), 125);
    let mut session = exec.exec(&bench.cx, &id.to_ref(), &command(&["/no/such"])).await.unwrap();
    output(&mut session).await;
    assert_eq!(session.exit.await.unwrap(), 127);
    let mut session =
        exec.exec(&bench.cx, &id.to_ref(), &ExecRequest { stdin: true, ..command(&["wc", "-c"]) }).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    let writer = tokio::spawn(async move {
        let block = vec![7; 1 << 20];
        for _ in 0..PIPED >> 20 {
            stdin.write_all(&block).await.unwrap();
        }
        stdin.shutdown().await.unwrap();
    });
    let (out, _) = tokio::time::timeout(PATIENCE, output(&mut session)).await.unwrap();
    writer.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&out).trim(), PIPED.to_string());
    let absent = exec.exec(&bench.cx, &InstanceRef::name("no-such"), &command(&["true"])).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    bench.stop(&id).await;
    assert_eq!(exec.exec(&bench.cx, &id.to_ref(), &command(&["true"])).await.unwrap_err().kind(), ErrorKind::Conflict);
    bench.remove(&id).await;
}

#[tokio::test]
async fn a_terminal_has_a_size() {
    let Some(bench) = crate::bench::bench("tty").await else {
        return;
    };
    let id = bench.podman.run(&bench.cx, &bench.plan("tty", &["sleep", "1000"])).await.unwrap();
    let size = Some(TerminalSize { columns: 91, rows: 31 });
    let request = ExecRequest {
        tty: true,
        stdin: true,
        size,
        ..command(&["sh", "-c", "read line; stty size; read line; stty size; echo got $line"])
    };
    let mut session = bench.podman.exec().unwrap().exec(&bench.cx, &id.to_ref(), &request).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stdin.write_all(b"\r").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    session.resize.as_ref().unwrap().send(TerminalSize { columns: 92, rows: 32 }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stdin.write_all(b"word\r").await.unwrap();
    let (out, _) = tokio::time::timeout(PATIENCE, output(&mut session)).await.unwrap();
    let out = String::from_utf8_lossy(&out).into_owned();
    assert!(out.contains("31 91") && out.contains("32 92") && out.contains("got word"), "{out:?}");
    assert_eq!(session.exit.await.unwrap(), 0);
    bench.remove(&id).await;
}

#[tokio::test]
async fn attach_reaches_the_main_process() {
    let Some(bench) = crate::bench::bench("attach").await else {
        return;
    };
    let mut plan = bench.plan("attach", &["sh", "-c", "read line; echo heard $line; exit 5"]);
    plan.stdin = true;
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    let mut session = bench
        .podman
        .exec()
        .unwrap()
        .attach(&bench.cx, &id.to_ref(), &AttachRequest { stdin: true, ..AttachRequest::default() })
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    session.stdin.as_mut().unwrap().write_all(b"you\n").await.unwrap();
    let (out, _) = tokio::time::timeout(PATIENCE, output(&mut session)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "heard you\n");
    assert_eq!(session.exit.await.unwrap(), 5);
    bench.remove(&id).await;
}

#[tokio::test]
async fn the_end_of_file_reaches_the_main_process() {
    let Some(bench) = crate::bench::bench("eof").await else { return };
    let mut plan = bench.plan("eof", &["sh", "-c", "cat; echo end"]);
    plan.stdin = true;
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    let request = AttachRequest { stdin: true, ..AttachRequest::default() };
    let mut session = bench.podman.exec().unwrap().attach(&bench.cx, &id.to_ref(), &request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stdin = session.stdin.as_mut().unwrap();
    stdin.write_all(b"word\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stdin.shutdown().await.unwrap();
    let (out, _) = tokio::time::timeout(PATIENCE, output(&mut session)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "word\nend\n");
    bench.remove(&id).await;
}

fn owned(bench: &Bench, owner: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(identity::OWNER.to_owned(), format!("{}{owner}", bench.owner))])
}

#[tokio::test]
async fn networks_volumes_and_limits_are_seen() {
    let Some(bench) = crate::bench::bench("rest").await else {
        return;
    };
    if !bench.supports(Feature::MemoryLimit) {
        return;
    }
    let name = format!("hythe-test-{}", std::process::id());
    let (networks, volumes) = (bench.podman.networks().unwrap(), bench.podman.volumes().unwrap());
    let network = NetworkSpec { name: name.clone(), labels: owned(&bench, ""), internal: false };
    let (first, second) = tokio::join!(networks.ensure(&bench.cx, &network), networks.ensure(&bench.cx, &network));
    first.and(second).unwrap();
    let foreign = NetworkSpec { labels: owned(&bench, "other"), ..network.clone() };
    assert_eq!(networks.ensure(&bench.cx, &foreign).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let volume = VolumeSpec { name: name.clone(), labels: owned(&bench, "") };
    let mut plan = bench.plan("rest", &["sh", "-c", "echo $SECRET_TOKEN; env >&2; sleep 1000"]);
    plan.env = BTreeMap::from([("SECRET_TOKEN".to_owned(), "a\nb".to_owned()), ("HOME".to_owned(), "/h".to_owned())]);
    plan.mounts = vec![
        Mount {
            target: "/data".to_owned(),
            source: MountSource::Volume { name: name.clone(), external: false },
            read_only: true,
        },
        Mount {
            target: "/t".to_owned(),
            source: MountSource::Tmpfs { size: Some(ByteSize(1 << 20)), mode: None, options: Default::default() },
            read_only: false,
        },
    ];
    plan.network = PlanNetwork::Networks {
        attachments: vec![Attachment { network: name.clone(), aliases: vec!["web".to_owned()] }],
    };
    let any = |protocol| Port { host_ip: None, host_port: None, container_port: 80, protocol };
    plan.ports = vec![any(Protocol::Tcp), any(Protocol::Udp)];
    plan.resources.memory = Some(ByteSize(32 << 20));
    plan.resources.cpus = Some(Millicores(500));
    plan.resources.pids = Some(20);
    let missing = bench.podman.run(&bench.cx, &plan).await.unwrap_err();
    assert!(missing.is_not_found() && missing.message().contains(&name), "{missing}");
    volumes.ensure(&bench.cx, &volume).await.unwrap();
    volumes.ensure(&bench.cx, &volume).await.unwrap();
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    let seen = bench.podman.inspect(&bench.cx, &id.to_ref()).await.unwrap();
    let mut published: Vec<_> = seen.ports.iter().map(|port| (port.container_port, port.protocol)).collect();
    published.sort();
    assert_eq!(published, [(80, Protocol::Tcp), (80, Protocol::Udp)]);
    assert!(seen.ports.iter().all(|port| port.host_port.is_some()));
    assert_eq!(seen.networks[0].addresses.len(), 1);
    assert_eq!(
        seen.mounts
            .iter()
            .map(|mount| (mount.target.as_str(), mount.kind.as_str(), mount.read_only))
            .collect::<Vec<_>>(),
        [("/data", "volume", true), ("/t", "tmpfs", false)]
    );
    assert_eq!(
        (seen.resources.memory, seen.resources.cpus, seen.resources.pids),
        (plan.resources.memory, plan.resources.cpus, Some(20))
    );
    assert_eq!((seen.env["SECRET_TOKEN"].as_str(), seen.env["HOME"].as_str()), ("a\nb", "/h"));
    let listed = bench.podman.list(&bench.cx, &Filter::owned_by(&bench.owner)).await.unwrap().remove(0);
    assert_eq!((&listed.ports, &listed.networks), (&seen.ports, &vec![name.clone()]));
    let sample = bench.podman.stats().unwrap().sample(&bench.cx, &id.to_ref()).await.unwrap();
    assert!(
        sample.cpu_nanos > 0 && sample.memory_limit == Some(32 << 20) && sample.network_rx_bytes.is_some(),
        "{sample:?}"
    );
    assert_eq!(networks.remove(&bench.cx, &name, &bench.owner).await.unwrap_err().kind(), ErrorKind::Conflict);
    let used = volumes.remove(&bench.cx, &name, &bench.owner).await.unwrap_err();
    assert!(used.kind() == ErrorKind::Conflict && used.message().contains(&plan.name()), "{used}");
    bench.remove(&id).await;
    for _ in 0..2 {
        networks.remove(&bench.cx, &name, &bench.owner).await.unwrap();
        volumes.remove(&bench.cx, &name, &bench.owner).await.unwrap();
    }
}

#[tokio::test]
async fn out_of_memory_is_seen() {
    let Some(bench) = crate::bench::bench("oom").await else {
        return;
    };
    if !bench.supports(Feature::MemoryLimit) {
        return;
    }
    let mut plan = bench.plan("oom", &["sh", "-c", "a=x; while true; do a=$a$a; done"]);
    plan.resources.memory = Some(ByteSize(16 << 20));
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    let exit = bench.ended(&id).await.exit.unwrap();
    assert_eq!((exit.code, exit.is_oom()), (Some(137), true));
    bench.remove(&id).await;
}

#[tokio::test]
async fn images_are_named_and_unnamed() {
    let Some(bench) = crate::bench::bench("images").await else {
        return;
    };
    let images = bench.podman.images().unwrap();
    let image = bench.image.parse().unwrap();
    let name = format!("localhost/hythe-test-tag:{}", std::process::id()).parse().unwrap();
    images.tag(&bench.cx, &image, &name).await.unwrap();
    let named = images.get(&bench.cx, &name).await.unwrap();
    assert_eq!(named.id, images.get(&bench.cx, &image).await.unwrap().id);
    assert!(images.list(&bench.cx).await.unwrap().iter().any(|listed| listed.tags.contains(&name.to_string())));
    images.remove(&bench.cx, &name).await.unwrap();
    images.remove(&bench.cx, &name).await.unwrap();
    assert!(images.get(&bench.cx, &name).await.unwrap_err().is_not_found());
    assert!(images.get(&bench.cx, &image).await.is_ok());
}

#[tokio::test]
async fn names_given_at_once_are_all_kept() {
    let Some(bench) = crate::bench::bench("names").await else {
        return;
    };
    let images = bench.podman.images().unwrap();
    let image: ImageRef = bench.image.parse().unwrap();
    let names: Vec<ImageRef> =
        (0..8).map(|n| format!("localhost/{}/name{n}:1", bench.owner).parse().unwrap()).collect();
    let given = names.iter().map(|name| images.tag(&bench.cx, &image, name));
    futures_util::future::join_all(given).await.into_iter().for_each(Result::unwrap);
    let kept = images.get(&bench.cx, &image).await.unwrap().tags;
    assert!(names.iter().all(|name| kept.contains(&name.to_string())), "{kept:?}");
    let taken = names.iter().map(|name| images.remove(&bench.cx, name));
    futures_util::future::join_all(taken).await.into_iter().for_each(Result::unwrap);
    let kept = images.get(&bench.cx, &image).await.unwrap().tags;
    assert!(names.iter().all(|name| !kept.contains(&name.to_string())), "{kept:?}");
}

#[tokio::test]
async fn a_registry_is_pulled_from_and_pushed_to() {
    let Some(bench) = crate::bench::bench("registry").await else {
        return;
    };
    let Some(address) = bench.registry.clone() else {
        eprintln!("skipped: the environment has no registry");
        return;
    };
    let images = bench.podman.images().unwrap();
    let name: ImageRef = format!("{address}/podman-driver:{}", std::process::id()).parse().unwrap();
    let (sink, mut reports) = mpsc::channel(256);
    images.tag(&bench.cx, &bench.image.parse().unwrap(), &name).await.unwrap();
    images.push(&bench.cx, &name, &sink).await.unwrap();
    images.remove(&bench.cx, &name).await.unwrap();
    let (first, second) =
        tokio::join!(images.pull(&bench.cx, &name, None, &sink), images.pull(&bench.cx, &name, None, &sink));
    assert_eq!(first.unwrap().id, second.unwrap().id);
    assert!(reports.try_recv().is_ok());
    let remote = images.resolve(&bench.cx, &name).await.unwrap();
    let pinned: ImageRef = format!("{name}@{}", remote.digest).parse().unwrap();
    assert!(images.pull(&bench.cx, &pinned, None, &sink).await.is_ok());
    images.remove(&bench.cx, &pinned).await.unwrap();
    images.remove(&bench.cx, &name).await.unwrap();
    let absent: ImageRef = format!("{address}/no/such:1").parse().unwrap();
    assert!(images.pull(&bench.cx, &absent, None, &sink).await.unwrap_err().is_not_found());
    let closed: ImageRef = "127.0.0.1:1/no/such:1".parse().unwrap();
    assert_eq!(images.pull(&bench.cx, &closed, None, &sink).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_dockerfile_is_built() {
    let Some(bench) = crate::bench::bench("build").await else {
        return;
    };
    if !bench.supports(Feature::Networks) {
        return;
    }
    let images = bench.podman.images().unwrap();
    let context = tempfile::tempdir().unwrap();
    let dockerfile = context.path().join("Dockerfile");
    let mut request = BuildRequest {
        image: format!("localhost/hythe-test-built:{}", std::process::id()).parse().unwrap(),
        context: context.path().to_owned(),
        dockerfile: dockerfile.clone(),
        args: BTreeMap::from([("WORD".to_owned(), "spoken".to_owned())]),
        labels: BTreeMap::from([("a".to_owned(), "b c".to_owned())]),
        no_cache: false,
        network: Default::default(),
    };
    let (sink, mut reports) = mpsc::channel(256);
    std::fs::write(&dockerfile, format!("FROM {}\nARG WORD\nRUN echo $WORD\n", bench.image)).unwrap();
    let built = images.build(&bench.cx, &request, &sink).await.unwrap();
    assert_eq!(images.get(&bench.cx, &request.image).await.unwrap().id, built.id);
    let mut said = Vec::new();
    while let Ok(report) = reports.try_recv() {
        said.push(report.status);
    }
    assert!(said.iter().any(|line| line == "spoken"), "{said:?}");
    images.remove(&bench.cx, &request.image).await.unwrap();
    std::fs::write(&dockerfile, format!("FROM {}\nRUN echo last words; false\n", bench.image)).unwrap();
    request.image = "localhost/hythe-test-never:1".parse().unwrap();
    let failed = images.build(&bench.cx, &request, &sink).await.unwrap_err();
    assert!(failed.kind() == ErrorKind::Invalid && failed.message().contains("last words"), "{failed}");
}
