//! Alerts: whoever is to be told is told, once, and nobody who does not listen holds anything up.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::files::{one, stays};
use crate::fixture::{Fixture, unique_name};
use crate::proxy::Proxy;
use crate::trial::trials;
use crate::wait;

trials!("alerts":
    flapping_runs_a_command_once Every,
    unhealthy_is_posted_and_a_deaf_hook_holds_nothing_up Every,
    what_was_removed_by_hand_is_drift Real,
    a_runtime_that_stays_away_is_reported_and_shown Both,
    every_fault_of_the_configuration_is_reported Memory,
);

/// The configuration with these alerts.
fn configure(fixture: &mut Fixture<'_>, alerts: &[String]) {
    let mut config = fixture.subject.config();
    for alert in alerts {
        // Writing to a string cannot fail.
        let _ = write!(config, "\n[[alerts]]\n{alert}\n");
    }
    fixture.agent.reconfigure(&config);
}

/// A hook that keeps what it is given in a file, a line each.
fn receiver(fixture: &Fixture<'_>) -> String {
    let path = fixture.agent.path("told").display().to_string();
    format!("command = ['sh', '-c', '(cat; echo; echo \"$HYTHE_ALERT $HYTHE_WORKLOAD\") >> {path}']")
}

fn kept(fixture: &Fixture<'_>) -> String {
    std::fs::read_to_string(fixture.agent.path("told")).unwrap_or_default()
}

fn kinds(fixture: &Fixture<'_>) -> Vec<Value> {
    fixture.events().into_iter().map(|event| event["kind"].clone()).collect()
}

fn flapping_runs_a_command_once(fixture: &mut Fixture<'_>) {
    let alert = format!("on = ['flapping']\nflapping = {{ restarts = 2, within = '1m' }}\n{}", receiver(fixture));
    configure(fixture, &[alert]);
    fixture.deploy(&one(&fixture.service, "exit 3", "restart = 'always'"));
    wait::until("the alert is told", || kinds(fixture), |kinds| kinds.contains(&"alert.sent".into()));
    let restarts = || kinds(fixture).iter().filter(|kind| *kind == "restarting").count();
    wait::until("one more restart", restarts, |count| *count >= 3);
    let told = kept(fixture);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "told once in spite of the third restart: {told}");
    let document: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(
        (&document["alert"], &document["subject"]),
        (&"flapping".into(), &fixture.service.as_str().into()),
        "{document:#}"
    );
    assert_eq!(document["event"]["kind"], "restarting", "{document:#}");
    assert_eq!(lines[1], format!("flapping {}", fixture.service));
}

/// Somebody who listens on a port and answers, or does not; what was asked of them.
fn listener(answers: bool) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = vec![0; 64 << 10];
            let mut length = 0;
            while !bytes[..length].ends_with(b"}") {
                match stream.read(&mut bytes[length..]) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => length += read,
                }
            }
            if answers {
                // Whoever asked may be gone.
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            }
            let _ = asked.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
            held.push(stream);
        }
    });
    (port, receiver)
}

