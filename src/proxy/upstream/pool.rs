//! The connections to one host, kept by one worker.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    connect::Made,
    host::{About, Host},
    http1::Http1,
    http2::Http2,
};
use crate::{
    plan::{Limits, Protocol, Timeouts},
    telemetry::EndpointCells,
};

/// The idle connections to one host, and those that carry several requests at once. The last one used is
/// used first, so that the surplus ages.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: RefCell<Vec<Idle>>,
    trunks: RefCell<Vec<Rc<Trunk>>>,
    open: Rc<Cell<usize>>,
    idle_max: Cell<usize>,
    idle_for: Cell<Duration>,
    dialled: RefCell<Option<Rc<Dialled>>>,
    /// It was seen to take one request at a time: nobody waits for another one's connection.
    one_at_a_time: Cell<bool>,
}

/// A connection of HTTP/2 that is being made.
#[derive(Debug, Default)]
struct Dialled {
    ended: Notify,
    made: Cell<bool>,
}

/// Whoever makes it. Dropped without [`Dial::made`], it failed.
#[derive(Debug)]
pub(super) struct Dial<'a> {
    pool: &'a Pool,
    dialled: Option<Rc<Dialled>>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Http1>,
    since: Instant,
}

/// A connection of HTTP/2, which carries many requests.
#[derive(Debug)]
pub(super) struct Trunk {
    http2: Http2,
    about: Rc<About>,
    streams: Cell<usize>,
    /// How often something had come when the streams that it has now began.
    heard: Cell<u64>,
    idle_since: Cell<Instant>,
    retired: Cell<bool>,
}

/// The seat of one request on a connection of HTTP/2, or of the tunnel that it was turned into: it has it until nothing
/// of it goes either way.
#[derive(Debug)]
pub(in crate::proxy) struct Seat(Rc<Trunk>);

/// What carries one request.
#[derive(Debug)]
pub(super) enum Carriage {
    Http1(Box<Http1>),
    Http2(Rc<Seat>),
}

impl Pool {
    /// Takes over the limits of the next generation.
    pub(super) fn adjust(&self, limits: &Limits, timeouts: &Timeouts) {
        self.idle_max.set(limits.idle_upstream_connections_max);
        self.idle_for.set(timeouts.upstream_idle);
    }

    /// How many connections are open, idle or not.
    pub(super) fn open(&self) -> &Rc<Cell<usize>> {
        &self.open
    }

