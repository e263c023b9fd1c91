//! Alerts: whoever is to be told is told, once, and nobody who does not listen holds anything up.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::files::{one, stays};
use crate::proxy::Proxy;
use crate::scene::{Scene, unique_name};
use crate::trial::trials;
use crate::wait;

trials!("alerts":
    flapping_runs_a_command_once Every,
    unhealthy_is_posted_and_a_deaf_hook_holds_nothing_up Every,
    what_was_removed_by_hand_is_drift Real,
    a_runtime_that_stays_away_is_told_and_shown Both,
    every_fault_of_the_configuration_is_told Memory,
);

/// The configuration with these alerts.
fn configure(scene: &mut Scene<'_>, alerts: &[String]) {
    let mut config = scene.subject.config();
    for alert in alerts {
        // Writing to a string cannot fail.
        let _ = write!(config, "\n[[alerts]]\n{alert}\n");
    }
    scene.agent.reconfigure(&config);
}

/// A hook that keeps what it is given in a file, a line each.
fn keeper(scene: &Scene<'_>) -> String {
    let path = scene.agent.path("told").display().to_string();
    format!("command = ['sh', '-c', '(cat; echo; echo \"$HYTHE_ALERT $HYTHE_WORKLOAD\") >> {path}']")
}

fn kept(scene: &Scene<'_>) -> String {
    std::fs::read_to_string(scene.agent.path("told")).unwrap_or_default()
}

fn kinds(scene: &Scene<'_>) -> Vec<Value> {
    scene.events().into_iter().map(|event| event["kind"].clone()).collect()
}

fn flapping_runs_a_command_once(scene: &mut Scene<'_>) {
    let alert = format!("on = ['flapping']\nflapping = {{ restarts = 2, within = '1m' }}\n{}", keeper(scene));
    configure(scene, &[alert]);
    scene.deploy(&one(&scene.service, "exit 3", "restart = 'always'"));
    wait::until("the alert is told", || kinds(scene), |kinds| kinds.contains(&"alert.sent".into()));
    let restarts = || kinds(scene).iter().filter(|kind| *kind == "restarting").count();
    wait::until("one more restart", restarts, |count| *count >= 3);
    let told = kept(scene);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "told once in spite of the third restart: {told}");
    let document: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(
        (&document["alert"], &document["subject"]),
        (&"flapping".into(), &scene.service.as_str().into()),
        "{document:#}"
    );
    assert_eq!(document["event"]["kind"], "restarting", "{document:#}");
    assert_eq!(lines[1], format!("flapping {}", scene.service));
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

