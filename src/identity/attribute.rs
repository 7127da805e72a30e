//! Attributes: the parts of a request that rules test and assignment keys come from.

use std::{borrow::Cow, fmt, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::{memchr, memchr2};
use percent_encoding::percent_decode;

use super::Asking;

/// A part of a request, as configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
// A tag of its own is read faster than one that hides in a field.
#[repr(u8)]
pub enum Attribute {
    /// `header:NAME`: the first field of that name.
    Header(HeaderName),
    /// `cookie:NAME`: the first cookie of that name.
    Cookie(String),
    /// `query:NAME`: the first query parameter of that name, decoded.
    Query(String),
    /// `method`.
    Method,
    /// `path`, undecoded.
    Path,
    /// `host`, in lower case and without port.
    Host,
    /// `ip`: the client's address.
    Ip,
    /// `consumer`: what the verified client certificate names the client.
    Consumer,
    /// `context:NAME`: a member of an application's evaluation context, by name or JSON Pointer; a request has none.
    Context(String),
    /// `jwt:CLAIM`: a claim of the token that the listener verified, by name or JSON Pointer.
    Jwt(String),
}

/// Why a text names no attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Nothing of that name exists.
    #[error("unknown attribute {0:?}")]
    Unknown(String),
    /// The name after the colon is missing.
    #[error("{0:?} lacks a name after the colon")]
    Nameless(String),
    /// The header's name is not a token (RFC 9110 §5.6.2).
    #[error("{0:?} is not a header name")]
    HeaderName(String),
}

impl Attribute {
    /// Whether the value is the client's own word, which an untrusted peer may not force a decision by.
    #[must_use]
    pub fn is_claim(&self) -> bool {
        matches!(self, Attribute::Header(_) | Attribute::Cookie(_) | Attribute::Query(_) | Attribute::Context(_))
    }

    /// Whether users differ in it, so that it can be an assignment key.
    #[must_use]
    pub fn identifies(&self) -> bool {
        !matches!(self, Attribute::Method | Attribute::Path | Attribute::Host)
    }

    /// The attribute's value; `None` when it is absent, empty or not UTF-8.
    #[must_use]
    #[inline]
    pub fn read<'a>(&self, asking: &'a Asking<'_>) -> Option<Cow<'a, str>> {
        match self {
            Attribute::Query(name) => query(asking.query?, name),
            Attribute::Ip => Some(Cow::Owned(asking.caller.ip.to_string())),
            held => held.held(asking).map(Cow::Borrowed),
        }
    }

    /// The value of an attribute that nothing has to be made for. It comes in registers: a larger answer would go
    /// through memory, and cost as much again as finding it.
    fn held<'a>(&self, asking: &'a Asking<'_>) -> Option<&'a str> {
        let value = match self {
            Attribute::Header(name) => return text(asking.headers.get(name)?),
            Attribute::Cookie(name) => cookie(asking.headers, name)?,
            Attribute::Method => asking.method.as_str(),
            Attribute::Path => asking.path,
            Attribute::Host => &asking.host,
            Attribute::Jwt(name) => asking.claims?.get(name)?.as_str()?,
            Attribute::Consumer => asking.consumer?,
            Attribute::Query(_) | Attribute::Ip | Attribute::Context(_) => return None,
        };
        (!value.is_empty()).then_some(value)
    }
}

impl FromStr for Attribute {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Attribute, AttributeError> {
        let Some((kind, name)) = text.split_once(':') else {
            return match text {
                "method" => Ok(Attribute::Method),
                "path" => Ok(Attribute::Path),
                "host" => Ok(Attribute::Host),
                "ip" => Ok(Attribute::Ip),
                "consumer" => Ok(Attribute::Consumer),
                _ => Err(AttributeError::Unknown(text.to_owned())),
            };
        };
        if !matches!(kind, "header" | "cookie" | "query" | "context" | "jwt") {
            return Err(AttributeError::Unknown(text.to_owned()));
        }
        if name.is_empty() {
            return Err(AttributeError::Nameless(text.to_owned()));
        }
        match kind {
            "header" => match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => Ok(Attribute::Header(name)),
                Err(_not_a_token) => Err(AttributeError::HeaderName(name.to_owned())),
            },
            "cookie" => Ok(Attribute::Cookie(name.to_owned())),
            "context" => Ok(Attribute::Context(name.to_owned())),
            "jwt" => Ok(Attribute::Jwt(name.to_owned())),
            _ => Ok(Attribute::Query(name.to_owned())),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Header(name) => write!(f, "header:{name}"),
            Attribute::Cookie(name) => write!(f, "cookie:{name}"),
            Attribute::Query(name) => write!(f, "query:{name}"),
            Attribute::Method => f.write_str("method"),
            Attribute::Path => f.write_str("path"),
            Attribute::Host => f.write_str("host"),
            Attribute::Ip => f.write_str("ip"),
            Attribute::Consumer => f.write_str("consumer"),
            Attribute::Context(name) => write!(f, "context:{name}"),
            Attribute::Jwt(name) => write!(f, "jwt:{name}"),
        }
    }
}

/// What a field says, without the blanks around it; `None` when that is nothing. Nearly all is plain letters, for
/// which there is a shorter look.
fn text(field: &HeaderValue) -> Option<&str> {
    let text = field.to_str().ok().or_else(|| std::str::from_utf8(field.as_bytes()).ok())?;
    Some(text.trim_ascii()).filter(|text| !text.is_empty())
}

/// The first cookie of that name (RFC 6265 §4.2.1: `name=value` pairs divided by `; `).
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(header::COOKIE).into_iter().find_map(|field| {
        let mut pairs = field.as_bytes();
        loop {
            let pair = pairs.trim_ascii_start();
            if let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
                let end = memchr(b';', value).unwrap_or(value.len());
                return Some(value[..end].trim_ascii_end());
            }
            pairs = &pairs[memchr(b';', pairs)? + 1..];
        }
    });
    std::str::from_utf8(value?).ok()
}

/// The first query parameter of that name, read as `application/x-www-form-urlencoded`; `None` when it is empty.
fn query<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let all_plain = is_plain(query.as_bytes());
    let named = |key: &[u8]| {
        if all_plain || is_plain(key) {
            return key == name.as_bytes();
        }
        form_decoded(key).is_some_and(|key| key == name)
    };
    let mut pairs = query.as_bytes();
    loop {
        let end = memchr(b'&', pairs).unwrap_or(pairs.len());
        let pair = &pairs[..end];
        let key = memchr(b'=', pair).unwrap_or(pair.len());
        if named(&pair[..key]) {
            return form_decoded(pair.get(key + 1..)?).filter(|value| !value.is_empty());
        }
        pairs = pairs.get(end + 1..)?;
    }
}

fn form_decoded(text: &[u8]) -> Option<Cow<'_, str>> {
    if is_plain(text) {
        return std::str::from_utf8(text).ok().map(Cow::Borrowed);
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaced).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

/// Whether nothing in it stands for something else.
fn is_plain(text: &[u8]) -> bool {
    memchr2(b'+', b'%', text).is_none()
}
