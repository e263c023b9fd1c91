//! Traefik's labels: routers with a rule, and the port of the service behind them.

use hythe_runtime::labels::Labels;

use super::values::{Route, Values, boolean};

const ROUTERS: &str = "traefik.http.routers.";
const SERVICES: &str = "traefik.http.services.";
const ENABLE: &str = "traefik.enable";

/// What Traefik would route here; nothing where the instance is hidden from Traefik.
///
/// Routers and services are read in the order of their names, so that the same labels always say the same.
pub(super) fn read(labels: &Labels, values: &mut Values) -> Route {
    if let Some(text) = labels.get(ENABLE) {
        match boolean(text) {
            Some(true) => {}
            Some(false) => return Route::default(),
            None => {
                values.problem(ENABLE, text, "yes or no, and is taken for no");
                return Route::default();
            }
        }
    }
    let routers = named(labels, ROUTERS, ".rule");
    let hosts: Vec<(String, String)> = routers
        .iter()
        .flat_map(|(_, label, rule)| hosts(rule).into_iter().map(|host| (host, (*label).to_owned())))
        .collect();
    let chosen = routers.iter().find(|(_, _, rule)| !self::hosts(rule).is_empty()).map(|(name, ..)| *name);
    Route { hosts, port: port(labels, chosen, values) }
}

/// Name, label and value of labels between a prefix and an ending, by name.
fn named<'a>(labels: &'a Labels, prefix: &str, ending: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let named = labels.iter().filter_map(|(label, value)| {
        let name = label.strip_prefix(prefix)?.strip_suffix(ending)?;
        (!name.is_empty() && !name.contains('.')).then_some((name, label.as_str(), value.as_str()))
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    named
}

/// The port of the service that the chosen router names, else of the first service.
fn port(labels: &Labels, router: Option<&str>, values: &mut Values) -> Option<(u16, String)> {
    let wanted = router.and_then(|name| labels.get(&format!("{ROUTERS}{name}.service"))).map(String::as_str);
    let services = named(labels, SERVICES, ".loadbalancer.server.port");
    let (_, label, text) = services.iter().find(|(name, ..)| Some(*name) == wanted).or(services.first())?;
    match text.trim().parse() {
        Ok(port) if port > 0 => Some((port, (*label).to_owned())),
        _ => {
            values.problem(label, text, "a port");
            None
        }
    }
}

/// The arguments of every `Host(…)` of a rule; not of `HostRegexp`, `HostSNI` or `!Host`.
fn hosts(rule: &str) -> Vec<String> {
    let mut hosts = Vec::new();
    let mut rest = rule;
    while let Some(at) = next_call(rest) {
        let (before, call) = rest.split_at(at);
        let negated = before.trim_end().ends_with('!');
        let (arguments, after) = arguments(&call["Host(".len()..]);
        if !negated {
            hosts.extend(arguments.into_iter().filter(|host| !host.is_empty()).map(str::to_owned));
        }
        rest = after;
    }
    hosts
}

/// Where the next `Host(` begins that is a function's whole name and stands in no string.
fn next_call(rule: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in rule.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if is_quote(c) => quote = Some(c),
            None if !before.is_alphanumeric() && rule[at..].starts_with("Host(") => return Some(at),
            None => {}
        }
        before = c;
    }
    None
}

/// The strings up to the closing parenthesis, and what follows; an open string ends it all.
fn arguments(text: &str) -> (Vec<&str>, &str) {
    let mut arguments = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let Some(open) = rest.chars().next().filter(|c| is_quote(*c)) else {
            return (arguments, rest);
        };
        let Some(end) = rest[open.len_utf8()..].find(open) else {
            return (arguments, "");
        };
        arguments.push(rest[open.len_utf8()..][..end].trim());
        rest = &rest[open.len_utf8() + end + open.len_utf8()..];
    }
}

const fn is_quote(c: char) -> bool {
    matches!(c, '`' | '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_host_alone() {
        let table: &[(&str, &[&str])] = &[
            ("Host(`a.test`)", &["a.test"]),
            ("PathPrefix(`/x`) && (Host(`a.test`) || Host(\"b.test\"))", &["a.test", "b.test"]),
            ("Host(`a.test`, 'b.test')", &["a.test", "b.test"]),
            ("HostRegexp(`.+`) || HostSNI(`c`) || Host( `a.test` )", &["a.test"]),
            ("!Host(`a.test`) && Host(`b.test`)", &["b.test"]),
            ("Header(`x`, `Host(`) && Host(`a.test`)", &["a.test"]),
            ("Host(`open", &[]),
            ("Host(", &[]),
            ("Host()", &[]),
            ("", &[]),
        ];
        for (rule, expected) in table {
            assert_eq!(hosts(rule), *expected, "{rule}");
        }
    }
}
