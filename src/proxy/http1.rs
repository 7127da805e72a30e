//! A client's connection that speaks HTTP/1.1 (RFC 9112): requests in turn, and rests between them.
//!
//! One task does all of it: it waits for a head, drives the request to its answer, writes that, and looks after the client
//! meanwhile. What is read is judged by `framing` before anything is made of it.
//!
//! *Invariants*
//! - A request is answered before the next one is looked at.
//! - A head that is refused has its place behind the answers to earlier requests, and nothing follows it.
//! - While a connection waits for a request it keeps no buffer.

mod channel;
mod inbox;
mod outbox;
mod request;
mod response;

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Service, ServiceBuilder};

use self::{
    channel::{Came, Channel},
    request::Wants,
};
pub(super) use self::{
    channel::{Inflow, Shared},
    inbox::{Head, Inbox, fields},
    outbox::{Framed, Outbox, Unsendable, write_field},
    request::has_token,
    response::Reason,
};
use super::{
    asking::Peer,
    drain::Begun,
    framing::{Bounds, Flaw},
    handle::handle,
    interim::Interims,
    received::{Arriving, Received},
    reply::Reply,
    shed::ShedLayer,
    tenure::Tenure,
    transport::Transport,
    tunnel::{Half, Tunnel},
    worker::Worker,
};
use crate::plan::{Limits, Timeouts};

/// A connection between its requests.
struct Connection {
    worker: Rc<Worker>,
    channel: Shared,
    tenure: Tenure,
    listener: usize,
    /// When the drain was found to have begun.
    drained: Option<Instant>,
}

/// How it goes on behind an answer.
enum Behind {
    /// Another request may come.
    Request,
    /// Nothing.
    End,
    /// The client is gone, or its answer broke off.
    Gone,
    Tunnel(Box<Tunnel>, Half),
}

/// Serves a connection until the client or a drain ends it.
pub(super) async fn serve(worker: Rc<Worker>, transport: Transport, peer: Peer) {
    let ip = peer.ip;
    let (limits, timeouts) = settings(&worker);
    let channel = Channel::new(transport, Bounds::of(&limits), timeouts.half_closed);
    let (tenure, listener) = (Tenure::begin(&worker, peer.listener), peer.listener);
    let peer = Rc::new(Peer { http1: true, ..peer });
    let handled = {
        let worker = Rc::clone(&worker);
        // On the heap for as long as it lasts: while a connection waits there is none.
        tower::service_fn(move |request| Box::pin(handle(&worker, Rc::clone(&peer), request)))
    };
    let stack = ServiceBuilder::new().layer(ShedLayer::new(Rc::clone(&worker))).service(handled);
    let channel = Rc::new(RefCell::new(channel));
    let mut connection = Connection { worker, channel, tenure, listener, drained: None };
    let ended = connection.serve(stack).await;
    connection.channel.borrow_mut().shut();
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %ip, "a client's connection broke");
    }
}

fn settings(worker: &Worker) -> (Limits, Timeouts) {
    let snapshot = worker.snapshot();
    (snapshot.serving.plan.limits, snapshot.serving.plan.timeouts)
}

impl Connection {
    async fn serve<S>(&mut self, mut stack: S) -> io::Result<()>
    where
        S: Service<Request<Arriving>, Response = Response<Reply>, Error = Infallible>,
    {
        let worker = Rc::clone(&self.worker);
        let mut draining = pin!(worker.drain().begun());
        let mut timer = pin!(sleep_until(self.deadline(Instant::now(), true)));
        loop {
            let head = match self.head(draining.as_mut(), timer.as_mut()).await {
                Some(Came::Head(head)) => Ok(head),
                Some(Came::Flawed(flaw)) => Err(flaw),
                Some(Came::End(Err(error))) => return Err(error),
                Some(Came::End(Ok(()))) | None => break,
            };
            match self.answer(&mut stack, head).await {
                Behind::Request => {}
                Behind::End => break,
                Behind::Gone => return Ok(()),
                Behind::Tunnel(tunnel, client) => return Box::pin(tunnel.carry(client)).await,
            }
        }
        self.close().await
    }

