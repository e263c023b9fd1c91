//! What comes over the API: queries, bodies, and streams that answer.

use hythe_api::event::EventQuery;
use hythe_api::{
    Adopt, BuildImage, Deploy, DeployQuery, Event, ImageQuery, InstanceQuery, LoadImages, LogQuery, Operation, Problem,
    PullImage, Purge, RemoveImageQuery, SnapshotQuery, TagImage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte chooses what the rest is taken for.
pub(crate) fn http(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    match form % 3 {
        0 => queries(rest),
        1 => bodies(rest),
        _ => {
            hythe_client::fuzz_events(rest);
        }
    }
}

fn queries(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    query::<LogQuery>(&text);
    query::<EventQuery>(&text);
    query::<ImageQuery>(&text);
    query::<RemoveImageQuery>(&text);
    query::<DeployQuery>(&text);
    query::<InstanceQuery>(&text);
    query::<SnapshotQuery>(&text);
}

/// What was read can be written, and is then read as the same.
fn query<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(read) = serde_urlencoded::from_str::<T>(text)
        && let Ok(written) = serde_urlencoded::to_string(&read)
    {
        let again = serde_urlencoded::from_str::<T>(&written);
        assert_eq!(again.as_ref().ok(), Some(&read), "{written}");
    }
}

fn bodies(bytes: &[u8]) {
    body::<Deploy>(bytes);
    body::<PullImage>(bytes);
    body::<BuildImage>(bytes);
    body::<LoadImages>(bytes);
    body::<TagImage>(bytes);
    body::<Adopt>(bytes);
    body::<Purge>(bytes);
    body::<Problem>(bytes);
    body::<Operation>(bytes);
    body::<Event>(bytes);
}

fn body<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&read).unwrap_or_else(|error| panic!("{read:?} cannot be written: {error}"));
        let again = serde_json::from_slice::<T>(&written);
        assert_eq!(again.ok(), Some(read), "{}", String::from_utf8_lossy(&written));
    }
}
