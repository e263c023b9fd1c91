//! The podman that `HYTHE_TEST_ENV` names, and plans for it.

use std::path::PathBuf;
use std::time::Duration;

use hythe_driver_podman::{Config, Podman, connect};
use hythe_runtime::{Feature, Identity, InstanceId, OpContext, Plan, Runtime, State, Stop};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connected podman, and what every test needs with it.
pub(crate) struct Bench {
    pub(crate) podman: Podman,
    pub(crate) image: String,
    pub(crate) cx: OpContext,
    pub(crate) owner: String,
    /// Socket of a service that the environment has.
    pub(crate) socket: Option<String>,
    /// An OpenSSH server's program and the directory of its libraries, where the environment has them.
    pub(crate) sshd: Option<[PathBuf; 2]>,
    /// `host:port` of a registry, where the environment has one.
    pub(crate) registry: Option<String>,
}

/// The configured podman, or `None` with the reason printed.
pub(crate) async fn bench(owner: &str) -> Option<Bench> {
    let Ok(path) = std::env::var("HYTHE_TEST_ENV") else {
        eprintln!("skipped: HYTHE_TEST_ENV names no environment");
        return None;
    };
    let env: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let Some(program) = env["podman"]["program"].as_str() else {
        eprintln!("skipped: the environment has no podman");
        return None;
    };
    let config = Config { program: PathBuf::from(program), ..Config::default() };
    let owner = format!("{owner}-{}", std::process::id());
    Some(Bench {
        podman: connect(config).await.unwrap(),
        image: env["image"].as_str().unwrap().to_owned(),
        cx: OpContext::new("test"),
        owner,
        socket: env["podman_api"]["socket"].as_str().map(str::to_owned),
        sshd: env["sshd"]["program"].as_str().zip(env["sshd"]["libraries"].as_str()).map(|(a, b)| [a.into(), b.into()]),
        registry: env["registry"]["address"].as_str().map(str::to_owned),
    })
}

impl Bench {
    /// Whether the engine can; if not, the reason is printed.
    pub(crate) fn supports(&self, feature: Feature) -> bool {
        let supported = self.podman.capability().supports(feature);
        if !supported {
            eprintln!("skipped: no {} here", feature.describe());
        }
        supported
    }

    pub(crate) fn plan(&self, component: &str, command: &[&str]) -> Plan {
        let identity = Identity {
            owner: self.owner.clone(),
            service: format!("t{}", std::process::id()),
            component: component.to_owned(),
            generation: 1,
            attempt: 1,
            plan_hash: "abc".to_owned(),
        };
        Plan {
            command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            ..Plan::plain(self.image.parse().unwrap(), identity)
        }
    }

    pub(crate) async fn stop(&self, id: &InstanceId) {
        self.podman.stop(&self.cx, &id.to_ref(), &Stop { signal: None, grace: Duration::ZERO }).await.unwrap();
    }

    pub(crate) async fn remove(&self, id: &InstanceId) {
        self.stop(id).await;
        self.podman.remove(&self.cx, &id.to_ref()).await.unwrap();
    }

    pub(crate) async fn ended(&self, id: &InstanceId) -> hythe_runtime::Observed {
        loop {
            let observed = self.podman.inspect(&self.cx, &id.to_ref()).await.unwrap();
            if observed.state == State::Exited {
                return observed;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
