//! The words of an engine's program, done with `ctr`, or by the driver where `ctr` has no word for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hythe_runtime::identity::OWNER;
use hythe_runtime::{InstanceId, NetworkSpec, Networks, OpContext, Runtime, VolumeSpec, Volumes};

use super::Namespace;
use crate::by_hand::{Outcome, done, pairs, sorted};
use crate::program::Ran;

/// Longest wait for the end of a killed process.
const KILLED: Duration = Duration::from_secs(10);

fn said(ran: Ran) -> Outcome {
    if ran.code == Some(0) { Ok(ran.out) } else { Err(ran.err) }
}

impl Namespace {
    /// Does what the words say, and says what a program would print.
    pub(crate) fn act(&self, words: &[&str]) -> Outcome {
        let (verb, rest) = words.split_first().unwrap();
        match *verb {
            "exec" => self.enter(rest),
            "inspect" | "container" => self.describe(words),
            "network" => self.network(rest),
            "volume" => self.volume(rest),
            "run" => self.make(rest),
            "tag" => said(self.ctr(&["images", "tag", "--force", rest[0], rest[1]])),
            "push" => said(self.ctr(&["images", "push", "--plain-http", rest[0]])),
            "rmi" => rest
                .iter()
                .filter(|word| !word.starts_with('-'))
                .try_fold(String::new(), |all, image| Ok(all + &said(self.ctr(&["images", "rm", "--sync", image]))?)),
            _ => self.change(verb, rest),
        }
    }

    fn change(&self, verb: &str, words: &[&str]) -> Outcome {
        let (instances, options) = sorted(words, &["-t", "--signal"]);
        let given = |name: &str| options.iter().find(|(option, _)| *option == name).map(|(_, value)| *value);
        for instance in instances {
            let id = match self.find(instance) {
                Err(_) if verb == "rm" => continue,
                found => found?,
            };
            match verb {
                "rm" => self.remove(&id)?,
                "pause" => said(self.ctr(&["tasks", "pause", &id])).map(drop)?,
                "unpause" => said(self.ctr(&["tasks", "resume", &id])).map(drop)?,
                "start" => {
                    let (cx, whole) = (OpContext::new("by hand"), InstanceId(id).to_ref());
                    let start = Runtime::start(&self.containerd, &cx, &whole);
                    done(self.tokio.block_on(start)).map(drop)?;
                }
                "kill" => self.kill(&id, given("--signal").unwrap_or("KILL"))?,
                "stop" => {
                    let grace = Duration::from_secs(given("-t").map_or(10, |text| text.parse().unwrap()));
                    self.kill(&id, "TERM")?;
                    if !self.ends(&id, grace) {
                        self.kill(&id, "KILL")?;
                        self.ends(&id, KILLED);
                    }
                }
                other => panic!("the hand does not know how to `{other}`"),
            }
        }
        Ok(String::new())
    }

    fn kill(&self, id: &str, signal: &str) -> Result<(), String> {
        said(self.ctr(&["tasks", "kill", "--signal", signal, id])).map(drop)
    }

    fn ends(&self, id: &str, grace: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < grace {
            if self.tasks().get(id).is_none_or(|task| task.status == "STOPPED") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// As somebody does it who knows nothing of Hythe.
    pub(super) fn remove(&self, id: &str) -> Result<(), String> {
        if self.tasks().contains_key(id) {
            // It may be paused, or have ended.
            let _ = self.kill(id, "KILL");
            let _ = self.ctr(&["tasks", "resume", id]);
            self.ends(id, KILLED);
            self.ctr(&["tasks", "rm", "--force", id]);
        }
        said(self.ctr(&["containers", "rm", id])).map(drop)
    }

    fn enter(&self, words: &[&str]) -> Outcome {
        let id = self.find(words[0])?;
        let exec = crate::fixture::unique_name();
        said(self.ctr(&[&["tasks", "exec", "--exec-id", &exec, &id], &words[1..]].concat()))
    }

    fn describe(&self, words: &[&str]) -> Outcome {
        let template = words.iter().skip_while(|word| **word != "--format").nth(1).unwrap_or(&"{{.Id}}");
        let id = self.find(words.last().unwrap())?;
        let task = self.tasks().remove(&id);
        let status = task.as_ref().map_or("created", |task| match task.status.as_str() {
            "RUNNING" => "running",
            "PAUSED" => "paused",
            _ => "exited",
        });
        let run = std::fs::read(self.at("instances").join(&id).join("task.json")).unwrap_or_default();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap_or_default();
        Ok(template
            .replace("{{.Id}}", &id)
            .replace("{{.State.Pid}}", &task.map_or("0".to_owned(), |task| task.pid))
            .replace("{{.State.Status}}", status)
            .replace("{{.State.StartedAt}}", &run["started"].to_string())
            .replace("{{.State.Running}}", if status == "running" { "true" } else { "false" })
            .replace("{{json .Config.Labels}}", &self.container(&id)["Labels"].to_string()))
    }

    fn network(&self, words: &[&str]) -> Outcome {
        let (plain, options) = sorted(&words[1..], &["--label"]);
        match words[0] {
            "create" => {
                let labels = pairs(&options, "--label");
                let spec = NetworkSpec { name: plain[0].to_owned(), labels, internal: false };
                let cx = OpContext::new("by hand");
                done(self.tokio.block_on(Networks::ensure(&self.containerd, &cx, &spec)))
            }
            "rm" => self.remove_network(plain[0]),
            other => panic!("the hand does not know how to `network {other}`"),
        }
    }

    pub(super) fn remove_network(&self, name: &str) -> Outcome {
        let owner = self.owner(&format!("networks/networks/{name}.json"), "/labels");
        done(self.tokio.block_on(Networks::remove(&self.containerd, &OpContext::new("by hand"), name, &owner)))
    }

    fn volume(&self, words: &[&str]) -> Outcome {
        let name = words.last().unwrap();
        let cx = OpContext::new("by hand");
        match words[0] {
            "create" => {
                let spec = VolumeSpec { name: (*name).to_owned(), labels: BTreeMap::new() };
                done(self.tokio.block_on(Volumes::ensure(&self.containerd, &cx, &spec)))
            }
            "rm" => {
                let owner = self.owner(&format!("volumes/{name}/labels.json"), "");
                done(self.tokio.block_on(Volumes::remove(&self.containerd, &cx, name, &owner)))
            }
            other => panic!("the hand does not know how to `volume {other}`"),
        }
    }

    fn owner(&self, file: &str, labels: &str) -> String {
        let text = std::fs::read(self.at(file)).unwrap_or_default();
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let labels = document.pointer(labels).cloned().unwrap_or_default();
        labels[OWNER].as_str().unwrap_or_default().to_owned()
    }

    fn make(&self, words: &[&str]) -> Outcome {
        // The command may have options of its own.
        let image = words.iter().position(|word| *word == crate::files::IMAGE).ok_or("no image that is known")?;
        let (plain, options) = sorted(&words[..image], &["--name", "--label", "-e"]);
        assert!(plain.is_empty(), "the hand does not know {plain:?}");
        let name = options.iter().find(|(name, _)| *name == "--name").ok_or("no name")?.1;
        let mut call = vec!["run", "--detach", "--null-io"];
        for (option, value) in &options {
            match *option {
                "--label" => call.extend(["--label", value]),
                "-e" => call.extend(["--env", value]),
                _ => {}
            }
        }
        call.extend([crate::files::IMAGE, name]);
        call.extend(&words[image + 1..]);
        said(self.ctr(&call)).map(|_| name.to_owned())
    }
}
