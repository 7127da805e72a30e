//! Heads of answers, which were judged, as they are passed on.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, Version, header};

use super::keep_alive::idle_max;
use crate::proxy::{
    framing::Flaw,
    http1::{Reason, fields, has_token},
};

/// `HTTP/1.1 200 `, in front of a reason.
const REASON_AT: usize = 13;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The head of an answer, and what it says about its connection.
#[derive(Debug)]
pub(in crate::proxy) struct Answer {
    pub(in crate::proxy) response: Response<()>,
    /// Whether the connection may carry another request (RFC 9112 §9.3).
    pub(in crate::proxy) persists: bool,
    /// How long it may be idle, if that was announced.
    pub(in crate::proxy) idle_max: Option<Duration>,
}

/// So many fields are added to most answers: `Via`, and at times a cookie or two.
const ADDED_FIELDS: usize = 3;

/// Reads the head of a final response, which was judged.
pub(in crate::proxy) fn answer(head: &Bytes) -> Result<Answer, Flaw> {
    let line_end = memchr::memchr(b'\n', head).ok_or(Flaw::StatusLine)?;
    let mut response = Response::new(());
    let code = head.get(REASON_AT - 4..REASON_AT - 1).ok_or(Flaw::StatusLine)?;
    *response.status_mut() = StatusCode::from_bytes(code).map_err(|_digits| Flaw::StatusLine)?;
    let http_11 = head[7] == b'1';
    *response.version_mut() = if http_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    // Without the CR, and many leave out the space before a reason that is empty.
    let reason = head.slice(REASON_AT.min(line_end - 1)..line_end - 1);
    if response.status().canonical_reason().map(str::as_bytes) != Some(&*reason) {
        response.extensions_mut().insert(Reason(reason));
    }
    let (mut persists, mut announced) = (http_11, None);
    *response.headers_mut() = fields(head, line_end + 1, ADDED_FIELDS, |name, value| {
        if *name == header::CONNECTION {
            persists &= !has_token(value, b"close");
        } else if *name == KEEP_ALIVE {
            announced = idle_max(value);
        }
    })?;
    Ok(Answer { response, persists, idle_max: announced })
}

#[cfg(test)]
mod tests;
