//! Connections of HTTP/1.1 to endpoints. Whoever has a request drives its connection: no other task is woken for a
//! request or its answer, and while a connection is idle nobody runs for it and it keeps no more than room for a head.
//!
//! hyper's client would run each connection in a task of its own and hand requests and answers over; measured with
//! small JSON, that and a second reading of what the scanner has judged were a fifth of a request's instructions and a
//! quarter of the time that it spent outside of the kernel.

pub(super) mod answer;
pub(super) mod keep_alive;
mod question;
mod upload;

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use self::{
    answer::{Answer, answer},
    upload::Upload,
};
use super::wire::Carrier;
use crate::proxy::{
    body::{BodyFailed, Outbound},
    framing::{Bounds, Flaw, Side},
    http1::{Head, Inbox, Outbox, Unsendable},
    interim::{self, Interims},
    received::BodyFault,
    tunnel::Half,
};

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(super) struct Http1 {
    stream: Rc<RefCell<Carrier>>,
    inbox: Inbox,
    outbox: Outbox,
    /// The rest of a request whose answer has begun.
    upload: Option<Upload>,
    /// Why no more of the request can be sent. An answer may still come.
    unsent: Option<io::Error>,
    /// A byte came since the request began.
    heard: bool,
    /// By its last answer it may carry another request.
    persists: bool,
    /// No exchange is under way.
    resting: bool,
    /// How long it may be idle, when the peer announced it.
    idle_max: Option<Duration>,
    unread_for: Duration,
    /// The peer reads the trailers of requests.
    trailers: bool,
}

/// Why there is no answer of HTTP/1.1.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The service closed the connection.
    #[error("the service closed the connection before its answer")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

/// What an exchange came to.
#[derive(Debug)]
pub(super) enum Failure {
    Lost(Lost),
    /// The request's own body failed.
    Request(BodyFailed),
    /// What came is no answer.
    Flawed(Flaw),
}

impl Http1 {
    /// A fresh connection, whose peer may leave what is sent unread for so long, and reads `trailers` or not.
    pub(super) fn new(carrier: Carrier, bounds: Bounds, unread_for: Duration, trailers: bool) -> Http1 {
        Http1 {
            stream: Rc::new(RefCell::new(carrier)),
            inbox: Inbox::new(Side::Responses, bounds),
            outbox: Outbox::new(unread_for),
            upload: None,
            unsent: None,
            heard: false,
            persists: true,
            resting: true,
            idle_max: None,
            unread_for,
            trailers,
        }
    }

    /// Whether an idle connection may carry a request: it was not idle for too long, and its peer has neither sent
    /// anything nor closed, as far as the runtime has heard. To be `sure` the kernel is asked.
    pub(super) fn is_ready(&self, since: Instant, sure: bool) -> bool {
        self.idle_max.is_none_or(|max| since.elapsed() < max) && self.stream.borrow_mut().is_quiet(sure)
    }

