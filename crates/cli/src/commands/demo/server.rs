//! The demonstration's own HTTP server: what its containers run.
//!
//! HTTP/1.0 as far as it needs: one GET, one answer, the connection closed. Not for anything else.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::DemoRole;
use crate::output::Printer;
use crate::report::{Failure, Outcome};

pub(super) const PORT: u16 = 8000;
const COUNT: &str = "/data/count";
const COUNTER: &str = "counter:8000";

pub(super) async fn run(role: DemoRole, printer: Printer<'_>) -> Outcome {
    match role {
        DemoRole::Probe => get(("127.0.0.1", PORT), "/health").await.map(drop).map_err(Failure::Output),
        DemoRole::Counter | DemoRole::Web => serve(role, printer).await,
    }
}

/// Runs until it is asked to end.
async fn serve(role: DemoRole, printer: Printer<'_>) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    printer.data(format!("{} listens on port {PORT}\n", role.name()))?;
    loop {
        let visitor = tokio::select! {
            _ = terminate.recv() => return printer.data(format!("{} ends\n", role.name())),
            accepted = listener.accept() => accepted?.0,
        };
        // One visitor at a time counts right; one that goes away is no harm.
        match answer(role, visitor).await {
            Ok(Some(line)) => printer.data(line)?,
            Ok(None) => {}
            Err(error) => printer.talk(format_args!("a visitor disconnected: {error}")),
        }
    }
}

/// Answers one request; a line for the log where it was more than a probe.
async fn answer(role: DemoRole, visitor: TcpStream) -> io::Result<Option<String>> {
    let mut visitor = BufReader::new(visitor);
    let mut request = String::new();
    (&mut visitor).take(1024).read_line(&mut request).await?;
    let path = request.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let (status, text) = match (role, path.as_str()) {
        (_, "/health") => ("200 OK", "well\n".to_owned()),
        (DemoRole::Counter, "/count") => ("200 OK", format!("{}\n", count(Path::new(COUNT))?)),
        (DemoRole::Web, "/") => match get(COUNTER, "/count").await {
            Ok(count) => ("200 OK", page(count.trim())),
            Err(error) => ("502 Bad Gateway", format!("the counter does not answer: {error}\n")),
        },
        _ => ("404 Not Found", "nothing is here\n".to_owned()),
    };
    let head = format!("HTTP/1.0 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    visitor.get_mut().write_all((head + &text).as_bytes()).await?;
    visitor.get_mut().shutdown().await?;
    Ok((path != "/health").then(|| format!("GET {path} {status}\n")))
}

fn page(count: &str) -> String {
    format!(
        "Hello from a container! You are visitor {count}.\nThe counter is another container, its number is on a volume.\n"
    )
}

/// Counts one more, in a file that is whole at any moment.
fn count(file: &Path) -> io::Result<u64> {
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let next: u64 = before + 1;
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{next}\n"))?;
    std::fs::rename(&new, file)?;
    Ok(next)
}

/// The body of a page.
pub(super) async fn get(place: impl tokio::net::ToSocketAddrs, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(place).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: demo\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(io::Error::other(format!("HTTP status {status}: {body}"))) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn it_counts_on_from_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("count");
        assert_eq!((count(&file).unwrap(), count(&file).unwrap()), (1, 2));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "2\n");
        assert!(count(&directory.path().join("absent/count")).is_err());
    }

    #[tokio::test]
    async fn a_page_is_answered_and_others_are_not_found() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let place = listener.local_addr().unwrap();
        let serving = async {
            for _ in 0..2 {
                answer(DemoRole::Counter, listener.accept().await.unwrap().0).await.unwrap();
            }
        };
        let asking = async { (get(place, "/health").await, get(place, "/absent").await) };
        let (_, (well, absent)) = tokio::join!(serving, asking);
        assert_eq!(well.unwrap(), "well\n");
        assert!(absent.unwrap_err().to_string().contains("404"));
    }
}
