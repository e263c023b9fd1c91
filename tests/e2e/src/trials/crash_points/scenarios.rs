//! The kinds of work.

use super::look::Look;
use super::play::{Act, Scenario, Stage};
use crate::files::one;
use crate::fixture::Fixture;
use crate::trial::{On, Trial};

/// How many there are.
pub(super) const COUNT: usize = ALL.len();

const VERSION: &str = "VERSION";
const NETWORK_ONLY: usize = 0;
const WITH_DATA: usize = 1;

/// One trial each, so that two run at a time; each needs a name of its own as a trial is a plain function.
macro_rules! scenarios {
    ($($name:ident $on:ident $scenario:expr),* $(,)?) => {
        const ALL: &[Scenario] = &[$($scenario),*];

        $(fn $name(fixture: &mut Fixture<'_>) {
            super::play(fixture, &$scenario);
        })*

        pub(super) fn trials() -> Vec<Trial> {
            vec![$(Trial { area: "crash-points", name: stringify!($name), on: On::$on, act: $name }),*]
        }
    };
}

scenarios!(
    deploy Registry DEPLOY,
    replace_side_by_side Real REPLACE,
    replace_with_a_clash Real REPLACE_CLASHING,
    roll_back Real ROLL_BACK,
    roll_back_with_a_clash Real ROLL_BACK_CLASHING,
    stop Real STOP,
    start Real START,
    restart Real RESTART,
    signal_for_a_changed_file Real SIGNAL,
    undeploy Real UNDEPLOY,
    workload_ends Real WORKLOAD_ENDS,
    adopt Real ADOPT,
    adopt_what_ended_meanwhile Real ADOPT_ENDED,
    adopt_without_the_database Real ADOPT_FORGOTTEN,
);

const DEPLOY: Scenario = Scenario {
    name: "deploy",
    prepare: |stage| {
        stage.undeploy();
        stage.publish_image();
    },
    act: Act::Command(|stage| stage.deploy_words(&stage.pulled()), 0),
    rest: |stage, look| {
        look.runs(look.generation(), WITH_DATA)?;
        stage.has_versions(&[stage.round])
    },
    tidy: |stage| stage.withdraw_image(),
};

const REPLACE: Scenario = Scenario {
    name: "replace side by side",
    prepare: |stage| stage.begin_with(Stage::light),
    act: Act::Command(|stage| stage.deploy_words(&stage.light(stage.round)), 0),
    rest: |stage, look| look.runs(stage.before.generation() + 1, NETWORK_ONLY),
    tidy: |_| (),
};

const REPLACE_CLASHING: Scenario = Scenario {
    name: "replace with a clash",
    prepare: |stage| stage.begin_with(Stage::heavy),
    act: Act::Command(|stage| stage.deploy_words(&stage.heavy(stage.round)), 0),
    rest: |stage, look| {
        look.runs(stage.before.generation() + 1, WITH_DATA)?;
        stage.has_versions(&(0..=stage.round).collect::<Vec<_>>())
    },
    tidy: |_| (),
};

const ROLL_BACK: Scenario = Scenario {
    name: "roll back",
    prepare: |stage| stage.begin_with(Stage::light),
    act: Act::Command(|stage| stage.deploy_words(&unhealthy(&stage.light(stage.round))), 1),
    rest: |stage, look| {
        look.is_rolled_back(stage.before.generation() + 1, stage.good(), NETWORK_ONLY)?;
        look.is_same_as(&stage.before)
    },
    tidy: |_| (),
};

const ROLL_BACK_CLASHING: Scenario = Scenario {
    name: "roll back with a clash",
    prepare: |stage| stage.begin_with(Stage::heavy),
    act: Act::Command(|stage| stage.deploy_words(&unhealthy(&stage.heavy(stage.round))), 1),
    rest: |stage, look| {
        look.is_rolled_back(stage.before.generation() + 1, stage.good(), WITH_DATA)?;
        look.is_same_as(&stage.before)?;
        stage.never_doubled()
    },
    tidy: |_| (),
};

const STOP: Scenario = Scenario {
    name: "stop",
    prepare: |stage| {
        stage.begin_with(Stage::heavy);
        stage.hythe(&["start", &stage.fixture.service]);
    },
    act: Act::Command(|stage| vec!["stop".to_owned(), stage.fixture.service.clone()], 0),
    rest: |stage, look| {
        look.is_stopped(stage.before.generation(), WITH_DATA)?;
        look.is_same_as(&stage.before)
    },
    tidy: |_| (),
};

