//! What a component is connected to.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ParseError;

/// The network of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Network {
    /// The service's own bridge network, `hythe-<service>`: its components reach each other by component name, other services do not.
    #[default]
    Service,
    /// Loopback only.
    None,
    /// The host's own network.
    Host,
    /// Existing networks of the engine, by name, in this order; they belong to somebody else and are never created or removed.
    Named {
        /// At least one.
        names: Vec<String>,
    },
}

/// A line for the workload's hosts file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ExtraHost {
    /// Host name.
    pub name: String,
    /// Its address.
    pub address: HostAddress,
}

/// An address for a hosts file line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostAddress {
    /// A literal address.
    Ip(IpAddr),
    /// The host as the workload reaches it (`host-gateway`).
    HostGateway,
}

const NETWORK_FORM: &str = "`service`, `none`, `host`, or the names of existing networks";

impl FromStr for Network {
    type Err = ParseError;

    /// A keyword, or names separated by commas.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::from_names(text.split(','))
    }
}

impl Network {
    /// Reads one keyword (`service`, `none`, `host`) or the names of existing networks.
    ///
    /// # Errors
    /// No name, a keyword beside others, a name twice, a name that no engine accepts.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ParseError> {
        let names: Vec<&str> = names.into_iter().collect();
        match names.as_slice() {
            [] => return Err(ParseError::new("no network is named").hint(NETWORK_FORM)),
            ["service"] => return Ok(Self::Service),
            ["none"] => return Ok(Self::None),
            ["host"] => return Ok(Self::Host),
            _ => {}
        }
        let mut seen = HashSet::new();
        for name in &names {
            check_name(name)?;
            if matches!(*name, "service" | "none" | "host") {
                return Err(
                    ParseError::new(format!("`{name}` cannot be combined with other networks")).hint(NETWORK_FORM)
                );
            }
            if !seen.insert(name) {
                return Err(ParseError::new(format!("network `{name}` is named twice")));
            }
        }
        Ok(Self::Named { names: names.into_iter().map(str::to_owned).collect() })
    }
}

fn check_name(name: &str) -> Result<(), ParseError> {
    if name.starts_with("container:") || name.starts_with("ns:") {
        return Err(ParseError::new("the network of another container cannot be joined").hint(NETWORK_FORM));
    }
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if valid { Ok(()) } else { Err(ParseError::new(format!("`{name}` is not a network name")).hint(NETWORK_FORM)) }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.pad("service"),
            Self::None => f.pad("none"),
            Self::Host => f.pad("host"),
            Self::Named { names } => f.pad(&names.join(",")),
        }
    }
}

const HOST_FORM: &str = "write `name:address` or `name:host-gateway`, for example `db.local:10.0.0.5`";

impl FromStr for ExtraHost {
    type Err = ParseError;

    /// `name:address` or `name=address`; an IPv6 address may stand in brackets.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .ok_or_else(|| ParseError::new(format!("`{text}` names no address")).hint(HOST_FORM))?;
        Self::new(name, address)
    }
}

impl ExtraHost {
    /// A line from its two parts as written.
    ///
    /// # Errors
    /// A name with characters that no hosts file takes, or something that is no address.
    pub fn new(name: &str, address: &str) -> Result<Self, ParseError> {
        let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !valid {
            return Err(ParseError::new(format!("`{name}` is not a host name")).hint(HOST_FORM));
        }
        Ok(Self { name: name.to_owned(), address: address.parse()? })
    }
}

impl FromStr for HostAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "host-gateway" {
            return Ok(Self::HostGateway);
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let wrong = |_| ParseError::new(format!("`{text}` is not an IP address")).hint(HOST_FORM);
        bare.parse().map(Self::Ip).map_err(wrong)
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => fmt::Display::fmt(address, f),
            Self::HostGateway => f.pad("host-gateway"),
        }
    }
}

impl fmt::Display for ExtraHost {
    /// `name:address`, as every engine's `--add-host` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.address)
    }
}
