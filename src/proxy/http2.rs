//! HTTP/2 with clients, and what a connection of many streams may cost.
//!
//! Frames are h2's business, which holds floods of them. What is left to a proxy is here: a stream whose
//! client does not take the response, a connection that asks for nothing, and a client that begins
//! requests only to cancel them.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Notify, time::Instant};
use tower::{Service, ServiceBuilder};

use super::{
    asking::Peer,
    connection::to_first_request,
    handle::handle,
    idle::IdleTimer,
    reply::{Reply, ReplyError},
    shed::ShedLayer,
    socket::Socket,
    tenure::Tenure,
    transport::Transport,
    tunnel::Tunnel,
    wire::Half,
    worker::Worker,
};
use crate::plan::{Limits, Timeouts};

/// The streams of one connection.
struct Streams {
    open: Cell<usize>,
    /// When the last of them ended.
    quiet_since: Cell<Instant>,
    begun: Cell<u64>,
    /// Those that the client gave up before it had the whole response.
    cancelled: Cell<u64>,
    cancels_max: u64,
    /// The client cancels most of its requests, or had as many as it may.
    enough: Notify,
    unread_for: Duration,
    /// The stream that was begun and has no task yet.
    next: RefCell<Option<Rc<Reading>>>,
}

/// So many requests that hyper resets by itself may be read at once.
const RESETS_AT_ONCE_MAX: usize = 100;

/// How far the client has read one response.
#[derive(Default)]
struct Reading {
    /// A piece is with h2, and none has been asked for since.
    waits: Cell<bool>,
    /// Counts the pieces.
    pieces: Cell<u64>,
}

/// A stream counts as open for as long as this is there.
struct OpenStream(Rc<Streams>);

/// One stream's course, from its head to the end of the response.
struct Course {
    open: OpenStream,
    reading: Rc<Reading>,
    whole: bool,
}

/// Serves HTTP/2 until the client or a drain ends the connection.
pub(super) async fn serve(worker: Rc<Worker>, transport: Transport, peer: Peer) {
    let (limits, timeouts) = {
        let snapshot = worker.snapshot();
        (snapshot.serving.plan.limits, snapshot.serving.plan.timeouts)
    };
    let streams = Rc::new(Streams::new(&limits, &timeouts));
    let tenure = Rc::new(Tenure::begin(&worker, peer.listener));
    let (ip, peer) = (peer.ip, Rc::new(peer));
    let stack = ServiceBuilder::new().layer(ShedLayer::new(Rc::clone(&worker))).service({
        let worker = Rc::clone(&worker);
        tower::service_fn(move |request| Box::pin(handle(&worker, Rc::clone(&peer), request)))
    });
    let (begun, counted) = (Rc::clone(&streams), Rc::clone(&tenure));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let client = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
        let course = Course::begin(&begun);
        if counted.is_last() {
            begun.enough.notify_one();
        }
        // hyper asks its service for nothing before a call, and these are always ready.
        let answer = stack.clone().call(request);
        async move {
            Ok::<_, Infallible>(answer.await?.map(|mut reply| {
                if let Some((client, tunnel)) = client.zip(reply.take_tunnel()) {
                    let open = OpenStream::new(&course.open.0);
                    tokio::task::spawn_local(carry(client, tunnel, open));
                }
                Watched::new(reply, course)
            }))
        }
    });
    let shut = Rc::new(Cell::new(false));
    let socket = Socket::in_turns(transport, timeouts.body_idle).telling_shut(Rc::clone(&shut));
    let connection = builder(&limits, &timeouts, Tasks(Rc::clone(&streams))).serve_connection(socket, service);
    let mut connection = pin!(connection);
    let mut quiet = pin!(tokio::time::sleep_until(tenure.at_most(Instant::now() + timeouts.client_head)));
    let (mut draining, mut leaving) = (worker.drain().begun(), false);
    let ended = loop {
        tokio::select! {
            ended = to_its_end(connection.as_mut(), &shut, &streams) => break ended,
            _ = &mut draining, if !leaving => {
                let asked = || streams.begun.get() > 0;
                let going_on = pin!(to_its_end(connection.as_mut(), &shut, &streams));
                if let Some(ended) = to_first_request(going_on, asked, timeouts.first_request).await {
                    break ended;
                }
                leaving = true;
            }
            () = streams.enough.notified(), if !leaving => {
                let (begun, cancelled) = (streams.begun.get(), streams.cancelled.get());
                tracing::debug!(peer = %ip, begun, cancelled, "a client had its requests, or cancels most of them");
                leaving = true;
            }
            () = quiet.as_mut() => match streams.quiet_until(if leaving { timeouts.goaway } else { timeouts.client_head }) {
                Some(later) => {
                    leaving = leaving || tenure.is_over();
                    quiet.as_mut().reset(tenure.at_most(later));
                }
                // It was told, and does not answer.
                None if leaving => break Ok(()),
                None => leaving = true,
            },
        }
        if leaving {
            connection.as_mut().graceful_shutdown();
            quiet.as_mut().reset(Instant::now() + timeouts.goaway);
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %ip, "a client's connection broke");
    }
}

