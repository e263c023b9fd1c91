//! Name servers for instances: those of the machine that can be reached from inside.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// What a `resolv.conf` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers, in order.
    pub nameservers: Vec<IpAddr>,
    /// Domains to search, in order.
    pub search: Vec<String>,
    /// Options, as written.
    pub options: Vec<String>,
}

const MACHINES: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the servers behind its own, which listens on loopback.
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

impl Resolver {
    /// Reads a `resolv.conf`. A server on loopback or on a link of the machine cannot be reached from inside and is left out.
    pub fn parse(text: &str) -> Self {
        Self::parse_servers(text, reachable)
    }

    /// What a `resolv.conf` says, with all its servers, as the host itself reaches them. Empty where there is none.
    pub fn all_of(path: &Path) -> Self {
        let address = |server: &str| server.parse().ok();
        Self::parse_servers(&fs::read_to_string(path).unwrap_or_default(), address)
    }

    fn parse_servers(text: &str, server: impl Fn(&str) -> Option<IpAddr>) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.nameservers.extend(words.next().and_then(&server)),
                // The last one counts.
                Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
                Some("options") => resolver.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        resolver
    }

    /// The machine's, as instances can use it. Empty where the machine has only a server of its own that nobody else reaches.
    pub fn of_the_host() -> Self {
        Self::of_files(Path::new(MACHINES), Path::new(UPSTREAM))
    }

    fn of_files(machines: &Path, upstream: &Path) -> Self {
        let read = |path: &Path| Self::parse(&fs::read_to_string(path).unwrap_or_default());
        let resolver = read(machines);
        if !resolver.nameservers.is_empty() {
            return resolver;
        }
        Self { nameservers: read(upstream).nameservers, ..resolver }
    }

    /// The same, with a server that can be reached in place of none.
    #[must_use]
    pub fn or(mut self, server: Option<Ipv4Addr>) -> Self {
        if self.nameservers.is_empty() {
            self.nameservers.extend(server.map(IpAddr::from));
        }
        self
    }

    /// The same, for instances that ask their own name server: single names are asked as they are, so that peers are found before the search domains
    /// are tried.
    #[must_use]
    pub fn by_own_server(mut self, server: IpAddr) -> Self {
        self.nameservers = vec![server];
        if !self.options.iter().any(|option| option.starts_with("ndots:")) {
            self.options.push("ndots:0".to_owned());
        }
        self
    }

    /// The text of a `resolv.conf`.
    pub fn text(&self) -> String {
        let mut text: String = self.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
        for (word, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                text.push_str(&format!("{word} {}\n", values.join(" ")));
            }
        }
        text
    }
}

fn reachable(server: &str) -> Option<IpAddr> {
    // A server with a zone (`fe80::1%eth0`) is no address and falls out here too.
    let address: IpAddr = server.parse().ok()?;
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_loopback_are_left_out() {
        let text = "# comment\nsearch a.example b.example\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\nnameserver fe80::1%eth0\noptions edns0 trust-ad\n";
        let resolver = Resolver::parse(text);
        assert_eq!(resolver.text(), "nameserver 192.0.2.53\nsearch a.example b.example\noptions edns0 trust-ad\n");
    }

    #[test]
    fn behind_a_stub_are_the_servers_of_systemd_resolved() {
        let directory = tempfile::tempdir().expect("a directory");
        let (machines, upstream) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&machines, "nameserver 127.0.0.53\nsearch x.example\n").expect("written");
        assert_eq!(Resolver::of_files(&machines, &upstream).nameservers, Vec::<IpAddr>::new());
        let server = Ipv4Addr::new(10, 0, 2, 3);
        let by_it = Resolver::of_files(&machines, &upstream).or(Some(server));
        assert_eq!(by_it.text(), "nameserver 10.0.2.3\nsearch x.example\n");
        fs::write(&upstream, "nameserver 192.0.2.1\nsearch other.example\n").expect("written");
        let resolver = Resolver::of_files(&machines, &upstream);
        assert_eq!(resolver.text(), "nameserver 192.0.2.1\nsearch x.example\n");
        assert_eq!(resolver.clone().or(Some(server)), resolver);
    }
}
