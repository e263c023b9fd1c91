//! Where the agent listens: sockets handed over by systemd, else its own.

use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::{Config, StartError};

/// A place where requests come in.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    pub(crate) async fn serve(self, router: Router, closing: CancellationToken) {
        let shutdown = closing.cancelled_owned();
        let service = router.into_make_service_with_connect_info::<Peer>();
        let served = match self {
            Self::Unix(listener) => axum::serve(listener, service).with_graceful_shutdown(shutdown).await,
            Self::Tcp(listener) => axum::serve(listener, service).with_graceful_shutdown(shutdown).await,
        };
        if let Err(error) = served {
            tracing::error!(%error, "a listener failed");
        }
    }
}

/// The connection a request came by, for those that must be able to end it from this side.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Option<Arc<OwnedFd>>);

impl Peer {
    fn of(socket: &impl AsFd) -> Self {
        // Without a descriptor to spare the connection is served all the same.
        Self(socket.as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

    /// Ends the connection, whatever its other side does.
    pub(crate) fn close(&self) {
        if let Some(socket) = &self.0 {
            // It may have ended by itself.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::of(stream.io())
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::of(stream.io())
    }
}

/// Opens every listener of the configuration.
pub(crate) async fn bind(config: &Config) -> Result<Vec<Listener>, StartError> {
    let io = |source| StartError::Io { path: config.socket.clone(), source };
    let mut listeners = match inherited().map_err(io)? {
        inherited if inherited.is_empty() => vec![Listener::Unix(own_socket(config)?)],
        inherited => inherited,
    };
    if let Some(address) = config.listen {
        let path = address.to_string().into();
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Io { path, source })?;
        listeners.push(Listener::Tcp(listener));
    }
    Ok(listeners)
}

/// Sockets from systemd (`LISTEN_FDS`), Unix ones.
fn inherited() -> std::io::Result<Vec<Listener>> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for at in 0..handed.len() {
        if let Some(listener) = handed.take_unix_listener(at)? {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Unix(UnixListener::from_std(listener)?));
        }
    }
    Ok(listeners)
}

/// A socket that nobody answers on was left by a dead agent and goes; one that answers is left alone.
fn own_socket(config: &Config) -> Result<UnixListener, StartError> {
    let path = &config.socket;
    let io = |source| StartError::Io { path: path.clone(), source };
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        crate::config::make_private_dir(directory)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(StartError::Taken { path: path.clone() });
    }
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path).map_err(io)?;
    }
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound.map_err(io)?;
    if let Some(group) = &config.socket_group {
        give_to_group(path, group)?;
    }
    Ok(listener)
}

fn give_to_group(path: &Path, group: &str) -> Result<(), StartError> {
    let io = |source| StartError::Io { path: path.to_owned(), source };
    let groups = fs::read_to_string("/etc/group").map_err(io)?;
    let gid = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse::<u32>().ok()).flatten()
    });
    let gid = gid.ok_or_else(|| StartError::Group { group: group.to_owned() })?;
    std::os::unix::fs::chown(path, None, Some(gid)).map_err(io)?;
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(io)
}
