//! Two image registries on loopback: one open, one behind a password.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use super::image::{REPOSITORY, Registry as Remote, TAG};
use super::process;
use super::session::Session;
use super::state::Registry;
use crate::failure::{Context, Failure, Result};
use crate::packages::Need;
use crate::run;

/// The registry's program.
pub(crate) const NEEDS: &[Need] = &[("docker-registry", "docker-registry")];

const PATIENCE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(5);

const USER: &str = "hythe";
const PASSWORD: &str = "hythe-test-password";
/// [`PASSWORD`] in bcrypt, and the two as HTTP's basic authorization; they guard nothing but a test.
const HTPASSWD: &str = "hythe:$2b$05$hythetestenvironmentsuJwb1eZzhzTF6rNdhKwakpfEt10rSHge\n";
const AUTHORIZATION: &str = "Basic aHl0aGU6aHl0aGUtdGVzdC1wYXNzd29yZA==";

/// One of the two.
#[derive(Clone, Copy, Debug)]
struct Kind {
    service: &'static str,
    authorization: Option<&'static str>,
    slot: fn(&mut Session) -> &mut Option<Registry>,
}

const KINDS: [Kind; 2] = [
    Kind { service: "registry", authorization: None, slot: |session| &mut session.state.description.registry },
    Kind {
        service: "registry-auth",
        authorization: Some(AUTHORIZATION),
        slot: |session| &mut session.state.description.registry_auth,
    },
];

/// Starts both and pushes the test image into them.
pub(crate) fn up(session: &mut Session) -> Result<()> {
    KINDS.iter().try_for_each(|kind| kind.up(session))
}

/// Ends both.
pub(crate) fn down(session: &mut Session) -> Result<()> {
    KINDS.iter().try_for_each(|kind| {
        *(kind.slot)(session) = None;
        session.end(kind.service, GRACE)
    })
}

impl Kind {
    fn up(self, session: &mut Session) -> Result<()> {
        let known = (self.slot)(session).as_ref().map(|registry| registry.address.clone());
        let address = match known {
            Some(address) if session.is_running(self.service) && answers(&address) => address,
            _ => self.start(session)?,
        };
        let remote = Remote { address: &address, repository: REPOSITORY, authorization: self.authorization };
        if !remote.has_image() {
            session.image()?.push(remote)?;
        }
        *(self.slot)(session) = Some(self.describe(address));
        session.save()
    }

    fn describe(self, address: String) -> Registry {
        let secret = |text: &str| self.authorization.map(|_| text.to_owned());
        Registry {
            image: format!("{address}/{REPOSITORY}:{TAG}"),
            address,
            user: secret(USER),
            password: secret(PASSWORD),
        }
    }

    fn start(self, session: &mut Session) -> Result<String> {
        session.end(self.service, GRACE)?;
        let address = free_address()?;
        let directory = session.layout.service(self.service);
        let writing = || format!("writing below `{}`", directory.display());
        fs::create_dir_all(directory.join("data")).context(writing)?;
        fs::write(directory.join("htpasswd"), HTPASSWD).context(writing)?;
        let settings = directory.join("config.yml");
        fs::write(&settings, self.configuration(&directory.to_string_lossy(), &address)).context(writing)?;
        let program = run::find("docker-registry").ok_or_else(|| Failure::new("`docker-registry` is not installed"))?;
        let mut command = process::daemon(&program, None);
        command.arg("serve").arg(&settings);
        let process = session.start(self.service, &mut command)?;
        process::wait_until(&session.layout, self.service, process, PATIENCE, || answers(&address))?;
        Ok(address)
    }

    fn configuration(self, directory: &str, address: &str) -> String {
        let auth = match self.authorization {
            Some(_) => {
                format!("auth:\n  htpasswd:\n    realm: hythe\n    path: {directory}/htpasswd\n")
            }
            None => String::new(),
        };
        format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {directory}/data\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n  secret: hythe\n{auth}"
        )
    }
}

/// Answering "who are you" counts.
fn answers(address: &str) -> bool {
    super::http::Endpoint::Tcp(address).ask("GET", "/v2/").is_ok_and(|reply| reply.is_success() || reply.status == 401)
}

fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context(|| "finding a free port".into())?;
    let address = listener.local_addr().context(|| "finding a free port".into())?;
    Ok(address.to_string())
}