    /// A connection that can be used at once. To be `sure` that its peer has not closed it costs a system
    /// call; a request that may be sent again does without.
    pub(super) fn reuse(&self, cells: &EndpointCells, streams_max: usize, sure: bool) -> Option<Carriage> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since }) = idle.pop() {
            cells.idle.fall();
            if connection.is_ready(since, sure) {
                cells.active.rise();
                return Some(Carriage::Http1(connection));
            }
        }
        drop(idle);
        let mut trunks = self.trunks.borrow_mut();
        if trunks.is_empty() {
            return None;
        }
        trunks.retain(|trunk| trunk.takes_requests(sure));
        let free = trunks.iter().filter(|trunk| trunk.streams.get() < trunk.streams_max(streams_max));
        let trunk = free.min_by_key(|trunk| trunk.streams.get())?;
        Some(Carriage::Http2(Seat::take(trunk)))
    }

    /// Takes in a connection that was made, for its first request.
    pub(super) fn admit(&self, made: Made, cells: &EndpointCells) -> Carriage {
        match made {
            Made::Http1(connection) => {
                self.one_at_a_time.set(true);
                cells.active.rise();
                Carriage::Http1(connection)
            }
            Made::Http2(trunk) => {
                self.trunks.borrow_mut().push(Rc::clone(&trunk));
                Carriage::Http2(Seat::take(&trunk))
            }
        }
    }

    /// A connection is about to be made.
    pub(super) fn dial(&self, protocol: Protocol) -> Dial<'_> {
        let shared = protocol != Protocol::Http1 && !self.one_at_a_time.get();
        let dialled = shared.then(Rc::<Dialled>::default);
        self.dialled.replace(dialled.clone());
        Dial { pool: self, dialled }
    }

    /// When one is being made that can carry several requests: waits for it, and tells whether it stands.
    pub(super) fn being_dialled(&self) -> Option<impl Future<Output = bool> + use<>> {
        let dialled = self.dialled.borrow().clone()?;
        Some(async move {
            dialled.ended.notified().await;
            dialled.made.get()
        })
    }

    /// Closes an idle connection, if there is one.
    pub(super) fn close_one(&self, cells: &EndpointCells) -> bool {
        let mut idle = self.idle.borrow_mut();
        let closed = !idle.is_empty();
        if closed {
            idle.remove(0);
            cells.idle.fall();
        }
        closed
    }

    /// Closes what was idle for too long, and what its peer has closed.
    pub(super) fn sweep(&self, cells: &EndpointCells, now: Instant) {
        self.idle.borrow_mut().retain(|idle| {
            let keep =
                now.duration_since(idle.since) < self.idle_for.get() && idle.connection.is_ready(idle.since, false);
            if !keep {
                cells.idle.fall();
            }
            keep
        });
        self.trunks.borrow_mut().retain(|trunk| {
            let idle = trunk.streams.get() == 0 && now.duration_since(trunk.idle_since.get()) >= self.idle_for.get();
            trunk.takes_requests(true) && !idle
        });
    }

    /// Closes everything.
    pub(super) fn close(&mut self, cells: &EndpointCells) {
        self.idle.get_mut().drain(..).for_each(|_closed| cells.idle.fall());
        self.trunks.get_mut().clear();
    }

    /// Takes a connection back once its exchange has ended and nothing is left of it.
    pub(super) fn keep(&self, connection: Box<Http1>, cells: &EndpointCells) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_max.get() {
            cells.idle.rise();
            idle.push(Idle { connection, since: Instant::now() });
        }
    }
}

impl Dial<'_> {
    /// It stands.
    pub(super) fn made(self) {
        if let Some(dialled) = &self.dialled {
            dialled.made.set(true);
        }
    }
}

impl Drop for Dial<'_> {
    fn drop(&mut self) {
        if let Some(dialled) = self.dialled.take() {
            self.pool.dialled.replace(None);
            dialled.ended.notify_waiters();
        }
    }
}

impl Trunk {
    pub(super) fn new(http2: Http2, host: &Host) -> Rc<Trunk> {
        host.cells().idle.rise();
        Rc::new(Trunk {
            http2,
            about: Rc::clone(&host.about),
            streams: Cell::new(0),
            heard: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            retired: Cell::new(false),
        })
    }

    /// Whether it may carry another request: it was not told to go away, and is not closed.
    fn takes_requests(&self, sure: bool) -> bool {
        !self.retired.get() && self.http2.takes_requests(sure)
    }

    fn streams_max(&self, configured: usize) -> usize {
        configured.min(self.http2.streams_max())
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.about.cells().idle.fall();
    }
}

impl Seat {
    fn take(trunk: &Rc<Trunk>) -> Rc<Seat> {
        let cells = trunk.about.cells();
        if trunk.streams.get() == 0 {
            cells.idle.fall();
            cells.active.rise();
            trunk.heard.set(trunk.http2.heard());
        }
        trunk.streams.set(trunk.streams.get() + 1);
        Rc::new(Seat(Rc::clone(trunk)))
    }

    /// Its connection.
    pub(super) fn http2(&self) -> &Http2 {
        &self.0.http2
    }

    /// No other request goes by this connection; those on it may end.
    pub(super) fn retire(&self) {
        self.0.retired.set(true);
    }

    /// Nothing came on the whole connection since its streams began: it may be dead.
    pub(super) fn is_silent(&self) -> bool {
        self.0.heard.get() == self.0.http2.heard()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let trunk = &self.0;
        trunk.streams.set(trunk.streams.get() - 1);
        if trunk.streams.get() == 0 {
            let cells = trunk.about.cells();
            cells.active.fall();
            cells.idle.rise();
            trunk.idle_since.set(Instant::now());
        }
    }
}