    /// Sends a request and gives the head of its answer; those of interim ones go to the client meanwhile. A service
    /// that is asked for the body first has `patience` to say so. The request's head stays what it is.
    ///
    /// # Errors
    /// [`Failure`]: then the connection is of no more use.
    pub(super) async fn exchange(
        &mut self,
        request: &mut Request<Outbound>,
        authority: &str,
        interims: Option<&Interims>,
        patience: Duration,
    ) -> Result<Response<()>, Failure> {
        (self.heard, self.persists, self.resting, self.unsent) = (false, false, false, None);
        self.inbox.expect(request.method());
        question::begin(&mut self.outbox, request, authority, patience, self.trailers).map_err(Failure::Request)?;
        let answer = std::future::poll_fn(|cx| self.poll_answer(cx, request, interims)).await?;
        self.idle_max = answer.idle_max.or(self.idle_max);
        // A body that is still asked for is not sent at all, and what it belongs to is not whole.
        self.persists = answer.persists && !self.outbox.asks();
        if !self.outbox.asks() && !self.outbox.is_done() {
            let outbox = std::mem::replace(&mut self.outbox, Outbox::new(self.unread_for));
            self.upload = Some(Upload::begin(Rc::clone(&self.stream), outbox, std::mem::take(request.body_mut())));
        }
        Ok(answer.response)
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Request<Outbound>,
        interims: Option<&Interims>,
    ) -> Poll<Result<Answer, Failure>> {
        loop {
            self.poll_send(cx, request)?;
            match self.poll_head(cx, request.headers()) {
                Poll::Ready(Ok(Head::Interim(head))) => self.pass_on(&head, interims),
                Poll::Ready(Ok(Head::Final(head))) => {
                    let mut answer = answer(&head).map_err(Failure::Flawed)?;
                    answer.persists &= self.inbox.goes_on();
                    if self.outbox.asks() && answer.response.status().is_success() {
                        // It goes on to read. Once its answer is passed on, the client cannot be asked any more.
                        self.outbox.go_on();
                        self.poll_send(cx, request)?;
                    }
                    return Poll::Ready(Ok(answer));
                }
                Poll::Ready(Err(Failure::Lost(lost))) => {
                    let lost = self.unsent.take().map_or(lost, Lost::Broken);
                    return Poll::Ready(Err(Failure::Lost(lost)));
                }
                Poll::Ready(Err(flawed)) => return Poll::Ready(Err(flawed)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, request: &mut Request<Outbound>) -> Result<(), Failure> {
        match self.outbox.poll(cx, &self.stream, request.body_mut()) {
            Poll::Ready(Err(Unsendable::Body(failed))) => return Err(Failure::Request(failed)),
            Poll::Ready(Err(Unsendable::Length)) => return Err(Failure::Request(BodyFailed)),
            Poll::Ready(Err(Unsendable::Lost(error))) => {
                // A service that wants no more of a request may have answered before it closed.
                self.unsent = Some(error);
                self.outbox.give_up();
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Ok(())
    }

    fn pass_on(&mut self, head: &[u8], interims: Option<&Interims>) {
        if interim::is_continue(head) && self.outbox.asks() {
            self.outbox.go_on();
        } else if let Some(client) = interims {
            client.send(head);
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, request: &HeaderMap) -> Poll<Result<Head, Failure>> {
        loop {
            match self.inbox.head(Some(request)) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(flaw) => return Poll::Ready(Err(Failure::Flawed(flaw))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Err(Failure::Lost(Lost::Closed))),
                Ok(_) => self.heard = true,
                Err(error) => return Poll::Ready(Err(Failure::Lost(Lost::Broken(error)))),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.poll_fill(cx, &mut *self.stream.borrow_mut())
    }

    /// The answer's body, when it is there as a whole.
    pub(super) fn whole(&mut self) -> Option<Bytes> {
        self.inbox.whole()
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        loop {
            match self.inbox.piece() {
                Ok(Some(piece)) => return Poll::Ready(piece.map(Ok)),
                Ok(None) => {}
                Err(flaw) => return Poll::Ready(Some(Err(BodyFault::Flawed(flaw)))),
            }
            match ready!(self.poll_fill(cx)) {
                // Where the request's own body failed, the connection was ended for that.
                Ok(0) if self.inbox.close() && !self.upload.as_ref().is_some_and(Upload::has_failed) => {
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(BodyFault::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(BodyFault::Lost(error)))),
            }
        }
    }

    /// Whether the answer has ended.
    pub(super) fn is_end(&self) -> bool {
        self.inbox.is_end()
    }

    /// How long the rest of the answer's body is, when that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.inbox.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Whether a byte came since the request began.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether a byte of the request was sent.
    pub(super) fn has_sent(&self) -> bool {
        self.outbox.is_begun()
    }

    /// Whether the request's body is as it was.
    pub(super) fn left_body(&self) -> bool {
        self.outbox.is_untouched()
    }

    /// Whether the service has not said that it wants the body, and nobody waited long enough.
    pub(super) fn awaits_body(&self) -> bool {
        self.outbox.asks()
    }

    /// Its exchange has ended: whether nothing is left of it, so that it may carry another one. A request that is
    /// still sent goes on its way.
    pub(super) fn rest(&mut self) -> bool {
        self.resting = match self.upload.take() {
            Some(upload) => upload.end(),
            None => self.outbox.is_done(),
        };
        self.outbox.rest();
        self.inbox.rest() && self.resting && self.persists && self.unsent.is_none()
    }

    /// The stream, once its protocol was switched.
    pub(super) fn into_half(mut self) -> Option<Half> {
        let (stream, glued) = (Rc::clone(&self.stream), self.inbox.take_glued());
        drop(self);
        Some(Half { stream: Box::pin(Rc::into_inner(stream)?.into_inner()), glued })
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        // What ends amid an exchange is not to look as if it had ended well.
        if self.resting {
            self.stream.borrow_mut().bid_farewell();
        }
    }
}
