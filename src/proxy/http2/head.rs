//! Heads (RFC 9113 §8.3, RFC 8441 §4), made of the fields that a block has.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header, request, uri};

use super::{
    hpack::{Field, Fields},
    protocol::Protocol,
};
use crate::proxy::framing::Flaw;

/// Room for the fields of most requests, and for what weir adds to them.
const FIELDS_ROOM: usize = 12;

/// A head that unfolds to so many times more than may be ends its connection; one of less is refused by itself. No key of
/// the configuration: what people send by mistake is a little too large.
const BOMB: usize = 16;

/// A head of which not all fields have come.
#[derive(Debug)]
pub(super) struct Draft {
    method: Option<Method>,
    scheme: Option<uri::Scheme>,
    authority: Option<uri::Authority>,
    path: Option<uri::PathAndQuery>,
    protocol: Option<Protocol>,
    status: Option<StatusCode>,
    fields: HeaderMap,
    /// One of its fields stands in no sound message.
    flawed: bool,
    /// What its fields may still count for (RFC 9113 §6.5.2).
    left: usize,
    /// How many fields there may be. One more is taken, so that whoever judges the head sees that there were.
    fields_max: usize,
    /// They count for more, and some are missing.
    too_large: bool,
    /// What they may count for beyond that, before nobody can have meant it.
    beyond: usize,
}

/// A message that may not be one (RFC 9113 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The head of a request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) head: request::Parts,
    /// How long its body is, where it says so.
    pub(super) length: Option<u64>,
    /// It has more fields, or larger ones, than were announced to be taken; some are missing.
    pub(super) too_large: bool,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    /// How long its body is, where it says so.
    pub(super) length: Option<u64>,
}

impl Fields for Draft {
    fn takes(&mut self, bytes: usize) -> bool {
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
        } else {
            (self.left, self.too_large) = (0, true);
            self.beyond = self.beyond.saturating_sub(bytes);
        }
        !self.too_large && self.fields.len() <= self.fields_max
    }

    fn take(&mut self, field: Field) {
        // Pseudo-fields come before all others, and once.
        let late = !self.fields.is_empty();
        let mut repeated = false;
        match field {
            Field::Plain(name, value) => return self.plain(name, value),
            Field::Method(method) => repeated = self.method.replace(method).is_some(),
            Field::Scheme(scheme) => repeated = self.scheme.replace(scheme).is_some(),
            Field::Authority(authority) => repeated = self.authority.replace(authority).is_some(),
            Field::Path(path) => repeated = self.path.replace(path).is_some(),
            Field::Protocol(protocol) => repeated = self.protocol.replace(protocol).is_some(),
            Field::Status(status) => repeated = self.status.replace(status).is_some(),
            Field::Flawed => self.flawed = true,
        }
        self.flawed |= late || repeated;
    }
}

impl Draft {
    /// One whose fields may count for so many bytes, and be so many.
    pub(super) fn new(bytes_max: usize, fields_max: usize) -> Draft {
        Draft {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            status: None,
            fields: HeaderMap::new(),
            flawed: false,
            left: bytes_max,
            fields_max,
            too_large: false,
            beyond: bytes_max.saturating_mul(BOMB),
        }
    }

    /// Whether it counts for so much more than may be that it was made to: a block of small numbers for large fields.
    pub(super) fn is_bomb(&self) -> bool {
        self.beyond == 0
    }

    /// A field of one connection has no place here (RFC 9113 §8.2.2).
    fn plain(&mut self, name: HeaderName, value: HeaderValue) {
        self.flawed |= match name.as_str().len() {
            2 => name == header::TE && value != "trailers",
            7 => name == header::UPGRADE,
            10 => name == header::CONNECTION || name.as_str() == "keep-alive",
            16 => name.as_str() == "proxy-connection",
            17 => name == header::TRANSFER_ENCODING,
            _ => false,
        };
        if self.fields.is_empty() {
            self.fields.reserve(FIELDS_ROOM);
        }
        // A map has an end of its own.
        self.too_large |= self.fields.try_append(name, value).is_err();
    }

    /// The request that begins with it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(super) fn into_request(self, ended: bool) -> Result<Asked, Malformed> {
        let Draft { method, scheme, authority, path, protocol, status, fields, flawed, too_large, .. } = self;
        let method = method.filter(|_| status.is_none()).ok_or(Malformed)?;
        let connect = method == Method::CONNECT;
        let targeted = scheme.is_some() && path.is_some();
        let sound = if connect && protocol.is_none() {
            // It names whom to connect to, and nothing else (RFC 9113 §8.5).
            authority.is_some() && scheme.is_none() && path.is_none()
        } else {
            targeted && (protocol.is_none() || connect && authority.is_some())
        };
        let asterisk = path.as_ref().is_some_and(|path| path.as_str() == "*");
        if flawed || !sound && !too_large || asterisk && method != Method::OPTIONS {
            return Err(Malformed);
        }
        let length = length(&fields)?;
        // A tunnel has no length, and what has ended is not longer than nothing.
        if length.is_some_and(|length| connect || ended && length > 0) {
            return Err(Malformed);
        }
        let (mut head, ()) = Request::new(()).into_parts();
        (head.method, head.version, head.headers) = (method, Version::HTTP_2, fields);
        head.uri = target(scheme, authority, path).ok_or(Malformed)?;
        if let Some(protocol) = protocol {
            head.extensions.insert(protocol);
        }
        Ok(Asked { head, length, too_large })
    }

    /// The answer that begins with it.
    ///
    /// # Errors
    /// What of it may not pass.
    pub(super) fn into_answer(self) -> Result<Answer, Flaw> {
        let is_request = self.is_request();
        let Draft { status, fields, flawed, too_large, .. } = self;
        if too_large {
            return Err(Flaw::HeadTooLarge);
        }
        let status = status.filter(|_| !is_request).ok_or(Flaw::StatusLine)?;
        if flawed {
            return Err(Flaw::FieldName);
        }
        let length = length(&fields).map_err(|Malformed| Flaw::Length)?;
        Ok(Answer { status, fields, length })
    }

    /// The trailers that it is.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(super) fn into_trailers(self) -> Result<HeaderMap, Malformed> {
        let pseudo = self.is_request() || self.status.is_some();
        if self.flawed || self.too_large || pseudo { Err(Malformed) } else { Ok(self.fields) }
    }

    /// Whether it has what only requests have.
    fn is_request(&self) -> bool {
        let Draft { method, scheme, authority, path, protocol, .. } = self;
        method.is_some() || scheme.is_some() || authority.is_some() || path.is_some() || protocol.is_some()
    }
}

/// Several that are equal are one here; whoever judges the head refuses them.
fn length(fields: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        // `parse` takes a sign.
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
        let next: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(Malformed)?;
        if length.is_some_and(|length| length != next) {
            return Err(Malformed);
        }
        length = Some(next);
    }
    Ok(length)
}

fn target(
    scheme: Option<uri::Scheme>,
    authority: Option<uri::Authority>,
    path: Option<uri::PathAndQuery>,
) -> Option<Uri> {
    let mut parts = uri::Parts::default();
    // A target that names no host has a path alone; `Uri` knows no scheme without one.
    parts.scheme = scheme.filter(|_| authority.is_some());
    (parts.authority, parts.path_and_query) = (authority, path);
    Uri::from_parts(parts).ok()
}
