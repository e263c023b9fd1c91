//! `[components.health]`.

use std::collections::BTreeMap;

use super::context::{Context, at, list};
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::{HealthFile, HttpTable, Words};
use crate::file::shapes::{Or, Scalar};
use crate::health::unfit_header;
use crate::validate::is_host_name;
use crate::{Health, HttpProbe, Millis, OnFailure, ParseError, Probe, Statuses, Tls};

const INTERVAL: Millis = Millis(10_000);
const TIMEOUT: Millis = Millis(5_000);
const RETRIES: u32 = 3;
const HTTP_FORM: &str = "write `:8080/path`, a port, or `{ port = 8080, path = \"/path\" }`";

const KINDS: [&str; 4] = ["http", "tcp", "grpc", "exec"];

/// The health check of a component, and whether there is none at all, its image's included.
pub(super) fn health(raw: Option<&At<Or<String, HealthFile>>>, cx: &mut Context<'_>) -> (Option<Health>, bool) {
    let Some(At { value, place }) = raw else { return (None, false) };
    match value {
        Or::First(word) => {
            if word != "none" {
                let finding = cx.findings.error(place, format!("`{word}` is not a health check"));
                finding.hint("write `none`, or a table such as `{ http = \":8080/healthz\" }`");
            }
            (None, true)
        }
        Or::Second(raw) if is_none(raw) => (None, true),
        Or::Second(raw) => (check(raw, place, cx), false),
    }
}

fn check(raw: &HealthFile, place: &Place, cx: &mut Context<'_>) -> Option<Health> {
    let probe = probe(raw, place, cx);
    let options = [("none", OnFailure::None), ("restart", OnFailure::Restart)];
    let on_failure = raw.on_failure.as_ref().and_then(|word| cx.choose(word, "reaction", &options));
    let interval = cx.parse_scalar(raw.interval.as_ref()).unwrap_or(INTERVAL);
    let timeout = cx.parse_scalar(raw.timeout.as_ref()).unwrap_or(TIMEOUT);
    let retries = cx.number(raw.retries.as_ref(), 1..=u32::MAX, "a number of retries").unwrap_or(RETRIES);
    let start_period = cx.parse_scalar(raw.start_period.as_ref()).unwrap_or(Millis(0));
    let start_interval = cx.parse_scalar(raw.start_interval.as_ref());
    let on_failure = on_failure.unwrap_or_default();
    Some(Health { probe: probe?, interval, timeout, retries, start_period, start_interval, on_failure })
}

fn probe(raw: &HealthFile, place: &Place, cx: &mut Context<'_>) -> Option<Probe> {
    let given = [raw.http.is_some(), raw.tcp.is_some(), raw.grpc.is_some(), raw.exec.is_some()];
    let given = given.into_iter().filter(|given| *given).count();
    let kinds = KINDS.map(|kind| format!("{}.{kind}", place.path));
    if given != 1 {
        if !kinds.iter().any(|kind| cx.findings.broken(kind)) {
            let place = cx.places.find(&place.path);
            let what = if given == 0 { "does not say what to try" } else { "says more than one thing to try" };
            cx.findings
                .error(&place, format!("the health check {what}"))
                .hint("write one of `http`, `tcp`, `grpc`, `exec`");
        }
        return None;
    }
    if let Some(exec) = &raw.exec {
        return command(exec, cx).map(|command| Probe::Exec { command });
    }
    if let Some(tcp) = &raw.tcp {
        return cx.number(Some(tcp), 1..=u16::MAX, "a port").map(|port| Probe::Tcp { port });
    }
    if let Some(grpc) = &raw.grpc {
        let (port, service) = match &grpc.value {
            Or::First(port) => (at(*port, &grpc.place), None),
            Or::Second(table) => (table.port.clone()?, table.service.as_ref()),
        };
        let port = cx.number(Some(&port), 1..=u16::MAX, "a port")?;
        let service = service.map(|service| service.value.clone()).filter(|service| !service.is_empty());
        return Some(Probe::Grpc { port, service });
    }
    let http = raw.http.as_ref()?;
    match &http.value {
        Or::First(text) => cx.findings.check(&http.place, address(&text.text())),
        Or::Second(table) => self::table(table, cx),
    }
    .filter(|probe| check_path(&probe.path, &at((), &http.place), cx))
    .map(Probe::Http)
}

