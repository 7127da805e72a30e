//! Heads of answers, as they are written.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, response};
use http_body::Body;

use super::{
    outbox::{Framed, Outbox, write_field},
    request::{Wants, has_token},
};
use crate::proxy::date;

/// Room for most heads, and for small bodies behind them.
const ROOM_BYTES: usize = 1 << 10;

/// What stands behind the status, where that is not what everybody puts there.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Reason(pub(in crate::proxy) Bytes);

/// Begins an answer by its head, behind `interims`; tells whether the connection may go on behind it.
pub(super) fn begin(
    outbox: &mut Outbox,
    interims: &[u8],
    head: &response::Parts,
    body: &impl Body,
    wants: Wants,
) -> bool {
    let out = outbox.begin(ROOM_BYTES);
    out.extend_from_slice(interims);
    write_line(out, head, wants.http_11);
    let (mut told, mut dated, mut closes) = (None, false, false);
    for (name, value) in &head.headers {
        match *name {
            header::CONTENT_LENGTH => told = Some(value),
            header::DATE => dated = true,
            header::CONNECTION => closes |= has_token(value, b"close"),
            _ => {}
        }
        write_field(out, name, value.as_bytes());
    }
    if !dated {
        write_field(out, &header::DATE, date::now().as_bytes());
    }
    let exact = body.size_hint().exact();
    let length = told.and_then(number).or(exact);
    let bodiless = wants.no_body || is_bodiless(head.status);
    let persists = wants.persists && !closes && (bodiless || length.is_some() || wants.http_11);
    match persists {
        _ if closes || head.status == StatusCode::SWITCHING_PROTOCOLS => {}
        false if wants.http_11 => write_field(out, &header::CONNECTION, b"close"),
        true if !wants.http_11 => write_field(out, &header::CONNECTION, b"keep-alive"),
        _ => {}
    }
    match length {
        // What GET would have.
        Some(length) if wants.no_body && told.is_none() && length > 0 && !is_bodiless(head.status) => {
            outbox.follow(Framed::Length(length), false, true);
        }
        _ if bodiless => outbox.follow(Framed::Length(0), true, true),
        Some(length) => {
            // A body that is not as long as its head says does not go unseen.
            let ended = length == 0 && body.is_end_stream();
            outbox.follow(Framed::Length(length), told.is_some(), ended);
        }
        None if wants.http_11 => outbox.follow(Framed::Chunked { trailers: wants.trailers }, false, false),
        None => outbox.follow(Framed::UntilClose, false, false),
    }
    persists
}

fn write_line(out: &mut Vec<u8>, head: &response::Parts, http_11: bool) {
    let reason = head.extensions.get::<Reason>().map(|reason| &*reason.0);
    let reason = reason.or_else(|| head.status.canonical_reason().map(str::as_bytes)).unwrap_or_default();
    let version: &[u8] = if http_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " };
    for part in [version, head.status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Whether an answer of that status never has a body (RFC 9110 §6.4.1).
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}
