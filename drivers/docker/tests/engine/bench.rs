//! One engine under test and a plan for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use hythe_driver_docker::{Config, Docker, connect};
use hythe_runtime::{Identity, InstanceId, LogLine, LogOptions, OpContext, Plan, Runtime, State, Stop};
use hythe_spec::Millis;

pub(crate) struct Bench {
    pub(crate) docker: Docker,
    pub(crate) image: String,
    pub(crate) registry: Option<String>,
    pub(crate) cx: OpContext,
}

fn environment() -> Option<serde_json::Value> {
    let path = std::env::var_os("HYTHE_TEST_ENV")?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

pub(crate) async fn bench(engine: &str) -> Option<Bench> {
    let found = environment();
    let socket = found.as_ref().and_then(|env| env[engine]["socket"].as_str());
    let Some(socket) = socket else {
        eprintln!("nothing is proved here: HYTHE_TEST_ENV names no `{engine}`");
        return None;
    };
    let config = Config { host: Some(format!("unix://{socket}")), ..Config::default() };
    let env = found.as_ref().unwrap();
    Some(Bench {
        docker: connect(config).await.unwrap(),
        image: env["image"].as_str().unwrap().to_owned(),
        registry: env["registry"]["address"].as_str().map(str::to_owned),
        cx: OpContext::new("test"),
    })
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Bench {
    pub(crate) fn plan(&self, script: &str) -> Plan {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let identity = Identity {
            owner: "driver-test".to_owned(),
            service: format!("dt{}", std::process::id()),
            component: format!("c{count}"),
            generation: 1,
            attempt: 1,
            plan_hash: "0".repeat(16),
        };
        Plan {
            command: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            env: BTreeMap::from([("A".to_owned(), "b=c d".to_owned())]),
            annotations: BTreeMap::from([("user".to_owned(), "la\"bel".to_owned())]),
            hostname: "box".to_owned(),
            stop_grace: Millis(1_000),
            ..Plan::plain(self.image.parse().unwrap(), identity)
        }
    }

    pub(crate) async fn run(&self, plan: &Plan) -> InstanceId {
        self.docker.run(&self.cx, plan).await.unwrap()
    }

    pub(crate) async fn ended(&self, id: &InstanceId) {
        for _ in 0..400 {
            if self.docker.inspect(&self.cx, &id.to_ref()).await.unwrap().state == State::Exited {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{id} does not end");
    }

    pub(crate) async fn lines(&self, id: &InstanceId, options: LogOptions) -> Vec<LogLine> {
        let logs = self.docker.logs().unwrap().logs(&self.cx, &id.to_ref(), &options).await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), logs.try_collect()).await.unwrap().unwrap()
    }

    /// Runs a script and waits until it has said `ready` so many times: its traps stand.
    pub(crate) async fn ready(&self, id: &InstanceId, times: usize) {
        for _ in 0..400 {
            let lines = self.lines(id, LogOptions::default()).await;
            if lines.iter().filter(|line| line.line == "ready").count() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{id} is not ready");
    }

    pub(crate) async fn output(&self, plan: &Plan) -> String {
        let id = self.run(plan).await;
        self.ended(&id).await;
        let lines = self.lines(&id, LogOptions::default()).await;
        self.docker.remove(&self.cx, &id.to_ref()).await.unwrap();
        lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned() + "\n").collect()
    }

    pub(crate) async fn end(&self, id: &InstanceId) {
        self.docker.stop(&self.cx, &id.to_ref(), &Stop { signal: None, grace: Duration::ZERO }).await.unwrap();
        self.docker.remove(&self.cx, &id.to_ref()).await.unwrap();
    }
}