fn unhealthy_is_posted_and_a_deaf_hook_holds_nothing_up(scene: &mut Scene<'_>) {
    let ((good, asked), (deaf, _unread)) = (listener(true), listener(false));
    let on = "on = ['unhealthy']\ntimeout = '3s'";
    let slow = "command = ['sleep', '600']";
    configure(
        scene,
        &[
            format!("{on}\nwebhook = 'http://127.0.0.1:{deaf}/'\n{slow}"),
            format!("{on}\nwebhook = 'http://127.0.0.1:{good}/hook?key=secret'"),
        ],
    );
    let health = "health = { exec = 'false', interval = '200ms', retries = 2 }";
    scene.deploy(&one(&scene.service, &stays("up"), health)).ends_with(1);
    let request = asked.recv_timeout(wait::LIMIT).unwrap();
    assert!(request.starts_with("POST /hook?key=secret ") && request.contains(r#""alert":"unhealthy""#), "{request}");
    // The deaf ones are still waited for.
    let begun = Instant::now();
    let other = unique_name();
    scene.deploy(&one(&other, &stays("up"), "")).ok();
    assert!(begun.elapsed() < Duration::from_secs(30), "held up for {:?}", begun.elapsed());
    let of_alerts = || {
        scene
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
    let metrics = crate::http::get_unix_text(&scene.agent.socket(), "/metrics");
    for line in ["hythe_alerts_total{outcome=\"sent\"} 1\n", "{outcome=\"failed\"} 2\n", "{outcome=\"dropped\"} 0\n"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

fn what_was_removed_by_hand_is_drift(scene: &mut Scene<'_>) {
    let elsewhere = format!("on = ['drift']\nservice = 'another'\n{}", keeper(scene));
    let here = format!("on = ['drift']\nservice = '{}'\n{}", scene.service, keeper(scene));
    configure(scene, &[elsewhere, here]);
    scene.deploy(&one(&scene.service, &stays("up"), "restart = 'always'")).ok();
    let id = scene.it()["instance"]["id"].as_str().unwrap().to_owned();
    scene.engine().run(&["rm", "-f", &id]);
    wait::until("the alert is told", || kinds(scene), |kinds| kinds.contains(&"alert.sent".into()));
    let told = kept(scene);
    assert!(told.ends_with(&format!("drift {}\n", scene.service)) && told.lines().count() == 2, "{told}");
}

/// Its own runtime is Podman; Docker is reached by a way that can be closed.
fn a_runtime_that_stays_away_is_told_and_shown(scene: &mut Scene<'_>) {
    let docker = scene.environment.docker.as_ref().unwrap().socket.clone();
    let proxy = Proxy::start(scene.agent.path("docker.sock"), docker);
    let alert = format!("on = ['runtime-lost']\nlost_after = '2s'\n{}", keeper(scene));
    let runtime = format!("[[runtimes]]\nkind = 'docker'\nhost = 'unix://{}'\n", proxy.path().display());
    scene.agent.reconfigure(&format!("{}\n{runtime}\n[[alerts]]\n{alert}\n", scene.subject.config()));
    let health = |scene: &Scene<'_>| crate::http::get_unix(&scene.agent.socket(), "/healthz");
    let events = |scene: &Scene<'_>, kind: &str| {
        let all = scene.hythe(&["events", "--json"]).ok().json_lines();
        all.into_iter().filter(|event| event["kind"] == kind).count()
    };
    wait::until("both answer", || health(scene), |health| health["status"] == "ok");
    // A way that is closed for a moment is no loss.
    proxy.close();
    wait::until("it is missed", || events(scene, "runtime.disconnected"), |count| *count == 1);
    proxy.open();
    wait::until("it is back", || events(scene, "runtime.reconnected"), |count| *count == 1);
    proxy.close();
    wait::until("the alert is told", || events(scene, "alert.sent"), |count| *count == 1);
    assert_eq!(events(scene, "runtime.disconnected"), 2);
    let told = kept(scene);
    let document: Value = serde_json::from_str(told.lines().next().unwrap_or_default()).unwrap();
    assert_eq!((&document["alert"], &document["subject"]), (&"runtime-lost".into(), &"docker".into()), "{told}");
    let degraded = health(scene);
    assert_eq!(
        (&degraded["status"], &degraded["reasons"][0]["subject"]),
        (&"degraded".into(), &"runtime docker".into()),
        "{degraded}"
    );
    scene.hythe(&["version"]).ok().says(&["warning: runtime docker: does not answer"]);
    proxy.open();
    wait::until("well again", || health(scene), |health| health["status"] == "ok");
}

fn every_fault_of_the_configuration_is_told(scene: &mut Scene<'_>) {
    let config = scene.agent.path("wrong.toml");
    std::fs::write(&config, "[[alerts]]\non = ['flaping']\ncolour = 1\n[[alerts]]\non = ['drift']\ncommand = []\n")
        .unwrap();
    let ran = scene.hythe(&["agent", "--config", &config.display().to_string()]).ends_with(2);
    ran.says(&[
        "wrong.toml",
        "`alerts[0].on` `flaping`",
        "`alerts[0].colour`",
        "`alerts[0]` tells nobody",
        "`alerts[1].command`",
    ]);
}
