//! Fields of heads and trailers, as they stand in a table: read once, and then as cheap to copy as a number.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::proxy::{framing::is_name, http2::protocol::Protocol};

/// One field of a head, or of trailers.
#[derive(Clone, Debug)]
pub(in crate::proxy::http2) enum Field {
    Method(Method),
    Scheme(Scheme),
    Authority(Authority),
    Path(PathAndQuery),
    /// What extended CONNECT asks for (RFC 8441 §4).
    Protocol(Protocol),
    Status(StatusCode),
    Plain(HeaderName, HeaderValue),
    /// No message may have it: its message is malformed (RFC 9113 §8.1.1).
    Flawed,
}

/// The name of a field.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
    Plain(HeaderName),
    Flawed,
}

/// A field of a table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) name_bytes: usize,
    pub(super) field: Field,
    /// What it counts for (RFC 7541 §4.1).
    pub(super) bytes: usize,
}

impl Entry {
    pub(super) fn new(name: Name, name_bytes: usize, value: &[u8]) -> Entry {
        let field = name.with(value);
        Entry { name, name_bytes, field, bytes: bytes_of(name_bytes, value.len()) }
    }
}

/// What a field counts for beside its texts (RFC 7541 §4.1).
pub(in crate::proxy::http2) const FIELD_BYTES: usize = 32;

/// What a field counts for.
pub(super) fn bytes_of(name_bytes: usize, value_bytes: usize) -> usize {
    name_bytes + value_bytes + FIELD_BYTES
}

impl Name {
    /// Capital letters make none (RFC 9113 §8.2), nor does what is no token.
    pub(super) fn read(name: &[u8]) -> Name {
        match name {
            b":method" => Name::Method,
            b":scheme" => Name::Scheme,
            b":authority" => Name::Authority,
            b":path" => Name::Path,
            b":protocol" => Name::Protocol,
            b":status" => Name::Status,
            _ if !is_name(name) => Name::Flawed,
            _ => HeaderName::from_lowercase(name).map_or(Name::Flawed, Name::Plain),
        }
    }

    pub(super) fn with(&self, value: &[u8]) -> Field {
        let read = match self {
            Name::Method => Method::from_bytes(value).ok().map(Field::Method),
            Name::Scheme => Scheme::try_from(value).ok().map(Field::Scheme),
            // It is left out rather than empty.
            Name::Authority if value.is_empty() => None,
            Name::Authority => Authority::from_maybe_shared(Bytes::copy_from_slice(value)).ok().map(Field::Authority),
            // What stands behind a `#` is for whoever shows the answer, and would be cut off unseen.
            Name::Path if value != b"*" && !value.starts_with(b"/") || value.contains(&b'#') => None,
            Name::Path => PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(value)).ok().map(Field::Path),
            Name::Protocol => std::str::from_utf8(value).ok().map(|value| Field::Protocol(Protocol::from(value))),
            Name::Status => StatusCode::from_bytes(value).ok().map(Field::Status),
            Name::Plain(name) => HeaderValue::from_bytes(value).ok().map(|value| Field::Plain(name.clone(), value)),
            Name::Flawed => None,
        };
        read.unwrap_or(Field::Flawed)
    }
}

impl Field {
    /// The same, to be said again by itself alone.
    pub(super) fn secret(mut self) -> Field {
        if let Field::Plain(_, value) = &mut self {
            value.set_sensitive(true);
        }
        self
    }
}
