//! Where an agent listens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Address of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Path of a Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the address of an agent")]
pub struct EndpointError(String);

impl EndpointError {
    /// What to write instead.
    pub const HINT: &str = "write `/path/to/agent.sock`, `unix:///path/to/agent.sock` or `tcp://host:port`";
}

impl Endpoint {
    /// Whether it is on this machine, whoever listens there.
    pub fn is_local(&self) -> bool {
        let Self::Tcp(address) = self else {
            return true;
        };
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(text.to_owned());
        if let Some(path) = unix_path(text) {
            return Ok(Self::Unix(path.into()));
        }
        let address = ["tcp://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .unwrap_or(text)
            .trim_end_matches('/');
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || host.contains('/') || bare_ipv6 || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self::Tcp(address.to_owned()))
    }
}

fn unix_path(text: &str) -> Option<&str> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    path.starts_with('/').then_some(path)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_addresses_are_distinguished() {
        let unix = Ok(Endpoint::Unix("/run/a.sock".into()));
        assert_eq!("/run/a.sock".parse(), unix);
        assert_eq!("unix:///run/a.sock".parse(), unix);
        let tcp = Ok(Endpoint::Tcp("host:80".to_owned()));
        assert_eq!("tcp://host:80".parse(), tcp);
        assert_eq!("http://host:80/".parse(), tcp);
        assert_eq!("host:80".parse(), tcp);
        assert_eq!("[::1]:80".parse(), Ok(Endpoint::Tcp("[::1]:80".to_owned())));
    }

    #[test]
    fn addresses_of_this_host_are_local() {
        let is_local = |text: &str| text.parse::<Endpoint>().is_ok_and(|endpoint| endpoint.is_local());
        for text in ["/run/a.sock", "localhost:1", "127.0.0.1:1", "tcp://[::1]:1"] {
            assert!(is_local(text), "{text}");
        }
        for text in ["example.org:1", "10.0.0.1:1", "localhost.example:1", "[::2]:1"] {
            assert!(!is_local(text), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "host", "host:", ":80", "host:x", "unix://a.sock", "::1:80", "https://h:1"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
