//! What the main process is: the plan over the image.

use std::collections::BTreeMap;

use hythe_runtime::{ImageConfig, Plan, PlanNetwork};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The main process, as far as plan and image say it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Command {
    /// Program, with the first of its arguments.
    pub entrypoint: Vec<String>,
    /// Arguments after the entrypoint.
    pub command: Vec<String>,
    /// The complete environment.
    pub env: BTreeMap<String, String>,
    /// `name|uid[:group|gid]`, looked up in the image; none: root.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: String,
}

impl Command {
    /// What the plan says over what the image says.
    pub fn new(plan: &Plan, image: &ImageConfig) -> Self {
        let (entrypoint, command) = match (&plan.entrypoint, &plan.command) {
            (Some(entrypoint), command) => (entrypoint.clone(), command.clone().unwrap_or_default()),
            (None, Some(command)) => (image.entrypoint.clone(), command.clone()),
            (None, None) => (image.entrypoint.clone(), image.command.clone()),
        };
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
        if !matches!(plan.network, PlanNetwork::Host) {
            env.insert("HOSTNAME".to_owned(), plan.hostname.clone());
        }
        if plan.tty {
            env.insert("TERM".to_owned(), "xterm".to_owned());
        }
        env.extend(image.env.clone());
        env.extend(plan.env.clone());
        let workdir = plan.workdir.clone().or_else(|| image.workdir.clone()).filter(|path| !path.is_empty());
        Self {
            entrypoint,
            command,
            env,
            user: plan.user.clone().or_else(|| image.user.clone()),
            workdir: workdir.unwrap_or_else(|| "/".to_owned()),
        }
    }

    /// Program and arguments.
    pub fn arguments(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.command).cloned().collect()
    }
}
