//! Published ports.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ParseError;

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One published port; a range is spread into one of these per port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// Host address to listen on; absent: every address of the host.
    pub host_ip: Option<IpAddr>,
    /// Host port; absent: a free one is picked at start.
    pub host_port: Option<u16>,
    /// Port inside the workload, 1 to 65535.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

const FORM: &str = "write `[[host_ip:]host_port:]port[/protocol]`, for example `127.0.0.1:8080:80/tcp`";

impl Port {
    /// Reads one port specification; a range is spread into its ports, in order.
    ///
    /// `80` leaves the host port to the engine, so does `127.0.0.1::80` or host port 0. An empty host address is every
    /// address. IPv6 addresses stand in brackets. Host and container ranges have the same length.
    ///
    /// # Errors
    /// Any other form, port 0, an unknown protocol, a host name in place of an address.
    pub fn parse_spec(text: &str) -> Result<Vec<Self>, ParseError> {
        Ports::parse(text).map(|ports| ports.spread().collect())
    }
}

/// One port specification before it is spread.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    host_ip: Option<IpAddr>,
    /// The first host port; absent: free ones.
    host: Option<u16>,
    container: RangeInclusive<u16>,
    protocol: Protocol,
}

impl Ports {
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let (rest, protocol) = match text.split_once('/') {
            Some((rest, protocol)) => (rest, protocol.parse()?),
            None => (text, Protocol::Tcp),
        };
        let (host_ip, host, container) = split_fields(rest)?;
        let container = range("container port", container)?;
        if *container.start() == 0 {
            return Err(ParseError::new("a container port is between 1 and 65535"));
        }
        Ok(Self { host_ip, host: first_host_port(host, container.len())?, container, protocol })
    }

    pub(crate) fn len(&self) -> usize {
        self.container.len()
    }

    pub(crate) fn spread(self) -> impl Iterator<Item = Port> {
        let Self { host_ip, host, container, protocol } = self;
        let first = *container.start();
        container.map(move |container_port| {
            // Both ranges have the same length.
            let host_port = host.map(|host| host + (container_port - first));
            Port { host_ip, host_port, container_port, protocol }
        })
    }
}

/// Splits `[[ip:]host:]container`.
fn split_fields(text: &str) -> Result<(Option<IpAddr>, &str, &str), ParseError> {
    let Some((rest, container)) = text.rsplit_once(':') else {
        return Ok((None, "", text));
    };
    let Some((address, host)) = rest.rsplit_once(':') else {
        return Ok((None, rest, container));
    };
    Ok((host_address(address)?, host, container))
}

fn host_address(text: &str) -> Result<Option<IpAddr>, ParseError> {
    if text.is_empty() {
        return Ok(None);
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let wrong = || ParseError::new(format!("`{text}` is not an IP address")).hint(FORM);
    match bracketed.unwrap_or(text).parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if bracketed.is_none() => {
            Err(ParseError::new("an IPv6 address stands in brackets").hint(format!("write `[{address}]:port:port`")))
        }
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(wrong()),
    }
}

fn first_host_port(text: &str, wanted: usize) -> Result<Option<u16>, ParseError> {
    if text.is_empty() {
        return Ok(None);
    }
    let range = range("host port", text)?;
    if *range.start() == 0 {
        return match (range.len(), wanted) {
            (1, 1) => Ok(None),
            _ => Err(ParseError::new("a range of host ports does not start at 0")
                .hint("leave the host port out for free ones, or name the first")),
        };
    }
    if range.len() != wanted {
        return Err(ParseError::new(format!("{} host ports for {wanted} container ports", range.len()))
            .hint("give both ranges the same length, or leave the host port out for a free one"));
    }
    Ok(Some(*range.start()))
}

fn range(what: &str, text: &str) -> Result<RangeInclusive<u16>, ParseError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(what, first)?, number(what, last)?);
    if first > last {
        return Err(ParseError::new(format!("the {what} range ends before it starts")));
    }
    Ok(first..=last)
}

fn number(what: &str, text: &str) -> Result<u16, ParseError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseError::new(format!("`{text}` is not a {what}")).hint(FORM));
    }
    text.parse().map_err(|_| ParseError::new(format!("`{text}` is not a {what}")).hint("a port is between 1 and 65535"))
}

impl FromStr for Port {
    type Err = ParseError;

    /// One port; a range is refused.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut ports = Self::parse_spec(text)?;
        match ports.pop() {
            Some(port) if ports.is_empty() => Ok(port),
            _ => Err(ParseError::new("one port is wanted, not a range")),
        }
    }
}

impl fmt::Display for Port {
    /// `127.0.0.1:8080:80/tcp`, `8080:80/tcp`, `80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host_port.map(|port| port.to_string()).unwrap_or_default();
        match self.host_ip {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{host}:")?,
            Some(IpAddr::V4(address)) => write!(f, "{address}:{host}:")?,
            None if self.host_port.is_some() => write!(f, "{host}:")?,
            None => {}
        }
        write!(f, "{}/{}", self.container_port, self.protocol)
    }
}

impl FromStr for Protocol {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(ParseError::new(format!("`{text}` is not a protocol")).hint("one of tcp, udp, sctp")),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}
