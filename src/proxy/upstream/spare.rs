//! Spares: what is kept of a request for sending it again.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, request};

use super::{lease::Lease, tape::Reel};
use crate::{plan::Retries, proxy::body::Outbound};

/// What is kept of a request that is sent.
#[derive(Debug)]
pub(super) struct Spare {
    /// Its head. A common request has none: should a kept connection prove stale, its head is read back
    /// from what was written, since a copy of every head would cost more than all else here.
    head: Option<Box<request::Parts>>,
    body: SpareBody,
    idempotent: bool,
}

#[derive(Debug)]
enum SpareBody {
    Empty,
    Whole(Bytes),
    Reel(Rc<RefCell<Reel>>),
    Gone,
}

impl Spare {
    /// Keeps what could be needed of a request that is about to be sent. Where no retries are configured,
    /// `replay_bytes_max` of the body are kept for connections that may refuse what was sent to them, and for
    /// methods that may be repeated.
    pub(super) fn keep(
        request: &mut Request<Outbound>,
        lease: &Lease,
        retries: Option<&Retries>,
        replay_bytes_max: usize,
    ) -> Spare {
        let idempotent = request.method().is_idempotent();
        let retries = retries.filter(|retries| idempotent || retries.any_method);
        let head = (retries.is_some() || lease.is_http2()).then(|| Box::new(head_of(request)));
        let bytes_max = match retries {
            Some(retries) => retries.body_bytes_max,
            None if idempotent || lease.is_http2() => replay_bytes_max,
            None => 0,
        };
        let (sent, body) = match std::mem::take(request.body_mut()) {
            Outbound::Empty => (Outbound::Empty, SpareBody::Empty),
            Outbound::Whole(bytes) => (Outbound::Whole(bytes.clone()), SpareBody::Whole(bytes)),
            Outbound::Stream(stream) if bytes_max > 0 => {
                let reel = Reel::record(stream, bytes_max);
                match Reel::play(&reel) {
                    Some(tape) => (Outbound::Taped(tape), SpareBody::Reel(reel)),
                    None => (Outbound::Empty, SpareBody::Gone),
                }
            }
            Outbound::Stream(stream) => (Outbound::Stream(stream), SpareBody::Gone),
            Outbound::Taped(tape) => {
                let reel = tape.reel();
                (Outbound::Taped(tape), SpareBody::Reel(reel))
            }
        };
        *request.body_mut() = sent;
        Spare { head, body, idempotent }
    }

    /// Whether sending it twice does no more than sending it once (RFC 9110 §9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// The request once more, unless too little of it was kept.
    pub(super) fn again(&self, lease: &Lease) -> Option<Request<Outbound>> {
        let head = match &self.head {
            Some(head) => request::Parts::clone(head),
            None => lease.kept(read_back)?,
        };
        let body = match &self.body {
            SpareBody::Empty => Outbound::Empty,
            SpareBody::Whole(bytes) => Outbound::Whole(bytes.clone()),
            SpareBody::Reel(reel) => Outbound::Taped(Reel::play(reel)?),
            SpareBody::Gone => return None,
        };
        Some(Request::from_parts(head, body))
    }

    /// An answer has begun: it will not be sent again.
    pub(super) fn forget(self) {
        if let SpareBody::Reel(reel) = self.body {
            reel.borrow_mut().forget();
        }
    }
}

fn head_of(request: &Request<Outbound>) -> request::Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    head.extensions = request.extensions().clone();
    head
}

/// A head from its bytes. weir wrote them itself, so that nothing in them can be odd.
fn read_back(bytes: &[u8]) -> Option<request::Parts> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let lines = memchr::memchr_iter(b'\n', &bytes[..end]).count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut read = httparse::Request::new(&mut fields);
    read.parse(&bytes[..end]).ok()?;
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = Method::from_bytes(read.method?.as_bytes()).ok()?;
    head.uri = Uri::try_from(read.path?).ok()?;
    for field in read.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        // hyper frames the body itself, each time; and what is agreed with one connection is not with the next.
        if !matches!(name, header::TRANSFER_ENCODING | header::CONNECTION | header::UPGRADE | header::EXPECT) {
            head.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_as_it_was_written() {
        let bytes = b"PUT /a?b=%20 HTTP/1.1\r\nhost: shop\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 4\r\n\r\nbody";
        let head = read_back(bytes).unwrap();
        assert_eq!((head.method, head.uri.to_string()), (Method::PUT, "/a?b=%20".to_owned()));
        let fields: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("host", &b"shop"[..]), ("x-a", b"1"), ("x-a", b"2"), ("content-length", b"4")]);
    }

    #[test]
    fn half_a_head_is_none() {
        assert!(read_back(b"GET / HTTP/1.1\r\nhost: shop\r\n").is_none());
        assert!(read_back(b"").is_none());
    }
}