const START: Scenario = Scenario {
    name: "start",
    prepare: |stage| {
        stage.begin_with(Stage::heavy);
        stage.hythe(&["stop", &stage.fixture.service]);
    },
    act: Act::Command(|stage| vec!["start".to_owned(), stage.fixture.service.clone()], 0),
    rest: |stage, look| stage.runs_on(look),
    tidy: |_| (),
};

const RESTART: Scenario = Scenario {
    name: "restart",
    prepare: |stage| stage.begin_with(Stage::heavy),
    act: Act::Command(|stage| vec!["restart".to_owned(), stage.fixture.service.clone()], 0),
    rest: |stage, look| stage.runs_on(look),
    tidy: |_| (),
};

const SIGNAL: Scenario = Scenario {
    name: "signal for a changed file",
    prepare: |stage| {
        if stage.round == 1 {
            stage.write_config(0);
            stage.deploy(&stage.configured());
        }
        stage.write_config(stage.round);
    },
    act: Act::Command(|stage| stage.deploy_words(&stage.configured()), 0),
    rest: |stage, look| {
        look.runs(stage.before.generation(), NETWORK_ONLY)?;
        look.is_same_as(&stage.before)?;
        stage.has_read_config()
    },
    tidy: |_| (),
};

const UNDEPLOY: Scenario = Scenario {
    name: "undeploy",
    prepare: |stage| stage.deploy(&stage.heavy(0)),
    act: Act::Command(|stage| ["undeploy", "--volumes", &stage.fixture.service].map(str::to_owned).to_vec(), 0),
    rest: |_, look| look.is_gone(),
    tidy: |_| (),
};

/// Each run has a version of its own, so that its back-off begins anew.
const WORKLOAD_ENDS: Scenario = Scenario {
    name: "the workload ends",
    prepare: |stage| stage.deploy(&stage.heavy(stage.round)),
    act: Act::Behind(|stage| stage.end_workload()),
    rest: |stage, look| {
        stage.runs_on(look)?;
        look.ended_with(7)
    },
    tidy: |_| (),
};

const ADOPT: Scenario = Scenario {
    name: "adopt",
    prepare: |stage| stage.begin_with(Stage::heavy),
    act: Act::Adopt(|_| ()),
    rest: |stage, look| stage.runs_on(look),
    tidy: |_| (),
};

const ADOPT_ENDED: Scenario = Scenario {
    name: "adopt what ended meanwhile",
    prepare: |stage| stage.deploy(&stage.heavy(stage.round)),
    act: Act::Adopt(|stage| stage.end_workload()),
    rest: |stage, look| {
        stage.runs_on(look)?;
        look.ended_with(7)
    },
    tidy: |_| (),
};

const ADOPT_FORGOTTEN: Scenario = Scenario {
    name: "adopt without the database",
    prepare: |stage| stage.begin_with(Stage::heavy),
    act: Act::Adopt(|stage| stage.lose_database()),
    rest: |stage, look| stage.runs_on(look),
    tidy: |_| (),
};

/// Serves its probe, notes its version in its volume and complains there when another process writes beside it.
const SCRIPT: &str = r#"
trap exit TERM
trap "exit 7" USR1
trap "cat /config >/seen" HUP
me=$(cat /proc/sys/kernel/random/uuid)
mkdir -p /data /www
echo $VERSION >>/data/versions
httpd -p 80 -h /www
while :; do
    echo $me >/data/now
    sleep 0.2
    [ "$(cat /data/now)" = $me ] || echo $VERSION >>/data/doubled
done"#;
const KEYS: &str = "stop_grace = '1s'\nrestart = 'always'\nhealth = { tcp = 80, interval = '100ms', retries = 20 }";

/// Its probe fails twice, and that is enough.
fn unhealthy(text: &str) -> String {
    let bad = text.replace("tcp = 80", "tcp = 81").replace("retries = 20", "retries = 2");
    assert!(bad != text, "the probe was not found");
    bad
}

impl Stage<'_, '_> {
    /// Nothing that clashes with its next version.
    fn light(&self, version: u32) -> String {
        one(&self.fixture.service, SCRIPT, &format!("{KEYS}\nenv = {{ {VERSION} = '{version}' }}"))
    }

