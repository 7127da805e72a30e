//! Leases: a connection that carries one request, with all that ends when the request does.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::{
    broken::{Broken, Unprocessed},
    connect::Made,
    http2::Answer,
    pool::{Carriage, Seat},
    roster::Ticket,
    spare::Spare,
    usage::Permit,
};
use crate::{
    plan::{Place, Plan, is_failure},
    proxy::{
        body::{Outbound, Progress},
        framing::Bounds,
        interim::Interims,
        received::BodyFault,
        rejection::Manner,
        tunnel::Half,
    },
};

/// A connection that carries one request, and brings the body of its answer. Dropped, it is closed; [`Lease::release`]
/// keeps it.
#[derive(Debug)]
pub(in crate::proxy) struct Lease {
    /// What follows the head of an answer over HTTP/2.
    answer: Option<Box<Answer>>,
    carriage: Option<Carriage>,
    ticket: Ticket,
    permit: Permit,
    /// Whether it carried a request before: then it may have gone stale.
    reused: bool,
    /// How far the request got, once it is answered.
    progress: Option<Progress>,
    deadline: Option<Deadline>,
}

/// When a whole request has to have ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Deadline {
    pub(in crate::proxy) at: Instant,
    /// Whether a call of gRPC is told so by its status.
    pub(in crate::proxy) grpc: bool,
}

impl Lease {
    /// Of a connection that is there, if there is one.
    pub(super) fn reuse(
        ticket: Ticket,
        permit: Permit,
        streams_max: usize,
        sure: bool,
    ) -> Result<Lease, (Ticket, Permit)> {
        let host = &ticket.host;
        match host.pool.reuse(host.cells(), streams_max, sure) {
            Some(carriage) => Ok(Lease::new(ticket, permit, carriage, true)),
            None => Err((ticket, permit)),
        }
    }

    /// Of a connection that was just made.
    pub(super) fn first(ticket: Ticket, permit: Permit, made: Made) -> Lease {
        let carriage = ticket.host.pool.admit(made, ticket.host.cells());
        Lease::new(ticket, permit, carriage, false)
    }

    fn new(ticket: Ticket, permit: Permit, carriage: Carriage, reused: bool) -> Lease {
        Lease { carriage: Some(carriage), answer: None, ticket, permit, reused, progress: None, deadline: None }
    }

    pub(in crate::proxy) fn is_http2(&self) -> bool {
        matches!(self.carriage, Some(Carriage::Http2(_)))
    }

    /// Whether the service has not said that it wants the body, and nobody waited long enough.
    pub(super) fn awaits_body(&self) -> bool {
        match &self.carriage {
            Some(Carriage::Http1(connection)) => connection.awaits_body(),
            _ => self.answer.as_ref().is_some_and(|answer| answer.awaits_body()),
        }
    }

    /// The stream itself, once the service agreed to a tunnel by this response; of HTTP/2 with the seat that
    /// it goes on to have on its connection.
    pub(in crate::proxy) fn take_half(&mut self) -> Option<(Half, Option<Rc<Seat>>)> {
        match self.carriage.take()? {
            Carriage::Http1(connection) => {
                self.ticket.host.cells().active.fall();
                Some((connection.into_half()?, None))
            }
            Carriage::Http2(seat) => Some((self.answer.take()?.into_half()?, Some(seat))),
        }
    }

    /// Sends a request and gives the head of the answer; those of interim ones go to the client meanwhile. The request's
    /// head stays what it is.
    pub(super) async fn send(
        &mut self,
        request: &mut Request<Outbound>,
        interims: Option<&Interims>,
        plan: &Plan,
    ) -> Result<Response<()>, Broken> {
        let settings = &self.ticket.host.about.settings;
        // A client of HTTP/1.0 may name no host; the service's own protocol asks for one.
        let authority = if matches!(settings.place, Place::Unix(_)) { "localhost" } else { &settings.authority };
        match &mut self.carriage {
            Some(Carriage::Http1(connection)) => {
                let patience = plan.timeouts.expect_continue;
                let exchanged = connection.exchange(request, authority, interims, patience).await;
                exchanged.map_err(|failure| {
                    // A connection that was used before may have been closed by the service meanwhile.
                    let unsent = self.reused && !connection.has_sent();
                    let unprocessed = match self.reused && !connection.has_heard() {
                        true if unsent => Unprocessed::Surely,
                        true => Unprocessed::Perhaps,
                        false => Unprocessed::No,
                    };
                    Broken::http1(failure, unsent && connection.left_body(), unprocessed)
                })
            }
            Some(Carriage::Http2(seat)) => {
                let call = seat.http2().call(request, authority, plan.timeouts.expect_continue).await?;
                let bounds = Bounds::of(&plan.limits);
                let (response, answer) = call.answer(request, interims, &bounds, (seat, self.reused)).await?;
                self.answer = Some(Box::new(answer));
                Ok(response)
            }
            None => Err(Broken::gone()),
        }
    }

