//! Listeners: accept connections, as many as are allowed, until a drain ends them.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::Instant,
};

use super::{
    bound::Listening,
    connection,
    transport::{Stream, Wire},
    worker::Worker,
};
use crate::telemetry::RefusalCause;

/// How long no connection is accepted after one could not be and none could be turned away either.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Between two log lines about connections that could not be accepted.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// How long handshakes that had begun may take to arrive once the drain has begun.
const LAST_ARRIVALS: Duration = Duration::from_millis(100);

/// A listener's socket on one worker.
#[derive(Debug)]
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A descriptor held back for when there are none left: given up, it lets a connection be accepted and
/// closed, so that clients are told, instead of waiting in a queue that wakes the worker again and again.
#[derive(Debug)]
struct Reserve {
    held: Option<File>,
    logged: Option<Instant>,
}

/// Accepts until the drain begins, then waits for the connections to end, at most until its deadline.
///
/// # Errors
/// When the socket cannot be waited for.
pub(super) async fn accept(worker: Rc<Worker>, socket: Listening, place: usize) -> io::Result<()> {
    let acceptor = Acceptor::new(socket)?;
    let mut reserve = Reserve::new();
    let mut connections = JoinSet::new();
    let drained_by = loop {
        tokio::select! {
            accepted = acceptor.accept() => match accepted {
                Ok((stream, ip)) => admit(&mut connections, &worker, stream, ip, place),
                Err(error) => reserve.refuse(&acceptor, &worker, place, &error).await,
            },
            Some(_ended) = connections.join_next() => {}
            timeout = worker.drain().begun() => break Instant::now() + timeout,
        }
    };
    // Who comes now is left to whoever listens beside; who was about to arrive is still served.
    acceptor.turn_away();
    let last = Instant::now() + LAST_ARRIVALS;
    while let Ok(Ok((stream, ip))) = tokio::time::timeout_at(last, acceptor.accept()).await {
        admit(&mut connections, &worker, stream, ip, place);
    }
    drop(acceptor);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout_at(drained_by, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "drain_timeout is over: closing what is left");
        connections.shutdown().await;
    }
    Ok(())
}

/// Serves a connection on a task of its own, unless there are too many.
fn admit(connections: &mut JoinSet<()>, worker: &Rc<Worker>, stream: Stream, ip: IpAddr, place: usize) {
    if worker.connections().get() >= worker.connections_max() {
        worker.cells().listeners[place].refused(RefusalCause::ConnectionsMax);
        return;
    }
    let open = Open::new(Rc::clone(worker), place);
    let worker = Rc::clone(worker);
    connections.spawn_local(async move {
        let _open = open;
        connection::serve(worker, Wire::new(stream), ip, place).await;
    });
}

impl Acceptor {
    fn new(socket: Listening) -> io::Result<Acceptor> {
        match socket {
            Listening::Tcp(socket) => TcpListener::from_std(socket).map(Acceptor::Tcp),
            Listening::Unix(socket) => UnixListener::from_std(socket).map(Acceptor::Unix),
        }
    }

    /// The next connection and its peer's address; whoever may use a Unix socket is on this machine.
    async fn accept(&self) -> io::Result<(Stream, IpAddr)> {
        match self {
            Acceptor::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((Stream::Tcp(stream), peer.ip().to_canonical()))
            }
            Acceptor::Unix(socket) => {
                let (stream, _unnamed) = socket.accept().await?;
                Ok((Stream::Unix(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }

    /// Lets no new handshake begin, while those under way are finished: closing the socket resets them.
    /// A client whose SYN is not answered sends it again, to whoever listens then.
    fn turn_away(&self) {
        #[cfg(target_os = "linux")]
        if let Acceptor::Tcp(socket) = self {
            use socket2::SockFilter;
            const FLAGS_AT: u32 = 13;
            const SYN: u32 = 0x02;
            const SYN_OR_ACK: u32 = 0x12;
            let drop_syn = [
                SockFilter::new(0x30, 0, 0, FLAGS_AT),
                SockFilter::new(0x54, 0, 0, SYN_OR_ACK),
                SockFilter::new(0x15, 0, 1, SYN),
                SockFilter::new(0x06, 0, 0, 0),
                SockFilter::new(0x06, 0, 0, u32::MAX),
            ];
            if let Err(error) = SockRef::from(socket).attach_filter(&drop_syn) {
                tracing::debug!(%error, "new handshakes cannot be turned away before the socket closes");
            }
        }
    }
}

impl Reserve {
    fn new() -> Reserve {
        let mut reserve = Reserve { held: None, logged: None };
        reserve.refill();
        reserve
    }

    fn refill(&mut self) {
        // When none can be had, the back-off has to do.
        self.held = File::open("/dev/null").ok();
    }

    /// After a failure: turns one connection away where descriptors or memory have run out, else waits.
    async fn refuse(&mut self, acceptor: &Acceptor, worker: &Worker, place: usize, error: &io::Error) {
        // The client was gone before it was accepted.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(%error, "no connection could be accepted; when descriptors run out, raise `ulimit -n`");
        }
        if self.held.take().is_some() {
            let turned_away = tokio::time::timeout(Duration::ZERO, acceptor.accept()).await;
            if let Ok(Ok((stream, _ip))) = turned_away {
                worker.cells().listeners[place].refused(RefusalCause::Descriptors);
                drop(stream);
                self.refill();
                // Others may need the descriptor that this one gave back.
                return tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(ACCEPT_BACKOFF).await;
        self.refill();
    }
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
