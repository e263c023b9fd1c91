//! A podman of another host, by OpenSSH's client: it forwards a socket of ours to the one there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// Where that podman listens, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// `[user@]host`.
    destination: String,
    port: Option<u16>,
    /// Of the socket there.
    path: String,
    identity: Option<PathBuf>,
    /// For ssh: `SSH_AUTH_SOCK`, …
    env: BTreeMap<String, String>,
}

/// What `podman system connection list` says of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Connection {
    pub(crate) name: String,
    #[serde(rename = "URI")]
    pub(crate) uri: String,
    #[serde(default)]
    pub(crate) identity: String,
}

const SCHEME: &str = "ssh://";

impl Tunnel {
    /// Whether an address is of this kind.
    pub(crate) fn is(address: &str) -> bool {
        address.starts_with(SCHEME)
    }

    /// Reads `ssh://[user@]host[:port]/path`; otherwise says what is wrong.
    pub(crate) fn parse(
        address: &str,
        identity: Option<PathBuf>,
        env: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let uri: http::Uri = address.parse().map_err(|cause| format!("is no address: {cause}"))?;
        let authority = uri.authority().filter(|_| Self::is(address)).ok_or("names no host")?;
        let (user, _) = authority.as_str().rsplit_once('@').unzip();
        // OpenSSH takes a leading dash for an option; a colon in the user's part would be a password.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
            return Err("names no host".to_owned());
        }
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password cannot be given; use a key or an agent of ssh".to_owned());
        }
        let path = uri.path();
        if path.len() < 2 || path.contains(':') {
            return Err("names no socket; write `ssh://user@host/run/podman/podman.sock`".to_owned());
        }
        let destination = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
        Ok(Self { destination, port: authority.port_u16(), path: path.to_owned(), identity, env })
    }

    /// Forwards the socket, and ends where it cannot. Nothing is asked of a user: keys come from the identity, ssh's
    /// configuration or its agent, and the host's key must be known.
    pub(crate) fn command(&self, socket: &Path) -> Command {
        let mut command = Command::new("ssh");
        command.envs(&self.env);
        command.args(["-N", "-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=INFO"]);
        command.args(["-o", "StreamLocalBindMask=0177", "-o", "ControlPath=none"]);
        // A host that is gone is told from one that is silent.
        command.args(["-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]);
        if let Some(identity) = &self.identity {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(identity);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        command.arg("-L").arg(format!("{}:{}", socket.display(), self.path)).args(["--", &self.destination]);
        command
    }

    /// `[user@]host`.
    pub(crate) fn destination(&self) -> &str {
        &self.destination
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    #[test]
    fn parse_of_address_gives_user_host_port_and_path() {
        let parsed = |address: &str| {
            let tunnel = Tunnel::parse(address, None, BTreeMap::new()).unwrap();
            (tunnel.destination, tunnel.port, tunnel.path)
        };
        let socket = "/run/podman/podman.sock".to_owned();
        assert_eq!(
            parsed("ssh://core@127.0.0.1:4022/run/podman/podman.sock"),
            ("core@127.0.0.1".to_owned(), Some(4022), socket.clone())
        );
        assert_eq!(parsed("ssh://box/run/podman/podman.sock"), ("box".to_owned(), None, socket.clone()));
        assert_eq!(parsed("ssh://root@[fe80::1]/run/podman/podman.sock"), ("root@fe80::1".to_owned(), None, socket));
    }

    #[test]
    fn parse_of_odd_address_says_what_is_wrong() {
        for (address, words) in [
            ("ssh://box", "names no socket"),
            ("ssh://box/", "names no socket"),
            ("ssh:///run/podman.sock", "is no address"),
            ("ssh://-oProxyCommand=x/run/podman.sock", "names no host"),
            ("ssh://-x@box/run/podman.sock", "names no host"),
            ("ssh://me:secret@box/run/podman.sock", "a password"),
            ("ssh://box/a:/b", "names no socket"),
        ] {
            let error = Tunnel::parse(address, None, BTreeMap::new()).unwrap_err();
            assert!(error.contains(words), "{address}: {error}");
        }
    }
}
