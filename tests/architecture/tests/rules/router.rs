//! The agent's router and the table the API's document is made from say the same.

use std::collections::BTreeSet;

use hythe_api::{Method, OPERATIONS};
use hythe_architecture::sources_below;

use crate::hold;

const ROUTER: &str = "crates/agent/src/routes/mod.rs";
/// What the router calls a method; a WebSocket begins as GET.
const METHODS: &[(&str, &str)] =
    &[("get", "GET"), ("any", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE"), ("patch", "PATCH")];

type Route = (&'static str, String);

#[test]
fn the_router_serves_what_the_document_says() {
    let routed = routed();
    let described: BTreeSet<Route> =
        OPERATIONS.iter().map(|operation| (method(operation.method), operation.path.to_owned())).collect();
    let only = |one: &BTreeSet<Route>, other, verdict: &str| {
        one.difference(other).map(|(method, path)| format!("{method} {path} {verdict}")).collect::<Vec<_>>()
    };
    let mut breaches = only(&routed, &described, "is routed, but not in `hythe_api::OPERATIONS`");
    breaches.extend(only(&described, &routed, "is in `hythe_api::OPERATIONS`, but not routed"));
    hold("the router and the API's document agree", &breaches);
}

const fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Put => "PUT",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    }
}

fn routed() -> BTreeSet<Route> {
    let source = sources_below(ROUTER).into_iter().next();
    let code = source.map(|source| source.code()).unwrap_or_default();
    let routes: BTreeSet<_> = code.split(".route(").skip(1).flat_map(routes).collect();
    assert!(!routes.is_empty(), "`{ROUTER}` has no `.route(` any more");
    routes
}

/// `"/path", get(handler).put(handler))…`: one route for each method called on the way to the closing parenthesis.
fn routes(text: &str) -> Vec<Route> {
    let arguments = arguments(text);
    let mut parts = arguments.splitn(3, '"').skip(1);
    let (path, calls) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let called = |(name, _): &&(&str, &str)| {
        calls
            .match_indices(&format!("{name}("))
            .any(|(at, _)| !calls[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    METHODS.iter().filter(called).map(|(_, method)| (*method, path.to_owned())).collect()
}

/// Up to the parenthesis that closes the one before `text`.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}
