//! A socket in front of an engine's own, so that a trial can take the engine away from one agent and leave it to all others.

use std::io::copy;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Open connections, and whether there may be new ones.
#[derive(Default)]
struct State {
    closed: bool,
    open: Vec<UnixStream>,
}

/// The way to an engine.
pub(crate) struct Proxy {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) fn start(path: PathBuf, engine: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                pass(near.unwrap(), &engine, &shared);
            }
        });
        Self { path, state }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends all connections and makes no new ones.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock().unwrap();
        state.closed = true;
        for stream in state.open.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().closed = false;
    }
}

/// Carries one connection; one that comes while the way is closed is dropped.
fn pass(near: UnixStream, engine: &Path, state: &Mutex<State>) {
    let mut state = state.lock().unwrap();
    if state.closed {
        return;
    }
    let far = UnixStream::connect(engine).unwrap();
    let twin = |stream: &UnixStream| stream.try_clone().unwrap();
    state.open.extend([twin(&near), twin(&far)]);
    for (mut from, mut to) in [(twin(&near), twin(&far)), (far, near)] {
        std::thread::spawn(move || {
            // Either side may leave when it likes.
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
