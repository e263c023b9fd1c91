//! Lines of several workloads in the order in which they were written.

use futures_util::stream::{self, BoxStream, StreamExt};
use hythe_api::LogLine;
use hythe_client::{ClientError, Items};

use super::Line;

struct Source {
    index: usize,
    head: LogLine,
    rest: Items<LogLine>,
}

/// The earliest line first; a line without a time comes as soon as its predecessor has.
pub(super) fn by_time(sources: Vec<Items<LogLine>>) -> BoxStream<'static, Result<Line, ClientError>> {
    let waiting: Vec<_> = sources.into_iter().enumerate().collect();
    stream::try_unfold((waiting, Vec::new()), |(waiting, mut ready)| async move {
        for (index, rest) in waiting {
            advance(index, rest, &mut ready).await?;
        }
        let Some(earliest) = earliest(&ready) else {
            return Ok(None);
        };
        let Source { index, head, rest } = ready.swap_remove(earliest);
        Ok(Some(((index, head), (vec![(index, rest)], ready))))
    })
    .boxed()
}

async fn advance(index: usize, mut rest: Items<LogLine>, ready: &mut Vec<Source>) -> Result<(), ClientError> {
    if let Some(head) = rest.next().await.transpose()? {
        ready.push(Source { index, head, rest });
    }
    Ok(())
}

fn earliest(ready: &[Source]) -> Option<usize> {
    let by_time = |place: &usize| (ready[*place].head.time, ready[*place].index);
    (0..ready.len()).min_by_key(by_time)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures_util::TryStreamExt;
    use hythe_api::StdStream;
    use jiff::Timestamp;

    use super::*;

    fn source(lines: &[(Option<i64>, &str)]) -> Items<LogLine> {
        let line = |(second, text): &(Option<i64>, &str)| {
            Ok(LogLine {
                stream: StdStream::Stdout,
                time: second.map(|second| Timestamp::from_second(second).unwrap()),
                text: Some((*text).into()),
                base64: None,
                terminated: true,
                partial: false,
                after_gap: false,
            })
        };
        stream::iter(lines.iter().map(line).collect::<Vec<_>>()).boxed()
    }

    #[tokio::test]
    async fn the_earliest_line_comes_first_and_every_source_keeps_its_order() {
        let sources = vec![
            source(&[(Some(1), "a1"), (Some(5), "a5"), (None, "a?")]),
            source(&[(Some(2), "b2"), (Some(5), "b5")]),
            source(&[]),
        ];
        let lines: Vec<Line> = by_time(sources).try_collect().await.unwrap();
        let texts: Vec<_> = lines.into_iter().map(|(_, line)| line.text.unwrap()).collect();
        assert_eq!(texts, ["a1", "b2", "a5", "a?", "b5"]);
    }
}
