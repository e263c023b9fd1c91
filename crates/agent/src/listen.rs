//! Where the agent listens: sockets handed over by systemd, else its own.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use crate::serve::Entrance;
use crate::socket_group::Group;
use crate::{Config, StartError};

/// A place where requests come in.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    pub(crate) const fn entrance(&self) -> Entrance {
        match self {
            Self::Unix(_) => Entrance::Unix,
            Self::Tcp(_) => Entrance::Tcp,
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Either<UnixStream, TcpStream>> {
        Ok(match self {
            Self::Unix(listener) => Either::Left(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                // Slower without, but not wrong.
                let _ = stream.set_nodelay(true);
                Either::Right(stream)
            }
        })
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

/// Writes to the log where the agent listens and what protects it there.
pub(crate) fn log(config: &Config, listeners: &[Listener]) {
    for listener in listeners {
        match listener {
            Listener::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname()).unwrap_or(&config.socket);
                let mode = fs::metadata(path).map(|found| format!("{:04o}", found.mode() & 0o7777)).unwrap_or_default();
                let group = config.socket_group.as_deref().unwrap_or("none");
                tracing::info!(socket = %path.display(), mode, group, "listens; protected by the permissions of the socket");
            }
            Listener::Tcp(_) => {
                let token = config.state_dir.join(hythe_api::paths::TOKEN);
                let address = config.listen.map(|address| address.to_string()).unwrap_or_default();
                tracing::info!(address, token = %token.display(), allowed_hosts = ?config.allowed_hosts, "listens; protected by the bearer token");
            }
        }
    }
}

/// Sockets from systemd (`LISTEN_FDS`), Unix ones.
fn inherited() -> io::Result<Vec<Listener>> {
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
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(StartError::Taken { path: path.clone() });
    }
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path).map_err(io)?;
    }
    let group = config.socket_group.as_ref().map(|name| Group::find(name)).transpose()?;
    if let Some(group) = &group {
        group.open_the_way_to(path)?;
    }
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound.map_err(io)?;
    if let Some(group) = &group {
        group.give(path, 0o660)?;
    }
    Ok(listener)
}
