//! Published ports.

use std::fmt;
use std::net::IpAddr;
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
        let (rest, protocol) = match text.split_once('/') {
            Some((rest, protocol)) => (rest, protocol.parse()?),
            None => (text, Protocol::Tcp),
        };
        let (host_ip, host, container) = split_fields(rest)?;
        let container = range("container port", container)?;
        if *container.start() == 0 {
            return Err(ParseError::new("a container port is between 1 and 65535"));
        }
        let ports = host_ports(host, container.clone().count())?;
        Ok(container
            .zip(ports)
            .map(|(container_port, host_port)| Self { host_ip, host_port, container_port, protocol })
            .collect())
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

fn host_ports(text: &str, wanted: usize) -> Result<Vec<Option<u16>>, ParseError> {
    if text.is_empty() {
        return Ok(vec![None; wanted]);
    }
    let range = range("host port", text)?;
    let length = range.clone().count();
    if *range.start() == 0 && length == 1 {
        return Ok(vec![None; wanted]);
    }
    if length != wanted {
        return Err(ParseError::new(format!("{length} host ports for {wanted} container ports"))
            .hint("give both ranges the same length, or leave the host port out for a free one"));
    }
    Ok(range.map(|port| (port != 0).then_some(port)).collect())
}

fn range(what: &str, text: &str) -> Result<std::ops::RangeInclusive<u16>, ParseError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(what, first)?, number(what, last)?);
    if first > last {
        return Err(ParseError::new(format!("the {what} range ends before it starts")));
    }
    Ok(first..=last)
}

fn number(what: &str, text: &str) -> Result<u16, ParseError> {
    let valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    valid
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| ParseError::new(format!("`{text}` is not a {what}")).hint(FORM))
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
