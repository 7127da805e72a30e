//! A client's connection that speaks HTTP/1.1: requests in turn, and rests between them.

use std::{convert::Infallible, future::poll_fn, pin::Pin, rc::Rc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder};

use super::{
    asking::Peer,
    connection::to_first_request,
    drain::Drain,
    framing::Bounds,
    handle::handle,
    interim::Interims,
    received::{Arriving, Received},
    reply::Reply,
    shed::ShedLayer,
    socket::Socket,
    strict::{Ending, Strict},
    tenure::Tenure,
    transport::Transport,
    wire::ClientWire,
    worker::Worker,
};

/// So many fields of a head hyper has room for without being told.
const HYPER_FIELDS_MAX: usize = 100;

/// After so long without a request a connection gives back what hyper keeps for the next one: two buffers, of
/// which each has touched a page at least. Rare enough that whoever asks again pays little for making them anew.
const RESTS_AFTER: Duration = Duration::from_millis(500);

/// A client's connection, as hyper reads and writes it.
type Stream = Socket<Strict<Transport>>;

/// Serves a connection until the client or a drain ends it.
pub(super) async fn serve(worker: Rc<Worker>, transport: Transport, peer: Peer) {
    let (ip, listener, wire) = (peer.ip, peer.listener, Rc::new(ClientWire::default()));
    let tenure = Rc::new(Tenure::begin(&worker, listener));
    // On the heap: while it rests there is none, and nothing of it is kept.
    let mut connection = Box::new(begin(&worker, transport, peer, &wire, &tenure));
    let mut draining = worker.drain().begun();
    let ended = loop {
        let timeout = worker.snapshot().serving.plan.timeouts.client_head;
        let spell = tokio::select! {
            biased;
            ended = &mut connection => Spell::Ended(ended),
            _ = &mut draining => Spell::Draining,
            waiting = idle(&wire, timeout) => waiting,
        };
        match spell {
            Spell::Ended(ended) => break ended,
            Spell::Draining => {
                let within = worker.snapshot().serving.plan.timeouts.first_request;
                let going_on = to_first_request(Pin::new(&mut *connection), || wire.calls() > 0, within);
                if let Some(ended) = Box::pin(going_on).await {
                    break ended;
                }
                Pin::new(&mut *connection).graceful_shutdown();
                break connection.await;
            }
            Spell::Late => {
                tracing::debug!(peer = %ip, ?timeout, "no request came of a client's connection");
                return;
            }
            Spell::Resting(left) => {
                let http1::Parts { io, service, .. } = connection.into_parts();
                let mut stream = Box::new(io);
                let woken = {
                    let _counted = Resting::count(&worker, listener);
                    rest(&mut stream, left, &tenure, worker.drain()).await
                };
                connection = Box::new(builder(&worker).serve_connection(*stream, service));
                if !woken {
                    Pin::new(&mut *connection).graceful_shutdown();
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %ip, "a client's connection broke");
    }
    if let Some((tunnel, client)) = wire.take_tunnel()
        && let Err(error) = Box::pin(tunnel.carry(client)).await
    {
        tracing::debug!(%error, peer = %ip, "a tunnel broke");
    }
}

/// How it went on with a connection.
enum Spell {
    Ended(hyper::Result<()>),
    Draining,
    /// A head that was waited for did not come in time, not as a whole.
    Late,
    /// Nothing was to be done for a while. Its next head has so long to come.
    Resting(Duration),
}

/// A connection as hyper serves it. No part of the future that waits for it, where all that it is made of
/// would be kept for as long as it lasts.
fn begin(
    worker: &Rc<Worker>,
    transport: Transport,
    peer: Peer,
    wire: &Rc<ClientWire>,
    tenure: &Rc<Tenure>,
) -> http1::Connection<
    Stream,
    impl hyper::service::Service<Request<Incoming>, Response = Response<Reply>, Error = Infallible> + use<>,
> {
    let tenure = Rc::clone(tenure);
    let peer = Rc::new(Peer { wire: Some(Rc::clone(wire)), ..peer });
    let handled = {
        let worker = Rc::clone(worker);
        // On the heap for as long as it lasts: hyper keeps the room for one answer on every connection, and
        // moves what is to go there twice.
        tower::service_fn(move |request| Box::pin(handle(&worker, Rc::clone(&peer), request)))
    };
    let stack = ServiceBuilder::new().layer(ShedLayer::new(Rc::clone(worker))).service(handled);
    // hyper asks its service for nothing before a call, and these are always ready.
    let calls = Rc::clone(wire);
    let service = service_fn(move |request: Request<Incoming>| {
        let interims = Some(Interims::Http1(Rc::clone(&calls)));
        let request = request.map(|body| Arriving { body: Received::of_http1(body), interims });
        calls.serve(|| stack.clone().call(request), tenure.is_last())
    });
    builder(worker).serve_connection(stream(worker, transport, wire), service)
}

fn stream(worker: &Worker, transport: Transport, wire: &Rc<ClientWire>) -> Stream {
    let snapshot = worker.snapshot();
    let plan = &snapshot.serving.plan;
    let ending = Ending {
        linger_bytes_max: plan.limits.linger_bytes_max,
        linger: plan.timeouts.linger,
        half_closed: plan.timeouts.half_closed,
    };
    let strict = Strict::new(transport, Bounds::of(&plan.limits), Rc::clone(wire), ending);
    Socket::new(strict, plan.timeouts.body_idle)
}

fn builder(worker: &Worker) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let snapshot = worker.snapshot();
    let plan = &snapshot.serving.plan;
    // hyper would make a timer for every request: `idle` looks after all of them with one.
    builder.header_read_timeout(None).max_buf_size(plan.limits.head_bytes_max);
    // The stream holds heads to the limit before hyper sees them; told one, hyper fills a room for so
    // many before every head.
    if plan.limits.header_count_max > HYPER_FIELDS_MAX {
        builder.max_headers(plan.limits.header_count_max);
    }
    builder
}

/// Ready when a head was waited for `timeout`, or when nothing at all was to be done for [`RESTS_AFTER`]. Looked at
/// now and then, since a timer that every request moved would cost every request; so what is late may find some
/// more time, of [`RESTS_AFTER`] at most.
async fn idle(wire: &ClientWire, timeout: Duration) -> Spell {
    let (mut since, mut waited) = (wire.awaits_head(), Duration::ZERO);
    loop {
        let step = RESTS_AFTER.min(timeout - waited);
        tokio::time::sleep(step).await;
        let now = wire.awaits_head();
        if now.is_none() || now != since {
            (since, waited) = (now, Duration::ZERO);
            continue;
        }
        waited += step;
        if waited >= timeout {
            return Spell::Late;
        }
        if wire.is_resting() {
            return Spell::Resting(timeout - waited);
        }
    }
}

/// Counts a connection while it rests.
struct Resting<'a>(&'a Worker, usize);

impl Resting<'_> {
    fn count(worker: &Worker, listener: usize) -> Resting<'_> {
        worker.cells().listeners[listener].resting.rise();
        Resting(worker, listener)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.cells().listeners[self.1].resting.fall();
    }
}

/// Waits for a client's next bytes; `false` when its time is over, its age is reached, or the drain begins. A request
/// that crosses the end on its way finds the connection closed, as behind any end of a rest.
async fn rest(stream: &mut Stream, left: Duration, tenure: &Tenure, drain: &Drain) -> bool {
    let end = tenure.at_most(Instant::now() + left);
    tokio::select! {
        biased;
        () = poll_fn(|cx| stream.poll_readable(cx)) => true,
        _ = drain.begun() => false,
        () = tokio::time::sleep_until(end) => {
            // Where it is the age that ended it, that is counted.
            tenure.is_over();
            false
        }
    }
}
