#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use hythe_runtime::{Cursor, EventKind, Exit};

use super::{Line, Verdicts, cursor, event, moment_of, with_slack};

fn read(line: &str) -> Option<EventKind> {
    event(serde_json::from_str::<Line>(line).unwrap()).map(|event| event.kind)
}

#[test]
fn real_lines_are_read() {
    let died = r#"{"ContainerExitCode":3,"ID":"7c05","Image":"localhost/t:1","Name":"ev","Status":"died","Time":"2026-11-22T09:57:35.876662133Z","Type":"container","Attributes":{"a":"b"}}"#;
    assert_eq!(read(died), Some(EventKind::Stopped { exit: Exit::from_code(3) }));
    let ended_well = r#"{"ID":"a1af","Image":"localhost/t:1","Name":"ev2","Status":"died","Time":"2026-11-22T09:57:36.255972744Z","Type":"container","Attributes":null}"#;
    assert_eq!(read(ended_well), Some(EventKind::Stopped { exit: Exit::from_code(0) }));
    let joined = r#"{"ID":"ad27","Name":"w6","network":"n1","Status":"connect","Time":"2026-11-22T10:01:44.035636433Z","Type":"network","Attributes":null}"#;
    assert_eq!(read(joined), Some(EventKind::Updated { what: "network connect n1".to_owned() }));
    let looked_up = r#"{"Name":"localhost/t:1","Status":"pull","Time":"2026-11-22T09:57:36.181745119Z","Type":"image","Attributes":null}"#;
    assert_eq!(read(looked_up), None);
    let tidied = r#"{"ID":"ad27","Image":"localhost/t:1","Name":"w7","Status":"cleanup","Time":"2026-11-22T10:01:44.509357475Z","Type":"container","Attributes":null}"#;
    assert_eq!(read(tidied), None);
}

#[test]
fn a_line_of_podman_5_has_the_same_time_to_the_nanosecond() {
    let five = r#"{"ID":"7c05","Image":"localhost/t:1","Name":"ev","Status":"start","time":1795964945,"timeNano":1795964945208049854,"Type":"container","Attributes":null}"#;
    let line: Line = serde_json::from_str(five).unwrap();
    assert_eq!(line.time.as_nanosecond(), 1_795_964_945_208_049_854);
    assert_eq!(event(line).unwrap().kind, EventKind::Started);
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
            r#"{{"ID":"ad27","Name":"w","Status":"{status}","health_status":"{health}","Time":"2026-11-22T10:01:44Z","Type":"container"}}"#
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
