//! `[components.health]`.

use super::context::{Context, at};
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::HealthFile;
use crate::file::shapes::Or;
use crate::{Health, Millis, OnFailure, ParseError, Probe};

const INTERVAL: Millis = Millis(10_000);
const TIMEOUT: Millis = Millis(5_000);
const RETRIES: u32 = 3;
const HTTP_FORM: &str = "write `:8080/path`, a port, or `{ port = 8080, path = \"/path\" }`";

/// The health check of a component.
pub(super) fn health(raw: Option<&At<HealthFile>>, cx: &mut Context<'_>) -> Option<Health> {
    let At { value: raw, place } = raw?;
    let probe = probe(raw, place, cx);
    let options = [("none", OnFailure::None), ("restart", OnFailure::Restart)];
    let on_failure = raw.on_failure.as_ref().and_then(|word| cx.choose(word, "reaction", &options));
    let interval = cx.parse_scalar(raw.interval.as_ref()).unwrap_or(INTERVAL);
    let timeout = cx.parse_scalar(raw.timeout.as_ref()).unwrap_or(TIMEOUT);
    let retries = cx.number(raw.retries.as_ref(), 1u32, "a number of tries").unwrap_or(RETRIES);
    let start_period = cx.parse_scalar(raw.start_period.as_ref()).unwrap_or(Millis(0));
    Some(Health { probe: probe?, interval, timeout, retries, start_period, on_failure: on_failure.unwrap_or_default() })
}

fn probe(raw: &HealthFile, place: &Place, cx: &mut Context<'_>) -> Option<Probe> {
    let given = [raw.http.is_some(), raw.tcp.is_some(), raw.exec.is_some()].into_iter().filter(|given| *given).count();
    let kinds = ["http", "tcp", "exec"].map(|kind| format!("{}.{kind}", place.path));
    if given != 1 {
        if !kinds.iter().any(|kind| cx.findings.broken(kind)) {
            let place = cx.places.find(&place.path);
            let what = if given == 0 { "does not say what to try" } else { "says more than one thing to try" };
            cx.findings.error(&place, format!("the health check {what}")).hint("write one of `http`, `tcp`, `exec`");
        }
        return None;
    }
    if let Some(exec) = &raw.exec {
        return cx.command(exec).map(|command| Probe::Exec { command });
    }
    if let Some(tcp) = &raw.tcp {
        return cx.number(Some(tcp), 1u16, "a port").map(|port| Probe::Tcp { port });
    }
    let http = raw.http.as_ref()?;
    match &http.value {
        Or::First(text) => cx.findings.check(&http.place, address(&text.text())),
        Or::Second(table) => {
            let port = cx.number(table.port.as_ref(), 1u16, "a port")?;
            let path = table.path.as_ref().map_or("/", |path| path.value.as_str());
            Some(Probe::Http { port, path: path.to_owned() })
        }
    }
    .filter(|probe| check_path(probe, &at((), &http.place), cx))
}

fn check_path(probe: &Probe, place: &At<()>, cx: &mut Context<'_>) -> bool {
    let valid = !matches!(probe, Probe::Http { path, .. } if !path.starts_with('/'));
    if !valid {
        cx.findings.error(&place.place, "the path of an http check starts with `/`").hint(HTTP_FORM);
    }
    valid
}

/// `[http://][localhost]:port[/path]` or `port[/path]`: a probe always asks the workload itself.
fn address(text: &str) -> Result<Probe, ParseError> {
    if text.starts_with("https:") {
        return Err(ParseError::new("an http check does not speak TLS").hint(HTTP_FORM));
    }
    let (scheme, rest) = text.strip_prefix("http://").map_or((false, text), |rest| (true, rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None if scheme => (authority, "80"),
        None => ("", authority),
    };
    if !matches!(host, "" | "localhost" | "127.0.0.1" | "[::1]") {
        return Err(ParseError::new(format!("an http check asks the workload itself, not `{host}`")).hint(HTTP_FORM));
    }
    let port = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| ParseError::new(format!("`{text}` names no port")).hint(HTTP_FORM))?;
    Ok(Probe::Http { port, path: if path.is_empty() { "/" } else { path }.to_owned() })
}
