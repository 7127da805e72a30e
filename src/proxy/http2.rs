//! HTTP/2 (RFC 9113), by weir's own hand: a session takes bytes and gives what they say, a driver reads and writes the
//! socket. With clients, which are served here, each request has a task of its own that says its answer to the session;
//! with services, which `upstream` asks, whoever asks waits for the answer itself.
//!
//! Measured with small JSON, hyper's server was a third of a request's instructions beside this one; and hyper keeps a
//! proxy from what it has to say and to hear: interim responses, and why a stream ends.
//!
//! *Invariants*
//! - A stream's task ends with its stream, and all of them with their connection.
//! - Whoever refers to a stream does so by one of its ends; the session forgets it with the last of them.

mod driver;
mod ends;
mod fault;
mod frame;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod head;
mod hpack;
mod outbox;
mod protocol;
mod session;

use std::{cell::RefCell, future::poll_fn, pin::pin, rc::Rc, task::Poll};

use http::{Method, Request, Response};
use tokio::time::{Instant, sleep_until};
use tower::{Service, ServiceBuilder};

pub use self::fault::{Reason, StreamFault};
pub(super) use self::{
    driver::{Driver, Linger},
    ends::{Aside, Inflow, Outflow, Shared, Unsaid, half},
    frame::PREFACE,
    protocol::Protocol,
    session::{Question, Session, Terms, Told},
};
use self::{
    ends::Rest,
    session::{Begun, Conduct},
};
use super::{
    asking::Peer,
    connection::to_first_request,
    framing::{Bounds, Flaw},
    handle::handle,
    interim::Interims,
    received::{Arriving, Received},
    reply::Reply,
    shed::ShedLayer,
    tenure::Tenure,
    transport::Transport,
    worker::Worker,
};
use crate::plan::{Limits, Timeouts};

/// A connection between its requests.
struct Connection {
    session: Shared,
    driver: Driver<Transport>,
    timeouts: Timeouts,
    /// The client was told to go.
    leaving: bool,
    /// Streams were open when it was last looked at.
    busy: bool,
    /// When the last stream ended.
    quiet_since: Instant,
}

/// How it went on with a connection.
enum Spell {
    Ended(std::io::Result<()>),
    Draining,
    /// The client had its requests, or cancels most of them.
    Enough,
    /// Nothing was to be done for a while.
    Quiet,
    /// Nothing came for a while.
    Silent,
}

/// Serves HTTP/2 until the client or a drain ends the connection.
pub(super) async fn serve(worker: Rc<Worker>, transport: Transport, peer: Peer) {
    let (limits, timeouts) = {
        let snapshot = worker.snapshot();
        (snapshot.serving.plan.limits, snapshot.serving.plan.timeouts)
    };
    let (ip, tenure) = (peer.ip, Tenure::begin(&worker, peer.listener));
    let session = Rc::new(RefCell::new(Session::with_client(terms(&limits), conduct(&limits))));
    let linger = Linger { bytes_max: limits.linger_bytes_max, longest: timeouts.linger };
    let driver = Driver::new(transport, Rc::clone(&session), timeouts.body_idle, linger);
    let mut begin = beginning(&worker, peer, &session, (&limits, &timeouts));
    let mut begin = |begun| {
        begin(begun);
        tenure.is_last()
    };
    let quiet_since = Instant::now();
    let mut connection = Connection { session, driver, timeouts, leaving: false, busy: false, quiet_since };
    let ended = connection.serve(&worker, &tenure, &mut begin).await;
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %ip, "a client's connection broke");
    }
}

/// What begins to work on a request that came.
fn beginning(
    worker: &Rc<Worker>,
    peer: Peer,
    session: &Shared,
    (limits, timeouts): (&Limits, &Timeouts),
) -> impl FnMut(Begun) + use<> {
    let peer = Rc::new(peer);
    let stack = ServiceBuilder::new().layer(ShedLayer::new(Rc::clone(worker))).service({
        let worker = Rc::clone(worker);
        // On the heap at once: a task is moved there by way of all that it is made of.
        tower::service_fn(move |request| Box::pin(handle(&worker, Rc::clone(&peer), request)))
    });
    let (session, bounds, unread_for) = (Rc::clone(session), Bounds::of(limits), timeouts.body_idle);
    move |Begun { key, asked, ended }| {
        let mut head = asked.head;
        if asked.too_large {
            head.extensions.insert(Flaw::HeadTooLarge);
        }
        let outflow = Outflow::new(&session, key, unread_for);
        let mut inflow = (!ended || head.method == Method::CONNECT).then(|| Inflow::new(&session, key));
        // What follows a CONNECT is no body, and goes nowhere before there is a tunnel.
        let tunnel = head.extensions.get::<Protocol>().and_then(|_| inflow.take());
        let body = inflow.map_or_else(Received::nothing, |inflow| Received::of_http2(inflow, &bounds));
        let (to_head, interims) = (head.method == Method::HEAD, Some(Interims::Http2(Aside::new(&session, key))));
        let request = Request::from_parts(head, Arriving { body, interims });
        // These are always ready.
        let answer = stack.clone().call(request);
        let task = tokio::task::spawn_local(course(answer, outflow, to_head, tunnel));
        session.borrow_mut().works_on(key, task.abort_handle());
    }
}

