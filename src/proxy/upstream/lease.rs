//! Leases: a connection that carries one request, with all that ends when the request does.

use std::{mem::take, rc::Rc};

use http::{
    HeaderValue, Method, Request, Response, Uri, Version, header,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};
use hyper::{body::Incoming, client::conn::TrySendError, ext::Protocol};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    broken::{Broken, Cause, Unprocessed, unprocessed},
    connect::Made,
    interims::has_too_many,
    pool::{Carriage, Stream},
    roster::Ticket,
    spare::Spare,
    usage::Permit,
};
use crate::{
    plan::Place,
    proxy::{
        body::{Outbound, Progress},
        framing::{Bounds, Flaw, judge_response},
        interim::passing,
        rejection::Manner,
        wire::{ClientWire, Half, UpstreamWire},
    },
};

/// A connection that carries one request. Dropped, it is closed; [`Lease::release`] keeps it.
#[derive(Debug)]
pub(in crate::proxy) struct Lease {
    carriage: Option<Carriage>,
    ticket: Ticket,
    permit: Permit,
    /// Whether it carried a request before: then it may have gone stale.
    reused: bool,
    /// Whether it may carry another one.
    keep: bool,
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
        if let Carriage::Http1(connection) = &carriage {
            connection.line.begin(reused);
        }
        Lease { carriage: Some(carriage), ticket, permit, reused, keep: true, progress: None, deadline: None }
    }

    pub(in crate::proxy) fn is_http2(&self) -> bool {
        matches!(self.carriage, Some(Carriage::Http2(_)))
    }

    /// What the request wrote so far, read by a function.
    pub(super) fn kept<T>(&self, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        match &self.carriage {
            Some(Carriage::Http1(connection)) => read(&connection.line.kept()),
            _ => None,
        }
    }

    /// The name that a request without a host is for.
    fn authority(&self) -> &str {
        let settings = &self.ticket.host.about.settings;
        if matches!(settings.place, Place::Unix(_)) { "localhost" } else { &settings.authority }
    }

    /// What is agreed with the connection's stream; those of HTTP/2 agree on nothing.
    pub(super) fn wire(&self) -> Option<&Rc<UpstreamWire>> {
        match &self.carriage {
            Some(Carriage::Http1(connection)) => Some(&connection.wire),
            _ => None,
        }
    }

    /// Whether the service has not said that it wants the body, and nobody waited long enough.
    pub(super) fn awaits_body(&self) -> bool {
        self.wire().is_some_and(|wire| wire.is_waiting())
    }

    /// The stream itself, once the service agreed to a tunnel by this response; of HTTP/2 with the place that
    /// it goes on to have on its connection.
    pub(in crate::proxy) async fn take_half(
        &mut self,
        response: &mut Response<Incoming>,
    ) -> Option<(Half, Option<Stream>)> {
        self.keep = false;
        if let Some(wire) = self.wire() {
            return Some((wire.take_half()?, None));
        }
        // It is there since the response is: nothing is waited for.
        let tunnel = hyper::upgrade::on(response).await.ok()?;
        let Some(Carriage::Http2(stream)) = self.carriage.take() else { return None };
        Some((Half { stream: Box::pin(TokioIo::new(tunnel)), glued: Vec::new() }, Some(stream)))
    }

    /// Sends a request, of which nothing is left, and gives the head of the answer; those of interim ones go to
    /// the client meanwhile.
    pub(super) async fn send(
        &mut self,
        request: &mut Request<Outbound>,
        interims: Option<Rc<ClientWire>>,
    ) -> Result<Response<Incoming>, Broken> {
        if !request.headers().contains_key(header::HOST) {
            // A client of HTTP/1.0 may name no host; the service's own protocol asks for one.
            if let Ok(authority) = HeaderValue::from_str(self.authority()) {
                request.headers_mut().insert(header::HOST, authority);
            }
        }
        let tls = self.ticket.host.about.settings.tls.is_some();
        let sent = match &mut self.carriage {
            Some(Carriage::Http1(connection)) => {
                let wire = Rc::clone(&connection.wire);
                passing(connection.sender.try_send_request(take(request)), wire, interims).await
            }
            Some(Carriage::Http2(stream)) => {
                if request.method() == Method::CONNECT && !stream.may_tunnel().await {
                    return Err(Broken::no_tunnels());
                }
                let mut sender = stream.sender();
                sender.try_send_request(for_http2(take(request), tls)).await
            }
            None => return Err(Broken::lost(take(request))),
        };
        match sent {
            Ok(response) => {
                if let Some(Carriage::Http1(connection)) = &mut self.carriage {
                    connection.heed(&response);
                    // After an answer of HTTP/1.0 hyper would speak 1.0 on the connection, where a body of
                    // unknown length cannot be sent. A body that is still asked for is not sent at all.
                    self.keep = response.version() == Version::HTTP_11 && !connection.wire.is_waiting();
                }
                Ok(response)
            }
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Judges the head of an answer of HTTP/2; what comes over HTTP/1.1 is judged before anything is made of it.
    pub(super) fn judge(&self, response: &Response<Incoming>, bounds: &Bounds) -> Result<(), Flaw> {
        if self.is_http2() { judge_response(response.headers(), bounds) } else { Ok(()) }
    }

    fn broken(&self, mut error: TrySendError<Request<Outbound>>) -> Broken {
        // hyper gives the request back only when no byte of it was written.
        let unsent = error.take_message().map(for_http1);
        let error = error.into_error();
        let unprocessed = match &self.carriage {
            Some(Carriage::Http2(stream)) => {
                if error.is_closed() || error.is_canceled() {
                    stream.retire();
                }
                unprocessed(&error)
            }
            // Nothing came back on a connection that was used before: the service closed it meanwhile.
            Some(Carriage::Http1(connection)) if self.reused && !connection.line.heard() => Unprocessed::Perhaps,
            _ => Unprocessed::No,
        };
        let cause = if has_too_many(&error) { Cause::Malformed(Flaw::Interim) } else { Cause::Exchange(error) };
        Broken { unsent: unsent.filter(|_| self.reused), cause, unprocessed }
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
    pub(super) fn body_follows(
        &mut self,
        response: &Response<Incoming>,
        progress: Progress,
        deadline: Option<Instant>,
    ) {
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
        // With some of the request still to be written, what the service took for whole would not be.
        let whole = self.progress.as_ref().is_none_or(|progress| progress.ended().is_some());
        let Some(carriage) = self.carriage.take() else { return };
        if let Carriage::Http1(connection) = carriage {
            connection.wire.shut_gate();
            self.ticket.host.cells().active.fall();
            if self.keep && whole {
                self.ticket.host.take_back(connection);
            }
        }
        // A stream of HTTP/2 ends with its handle.
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Carriage::Http1(connection)) = self.carriage.take() {
            connection.wire.shut_gate();
            self.ticket.host.cells().active.fall();
        }
        self.permit.usage().free();
    }
}

/// HTTP/2 has the host in its target (RFC 9113 §8.3.1).
fn for_http2(mut request: Request<Outbound>, tls: bool) -> Request<Outbound> {
    let host = request.headers_mut().remove(header::HOST);
    let mut parts = Parts::default();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
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
    /// The request, where it provably was not processed: not sent, refused, or sent to a connection that
    /// the service had closed and harmless to repeat.
    pub(super) fn replay(&mut self, lease: &Lease, spare: &Spare) -> Option<Request<Outbound>> {
        match (self.unsent.take(), self.unprocessed) {
            (Some(unsent), _) => Some(unsent),
            (None, Unprocessed::Surely) => spare.again(lease),
            (None, Unprocessed::Perhaps) if spare.is_idempotent() => spare.again(lease),
            (None, Unprocessed::Perhaps | Unprocessed::No) => None,
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
        let sent = for_http2(request, true);
        assert_eq!((sent.uri().to_string(), sent.headers().len()), ("https://shop/a?b".to_owned(), 0));
        let again = for_http1(sent);
        assert_eq!((again.method(), again.uri().to_string()), (&Method::GET, "/a?b".to_owned()));
        assert_eq!((&again.headers()[header::HOST], again.version()), (&"shop".parse().unwrap(), Version::HTTP_11));
        assert!(again.extensions().get::<Protocol>().is_none());
    }
}
