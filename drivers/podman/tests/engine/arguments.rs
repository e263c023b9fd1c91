//! What every user of the host can read while podman works: the arguments of all processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use futures_util::StreamExt;
use hythe_runtime::{BuildRequest, ErrorKind, Exec, ExecRequest, Runtime};
use tokio::sync::mpsc;

use crate::bench::bench;

/// Reads the arguments of every process over and over.
struct Watcher {
    done: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<String>, usize)>,
}

impl Watcher {
    /// Looks for `secret`, and counts the sights of `known` as the proof that it would have been seen.
    fn start(secret: &str, known: &str) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (ended, secret, known) = (Arc::clone(&done), secret.to_owned(), known.to_owned());
        let thread = std::thread::spawn(move || {
            let (mut found, mut seen) = (Vec::new(), 0);
            while !ended.load(Ordering::Relaxed) {
                for line in command_lines() {
                    seen += usize::from(line.contains(&known));
                    if line.contains(&secret) && !found.contains(&line) {
                        found.push(line);
                    }
                }
            }
            (found, seen)
        });
        Self { done, thread }
    }

    fn end(self) -> (Vec<String>, usize) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn command_lines() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let read = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    read.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

/// A name of each way that values go, and those that every podman acts upon.
fn variables(secret: &str) -> BTreeMap<String, String> {
    let names = ["DB_PASSWORD", "GOOGLE_API_KEY", "lower_key", "LOG_KEY", "HOME", "LD_HINT", "XDG_X", "DOCKER_X"];
    let mut env: BTreeMap<String, String> =
        names.into_iter().map(|name| (name.to_owned(), format!("\"{secret}' #x  "))).collect();
    env.insert("PATH".to_owned(), format!("/bin:/{secret}"));
    env.insert("LINES".to_owned(), format!("{secret}\n\n{secret}\r\n"));
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn run_and_exec_show_no_value_in_any_argument() {
    let Some(bench) = bench("arguments").await else { return };
    let secret = format!("zq{}wx", std::process::id());
    let mut plan = bench.plan("args", &["/bin/sleep", "1000"]);
    plan.env = variables(&secret);
    plan.annotations.insert("note".to_owned(), secret.clone());
    let watcher = Watcher::start(&secret, &plan.name());
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    let request = ExecRequest {
        command: vec!["/bin/busybox".to_owned(), "env".to_owned(), "-0".to_owned()],
        env: plan.env.clone(),
        ..ExecRequest::default()
    };
    let mut session = Exec::exec(&bench.podman, &bench.cx, &id.to_ref(), &request).await.unwrap();
    let mut output = Vec::new();
    while let Some(chunk) = session.output.next().await {
        output.extend_from_slice(&chunk.unwrap().1);
    }
    assert_eq!(session.exit.await.unwrap(), 0);
    let (found, seen) = watcher.end();
    let observed = bench.podman.inspect(&bench.cx, &id.to_ref()).await.unwrap();
    bench.remove(&id).await;
    assert!(seen > 0, "the watcher never saw podman");
    assert!(found.is_empty(), "{found:#?}");
    let output = String::from_utf8_lossy(&output);
    for (name, value) in &plan.env {
        assert_eq!(observed.env.get(name), Some(value), "{name}");
        assert!(output.split('\0').any(|pair| pair == format!("{name}={value}")), "{name}: {output:?}");
    }
    assert_eq!(observed.labels["note"], secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn build_shows_no_argument_of_it_in_any_argument() {
    let Some(bench) = bench("build-arguments").await else { return };
    let images = bench.podman.images().unwrap();
    let secret = format!("zq{}bd", std::process::id());
    let context = tempfile::tempdir().unwrap();
    let dockerfile = context.path().join("Dockerfile");
    std::fs::write(
        &dockerfile,
        format!("FROM {}\nARG TOKEN\nARG TZ\nARG LINES\nRUN sleep 1; echo \"$TOKEN,$TZ,$LINES\"\n", bench.image),
    )
    .unwrap();
    let named = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), secret.clone())).collect();
    let mut args: BTreeMap<String, String> = named(&["TOKEN", "TZ"]);
    args.insert("LINES".to_owned(), format!("{secret}\n{secret}"));
    let image = format!("localhost/hythe-test-argued:{}", std::process::id());
    let mut request = BuildRequest {
        image: image.parse().unwrap(),
        context: context.path().to_owned(),
        dockerfile,
        args,
        labels: BTreeMap::new(),
        no_cache: true,
        network: Default::default(),
    };
    let watcher = Watcher::start(&secret, &image);
    let (sink, mut reports) = mpsc::channel(256);
    images.build(&bench.cx, &request, &sink).await.unwrap();
    let (found, seen) = watcher.end();
    images.remove(&bench.cx, &request.image).await.unwrap();
    assert!(seen > 0, "the watcher never saw podman");
    assert!(found.is_empty(), "{found:#?}");
    let mut said = Vec::new();
    while let Ok(report) = reports.try_recv() {
        said.push(report.status);
    }
    assert!(said.iter().any(|line| line.contains(&format!("{secret},{secret},{secret}"))), "{said:?}");
    request.args = named(&["LD_PRELOAD"]);
    let error = images.build(&bench.cx, &request, &sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}
