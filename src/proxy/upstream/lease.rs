//! Leases: a connection that carries one request, with all that ends when the request does.

use std::{
    mem::take,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri, Version, header,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, client::conn::TrySendError, ext::Protocol};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    broken::{Broken, Cause, Unprocessed, UpstreamFault, unprocessed},
    connect::Made,
    interims::has_too_many,
    pool::{Carriage, Stream},
    roster::Ticket,
    spare::Spare,
    usage::Permit,
};
use crate::{
    plan::{Place, Plan},
    proxy::{
        body::{Outbound, Progress},
        framing::{Bounds, Flaw, judge_response},
        interim::Interims,
        received::{BodyFault, Received},
        rejection::Manner,
        wire::Half,
    },
};

/// A connection that carries one request, and brings the body of its answer. Dropped, it is closed; [`Lease::release`]
/// keeps it.
#[derive(Debug)]
pub(in crate::proxy) struct Lease {
    carriage: Option<Carriage>,
    /// The answer's body over HTTP/2.
    incoming: Option<Received>,
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
        Lease { carriage: Some(carriage), incoming: None, ticket, permit, reused, progress: None, deadline: None }
    }

    pub(in crate::proxy) fn is_http2(&self) -> bool {
        matches!(self.carriage, Some(Carriage::Http2(_)))
    }

    /// Whether the service has not said that it wants the body, and nobody waited long enough.
    pub(super) fn awaits_body(&self) -> bool {
        matches!(&self.carriage, Some(Carriage::Http1(connection)) if connection.awaits_body())
    }

    /// The stream itself, once the service agreed to a tunnel by this response; of HTTP/2 with the place that
    /// it goes on to have on its connection.
    pub(in crate::proxy) async fn take_half(&mut self, response: &mut Response<()>) -> Option<(Half, Option<Stream>)> {
        match self.carriage.take()? {
            Carriage::Http1(connection) => {
                self.ticket.host.cells().active.fall();
                Some((connection.into_half()?, None))
            }
            Carriage::Http2(stream) => {
                // It is there since the response is: nothing is waited for.
                let tunnel = hyper::upgrade::on(response).await.ok()?;
                Some((Half { stream: Box::pin(TokioIo::new(tunnel)), glued: Vec::new() }, Some(stream)))
            }
        }
    }

    /// Sends a request and gives the head of the answer; those of interim ones go to the client meanwhile. Nothing is
    /// left of a request that goes by HTTP/2; of another one the head is.
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
            Some(Carriage::Http2(stream)) => {
                if request.method() == Method::CONNECT && !stream.may_tunnel().await {
                    return Err(Broken::no_tunnels());
                }
                let (mut sender, tls) = (stream.sender(), settings.tls.is_some());
                let named = request.headers().contains_key(header::HOST);
                match sender.try_send_request(for_http2(take(request), authority, tls)).await {
                    Ok(response) => self.take_in(response, &Bounds::of(&plan.limits)).map_err(Broken::malformed),
                    Err(error) => {
                        let broken = self.broken(error, request);
                        if !named {
                            // The next connection may be to another endpoint.
                            request.headers_mut().remove(header::HOST);
                        }
                        Err(broken)
                    }
                }
            }
            None => Err(Broken::gone()),
        }
    }

    /// Judges the head of an answer of HTTP/2, as one of HTTP/1.1 is judged before anything is made of it.
    fn take_in(&mut self, response: Response<Incoming>, bounds: &Bounds) -> Result<Response<()>, Flaw> {
        judge_response(response.headers(), bounds)?;
        let (head, incoming) = response.into_parts();
        self.incoming = Some(Received::of_http2(incoming, bounds));
        Ok(Response::from_parts(head, ()))
    }

    /// What hyper says of an exchange over HTTP/2.
    fn broken(&self, mut error: TrySendError<Request<Outbound>>, request: &mut Request<Outbound>) -> Broken {
        // The request is given back only when no byte of it was written.
        let given_back = error.take_message().map(|unsent| *request = for_http1(unsent));
        let error = error.into_error();
        if let Some(Carriage::Http2(stream)) = &self.carriage
            && (error.is_closed() || error.is_canceled())
        {
            stream.retire();
        }
        let unprocessed = unprocessed(&error);
        let too_many = has_too_many(&error);
        let cause =
            if too_many { Cause::Malformed(Flaw::Interim) } else { Cause::Exchange(UpstreamFault::Http2(error)) };
        Broken { unsent: given_back.is_some() && self.reused, cause, unprocessed }
    }

    /// The body of the answer, when it is there as a whole already.
    pub(in crate::proxy) fn whole(&mut self) -> Option<Bytes> {
        match &mut self.carriage {
            Some(Carriage::Http1(connection)) => connection.whole(),
            _ => None,
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(in crate::proxy) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match (&mut self.carriage, &mut self.incoming) {
            (Some(Carriage::Http1(connection)), _) => connection.poll_piece(cx),
            (_, Some(incoming)) => incoming.poll_piece(cx),
            (_, None) => Poll::Ready(None),
        }
    }

    /// Whether nothing more comes of the answer.
    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        match (&self.carriage, &self.incoming) {
            (Some(Carriage::Http1(connection)), _) => connection.is_end(),
            (_, incoming) => incoming.as_ref().is_none_or(Received::is_end_stream),
        }
    }

    /// How long the rest of the answer's body is, when that is known.
    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        match (&self.carriage, &self.incoming) {
            (Some(Carriage::Http1(connection)), _) => connection.size_hint(),
            (_, incoming) => incoming.as_ref().map_or(SizeHint::with_exact(0), Received::size_hint),
        }
    }

    /// The host answered with this status.
    pub(super) fn answered(&mut self, status: http::StatusCode) {
        // Not to know a method is no failure.
        if status.is_server_error() && status != http::StatusCode::NOT_IMPLEMENTED {
            self.ticket.failed();
        } else {
            self.ticket.succeeded();
        }
    }

    /// The host did not answer.
    pub(super) fn failed(&mut self) {
        self.ticket.failed();
        if let Some(Carriage::Http2(stream)) = &self.carriage
            && stream.is_silent()
        {
            stream.retire();
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

/// HTTP/2 has the host in its target (RFC 9113 §8.3.1), which is `authority` where none is named.
fn for_http2(mut request: Request<Outbound>, authority: &str, tls: bool) -> Request<Outbound> {
    let host = request.headers_mut().remove(header::HOST);
    let host = host.as_ref().map_or(authority.as_bytes(), HeaderValue::as_bytes);
    let mut parts = Parts::default();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Authority::try_from(host).ok();
    parts.path_and_query = request.uri().path_and_query().cloned().or_else(|| Some(PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
    // What an earlier try agreed on with a connection of HTTP/1.1 is none of this one's.
    for name in [header::CONNECTION, header::UPGRADE, header::EXPECT] {
        request.headers_mut().remove(name);
    }
    request
}

/// Undoes [`for_http2`]: the next connection may speak something else.
fn for_http1(mut request: Request<Outbound>) -> Request<Outbound> {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        request.headers_mut().insert(header::HOST, host);
        *request.version_mut() = Version::HTTP_11;
    }
    if request.method() == Method::CONNECT {
        *request.method_mut() = Method::GET;
        request.extensions_mut().remove::<Protocol>();
    }
    request
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_did_not_go_by_http_2_is_one_of_http_1_1_again() {
        let mut request = Request::new(Outbound::Empty);
        *request.uri_mut() = Uri::from_static("/a?b");
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("shop"));
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let sent = for_http2(request, "other", true);
        assert_eq!((sent.uri().to_string(), sent.headers().len()), ("https://shop/a?b".to_owned(), 0));
        let again = for_http1(sent);
        assert_eq!((again.method(), again.uri().to_string()), (&Method::GET, "/a?b".to_owned()));
        assert_eq!((&again.headers()[header::HOST], again.version()), (&"shop".parse().unwrap(), Version::HTTP_11));
        assert!(again.extensions().get::<Protocol>().is_none());
    }
}