/// The course of one stream. It is ended with its stream, wherever it stands.
async fn course<E>(
    answer: impl Future<Output = Result<Response<Reply>, E>>,
    mut outflow: Outflow,
    to_head: bool,
    tunnel: Option<Inflow>,
) {
    outflow.begin();
    let Ok(response) = answer.await else { return };
    // It waits with what follows alone: nothing else of the answer stays for as long as it is sent.
    let said = match outflow.begin_answer(response, to_head, tunnel) {
        Ok(Rest::Nothing) => Ok(()),
        Ok(Rest::Body(mut reply)) => poll_fn(|cx| outflow.poll_body(cx, &mut reply)).await,
        Ok(Rest::Tunnel(tunnel, inflow)) => Box::pin(tunnel.carry(half(inflow, outflow))).await.map_err(Unsaid::Tunnel),
        Err(gone) => Err(gone.into()),
    };
    if let Err(error) = said {
        tracing::debug!(%error, "an answer was not said to its end");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // However it ended, nobody works on its streams any more.
        self.session.borrow_mut().lose(StreamFault::Closed);
    }
}

impl Connection {
    async fn serve(
        &mut self,
        worker: &Worker,
        tenure: &Tenure,
        begin: &mut dyn FnMut(Begun) -> bool,
    ) -> std::io::Result<()> {
        let mut draining = worker.drain().begun();
        let mut quiet = pin!(sleep_until(tenure.at_most(Instant::now() + self.timeouts.client_head)));
        let mut silent = pin!(sleep_until(Instant::now() + self.timeouts.http2_ping));
        loop {
            let leaving = self.leaving;
            let spell = tokio::select! {
                biased;
                spell = self.go_on(begin) => spell,
                _ = &mut draining, if !leaving => Spell::Draining,
                () = quiet.as_mut() => Spell::Quiet,
                () = silent.as_mut() => Spell::Silent,
            };
            match spell {
                Spell::Ended(ended) => return ended,
                Spell::Draining => {
                    let session = Rc::clone(&self.session);
                    let asked = || session.borrow().counts().1 > 0;
                    let within = self.timeouts.first_request;
                    let going_on = to_first_request(pin!(self.go_on(begin)), asked, within).await;
                    if let Some(Spell::Ended(ended)) = going_on {
                        return ended;
                    }
                    self.leaving = true;
                }
                Spell::Enough => self.leaving = true,
                Spell::Quiet => match self.quiet_until() {
                    Some(later) if self.leaving => {
                        self.session.borrow_mut().insist();
                        quiet.as_mut().reset(later);
                    }
                    Some(later) => {
                        self.leaving = tenure.is_over();
                        quiet.as_mut().reset(tenure.at_most(later));
                    }
                    // It was told, and does not answer.
                    None if self.leaving => return Ok(()),
                    None => self.leaving = true,
                },
                Spell::Silent => match self.driver.silent_until(self.timeouts.http2_ping, self.timeouts.http2_pong) {
                    Some(later) => silent.as_mut().reset(later),
                    None => return Err(std::io::ErrorKind::TimedOut.into()),
                },
            }
            if self.leaving && !leaving {
                self.session.borrow_mut().bid_farewell();
                quiet.as_mut().reset(Instant::now() + self.timeouts.goaway);
            }
        }
    }

    /// Reads and writes until something else is to be done.
    async fn go_on(&mut self, begin: &mut dyn FnMut(Begun) -> bool) -> Spell {
        poll_fn(|cx| {
            let mut last = false;
            if let Poll::Ready(ended) = self.driver.poll(cx, &mut |begun| last |= begin(begun)) {
                return Poll::Ready(Spell::Ended(ended));
            }
            let session = self.session.borrow();
            let (open, begun, cancelled) = session.counts();
            if std::mem::replace(&mut self.busy, open > 0) {
                self.quiet_since = Instant::now();
            }
            if !self.leaving && (last || session.cancels_most()) {
                tracing::debug!(begun, cancelled, "a client had its requests, or cancels most of them");
                return Poll::Ready(Spell::Enough);
            }
            Poll::Pending
        })
        .await
    }

    /// When the connection will have been quiet for as long as it may; `None` when it has been.
    fn quiet_until(&self) -> Option<Instant> {
        let (so_long, now) =
            (if self.leaving { self.timeouts.goaway } else { self.timeouts.client_head }, Instant::now());
        let since = if self.session.borrow().counts().0 > 0 { now } else { self.quiet_since };
        Some(since + so_long).filter(|later| *later > now)
    }
}

fn terms(limits: &Limits) -> Terms {
    Terms {
        head_bytes_max: limits.head_bytes_max,
        trailer_bytes_max: limits.trailer_bytes_max,
        fields_max: limits.header_count_max,
        frame_bytes_max: limits.http2_frame_bytes_max,
        stream_window_bytes: limits.http2_stream_window_bytes,
        connection_window_bytes: limits.http2_connection_window_bytes,
        // All that grow leave half of the connection's window to the others.
        growth_bytes_max: limits.http2_connection_window_bytes / 2,
        send_bytes_max: limits.http2_send_bytes_max,
    }
}

fn conduct(limits: &Limits) -> Conduct {
    Conduct {
        streams_max: limits.http2_streams_max,
        resets_max: limits.http2_resets_max,
        cancels_max: limits.http2_cancels_max,
    }
}
