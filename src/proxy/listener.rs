//! Listeners: accept connections, as many as are allowed, until a drain ends them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};

use socket2::{Domain, Protocol, Type};
use tokio::{net::TcpStream, sync::watch, task::JoinSet, time::Instant};

use super::{
    connection::{self, draining},
    worker::Worker,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long no connection is accepted after one could not be: file descriptors may have run out, and
/// trying at once would only burn the core.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A socket that listens.
pub(super) fn listening(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the drain begins, then waits for the connections to end, at most until its deadline.
pub(super) async fn accept(
    worker: Rc<Worker>,
    socket: tokio::net::TcpListener,
    place: usize,
    mut drain: watch::Receiver<Option<Duration>>,
) {
    let mut connections = JoinSet::new();
    let drain_signal = drain.clone();
    let drained_by = loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => admit(&mut connections, &worker, stream, peer, place, &drain_signal),
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
            timeout = draining(&mut drain) => break Instant::now() + timeout,
        }
    };
    // Who connected before the socket closes is still served.
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, socket.accept()).await {
        admit(&mut connections, &worker, stream, peer, place, &drain_signal);
    }
    drop(socket);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout_at(drained_by, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "drain_timeout is over: closing what is left");
        connections.shutdown().await;
    }
}

/// Serves a connection on a task of its own, unless there are too many.
fn admit(
    connections: &mut JoinSet<()>,
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    place: usize,
    drain: &watch::Receiver<Option<Duration>>,
) {
    let open = worker.connections();
    if open.get() >= worker.connections_max() {
        worker.cells().listeners[place].refused.add_one();
        return;
    }
    let open = Open::new(Rc::clone(worker), place);
    let (worker, drain) = (Rc::clone(worker), drain.clone());
    connections.spawn_local(async move {
        let _open = open;
        connection::serve(worker, stream, peer.ip().to_canonical(), place, drain).await;
    });
}

/// Counts a connection while it is open.
struct Open {
    worker: Rc<Worker>,
    place: usize,
}

impl Open {
    fn new(worker: Rc<Worker>, place: usize) -> Open {
        worker.connections().set(worker.connections().get() + 1);
        {
            let cells = worker.cells();
            cells.listeners[place].open.rise();
            cells.listeners[place].accepted.add_one();
        }
        Open { worker, place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let open = self.worker.connections();
        open.set(open.get() - 1);
        self.worker.cells().listeners[self.place].open.fall();
    }
}
