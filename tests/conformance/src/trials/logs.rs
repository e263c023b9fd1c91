//! What was written, all of it, byte for byte.

use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::{ErrorKind, Feature, InstanceId, InstanceRef, LogLine, LogOptions, MAX_LOG_LINE, StdStream};
use jiff::{SignedDuration, Timestamp};

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, Logs};
use crate::trial::trials;

trials! { "logs":
    a_missing_one_is_not_found [Logs],
    never_started_is_empty [Logs],
    silent_is_empty [Logs],
    streams_are_kept_apart [Logs],
    empty_lines_are_lines [Logs],
    tail_none_some_and_more [Logs],
    an_unterminated_last_line_is_there [Logs],
    since_and_until_cut [Logs],
    times_never_go_back [Logs],
    they_stay_after_the_end [Logs],
    a_second_run_is_added [Logs, Can(Feature::RestartInPlace)],
    follow_ends_with_the_instance [Logs],
    follow_brings_lines_as_they_come [Logs],
    follow_ends_at_until [Logs],
    follow_with_tail_begins_there [Logs],
    several_followers_see_it_all [Logs],
    a_line_of_one_mebibyte_is_one_line [Logs],
    line_of_several_mebibytes_arrives_whole_in_bounded_parts [Logs],
    followed_line_of_several_mebibytes_arrives_whole_in_bounded_parts [Logs],
    line_of_control_characters_arrives_byte_for_byte [Logs],
    odd_bytes_are_kept [Logs],
    invalid_text_loses_no_line [Logs],
    ten_thousand_lines_are_all_there [Logs],
    a_dropped_follow_disturbs_nothing [Logs],
}

fn text(line: &LogLine) -> String {
    String::from_utf8_lossy(&line.line).into_owned()
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(text).collect()
}

async fn ended(fixture: &Fixture, script: &str) -> Outcome<InstanceId> {
    let id = fixture.run(&fixture.script(script)).await?;
    fixture.until_exited(&id).await?;
    Ok(id)
}

async fn all(fixture: &Fixture, id: &InstanceId) -> Outcome<Vec<LogLine>> {
    fixture.lines(id, &LogOptions::default()).await
}

fn following() -> LogOptions {
    LogOptions { follow: true, ..LogOptions::default() }
}

async fn a_missing_one_is_not_found(fixture: &Fixture) -> Outcome {
    let missing = InstanceRef::name(format!("{}-nothing", fixture.service));
    let outcome = fixture.logs().logs(&fixture.cx, &missing, &LogOptions::default()).await;
    refused(outcome.map(drop), ErrorKind::NotFound);
    Ok(())
}

async fn never_started_is_empty(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.server()).await?;
    assert!(all(fixture, &id).await?.is_empty());
    Ok(())
}

async fn silent_is_empty(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "true").await?;
    assert!(all(fixture, &id).await?.is_empty());
    Ok(())
}

async fn streams_are_kept_apart(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "echo o1; sleep 0.2; echo e1 >&2; sleep 0.2; echo o2").await?;
    let lines = all(fixture, &id).await?;
    let got: Vec<_> = lines.iter().map(|line| (line.stream, text(line), line.terminated)).collect();
    let wanted = [(StdStream::Stdout, "o1"), (StdStream::Stderr, "e1"), (StdStream::Stdout, "o2")];
    assert_eq!(got, wanted.map(|(stream, text)| (stream, text.to_owned(), true)));
    Ok(())
}

async fn empty_lines_are_lines(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "printf 'a\\n\\n\\nb\\n'").await?;
    assert_eq!(texts(&all(fixture, &id).await?), ["a", "", "", "b"]);
    Ok(())
}

async fn tail_none_some_and_more(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "seq 1 20").await?;
    let tail = |tail| LogOptions { tail: Some(tail), ..LogOptions::default() };
    assert!(fixture.lines(&id, &tail(0)).await?.is_empty());
    assert_eq!(texts(&fixture.lines(&id, &tail(1)).await?), ["20"]);
    assert_eq!(texts(&fixture.lines(&id, &tail(3)).await?), ["18", "19", "20"]);
    assert_eq!(fixture.lines(&id, &tail(500)).await?.len(), 20);
    Ok(())
}

async fn an_unterminated_last_line_is_there(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "printf 'one\\ntwo'").await?;
    let lines = all(fixture, &id).await?;
    assert_eq!(texts(&lines), ["one", "two"]);
    assert_eq!(lines.iter().map(|line| line.terminated).collect::<Vec<_>>(), [true, false]);
    let last = fixture.lines(&id, &LogOptions { tail: Some(1), ..LogOptions::default() }).await?;
    assert_eq!(texts(&last), ["two"]);
    Ok(())
}

