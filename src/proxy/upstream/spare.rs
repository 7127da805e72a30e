//! Spares: what is kept of a request for sending it again.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use http::{Request, header};

use super::{lease::Lease, tape::Reel};
use crate::{plan::Retries, proxy::body::Outbound};

/// What is kept of a request that is sent.
#[derive(Debug)]
pub(super) struct Spare {
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
        Spare { body, idempotent }
    }

    /// Whether sending it twice does no more than sending it once (RFC 9110 §9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether enough of it was kept, so far.
    pub(super) fn is_whole(&self) -> bool {
        match &self.body {
            SpareBody::Empty | SpareBody::Whole(_) => true,
            SpareBody::Reel(reel) => reel.borrow().is_whole(),
            SpareBody::Gone => false,
        }
    }

    /// Makes the request what it was before it was sent; `false` when too little of it was kept.
    pub(super) fn restore(&self, request: &mut Request<Outbound>) -> bool {
        let body = match &self.body {
            SpareBody::Empty => Some(Outbound::Empty),
            SpareBody::Whole(bytes) => Some(Outbound::Whole(bytes.clone())),
            SpareBody::Reel(reel) => Reel::play(reel).map(Outbound::Taped),
            SpareBody::Gone => None,
        };
        let Some(body) = body else { return false };
        *request.body_mut() = body;
        // What is agreed with one connection is not with the next.
        for name in [header::CONNECTION, header::UPGRADE, header::EXPECT] {
            request.headers_mut().remove(name);
        }
        true
    }

    /// An answer has begun: it will not be sent again.
    pub(super) fn forget(self) {
        if let SpareBody::Reel(reel) = self.body {
            reel.borrow_mut().forget();
        }
    }
}