fn table(table: &HttpTable, cx: &mut Context<'_>) -> Option<HttpProbe> {
    let port = cx.number(table.port.as_ref(), 1..=u16::MAX, "a port");
    let path = table.path.as_ref().map_or("/", |path| path.value.as_str()).to_owned();
    let tls = match &table.tls {
        None => None,
        Some(At { value: Or::First(tls), .. }) => tls.then_some(Tls::Verified),
        Some(At { value: Or::Second(word), place }) => {
            let options = [("insecure", Tls::Insecure), ("verified", Tls::Verified)];
            cx.choose(&at(word.clone(), place), "way to verify a certificate", &options)
        }
    };
    let status = statuses(table, cx);
    let headers = headers(table, cx);
    let server_name = table.server_name.as_ref().filter(|name| {
        let fits = is_host_name(&name.value);
        if !fits {
            cx.findings.error(&name.place, format!("`{}` is not a host name", name.value));
        }
        fits
    });
    let server_name = server_name.map(|name| name.value.clone());
    let body = table.body.as_ref().map(|text| text.value.clone()).filter(|text| !text.is_empty());
    Some(HttpProbe { port: port?, path, tls, server_name, headers, status, body })
}

fn statuses(table: &HttpTable, cx: &mut Context<'_>) -> Vec<Statuses> {
    let given: Vec<At<Scalar>> = match &table.status {
        None => Vec::new(),
        Some(At { value: Or::First(one), place }) => vec![at(one.clone(), place)],
        Some(At { value: Or::Second(list), .. }) => list.clone(),
    };
    given.iter().filter_map(|status| cx.parse_scalar(Some(status))).collect()
}

/// Names are lower case: they mean the same in either.
fn headers(table: &HttpTable, cx: &mut Context<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in table.headers.iter().flat_map(|headers| &headers.value.0) {
        let text = value.value.text();
        if let Some(reason) = unfit_header(&name.value, &text) {
            cx.findings.error(&name.place, format!("`{}` {reason}", name.value));
        } else if headers.insert(name.value.to_ascii_lowercase(), text).is_some() {
            cx.findings.error(&name.place, format!("the header `{}` is given twice", name.value));
        }
    }
    headers
}

/// A string is run by a shell where only a shell understands it, else as its words; a list may begin with one of Compose's words.
fn command(exec: &At<Words>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let by_shell = |line: &str| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    if let Or::First(line) = &exec.value {
        let split = cx.split(line, &exec.place)?;
        return Some(if split.needs_shell() { by_shell(line) } else { split.words });
    }
    let words = list(exec);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CMD-SHELL", line] => Some(by_shell(line)),
        ["CMD-SHELL", ..] => {
            let finding = cx.findings.error(&exec.place, "`CMD-SHELL` is followed by one string");
            finding.hint("write `[\"CMD-SHELL\", \"…\"]`");
            None
        }
        ["CMD", command @ ..] | command => Some(command.iter().map(|word| (*word).to_owned()).collect()),
    }
}

/// Compose's way to say that there is no check.
fn is_none(raw: &HealthFile) -> bool {
    raw.exec.as_ref().is_some_and(|exec| matches!(&exec.value, Or::Second(_)) && list(exec) == ["NONE"])
}

fn check_path(path: &str, place: &At<()>, cx: &mut Context<'_>) -> bool {
    if !path.starts_with('/') {
        cx.findings.error(&place.place, "the path of an http check starts with `/`").hint(HTTP_FORM);
        return false;
    }
    let wrong = crate::health::unfit(path);
    if let Some(wrong) = wrong {
        let message = format!("the path of an http check cannot contain `{}`", wrong.escape_debug());
        cx.findings.error(&place.place, message).hint("write it as a URL does: a space is `%20`");
    }
    wrong.is_none()
}

/// `[http[s]://][localhost]:port[/path]` or `port[/path]`: a probe always asks the workload itself.
fn address(text: &str) -> Result<HttpProbe, ParseError> {
    let schemes = [("http://", "80", None), ("https://", "443", Some(Tls::Verified))];
    let scheme = schemes.into_iter().find_map(|(word, port, tls)| Some((text.strip_prefix(word)?, Some(port), tls)));
    let (rest, default, tls) = scheme.unwrap_or((text, None, None));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => default.map_or(("", authority), |port| (authority, port)),
    };
    if !matches!(host, "" | "localhost" | "127.0.0.1" | "[::1]") {
        return Err(ParseError::new(format!("an http check asks the workload itself, not `{host}`")).hint(HTTP_FORM));
    }
    let port = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| ParseError::new(format!("`{text}` names no port")).hint(HTTP_FORM))?;
    let path = if path.is_empty() { "/" } else { path }.to_owned();
    Ok(HttpProbe { tls, ..HttpProbe::new(port, path) })
}
