//! A root with an image, and what is left of it at the end: nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use hythe_driver_embedded::{Config, Embedded};
use hythe_runtime::{
    Filter, Identity, InstanceId, LogOptions, Logs, Observed, OpContext, Plan, PlanNetwork, Runtime, Security, State,
    Stop,
};
use hythe_spec::{ImageRef, Inbound, Millis, Permissions, Resources};
use tempfile::TempDir;

const IMAGE: &str = "localhost/shim-test:1";
const OWNER: &str = "shim-trials";

pub(crate) fn busybox() -> PathBuf {
    std::env::var_os("HYTHE_TEST_BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from)
}

/// See the module.
pub(crate) struct Bed {
    root: PathBuf,
    _directory: TempDir,
    tokio: tokio::runtime::Runtime,
    pub(crate) embedded: Embedded,
    pub(crate) cx: OpContext,
}

impl Bed {
    /// Why there can be none.
    pub(crate) fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("they need root".to_owned());
        }
        let path = busybox();
        (!path.exists()).then(|| format!("there is no `{}`", path.display()))
    }

    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("hythe-shim-").tempdir_in("/var/tmp").unwrap();
        Self::at(directory.path().join("root"), directory)
    }

    /// On a file system of this size, which is gone with the mount namespace of this process.
    pub(crate) fn at(root: PathBuf, directory: TempDir) -> Self {
        let tokio = tokio::runtime::Runtime::new().unwrap();
        let embedded = tokio.block_on(connect(&root));
        let archive = directory.path().join("image.tar");
        crate::image::write(&busybox(), IMAGE, &archive);
        let store = hythe_oci::Store::open(&root.join("images")).unwrap();
        tokio.block_on(store.import(&archive, None)).unwrap();
        Self { root, _directory: directory, tokio, embedded, cx: OpContext::new("trial") }
    }

    /// Another agent over the same root, as after a restart.
    pub(crate) fn again(&mut self) {
        self.embedded = self.tokio.block_on(connect(&self.root));
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    pub(crate) fn plan(&self, attempt: u32, script: &str) -> Plan {
        let standard = Permissions::standard();
        Plan {
            identity: Identity {
                owner: OWNER.to_owned(),
                service: "trial".to_owned(),
                component: "web".to_owned(),
                generation: 1,
                attempt,
                plan_hash: "0123456789abcdef".to_owned(),
            },
            image: IMAGE.parse::<ImageRef>().unwrap(),
            entrypoint: None,
            command: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            user: None,
            workdir: None,
            hostname: "web".to_owned(),
            network: PlanNetwork::None,
            dns: Vec::new(),
            extra_hosts: Vec::new(),
            stop_signal: None,
            stop_grace: Millis(1_000),
            resources: Resources::default(),
            read_only: false,
            init: false,
            tty: false,
            stdin: false,
            security: Security {
                capabilities: standard.capabilities,
                seccomp: standard.seccomp,
                no_new_privileges: true,
                privileged: false,
            },
            outbound: None,
            inbound: Inbound::default(),
        }
    }

    pub(crate) fn run(&self, plan: &Plan) -> InstanceId {
        self.wait(self.embedded.run(&self.cx, plan)).unwrap()
    }

    pub(crate) fn inspect(&self, id: &InstanceId) -> Observed {
        self.wait(self.embedded.inspect(&self.cx, id)).unwrap()
    }

    pub(crate) fn until_exited(&self, id: &InstanceId) -> Observed {
        let began = Instant::now();
        loop {
            let observed = self.inspect(id);
            if observed.state == State::Exited {
                return observed;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{observed:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn lines(&self, id: &InstanceId) -> Vec<String> {
        let read = async {
            let lines = Logs::logs(&self.embedded, &self.cx, id, &LogOptions::default()).await?;
            lines.try_collect::<Vec<_>>().await
        };
        let lines = self.wait(read).unwrap();
        lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect()
    }

    pub(crate) fn directory(&self, id: &InstanceId) -> hythe_shim::Directory {
        hythe_shim::Directory::new(self.root.join("instances").join(&id.0))
    }

    /// Pid of the instance's shim.
    pub(crate) fn shim(&self, id: &InstanceId) -> Option<i32> {
        self.directory(id).shim().unwrap()
    }

    pub(crate) fn remove(&self, id: &InstanceId) {
        let how = Stop { signal: None, grace: Duration::ZERO };
        self.wait(async {
            self.embedded.stop(&self.cx, id, &how).await.unwrap();
            self.embedded.remove(&self.cx, id).await.unwrap();
        });
    }

    /// Removes all instances; then nothing of them may be left on the machine.
    pub(crate) fn end(&self) {
        let rows = self.wait(self.embedded.list(&self.cx, &Filter::default())).unwrap();
        let ids: Vec<String> = rows.iter().map(|row| row.id.0.clone()).collect();
        for row in &rows {
            self.remove(&row.id);
        }
        assert_eq!(std::fs::read_dir(self.root.join("instances")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(self.root.join("trash")).unwrap().count(), 0);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        for id in ids {
            assert!(!mounts.contains(&id), "a mount of `{id}` is left");
            assert_eq!(hythe_shim::cgroup::of_path(&format!("hythe-{id}")), [] as [PathBuf; 0]);
        }
    }
}

impl Drop for Bed {
    /// A trial that failed leaves nothing either.
    fn drop(&mut self) {
        let destroy = async {
            for row in self.embedded.list(&self.cx, &Filter::default()).await.unwrap_or_default() {
                let _ = self.embedded.destroy(&row.id.0).await;
            }
        };
        self.tokio.block_on(destroy);
    }
}

async fn connect(root: &Path) -> Embedded {
    hythe_driver_embedded::connect(Config { root: root.to_owned(), ..Config::default() }).await.unwrap()
}

/// Kills a process and waits until it is gone.
pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    while runs(pid.as_raw_nonzero().get().cast_unsigned()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process runs; one that nobody has reaped does not.
pub(crate) fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}