    /// The body of the answer, when it is there as a whole already.
    pub(in crate::proxy) fn whole(&mut self) -> Option<Bytes> {
        match &mut self.carriage {
            Some(Carriage::Http1(connection)) => connection.whole(),
            _ => self.answer.as_mut()?.whole(),
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(in crate::proxy) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match (&mut self.carriage, &mut self.answer) {
            (Some(Carriage::Http1(connection)), _) => connection.poll_piece(cx),
            (_, Some(answer)) => answer.poll_piece(cx),
            (_, None) => Poll::Ready(None),
        }
    }

    /// Whether nothing more comes of the answer.
    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        match (&self.carriage, &self.answer) {
            (Some(Carriage::Http1(connection)), _) => connection.is_end(),
            (_, answer) => answer.as_ref().is_none_or(|answer| answer.is_end()),
        }
    }

    /// How long the rest of the answer's body is, when that is known.
    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        match (&self.carriage, &self.answer) {
            (Some(Carriage::Http1(connection)), _) => connection.size_hint(),
            (_, answer) => answer.as_ref().map_or(SizeHint::with_exact(0), |answer| answer.size_hint()),
        }
    }

    /// The host answered with this status.
    pub(super) fn answered(&mut self, status: http::StatusCode) {
        // Not to know a method is no failure.
        if is_failure(status) && status != http::StatusCode::NOT_IMPLEMENTED {
            self.ticket.failed();
        } else {
            self.ticket.succeeded();
        }
    }

    /// The host did not answer.
    pub(super) fn failed(&mut self) {
        self.ticket.failed();
        if let Some(Carriage::Http2(seat)) = &self.carriage
            && seat.is_silent()
        {
            seat.retire();
        }
    }

    /// The host broke off its answer.
    pub(in crate::proxy) fn broke(mut self) {
        self.failed();
    }

    /// The answer has begun; the whole request has to have ended before `deadline`.
    pub(super) fn body_follows(&mut self, response: &Response<()>, progress: Progress, deadline: Option<Instant>) {
        progress.answer();
        self.progress = Some(progress);
        self.deadline = deadline.map(|at| Deadline { at, grpc: Manner::is_grpc(response.headers()) });
    }

    /// How far the request got.
    pub(in crate::proxy) fn progress(&self) -> Progress {
        self.progress.clone().unwrap_or_default()
    }

    /// When the whole request has to have ended.
    pub(in crate::proxy) fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Gives the connection back once a response came to its end.
    pub(in crate::proxy) fn release(mut self) {
        // A stream of HTTP/2 ends with its handle.
        if let Some(Carriage::Http1(mut connection)) = self.carriage.take() {
            let host = &self.ticket.host;
            host.cells().active.fall();
            if connection.rest() {
                host.pool.keep(connection, host.cells());
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Carriage::Http1(_closed)) = self.carriage.take() {
            self.ticket.host.cells().active.fall();
        }
        self.permit.usage().free();
    }
}

impl Broken {
    /// Makes the request whole again where it provably was not processed: not sent, refused, or sent to a connection
    /// that the service had closed and harmless to repeat. `false` where it was, perhaps, or too little is left of it.
    pub(super) fn restore(&self, request: &mut Request<Outbound>, spare: &Spare) -> bool {
        match self.unprocessed {
            _ if self.unsent => true,
            Unprocessed::Surely => spare.restore(request),
            Unprocessed::Perhaps => spare.is_idempotent() && spare.restore(request),
            Unprocessed::No => false,
        }
    }
}