    /// With a port and a volume that only one instance may have.
    fn heavy(&self, version: u32) -> String {
        let port = self.port;
        format!("{}ports = ['127.0.0.1:{port}:80']\nvolumes = ['data:/data']\n", self.light(version))
    }

    /// With a file that it reads again when it is sent HUP.
    fn configured(&self) -> String {
        let config = self.fixture.agent.path("config").display().to_string();
        format!("{}volumes = ['{config}:/config']\non_config_change = 'signal:HUP'\n", self.light(0))
    }

    fn write_config(&self, version: u32) {
        std::fs::write(self.fixture.agent.path("config"), format!("{version}\n")).unwrap();
    }

    fn has_read_config(&self) -> Result<(), String> {
        let (seen, round) = (self.read("/seen")?, self.round);
        if seen.trim() == round.to_string() { Ok(()) } else { Err(format!("it has read `{seen}`, not `{round}`")) }
    }

    /// From an image that is not there yet.
    fn pulled(&self) -> String {
        let text = self.heavy(self.round).replace(crate::files::IMAGE, &self.remote_image());
        assert!(text.contains(&self.remote_image()), "the image was not found");
        text
    }

    fn remote_image(&self) -> String {
        let registry = self.fixture.environment.registry.as_ref().unwrap();
        format!("{}/crash-{}:1", registry.address, self.fixture.service)
    }

    /// The image is in the registry and not in the engine.
    fn publish_image(&self) {
        let (engine, image) = (self.fixture.engine(), self.remote_image());
        if self.round == 1 {
            engine.run(&["tag", crate::files::IMAGE, &image]);
            engine.run(&["push", &image]);
        }
        engine.run(&["rmi", &image]);
    }

    /// The engine has the same image by another name, so that only this name goes.
    fn withdraw_image(&self) {
        self.fixture.engine().run(&["rmi", "-f", &self.remote_image()]);
    }

    /// In the first run, that its version 0 is there; later runs go on from the run before.
    fn begin_with(&self, text: fn(&Self, u32) -> String) {
        if self.round == 1 {
            self.deploy(&text(self, 0));
        }
    }

    fn deploy(&self, text: &str) {
        self.fixture.deploy(text).ok();
    }

    fn undeploy(&self) {
        self.fixture.hythe(&["undeploy", "--volumes", &self.fixture.service]);
    }

    fn hythe(&self, words: &[&str]) {
        self.fixture.hythe(words).ok();
    }

    fn deploy_words(&self, text: &str) -> Vec<String> {
        vec!["deploy".to_owned(), self.fixture.file(text)]
    }

    /// Its process ends with 7, and not because the agent wanted that.
    fn end_workload(&self) {
        self.fixture.engine().run(&["kill", "--signal", "USR1", self.before.id()]);
    }

    fn lose_database(&self) {
        for name in ["hythe.db", "hythe.db-wal", "hythe.db-shm"] {
            // What there is of it.
            let _ = std::fs::remove_file(self.fixture.agent.database().with_file_name(name));
        }
    }

    /// The generation that ran before, which after a rollback is not the newest.
    fn good(&self) -> u64 {
        self.before.instances[0].generation
    }

    /// The instance that was there runs.
    fn runs_on(&self, look: &Look) -> Result<(), String> {
        look.runs(self.before.generation(), WITH_DATA)?;
        look.is_same_as(&self.before)?;
        self.never_doubled()
    }

    /// The volume has what each version noted, in order; a version that a crash had started twice noted it twice.
    fn has_versions(&self, wanted: &[u32]) -> Result<(), String> {
        self.never_doubled()?;
        let mut found: Vec<String> = self.read("/data/versions")?.lines().map(str::to_owned).collect();
        found.dedup();
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        if found == wanted { Ok(()) } else { Err(format!("versions {found:?} in the volume, not {wanted:?}")) }
    }

    /// No process ever saw another one write.
    fn never_doubled(&self) -> Result<(), String> {
        let doubled = self.read("/data/doubled")?;
        if doubled.is_empty() { Ok(()) } else { Err(format!("two ran at once: {doubled}")) }
    }

    /// A file in the running instance; an absent one is empty.
    fn read(&self, path: &str) -> Result<String, String> {
        let running = self.fixture.engine().running(&self.fixture.service_label());
        let [id] = running.as_slice() else { return Err(format!("not one runs: {running:?}")) };
        let read = format!("cat {path} 2>/dev/null || true");
        crate::trial::caught(|| self.fixture.engine().run(&["exec", id, "sh", "-c", &read]))
    }
}
