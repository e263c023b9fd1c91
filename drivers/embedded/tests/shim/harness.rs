//! A root with an image, and what is left of it at the end: nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use hythe_driver_embedded::{Config, Embedded};
use hythe_runtime::{
    Filter, Identity, InstanceId, LogOptions, Logs, NetworkInfo, Observed, OpContext, Plan, Runtime, State, Stop,
};
use hythe_spec::{ImageRef, Millis};
use tempfile::TempDir;

const IMAGE: &str = "localhost/shim-test:1";
/// Where roots are made; the usual place otherwise.
pub(crate) const ROOTS: &str = "HYTHE_TRIAL_ROOTS";
const OWNER: &str = "shim-trials";

pub(crate) fn busybox() -> PathBuf {
    std::env::var_os("HYTHE_TEST_BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from)
}

/// See the module.
pub(crate) struct Harness {
    pub(crate) root: PathBuf,
    tokio: tokio::runtime::Runtime,
    pub(crate) embedded: Embedded,
    pub(crate) cx: OpContext,
    /// Removed last: until the runtime's own work has ended, it may still write there.
    _directory: TempDir,
}

impl Harness {
    /// Why there can be none.
    pub(crate) fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("they need root".to_owned());
        }
        let path = busybox();
        (!path.exists()).then(|| format!("there is no `{}`", path.display()))
    }

    pub(crate) fn new() -> Self {
        let roots = std::env::var_os(ROOTS).map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let directory = tempfile::Builder::new().prefix("hythe-shim-").tempdir_in(roots).unwrap();
        Self::at(directory.path().join("root"), directory)
    }

    /// On a file system of this size, which is gone with the mount namespace of this process.
    pub(crate) fn at(root: PathBuf, directory: TempDir) -> Self {
        let tokio = tokio::runtime::Runtime::new().unwrap();
        let embedded = tokio.block_on(connect(&root));
        let archive = directory.path().join("image.tar");
        crate::image::write(&busybox(), IMAGE, &archive);
        let harness = Self { root, _directory: directory, tokio, embedded, cx: OpContext::new("trial") };
        harness.load(&archive);
        harness
    }

    /// An archive with an image of this name, which shares no layer with the other one.
    pub(crate) fn archive(&self, name: &str) -> PathBuf {
        let path = self.root.with_file_name("other.tar");
        let other = self.root.with_file_name("busybox");
        let program = std::fs::read(busybox()).unwrap();
        std::fs::write(&other, [&program[..], b"other"].concat()).unwrap();
        crate::image::write(&other, name, &path);
        path
    }

    pub(crate) fn load(&self, archive: &Path) {
        self.try_load(archive).unwrap();
    }

    pub(crate) fn try_load(&self, archive: &Path) -> hythe_runtime::Result<()> {
        let (progress, _reports) = tokio::sync::mpsc::channel(1);
        self.wait(hythe_runtime::Images::load(&self.embedded, &self.cx, archive, None, &progress)).map(drop)
    }

    /// Another agent over the same root, as after a restart.
    pub(crate) fn again(&mut self) {
        self.embedded = self.tokio.block_on(connect(&self.root));
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    pub(crate) fn plan(&self, attempt: u32, script: &str) -> Plan {
        plan(attempt, script)
    }

    pub(crate) fn run(&self, plan: &Plan) -> InstanceId {
        self.wait(self.embedded.run(&self.cx, plan)).unwrap()
    }

    pub(crate) fn inspect(&self, id: &InstanceId) -> Observed {
        self.wait(self.embedded.inspect(&self.cx, &id.to_ref())).unwrap()
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
            let lines = Logs::logs(&self.embedded, &self.cx, &id.to_ref(), &LogOptions::default()).await?;
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
            self.embedded.stop(&self.cx, &id.to_ref(), &how).await.unwrap();
            self.embedded.remove(&self.cx, &id.to_ref()).await.unwrap();
        });
    }

    /// Removes all instances; their ids.
    pub(crate) fn clear(&self) -> Vec<String> {
        let rows = self.wait(self.embedded.list(&self.cx, &Filter::default())).unwrap();
        for row in &rows {
            self.remove(&row.id);
        }
        rows.into_iter().map(|row| row.id.0).collect()
    }

    /// Removes everything; then nothing of it may be left on the machine.
    #[track_caller]
    pub(crate) fn end(&self) {
        let ids = self.clear();
        if let Some(networks) = self.embedded.networks() {
            for network in self.wait(networks.list(&self.cx)).unwrap() {
                self.wait(networks.remove(&self.cx, &network.name, owner_of(&network))).unwrap();
            }
        }
        self.is_empty(&ids);
    }

    /// Nothing is left of the root, nor of these instances.
    #[track_caller]
    pub(crate) fn is_empty(&self, ids: &[String]) {
        let began = Instant::now();
        let look = || {
            let groups = hythe_host_leaks::groups().into_iter().map(|path| path.display().to_string());
            let ours = groups.filter(|path| ids.iter().any(|id| path.ends_with(id.as_str())));
            hythe_host_leaks::of_root(&self.root).into_iter().chain(ours).collect::<Vec<_>>()
        };
        let mut left = look();
        while !left.is_empty() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
            left = look();
        }
        assert!(left.is_empty(), "left: {left:#?}");
    }
}

impl Drop for Harness {
    /// A trial that failed leaves nothing either.
    fn drop(&mut self) {
        let destroy = async {
            for row in self.embedded.list(&self.cx, &Filter::default()).await.unwrap_or_default() {
                let _ = self.embedded.destroy(&row.id.0).await;
            }
            let Some(networks) = self.embedded.networks() else { return };
            for network in networks.list(&self.cx).await.unwrap_or_default() {
                let _ = networks.remove(&self.cx, &network.name, owner_of(&network)).await;
            }
        };
        self.tokio.block_on(destroy);
    }
}

/// Labels of a network that a trial makes.
pub(crate) fn owned() -> std::collections::BTreeMap<String, String> {
    [(hythe_runtime::identity::OWNER.to_owned(), OWNER.to_owned())].into()
}

fn owner_of(network: &NetworkInfo) -> &str {
    network.labels.get(hythe_runtime::identity::OWNER).map_or(OWNER, String::as_str)
}

/// A container without networks that runs a script.
pub(crate) fn plan(attempt: u32, script: &str) -> Plan {
    let identity = Identity {
        owner: OWNER.to_owned(),
        service: "trial".to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt,
        plan_hash: "0123456789abcdef".to_owned(),
    };
    Plan {
        command: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        stop_grace: Millis(1_000),
        ..Plan::plain(IMAGE.parse::<ImageRef>().unwrap(), identity)
    }
}

pub(crate) async fn connect(root: &Path) -> Embedded {
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