async fn since_and_until_cut(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "echo early; sleep 2.5; echo late").await?;
    let lines = all(fixture, &id).await?;
    let middle = lines[0].time.unwrap() + SignedDuration::from_millis(1_200);
    let since = LogOptions { since: Some(middle), ..LogOptions::default() };
    assert_eq!(texts(&fixture.lines(&id, &since).await?), ["late"]);
    let until = LogOptions { until: Some(middle), ..LogOptions::default() };
    assert_eq!(texts(&fixture.lines(&id, &until).await?), ["early"]);
    let future = hythe_runtime::Clock::system().now() + SignedDuration::from_hours(1);
    let never = LogOptions { since: Some(future), ..LogOptions::default() };
    assert!(fixture.lines(&id, &never).await?.is_empty());
    let past =
        LogOptions { until: Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(5)), ..LogOptions::default() };
    assert!(fixture.lines(&id, &past).await?.is_empty());
    Ok(())
}

async fn times_never_go_back(fixture: &Fixture) -> Outcome {
    let before = hythe_runtime::Clock::system().now() - SignedDuration::from_secs(2);
    let id = ended(fixture, "seq 1 50; sleep 0.3; seq 51 100").await?;
    let times: Vec<Timestamp> = all(fixture, &id).await?.iter().filter_map(|line| line.time).collect();
    assert_eq!(times.len(), 100, "every line has a time");
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
    assert!(times[0] > before && times[99] < hythe_runtime::Clock::system().now() + SignedDuration::from_secs(2));
    Ok(())
}

async fn they_stay_after_the_end(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "echo kept; exit 3").await?;
    assert_eq!(texts(&all(fixture, &id).await?), ["kept"]);
    assert_eq!(texts(&all(fixture, &id).await?), ["kept"], "reading takes nothing away");
    Ok(())
}

async fn a_second_run_is_added(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "echo run").await?;
    let first = all(fixture, &id).await?;
    let earlier = fixture.inspect(&id).await?.started;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    fixture.start(&id).await?;
    fixture.until(&id, |observed| observed.exit.is_some() && observed.started > earlier).await?;
    let both = all(fixture, &id).await?;
    assert_eq!(texts(&both), ["run", "run"]);
    let last = fixture.lines(&id, &LogOptions { tail: Some(1), ..LogOptions::default() }).await?;
    assert!(last[0].time > first[0].time);
    Ok(())
}

async fn follow_ends_with_the_instance(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("echo a; sleep 1; echo b; printf c")).await?;
    let lines = fixture.lines(&id, &following()).await?;
    assert_eq!(texts(&lines), ["a", "b", "c"]);
    let lines = fixture.lines(&id, &following()).await?;
    assert_eq!(texts(&lines), ["a", "b", "c"], "an ended one is followed to its end at once");
    Ok(())
}

async fn follow_brings_lines_as_they_come(fixture: &Fixture) -> Outcome {
    let plan = fixture.script("trap 'echo last; exit 0' TERM; echo first; while :; do sleep 0.1; done");
    let id = fixture.run(&plan).await?;
    let mut lines = fixture.logs().logs(&fixture.cx, &id.to_ref(), &following()).await?;
    assert_eq!(text(&lines.next().await.expect("a line")?), "first");
    let next = tokio::time::timeout(Duration::from_millis(500), lines.next()).await;
    assert!(next.is_err(), "nothing was written: {next:?}");
    fixture.stop(&id, 10_000).await?;
    assert_eq!(text(&lines.next().await.expect("a line")?), "last");
    assert!(lines.next().await.is_none());
    Ok(())
}

async fn follow_ends_at_until(fixture: &Fixture) -> Outcome {
    let id = fixture.ready(&fixture.server()).await?;
    let until = hythe_runtime::Clock::system().now() + SignedDuration::from_secs(3);
    let options = LogOptions { follow: true, until: Some(until), ..LogOptions::default() };
    let lines = tokio::time::timeout(Duration::from_secs(20), fixture.lines(&id, &options)).await?;
    assert_eq!(texts(&lines?), ["ready"]);
    Ok(())
}

async fn follow_with_tail_begins_there(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("seq 1 5; sleep 1.5; echo end")).await?;
    fixture.until_line(&id, "5").await?;
    let options = LogOptions { tail: Some(2), ..following() };
    assert_eq!(texts(&fixture.lines(&id, &options).await?), ["4", "5", "end"]);
    Ok(())
}

async fn several_followers_see_it_all(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("for n in 1 2 3 4 5; do echo $n; sleep 0.2; done")).await?;
    let options = following();
    let reads = futures_util::future::try_join_all((0..4).map(|_| fixture.lines(&id, &options))).await?;
    for lines in reads {
        assert_eq!(texts(&lines), ["1", "2", "3", "4", "5"]);
    }
    Ok(())
}

async fn a_line_of_one_mebibyte_is_one_line(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "head -c 1048576 /dev/zero | tr '\\0' x; echo; echo after").await?;
    let lines = all(fixture, &id).await?;
    let lengths: Vec<usize> = lines.iter().map(|line| line.line.len()).collect();
    assert_eq!(lengths, [1 << 20, 5]);
    assert!(lines[0].line.iter().all(|byte| *byte == b'x'));
    let last = fixture.lines(&id, &LogOptions { tail: Some(2), ..LogOptions::default() }).await?;
    assert_eq!(last[0].line.len(), 1 << 20, "a tail counts it as one line");
    Ok(())
}