fn unhealthy_is_posted_and_a_deaf_hook_holds_nothing_up(fixture: &mut Fixture<'_>) {
    let ((good, asked), (deaf, _unread)) = (listener(true), listener(false));
    let on = "on = ['unhealthy']\ntimeout = '3s'";
    let slow = "command = ['sleep', '600']";
    configure(
        fixture,
        &[
            format!("{on}\nwebhook = 'http://127.0.0.1:{deaf}/'\n{slow}"),
            format!("{on}\nwebhook = 'http://127.0.0.1:{good}/hook?key=secret'"),
        ],
    );
    let health = "health = { exec = 'false', interval = '200ms', retries = 2 }";
    fixture.deploy(&one(&fixture.service, &stays("up"), health)).ends_with(1);
    let request = asked.recv_timeout(wait::SILENCE).unwrap();
    assert!(request.starts_with("POST /hook?key=secret ") && request.contains(r#""alert":"unhealthy""#), "{request}");
    // The deaf ones are still waited for.
    let begun = Instant::now();
    let other = unique_name();
    fixture.deploy(&one(&other, &stays("up"), "")).ok();
    assert!(begun.elapsed() < Duration::from_secs(30), "held up for {:?}", begun.elapsed());
    let of_alerts = || {
        fixture
            .events()
            .into_iter()
            .filter(|event| event["kind"].as_str().unwrap_or_default().starts_with("alert."))
            .collect::<Vec<_>>()
    };
    let events = wait::until("all are judged", of_alerts, |events| events.len() >= 3);
    let failed: Vec<_> = events.iter().filter(|event| event["kind"] == "alert.failed").collect();
    assert_eq!(failed.len(), 2, "{events:#?}");
    assert!(
        failed.iter().all(|event| event["message"].as_str().unwrap().contains("not done after 3000 ms")),
        "{failed:#?}"
    );
    assert!(events.iter().all(|event| !event["message"].as_str().unwrap().contains("secret")), "{events:#?}");
    let metrics = crate::http::get_unix_text(&fixture.agent.socket(), "/metrics");
    for line in ["hythe_alerts_total{outcome=\"sent\"} 1\n", "{outcome=\"failed\"} 2\n", "{outcome=\"dropped\"} 0\n"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

fn what_was_removed_by_hand_is_drift(fixture: &mut Fixture<'_>) {
    let elsewhere = format!("on = ['drift']\nservice = 'another'\n{}", receiver(fixture));
    let here = format!("on = ['drift']\nservice = '{}'\n{}", fixture.service, receiver(fixture));
    configure(fixture, &[elsewhere, here]);
    fixture.deploy(&one(&fixture.service, &stays("up"), "restart = 'always'")).ok();
    let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
    fixture.engine().run(&["rm", "-f", &id]);
    wait::until("the alert is told", || kinds(fixture), |kinds| kinds.contains(&"alert.sent".into()));
    let told = kept(fixture);
    assert!(told.ends_with(&format!("drift {}\n", fixture.service)) && told.lines().count() == 2, "{told}");
}

/// Its own runtime is Podman; Docker is reached by a way that can be closed.
fn a_runtime_that_stays_away_is_reported_and_shown(fixture: &mut Fixture<'_>) {
    let docker = fixture.environment.docker.as_ref().unwrap().socket.clone();
    let proxy = Proxy::start(fixture.agent.path("docker.sock"), docker);
    let alert = format!("on = ['runtime-lost']\nlost_after = '2s'\n{}", receiver(fixture));
    let runtime = format!("[[runtimes]]\nkind = 'docker'\nhost = 'unix://{}'\n", proxy.path().display());
    fixture.agent.reconfigure(&format!("{}\n{runtime}\n[[alerts]]\n{alert}\n", fixture.subject.config()));
    let health = |fixture: &Fixture<'_>| crate::http::get_unix(&fixture.agent.socket(), "/healthz");
    let events = |fixture: &Fixture<'_>, kind: &str| {
        let all = fixture.hythe(&["events", "--json"]).ok().json_lines();
        all.into_iter().filter(|event| event["kind"] == kind).count()
    };
    wait::until("both answer", || health(fixture), |health| health["status"] == "ok");
    // A way that is closed for a moment is no loss.
    proxy.close();
    wait::until("it is missed", || events(fixture, "runtime.disconnected"), |count| *count == 1);
    proxy.open();
    wait::until("it is back", || events(fixture, "runtime.reconnected"), |count| *count == 1);
    proxy.close();
    wait::until("the alert is told", || events(fixture, "alert.sent"), |count| *count == 1);
    assert_eq!(events(fixture, "runtime.disconnected"), 2);
    let told = kept(fixture);
    let document: Value = serde_json::from_str(told.lines().next().unwrap_or_default()).unwrap();
    assert_eq!((&document["alert"], &document["subject"]), (&"runtime-lost".into(), &"docker".into()), "{told}");
    let degraded = health(fixture);
    assert_eq!(
        (&degraded["status"], &degraded["reasons"][0]["subject"]),
        (&"degraded".into(), &"runtime docker".into()),
        "{degraded}"
    );
    fixture.hythe(&["version"]).ok().says(&["warning: runtime docker: does not answer"]);
    proxy.open();
    wait::until("well again", || health(fixture), |health| health["status"] == "ok");
}

fn every_fault_of_the_configuration_is_reported(fixture: &mut Fixture<'_>) {
    let config = fixture.agent.path("wrong.toml");
    std::fs::write(&config, "[[alerts]]\non = ['flaping']\ncolour = 1\n[[alerts]]\non = ['drift']\ncommand = []\n")
        .unwrap();
    let ran = fixture.hythe(&["agent", "--config", &config.display().to_string()]).ends_with(2);
    ran.says(&[
        "wrong.toml",
        "`alerts[0].on` `flaping`",
        "`alerts[0].colour`",
        "`alerts[0]` has no receiver",
        "`alerts[1].command`",
    ]);
}
