//! Reading values, and taking each field from the first source that has it.

use hythe_spec::Millis;

use super::{HealthKind, Hints, service_type};

const YES: &[&str] = &["1", "t", "true", "y", "yes", "on", "enable", "enabled"];
const NO: &[&str] = &["0", "f", "false", "n", "no", "off", "disable", "disabled"];

/// Yes or no, as people write it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let word = text.trim().to_lowercase();
    match (YES.contains(&word.as_str()), NO.contains(&word.as_str())) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// What a proxy's labels say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// Host names with the label each is from, the chosen one first.
    pub(super) hosts: Vec<(String, String)>,
    /// Port inside the instance and the label it is from.
    pub(super) port: Option<(u16, String)>,
}

/// Hints in the making.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) hints: Hints,
}

impl Values {
    pub(super) fn problem(&mut self, source: &str, value: &str, wanted: &str) {
        self.hints.problems.push(format!("`{source}`: `{value}` is not {wanted}"));
    }

    /// Takes a value for a field that has none yet.
    pub(super) fn take<T>(&mut self, field: &str, source: &str, value: T, of: fn(&mut Hints) -> &mut Option<T>) {
        let slot = of(&mut self.hints);
        if slot.is_none() {
            *slot = Some(value);
            self.hints.sources.insert(field.to_owned(), source.to_owned());
        }
    }

    /// A label that opts in or out; one that is neither opts out, since that is what a slip of the pen must not undo.
    pub(super) fn switch(&mut self, source: &str, text: &str) {
        let enabled = boolean(text);
        if enabled.is_none() {
            self.problem(source, text, "yes or no, and is taken for no");
        }
        self.take("enabled", source, enabled.unwrap_or(false), |hints| &mut hints.enabled);
    }

    pub(super) fn flag(&mut self, field: &str, source: &str, text: &str, of: fn(&mut Hints) -> &mut Option<bool>) {
        match boolean(text) {
            Some(value) => self.take(field, source, value, of),
            None => self.problem(source, text, "yes or no"),
        }
    }

    pub(super) fn text(&mut self, field: &str, source: &str, text: &str, of: fn(&mut Hints) -> &mut Option<String>) {
        match text.trim() {
            "" => self.problem(source, text, "a text"),
            text => self.take(field, source, text.to_owned(), of),
        }
    }

    pub(super) fn port(&mut self, field: &str, source: &str, text: &str, of: fn(&mut Hints) -> &mut Option<u16>) {
        match text.trim().parse() {
            Ok(port) if port > 0 => self.take(field, source, port, of),
            _ => self.problem(source, text, "a port"),
        }
    }

    pub(super) fn time(&mut self, field: &str, source: &str, text: &str, of: fn(&mut Hints) -> &mut Option<Millis>) {
        match text.trim().parse() {
            Ok(time) => self.take(field, source, time, of),
            Err(_) => self.problem(source, text, "a duration"),
        }
    }

    pub(super) fn service_type(&mut self, source: &str, text: &str) {
        match service_type::transport(text.trim()) {
            Some(_) => self.take("service_type", source, text.trim().to_owned(), |hints| &mut hints.service_type),
            None => self.problem(source, text, "a service type such as `_http._tcp`"),
        }
    }

    pub(super) fn health_kind(&mut self, source: &str, text: &str) {
        let kind = match text.trim().to_lowercase().as_str() {
            "http" => HealthKind::Http,
            "tcp" => HealthKind::Tcp,
            _ => return self.problem(source, text, "`http` or `tcp`"),
        };
        self.take("health.kind", source, kind, |hints| &mut hints.health.kind);
    }

    /// The short form: opted in under one name.
    pub(super) fn announce(&mut self, source: &str, name: &str) {
        self.take("enabled", source, true, |hints| &mut hints.enabled);
        self.take("name", source, name.to_owned(), |hints| &mut hints.name);
        self.take("dns_name", source, name.to_owned(), |hints| &mut hints.dns_name);
    }

    /// What a proxy's labels fill where nothing else does; whoever is routed to has asked to be found.
    pub(super) fn route(&mut self, route: Route) {
        let source = route.hosts.first().map(|(_, source)| source).or(route.port.as_ref().map(|(_, source)| source));
        if let Some(source) = source {
            self.take("enabled", source, true, |hints| &mut hints.enabled);
        }
        if let Some((host, source)) = route.hosts.first() {
            self.take("dns_name", source, host.clone(), |hints| &mut hints.dns_name);
            self.take("name", source, host.clone(), |hints| &mut hints.name);
        }
        if let Some((port, source)) = route.port {
            self.take("port", &source, port, |hints| &mut hints.port);
        }
        for (host, source) in route.hosts {
            if !self.hints.hosts.contains(&host) {
                self.hints.sources.entry("hosts".to_owned()).or_insert(source);
                self.hints.hosts.push(host);
            }
        }
    }
}