/// A connection to its end. hyper ends its future, too, when it resets a CONNECT that has a length (`content-length:
/// 5`), which is the fault of one stream: as long as nobody shut the socket, the others go on where they were. After
/// [`RESETS_AT_ONCE_MAX`] without a pause the end is taken for one: no worker may turn on the spot.
fn to_its_end<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    shut: &Cell<bool>,
    streams: &Streams,
) -> impl Future<Output = hyper::Result<()>> {
    std::future::poll_fn(move |cx| {
        for _ in 0..RESETS_AT_ONCE_MAX {
            match ready!(connection.as_mut().poll(cx)) {
                Ok(()) if !shut.get() => streams.count_reset(),
                ended => return Poll::Ready(ended),
            }
        }
        Poll::Ready(Ok(()))
    })
}

/// Carries what a stream was turned into. The task ends with the client's connection, which fails its end.
async fn carry(client: OnUpgrade, tunnel: Tunnel, _open: OpenStream) {
    let carried = match client.await {
        Ok(stream) => tunnel.carry(Half { stream: Box::pin(TokioIo::new(stream)), glued: Vec::new() }).await,
        Err(error) => Err(std::io::Error::other(error)),
    };
    if let Err(error) = carried {
        tracing::debug!(%error, "a tunnel broke");
    }
}

fn builder(limits: &Limits, timeouts: &Timeouts, tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        // Whether a route lets its clients have a tunnel is told by its answer (RFC 8441 §3).
        .enable_connect_protocol()
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_frame_size(limits.http2_frame_bytes_max)
        .initial_stream_window_size(limits.http2_stream_window_bytes)
        .initial_connection_window_size(limits.http2_connection_window_bytes)
        .max_send_buf_size(limits.http2_send_bytes_max)
        .max_pending_accept_reset_streams(limits.http2_resets_max)
        .max_local_error_reset_streams(limits.http2_resets_max)
        .keep_alive_interval(timeouts.http2_ping)
        .keep_alive_timeout(timeouts.http2_pong);
    builder
}

impl Streams {
    fn new(limits: &Limits, timeouts: &Timeouts) -> Streams {
        Streams {
            open: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            begun: Cell::new(0),
            cancelled: Cell::new(0),
            cancels_max: limits.http2_cancels_max as u64,
            enough: Notify::new(),
            unread_for: timeouts.body_idle,
            next: RefCell::new(None),
        }
    }

    /// When the connection will have been quiet for so long; `None` when it has been.
    fn quiet_until(&self, so_long: Duration) -> Option<Instant> {
        let now = Instant::now();
        let since = if self.open.get() > 0 { now } else { self.quiet_since.get() };
        Some(since + so_long).filter(|later| *later > now)
    }

    /// A request that was reset before anybody was asked costs a client what one does that it cancels.
    fn count_reset(&self) {
        self.begun.set(self.begun.get() + 1);
        self.count_cancelled();
    }

    /// Honest clients cancel too: only one that cancels most of very many requests is asked to go.
    fn count_cancelled(&self) {
        self.cancelled.set(self.cancelled.get() + 1);
        if self.cancelled.get() > self.cancels_max && self.cancelled.get() * 2 > self.begun.get() {
            self.enough.notify_one();
        }
    }
}

impl Course {
    fn begin(streams: &Rc<Streams>) -> Course {
        streams.begun.set(streams.begun.get() + 1);
        let reading = Rc::new(Reading::default());
        // hyper makes the task of a stream right after it called the service for it.
        *streams.next.borrow_mut() = Some(Rc::clone(&reading));
        Course { open: OpenStream::new(streams), reading, whole: false }
    }
}

impl OpenStream {
    fn new(streams: &Rc<Streams>) -> OpenStream {
        streams.open.set(streams.open.get() + 1);
        OpenStream(Rc::clone(streams))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.quiet_since.set(Instant::now());
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if !self.whole {
            self.open.0.count_cancelled();
        }
    }
}

/// A response's body, whose reader is watched.
struct Watched {
    reply: Reply,
    course: Course,
}

impl Watched {
    fn new(reply: Reply, mut course: Course) -> Watched {
        course.whole = reply.is_end_stream();
        Watched { reply, course }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let reading = &self.course.reading;
        reading.waits.set(false);
        let piece = ready!(Pin::new(&mut self.reply).poll_frame(cx));
        let reading = &self.course.reading;
        reading.waits.set(true);
        reading.pieces.set(reading.pieces.get() + 1);
        // A body that fails is the upstream's doing.
        self.course.whole |= !matches!(piece, Some(Ok(_))) || self.reply.is_end_stream();
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reply.size_hint()
    }
}

/// Gives streams tasks of the worker's own. They end with their connection: h2 fails whatever they wait for.
#[derive(Clone)]
struct Tasks(Rc<Streams>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, work: F) {
        let reading = self.0.next.borrow_mut().take();
        match reading {
            Some(reading) => {
                let unread = IdleTimer::new(self.0.unread_for);
                tokio::task::spawn_local(StreamTask { work, reading, seen: 0, unread });
            }
            // Not a request: the half of a tunnel.
            None => {
                tokio::task::spawn_local(work);
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// Works on one stream; gives it up when its client does not take the response.
    struct StreamTask<F> {
        #[pin]
        work: F,
        reading: Rc<Reading>,
        seen: u64,
        unread: IdleTimer,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.work.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.seen != &this.reading.pieces.get() {
            *this.seen = this.reading.pieces.get();
            this.unread.reset();
        }
        if !this.reading.waits.get() {
            return Poll::Pending;
        }
        // Dropping the work resets the stream.
        this.unread.poll(cx)
    }
}