/// A little over three mebibytes and no multiple of any engine's pieces.
const LONG: usize = 3_500_001;

fn long_line() -> String {
    format!("echo before; head -c {LONG} /dev/zero | tr '\\0' x; echo; echo after")
}

fn assert_bounded_parts(lines: &[LogLine]) {
    assert_eq!(text(&lines[0]), "before");
    let longest = lines.iter().map(|line| line.line.len()).max();
    assert!(longest <= Some(MAX_LOG_LINE), "the longest is {longest:?}");
    let (after, parts) = lines[1..].split_last().expect("a last line");
    assert_eq!(text(after), "after");
    let (last, full) = parts.split_last().expect("the last part");
    assert!(full.iter().all(|part| part.partial && !part.terminated), "a part that goes on is marked");
    assert!(last.terminated && !last.partial);
    assert!(parts.iter().all(|part| part.time == last.time), "a line has one time");
    let whole: Vec<u8> = parts.iter().flat_map(|part| part.line.to_vec()).collect();
    assert_eq!(whole.len(), LONG);
    assert!(whole.iter().all(|byte| *byte == b'x'));
}

async fn line_of_several_mebibytes_arrives_whole_in_bounded_parts(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, &long_line()).await?;
    assert_bounded_parts(&all(fixture, &id).await?);
    let tail = |tail| LogOptions { tail: Some(tail), ..LogOptions::default() };
    assert_eq!(texts(&fixture.lines(&id, &tail(1)).await?), ["after"]);
    let two = fixture.lines(&id, &tail(2)).await?;
    let bytes: usize = two.iter().map(|part| part.line.len()).sum();
    assert_eq!(bytes, LONG + "after".len(), "a tail counts its parts as one line");
    Ok(())
}

async fn followed_line_of_several_mebibytes_arrives_whole_in_bounded_parts(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script(&long_line())).await?;
    assert_bounded_parts(&fixture.lines(&id, &following()).await?);
    Ok(())
}

/// What no engine changes; some keep logs as JSON, which has no room for bytes that are no text.
async fn line_of_control_characters_arrives_byte_for_byte(fixture: &Fixture) -> Outcome {
    let rounds = (0..200).map(|round| round.to_string()).collect::<Vec<_>>().join(" ");
    let script = format!("for n in {rounds}; do printf 'a\\000b\\001\\r\\033[31m\\302\\205'; done; echo; echo end");
    let id = ended(fixture, &script).await?;
    let lines = all(fixture, &id).await?;
    assert_eq!(lines.len(), 2);
    assert_eq!(&lines[0].line[..], b"a\0b\x01\r\x1b[31m\xc2\x85".repeat(200));
    Ok(())
}

async fn odd_bytes_are_kept(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "printf 'a\\000b\\001\\033[0m\\r\\t\"\\\\ é 漢 🚢\\n'").await?;
    let lines = all(fixture, &id).await?;
    assert_eq!(lines.len(), 1);
    assert_eq!(&lines[0].line[..], "a\0b\u{1}\u{1b}[0m\r\t\"\\ é 漢 🚢".as_bytes());
    Ok(())
}

async fn invalid_text_loses_no_line(fixture: &Fixture) -> Outcome {
    let id = ended(fixture, "printf 'before\\n'; printf 'x\\377\\376y\\n'; printf 'after\\n'").await?;
    let lines = all(fixture, &id).await?;
    assert_eq!(lines.len(), 3);
    assert!(lines[1].line.starts_with(b"x") && lines[1].line.ends_with(b"y"), "{:?}", lines[1].line);
    assert_eq!(text(&lines[2]), "after");
    Ok(())
}

/// Says where the numbers from 1 to 10,000 are broken, in place of printing them all.
fn assert_counted(lines: &[LogLine]) {
    for (at, line) in lines.iter().enumerate() {
        let number = (at + 1).to_string();
        assert_eq!((text(line), line.terminated), (number, true), "line {at} of {}", lines.len());
    }
    assert_eq!(lines.len(), 10_000);
}

async fn ten_thousand_lines_are_all_there(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("seq 1 10000")).await?;
    assert_counted(&fixture.lines(&id, &following()).await?);
    fixture.until_exited(&id).await?;
    assert_counted(&all(fixture, &id).await?);
    Ok(())
}

async fn a_dropped_follow_disturbs_nothing(fixture: &Fixture) -> Outcome {
    let id = fixture.ready(&fixture.server()).await?;
    for _ in 0..5 {
        let mut lines = fixture.logs().logs(&fixture.cx, &id.to_ref(), &following()).await?;
        assert_eq!(text(&lines.next().await.expect("a line")?), "ready");
    }
    assert_eq!(fixture.state(&id).await?, hythe_runtime::State::Running);
    Ok(())
}
