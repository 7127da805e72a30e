//! Binding: sockets that listen, alone or beside those of a process that is about to leave.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::plan::Address;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The sockets of one listener, one for each worker, all at one address.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that was really taken.
    pub address: Address,
    pub(super) sockets: Vec<Listening>,
    pub(super) file: Option<SocketFile>,
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A Unix socket's file. It goes with its owner, unless another process put its own in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Bound {
    /// Binds a listener's address once for each worker; the kernel spreads connections over them
    /// (`SO_REUSEPORT`), so that a request never has to leave its worker. To `take_over` is to listen
    /// beside a process that does already.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: &Address, workers: usize, take_over: bool) -> io::Result<Bound> {
        match address {
            Address::Tcp(address) => {
                let first = tcp(*address, take_over)?;
                let address = first.local_addr()?;
                let mut sockets = vec![Listening::Tcp(first)];
                for _ in 1..workers {
                    sockets.push(Listening::Tcp(listening(address, true)?));
                }
                Ok(Bound { address: Address::Tcp(address), sockets, file: None })
            }
            Address::Unix { path, mode } => {
                let (socket, file) = unix(path, *mode, take_over)?;
                // One queue, from which whichever worker is awake takes.
                let copies = std::iter::repeat_with(|| socket.try_clone().map(Listening::Unix)).take(workers);
                Ok(Bound { address: address.clone(), sockets: copies.collect::<io::Result<_>>()?, file: Some(file) })
            }
        }
    }
}

/// A socket that listens at a TCP address, which no other process does unless that is to be taken over.
///
/// # Errors
/// When the address cannot be bound.
pub fn tcp(address: SocketAddr, take_over: bool) -> io::Result<TcpListener> {
    if !take_over {
        // First alone: with SO_REUSEPORT two processes of one user would share the port unnoticed,
        // and each would get half of the connections.
        drop(listening(address, false)?);
    }
    listening(address, true)
}

fn listening(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A Unix socket under its own name at first: with its permissions set and its queue open it takes the
/// place of what an earlier process left behind, so that no client finds it missing or half ready.
fn unix(path: &Path, mode: u32, take_over: bool) -> io::Result<(UnixListener, SocketFile)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        Ok(_) if !take_over && is_alive(path) => return Err(io::ErrorKind::AddrInUse.into()),
        _stale_or_none => {}
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&beside)?)?;
    let ready = || {
        fs::set_permissions(&beside, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        let made = fs::symlink_metadata(&beside)?;
        fs::rename(&beside, path)?;
        Ok(SocketFile { path: path.to_owned(), identity: (made.dev(), made.ino()) })
    };
    let file = ready().inspect_err(|_error: &io::Error| drop(fs::remove_file(&beside)))?;
    Ok((socket.into(), file))
}

/// Whether someone listens at a Unix socket. Never waits: a full queue is someone's, too.
fn is_alive(path: &Path) -> bool {
    let connected = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    !connected().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the socket {} cannot be removed", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn bind(path: &Path, take_over: bool) -> io::Result<Bound> {
        Bound::bind(&Address::Unix { path: path.to_owned(), mode: 0o600 }, 2, take_over)
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind(&path, false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        assert_eq!(bind(&path, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists(), "it goes with its owner");
        fs::write(&path, "precious").unwrap();
        bind(&path, true).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn who_was_taken_over_leaves_the_successors_socket_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        let (old, new) = (bind(&path, false).unwrap(), bind(&path, true).unwrap());
        drop(old);
        UnixStream::connect(&path).unwrap();
        drop(new);
        assert!(!path.exists());
    }
}
