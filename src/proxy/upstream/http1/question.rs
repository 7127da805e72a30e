//! Heads of requests, as they are written.

use std::time::Duration;

use http::{HeaderValue, Method, Request, header};
use http_body::Body;

use crate::proxy::{
    body::BodyFailed,
    http1::{Framed, Outbox, write_field},
};

/// Room that a connection has for heads at first. It keeps what it ever needed, also while a long answer comes.
const ROOM_BYTES: usize = 512;

/// Begins to send a request by its head, which names the service by its `authority` where its client, of HTTP/1.0, named
/// none. Where the head expects the service to be asked for the body (RFC 9110 §10.1.1), the body waits for an answer, but
/// no longer than `patience`: one that says nothing for so long is taken not to know what was asked. A service that does not
/// read `trailers` gets none.
///
/// # Errors
/// When the head tells another length than the body has.
pub(super) fn begin<B: Body>(
    outbox: &mut Outbox,
    request: &Request<B>,
    authority: &str,
    patience: Duration,
    trailers: bool,
) -> Result<(), BodyFailed> {
    let out = outbox.begin(ROOM_BYTES);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let path = if target.starts_with('?') { "/" } else { "" };
    for part in [request.method().as_str(), " ", path, target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let (mut told, mut expects, mut named) = (None, false, false);
    for (name, value) in request.headers() {
        match *name {
            header::HOST => named = true,
            header::CONTENT_LENGTH => told = Some(value),
            header::EXPECT => expects = true,
            _ => {}
        }
        write_field(out, name, value.as_bytes());
    }
    if !named {
        write_field(out, &header::HOST, authority.as_bytes());
    }
    let ended = request.body().is_end_stream();
    let length = length(request.body(), told)?;
    if expects && !ended {
        outbox.hold(patience);
    }
    let asks = *request.method() == Method::GET && !outbox.asks();
    match length {
        Some(length) => outbox.follow(Framed::Length(length), told.is_some() || ended, ended),
        None if asks => outbox.follow(Framed::Unknown { trailers }, false, ended),
        None => outbox.follow(Framed::Chunked { trailers }, false, ended),
    }
    Ok(())
}

/// How long a body is, if that is known.
///
/// # Errors
/// When it is not as long as its head tells.
fn length(body: &impl Body, told: Option<&HeaderValue>) -> Result<Option<u64>, BodyFailed> {
    let exact = body.size_hint().exact();
    let Some(told) = told else { return Ok(exact) };
    let told = told.to_str().ok().and_then(|told| told.parse().ok()).ok_or(BodyFailed)?;
    if exact.is_some_and(|exact| exact != told) { Err(BodyFailed) } else { Ok(Some(told)) }
}

#[cfg(test)]
mod tests;