    /// The next head; `None` when none came in time, the connection's age is reached, or the drain begins. A request that
    /// crosses that on its way finds the connection closed.
    async fn head(&mut self, mut draining: Pin<&mut Begun<'_>>, mut timer: Pin<&mut Sleep>) -> Option<Came> {
        let worker = Rc::clone(&self.worker);
        let (since, mut resting) = (Instant::now(), None);
        poll_fn(|cx| {
            let mut channel = self.channel.borrow_mut();
            if let Poll::Ready(came) = channel.poll_head(cx) {
                return Poll::Ready(Some(came));
            }
            let (idle, first) = (channel.is_idle(), channel.requests() == 0);
            drop(channel);
            if !idle {
                resting = None;
            } else if resting.is_none() {
                resting = Some(Resting::count(&worker, self.listener));
            }
            if self.drained.is_none() && draining.as_mut().poll(cx).is_ready() {
                self.drained = Some(Instant::now());
                timer.as_mut().reset(self.deadline(since, idle));
            }
            // One that had no request yet waits a while for its first: it would be closed over one under way.
            if self.drained.is_some() && idle && !first {
                return Poll::Ready(None);
            }
            loop {
                ready!(timer.as_mut().poll(cx));
                let deadline = self.deadline(since, idle);
                if deadline <= Instant::now() {
                    // Where it is the age that ended it, that is counted.
                    let aged = self.tenure.is_over();
                    tracing::debug!(idle, aged, "no request came of a client's connection");
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(deadline);
            }
        })
        .await
    }

    /// When a head has to be there that is waited for since then; or the beginning of one, while the connection is idle.
    fn deadline(&self, since: Instant, idle: bool) -> Instant {
        let (_, timeouts) = settings(&self.worker);
        let head = since + timeouts.client_head;
        if !idle {
            return head;
        }
        let first = self.drained.map_or(head, |drained| head.min(drained + timeouts.first_request));
        self.tenure.at_most(first)
    }

    /// Answers the request that has this head.
    async fn answer<S>(&mut self, stack: &mut S, head: Result<Bytes, Flaw>) -> Behind
    where
        S: Service<Request<Arriving>, Response = Response<Reply>, Error = Infallible>,
    {
        let read = head.and_then(|head| request::read(&head)).map(|(mut parts, wants)| {
            if let Some(note) = self.channel.borrow().note() {
                parts.extensions.insert(note);
            }
            (parts, wants)
        });
        let (parts, mut wants) =
            read.unwrap_or_else(|flaw| request::refused(flaw, self.channel.borrow().begins_as_head()));
        wants.persists &= !self.tenure.is_last();
        let body = Channel::begin(&self.channel, wants.consent).map_or_else(Received::nothing, Received::of_http1);
        let interims = Some(Interims::Http1(Rc::clone(&self.channel)));
        let response = {
            // The stack is always ready.
            let mut answering = pin!(stack.call(Request::from_parts(parts, Arriving { body, interims })));
            poll_fn(|cx| match answering.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => Poll::Ready(Some(response)),
                Poll::Pending => self.channel.borrow_mut().poll_meanwhile(cx).map(|()| None),
            })
            .await
        };
        match response {
            Some(response) => self.say(response, wants).await,
            None => Behind::Gone,
        }
    }

    /// Says an answer to its end.
    async fn say(&mut self, response: Response<Reply>, mut wants: Wants) -> Behind {
        let (head, mut reply) = response.into_parts();
        let tunnel = reply.take_tunnel();
        wants.persists &= self.channel.borrow().goes_on() && self.drained.is_none() && !self.worker.drain().has_begun();
        // The rest of a body that nobody reads would be waited for, so that its client is told that the connection ends.
        wants.persists = wants.persists && poll_fn(|cx| self.channel.borrow_mut().poll_unwanted(cx)).await;
        // Its age may have been reached meanwhile: who is told sends no request that the end would cross.
        wants.persists = wants.persists && (tunnel.is_some() || !self.tenure.is_over());
        let mut outbox = Outbox::new(self.worker.snapshot().serving.plan.timeouts.body_idle);
        let persists = {
            let interims = self.channel.borrow_mut().answer();
            response::begin(&mut outbox, &interims, &head, &reply, wants)
        };
        drop(head);
        let said = poll_fn(|cx| match outbox.poll(cx, &*self.channel, &mut reply) {
            Poll::Ready(said) => Poll::Ready(Some(said)),
            Poll::Pending => self.channel.borrow_mut().poll_meanwhile(cx).map(|()| None),
        });
        match said.await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "an answer was not said to its end");
                return Behind::Gone;
            }
            None => return Behind::Gone,
        }
        drop((reply, outbox));
        if let Some(tunnel) = tunnel {
            let client = self.channel.borrow_mut().take_half();
            return client.map_or(Behind::Gone, |client| Behind::Tunnel(tunnel, client));
        }
        let goes_on = poll_fn(|cx| self.channel.borrow_mut().poll_over(cx)).await;
        if !persists || !goes_on {
            return Behind::End;
        }
        self.channel.borrow_mut().rest();
        Behind::Request
    }

    /// Nothing more is served.
    async fn close(&self) -> io::Result<()> {
        let (limits, timeouts) = settings(&self.worker);
        let mut bytes_max = limits.linger_bytes_max;
        let closing = poll_fn(|cx| self.channel.borrow_mut().poll_close(cx, &mut bytes_max));
        // Whoever takes longer finds it closed.
        tokio::time::timeout(timeouts.linger, closing).await.unwrap_or(Ok(()))
    }
}

/// Counts a connection while it waits for a request.
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
