//! The words of an engine's program, done by the driver's own operator or by the kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use hythe_runtime::{
    Attachment, Identity, Images, InstanceId, NetworkSpec, Networks, OpContext, Plan, PlanNetwork, Runtime, Stop,
};
use hythe_spec::{ImageRef, Signal};
use tokio::sync::mpsc;

use super::Root;
use super::reader::Record;
use crate::by_hand::{Outcome, done, pairs, sorted};
use crate::program::{self, Ran};

/// Name of the network that instances of somebody else are in.
const DEFAULT: &str = "default";

impl Root {
    /// Does what the words say, and says what a program would print.
    pub(crate) fn act(&self, words: &[&str]) -> Outcome {
        let (verb, rest) = words.split_first().unwrap();
        match *verb {
            "run" => self.make(rest),
            "exec" => self.enter(rest),
            "inspect" | "container" => self.describe(words),
            "network" => self.network(rest),
            "volume" => self.volume(rest),
            "tag" | "push" | "rmi" => self.image(verb, rest),
            "logs" => self.log(rest[0]),
            _ => self.change(verb, rest),
        }
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    fn find(&self, instance: &str) -> Result<Record, String> {
        self.record(instance).ok_or_else(|| format!("no instance `{instance}`"))
    }

    fn change(&self, verb: &str, words: &[&str]) -> Outcome {
        let (instances, options) = sorted(words, &["-t", "--signal"]);
        if verb == "rename" {
            return done(self.wait(self.embedded.rename(instances[0], instances[1])));
        }
        for instance in instances {
            let id = match self.find(instance) {
                Err(_) if verb == "rm" => continue,
                found => found?.id,
            };
            done(self.wait(self.change_one(verb, &id, &options)))?;
        }
        Ok(String::new())
    }

    async fn change_one(&self, verb: &str, id: &str, options: &[(&str, &str)]) -> hythe_runtime::Result<()> {
        let cx = OpContext::new("by hand");
        let given = |name: &str| options.iter().find(|(option, _)| *option == name).map(|(_, value)| *value);
        let whole = InstanceId(id.to_owned());
        match verb {
            "rm" => self.embedded.destroy(id).await,
            "pause" => self.embedded.freeze(id, true).await,
            "unpause" => self.embedded.freeze(id, false).await,
            "start" => Runtime::start(&self.embedded, &cx, &whole.to_ref()).await,
            "kill" => {
                let signal = given("--signal").map_or(Signal::KILL, |name| name.parse().unwrap());
                self.embedded.kill(id, signal).await
            }
            "stop" => {
                let grace = Duration::from_secs(given("-t").map_or(10, |text| text.parse().unwrap()));
                self.embedded.kill(id, Signal::TERM).await?;
                Runtime::stop(&self.embedded, &cx, &whole.to_ref(), &Stop { signal: None, grace }).await
            }
            other => panic!("the hand does not know how to `{other}`"),
        }
    }

    /// In the namespaces of its process, past driver and supervisor.
    fn enter(&self, words: &[&str]) -> Outcome {
        let run = self.run(&self.find(words[0])?.id);
        let pid = run["pid"].as_u64().ok_or("it does not run")?.to_string();
        let mut command = program::command("nsenter".as_ref());
        command.args(["--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--"]);
        let ran = Ran::of(command.args(&words[1..]));
        if ran.code == Some(0) { Ok(ran.out) } else { Err(ran.err) }
    }

    fn describe(&self, words: &[&str]) -> Outcome {
        let template = words.iter().skip_while(|word| **word != "--format").nth(1).unwrap_or(&"{{.Id}}");
        let record = self.find(words.last().unwrap())?;
        let run = self.run(&record.id);
        let running = run["phase"] == "running";
        let labels = serde_json::to_string(&record.labels).map_err(|error| error.to_string())?;
        Ok(template
            .replace("{{.Id}}", &record.id)
            .replace("{{.State.Pid}}", &run["pid"].to_string())
            .replace("{{.State.Status}}", run["phase"].as_str().unwrap_or("created"))
            .replace("{{.State.StartedAt}}", &run["started"].to_string())
            .replace("{{.State.Running}}", if running { "true" } else { "false" })
            .replace("{{json .Config.Labels}}", &labels))
    }

    fn network(&self, words: &[&str]) -> Outcome {
        let cx = OpContext::new("by hand");
        let (plain, options) = sorted(&words[1..], &["--label", "--alias"]);
        match words[0] {
            "create" => {
                let labels = pairs(&options, "--label");
                let spec = NetworkSpec { name: plain[0].to_owned(), labels, internal: false };
                done(self.wait(Networks::ensure(&self.embedded, &cx, &spec)))
            }
            "rm" => done(self.wait(self.embedded.remove_network(plain[0]))),
            "connect" => {
                let names: Vec<String> = options.iter().map(|(_, alias)| (*alias).to_owned()).collect();
                done(self.wait(self.embedded.join(plain[1], plain[0], &names)))
            }
            "disconnect" => done(self.wait(self.embedded.leave(plain[1], plain[0]))),
            other => panic!("the hand does not know how to `network {other}`"),
        }
    }

    fn volume(&self, words: &[&str]) -> Outcome {
        let name = words.last().unwrap();
        match words[0] {
            "create" => done(self.wait(self.embedded.foreign_volume(name))),
            "rm" => done(self.wait(self.embedded.remove_volume(name))),
            other => panic!("the hand does not know how to `volume {other}`"),
        }
    }

    fn image(&self, verb: &str, words: &[&str]) -> Outcome {
        let cx = OpContext::new("by hand");
        let (plain, _) = sorted(words, &[]);
        let images: Vec<ImageRef> = plain.iter().map(|name| name.parse().unwrap()).collect();
        let (progress, _reports) = mpsc::channel(1);
        done(self.wait(async {
            match verb {
                "tag" => Images::tag(&self.embedded, &cx, &images[0], &images[1]).await,
                "push" => Images::push(&self.embedded, &cx, &images[0], &progress).await,
                _ => Images::remove(&self.embedded, &cx, &images[0]).await,
            }
        }))
    }

    /// What is in its log, whatever the form.
    fn log(&self, instance: &str) -> Outcome {
        let logs = self.at("instances").join(self.find(instance)?.id).join("logs");
        let read = |name: String| std::fs::read(logs.join(name)).unwrap_or_default();
        Ok(hythe_host_leaks::names(&logs)
            .into_iter()
            .map(|name| String::from_utf8_lossy(&read(name)).into_owned())
            .collect())
    }

    /// Where instances of somebody else are, as engines have one. Nobody's, so that no agent touches it.
    fn have_default_network(&self) -> Outcome {
        if self.at("networks/networks").join(format!("{DEFAULT}.json")).exists() {
            return Ok(String::new());
        }
        let spec = NetworkSpec { name: DEFAULT.to_owned(), labels: BTreeMap::new(), internal: false };
        done(self.wait(Networks::ensure(&self.embedded, &OpContext::new("by hand"), &spec)))
    }

    pub(super) fn remove_default_network(&self) {
        // What is still used is found left.
        let _ = self.wait(self.embedded.remove_network(DEFAULT));
    }

    fn make(&self, words: &[&str]) -> Outcome {
        // The command may have options of its own.
        let image = words.iter().position(|word| *word == crate::files::IMAGE).ok_or("no image that is known")?;
        let (plain, options) = sorted(&words[..image], &["--name", "--label", "-e"]);
        assert!(plain.is_empty(), "the hand does not know {plain:?}");
        let given = |wanted: &str| options.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let name = given("--name").ok_or("no name")?;
        self.have_default_network()?;
        let mut plan = bare(&words[image + 1..]);
        plan.annotations = pairs(&options, "--label");
        plan.env = pairs(&options, "-e");
        let made = self.wait(self.embedded.run_foreign(name, &plan));
        made.map(|id| id.0).map_err(|error| error.to_string())
    }
}

/// A plan of nobody.
fn bare(command: &[&str]) -> Plan {
    let identity = Identity {
        owner: String::new(),
        service: String::new(),
        component: String::new(),
        generation: 0,
        attempt: 0,
        plan_hash: String::new(),
    };
    Plan {
        command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        hostname: "foreign".to_owned(),
        network: PlanNetwork::Networks {
            attachments: vec![Attachment { network: DEFAULT.to_owned(), aliases: Vec::new() }],
        },
        ..Plan::plain(crate::files::IMAGE.parse().unwrap(), identity)
    }
}
