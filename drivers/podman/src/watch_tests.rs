#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use hythe_runtime::{Cursor, EventKind, Exit};

use super::{Line, Verdicts, cursor, event, moment_of, with_slack};

fn read(line: &str) -> Option<EventKind> {
    event(serde_json::from_str::<Line>(line).unwrap()).map(|event| event.kind)
}

#[test]
fn real_lines_are_read() {
    let died = r#"{"status":"died","id":"00b2","from":"localhost/t:1","Type":"container","Action":"died","Actor":{"ID":"00b2","Attributes":{"containerExitCode":"3","a":"b","image":"localhost/t:1","name":"ev","podId":""}},"scope":"local","time":1796125226,"timeNano":1796125226624883143}"#;
    let line: Line = serde_json::from_str(died).unwrap();
    assert_eq!(line.time.as_nanosecond(), 1_796_125_226_624_883_143);
    let told = event(line).unwrap();
    assert_eq!((told.id.0.as_str(), told.name.as_deref()), ("00b2", Some("ev")));
    assert_eq!(told.kind, EventKind::Stopped { exit: Exit::from_code(3) });
    let joined = r#"{"status":"connect","id":"00b2","Type":"network","Action":"connect","Actor":{"ID":"00b2","Attributes":{"containerExitCode":"0","image":"","name":"ev","podId":""}},"timeNano":1796125226016465031}"#;
    assert_eq!(read(joined), Some(EventKind::Updated { what: "network connect".to_owned() }));
    let looked_up = r#"{"status":"pull","Type":"image","Action":"pull","Actor":{"ID":"","Attributes":{"name":"localhost/t:1"}},"timeNano":1796125225683119452}"#;
    assert_eq!(read(looked_up), None);
    let tidied = r#"{"Type":"container","Action":"cleanup","Actor":{"ID":"00b2","Attributes":{}},"timeNano":1}"#;
    assert_eq!(read(tidied), None);
}

#[test]
fn a_resumed_watch_begins_early() {
    let early: i128 = 1_795_341_455_162_605_102;
    let moment = moment_of("1795341456162605102").unwrap();
    assert_eq!((with_slack(moment).as_nanosecond(), cursor(moment)), (early, Cursor::at("1795341456162605102")));
    assert_eq!(moment_of("yesterday"), None);
}

#[test]
fn only_a_changed_verdict_of_podmans_own_check_is_news() {
    let mut verdicts = Verdicts::default();
    let mut news = |status: &str, health: &str| {
        let line = format!(
            r#"{{"Type":"container","Action":"{status}","Actor":{{"ID":"ad27","Attributes":{{"name":"w"}}}},"HealthStatus":"{health}","timeNano":1}}"#
        );
        let line: Line = serde_json::from_str(&line).unwrap();
        verdicts.is_news(&line).then(|| event(line).map(|event| event.kind))
    };
    let told = |word: &str| Some(Some(EventKind::Updated { what: format!("health {word}") }));
    assert_eq!(news("health_status", "starting"), told("starting"));
    assert_eq!(news("health_status", "healthy"), told("healthy"));
    assert_eq!(news("health_status", "healthy"), None);
    assert_eq!(news("health_status", "unhealthy"), told("unhealthy"));
    assert_eq!(news("start", ""), Some(Some(EventKind::Started)));
    assert_eq!(news("health_status", "unhealthy"), told("unhealthy"));
}
