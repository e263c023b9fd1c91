//! The labels of Caddy's proxy for containers: site addresses, and the port of the upstream.

use hythe_runtime::labels::Labels;

use super::values::Route;

const SITE: &str = "caddy";
const UPSTREAM: &str = "reverse_proxy";

/// What Caddy would route here. Sites are `caddy`, then `caddy_0`, `caddy_1` … by number.
pub(super) fn read(labels: &Labels) -> Route {
    let mut sites: Vec<(u32, &String, &String)> =
        labels.iter().filter_map(|(label, value)| Some((place(label)?, label, value))).collect();
    sites.sort();
    let mut route = Route::default();
    for (_, label, addresses) in sites {
        let found: Vec<&str> = addresses.split([',', ' ']).filter_map(host).collect();
        route.hosts.extend(found.into_iter().map(|host| (host.to_owned(), label.clone())));
        let upstream = format!("{label}.{UPSTREAM}");
        let port = || labels.get(&upstream).and_then(|value| upstream_port(value));
        route.port = route.port.or_else(|| port().map(|port| (port, upstream.clone())));
    }
    route
}

/// `caddy` is first, `caddy_0` next; `None`: no site.
fn place(label: &str) -> Option<u32> {
    let rest = label.strip_prefix(SITE)?;
    if rest.is_empty() {
        return Some(0);
    }
    rest.strip_prefix('_')?.parse::<u32>().ok()?.checked_add(1)
}

/// The host of a site address; not of a bare port, a wildcard or a snippet.
fn host(address: &str) -> Option<&str> {
    let address = address.trim();
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split('/').next()?;
    let name = match rest.strip_prefix('[') {
        Some(literal) => literal.split(']').next()?,
        None => rest.split(':').next()?,
    };
    let usable = !name.is_empty() && !name.contains(['*', '(', ')', '{', '}']);
    usable.then_some(name)
}

/// `{{upstreams 8080}}`, `{{upstreams http 8080}}`, `server:8080`.
fn upstream_port(value: &str) -> Option<u16> {
    let words = value.split(|c: char| c.is_whitespace() || c == '{' || c == '}');
    let port = |word: &str| word.rsplit(':').next().and_then(|number| number.parse().ok()).filter(|port| *port > 0);
    words.filter(|word| !word.is_empty()).find_map(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::labels;

    #[test]
    fn a_site_is_a_host_name() {
        let table = [
            ("a.test", Some("a.test")),
            ("https://a.test:8443/path", Some("a.test")),
            ("[::1]:80", Some("::1")),
            (":80", None),
            ("*.a.test", None),
            ("(snippet)", None),
            ("", None),
        ];
        for (address, expected) in table {
            assert_eq!(host(address), expected, "{address}");
        }
    }

    #[test]
    fn sites_are_read_by_number_and_the_port_is_the_first_number() {
        let route = read(&labels(&[
            ("caddy_10", "ten.test"),
            ("caddy_2", "two.test, also.test"),
            ("caddy_2.reverse_proxy", "{{upstreams http 8080}}"),
            ("caddy_10.reverse_proxy", "web:9000"),
            ("caddyfile", "x"),
        ]));
        let hosts: Vec<&str> = route.hosts.iter().map(|(host, _)| host.as_str()).collect();
        assert_eq!(hosts, ["two.test", "also.test", "ten.test"]);
        assert_eq!(route.port, Some((8080, "caddy_2.reverse_proxy".to_owned())));
        assert_eq!(upstream_port("{{upstreams https}}"), None);
        assert_eq!(upstream_port("web:9000"), Some(9000));
    }
}
