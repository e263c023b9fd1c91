//! `hythe instances -f`, read as it arrives.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::agent::Agent;
use crate::wait;

/// A reader of the feed; ended when dropped.
pub(crate) struct Feed {
    child: Child,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Feed {
    /// Follows, with these further words, and waits for the snapshot.
    #[track_caller]
    pub(crate) fn start(agent: &Agent, words: &[&str]) -> Self {
        let mut command = agent.command(&[&["instances", "-f", "--json"], words].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (lines, into) = (BufReader::new(child.stdout.take().unwrap()).lines(), heard.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("`{line}` must be JSON"));
                into.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        let feed = Self { child, heard };
        wait::until("the snapshot", || feed.heard(), |heard| !heard.is_empty());
        feed
    }

    pub(crate) fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events about the instance of this id, by kind and, for updates, what changed.
    pub(crate) fn about(&self, id: &str) -> Vec<String> {
        let word = |event: &Value| {
            let (kind, what) = (event["kind"].as_str().unwrap_or_default(), event["what"].as_str());
            what.map_or_else(|| kind.to_owned(), |what| format!("{kind}: {what}"))
        };
        self.heard().iter().filter(|event| event["instance"]["id"] == id).map(word).collect()
    }

    /// Waits for an event about this instance that says so.
    #[track_caller]
    pub(crate) fn until(&self, id: &str, words: &str) {
        wait::until(
            &format!("`{words}` is told"),
            || self.about(id),
            |told| told.iter().any(|told| told.contains(words)),
        );
    }

    /// Fails where an event does not follow the one before it.
    #[track_caller]
    pub(crate) fn has_no_gap(&self) {
        let heard = self.heard();
        for pair in heard.windows(2).filter(|pair| pair[1]["kind"] != "snapshot") {
            assert_eq!(pair[1]["after"], pair[0]["id"], "something is missing: {pair:#?}");
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
