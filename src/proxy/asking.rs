//! Reads who asks and for what from a request's head.

use std::{borrow::Cow, net::IpAddr, rc::Rc};

use http::{HeaderMap, HeaderValue, Method, header, request};

use super::{framing::is_authority, headers::X_FORWARDED_FOR, rejection::Rejection};
use crate::{
    identity::{Asking, Caller, Claims, canonical_host},
    plan::Listener,
};

/// The peer on a client's connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) ip: IpAddr,
    /// The same, as header fields show it.
    pub(super) ip_text: HeaderValue,
    /// The listener's place in the plan that the process started with.
    pub(super) listener: usize,
    /// Whether the connection is TLS.
    pub(super) secure: bool,
    /// What the client's verified certificate names it.
    pub(super) consumer: Option<Rc<str>>,
    /// Whether it speaks HTTP/1, whose heads are judged before anything is made of them.
    pub(super) http1: bool,
}

/// What is special about a request of HTTP/1, by an extension of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It asks for another protocol; nothing behind it is looked at before its answer.
    Upgrade,
    /// `OPTIONS` for the whole server in absolute form (RFC 9112 §3.2.4).
    ServerWide,
}

impl Peer {
    /// The scheme of what it asks for.
    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// What a decision may look at of a request that came by a connection.
pub(super) fn of<'a>(
    head: &'a request::Parts,
    peer: &'a Peer,
    listener: &Listener,
    claims: Option<&'a Claims>,
) -> Result<Asking<'a>, Rejection> {
    let host = host(head, peer.http1)?;
    asking(head, host, (peer.ip, peer.consumer.as_deref()), listener, claims)
}

/// What a decision may look at. The host is that of the target, else of the one `Host` field
/// (RFC 9112 §3.2); none, several or an empty one is a rejection.
///
/// # Errors
/// [`Rejection::BadHost`], and [`Rejection::MethodNotSupported`] for CONNECT.
pub fn read<'a>(
    head: &'a request::Parts,
    peer: IpAddr,
    consumer: Option<&'a str>,
    listener: &Listener,
    claims: Option<&'a Claims>,
) -> Result<Asking<'a>, Rejection> {
    asking(head, host(head, false)?, (peer, consumer), listener, claims)
}

fn asking<'a>(
    head: &'a request::Parts,
    host: Cow<'a, str>,
    (peer, consumer): (IpAddr, Option<&'a str>),
    listener: &Listener,
    claims: Option<&'a Claims>,
) -> Result<Asking<'a>, Rejection> {
    if head.method == Method::CONNECT {
        return Err(Rejection::MethodNotSupported);
    }
    let caller = caller(&head.headers, peer, listener);
    Ok(Asking {
        method: &head.method,
        host,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
        caller,
        claims,
        consumer,
    })
}

/// The host, whose form was `judged` before or is now.
fn host(head: &request::Parts, judged: bool) -> Result<Cow<'_, str>, Rejection> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => Some(field.to_str().map_err(|_not_ascii| Rejection::BadHost)?),
        (None, None) if head.version < http::Version::HTTP_11 => None,
        _ => return Err(Rejection::BadHost),
    };
    let authority = head.uri.authority().map(http::uri::Authority::as_str).or(field).unwrap_or_default();
    let odd = || !authority.is_empty() && !is_authority(authority.as_bytes());
    if field.is_some_and(str::is_empty) || !judged && odd() {
        return Err(Rejection::BadHost);
    }
    Ok(canonical_host(authority))
}

/// The client: the peer itself, or behind trusted peers the last address in `X-Forwarded-For` that is
/// not one of theirs; the first one when all are.
fn caller(headers: &HeaderMap, peer: IpAddr, listener: &Listener) -> Caller {
    let trusted = listener.trusts(peer);
    let forwarded = || {
        let fields = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
        let mut first = None;
        // What stands before something that is no address was written by nobody who is trusted.
        for hop in hops.map_while(|hop| std::str::from_utf8(hop).ok()?.trim().parse::<IpAddr>().ok()) {
            first = Some(hop);
            if !listener.trusts(hop) {
                break;
            }
        }
        first
    };
    let ip = if trusted { forwarded().unwrap_or(peer) } else { peer };
    Caller { ip, trusted, client_trusted: trusted && listener.trusts(ip) }
}
