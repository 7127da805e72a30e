//! How a connection ends: a client is asked to go, a service is left, or one of them is gone.

use super::{Peer, Session};
use crate::proxy::http2::{
    fault::StreamFault,
    frame::{self, Code},
};

/// What a client is asked to send back when it is told to go.
pub(super) const FAREWELL: [u8; 8] = *b"farewell";

/// How far the client was told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    None,
    /// It was told, and streams that it began before it knew are welcome.
    Told,
    /// Streams above this one are passed over.
    Last(u32),
}

impl Session {
    /// Asks the client to go: first with room for what it began before it knew (RFC 9113 §6.8).
    pub(in crate::proxy::http2) fn bid_farewell(&mut self) {
        if self.farewell == Farewell::None {
            self.farewell = Farewell::Told;
            self.write_goaway(frame::STREAM_MAX, Code::NoError);
            frame::write(self.outbox.tail(), frame::PING, 0, frame::CONNECTION, &FAREWELL);
            self.wake_driver();
        }
    }

    /// It was asked to go a while ago: what it began before it knew has come by now.
    pub(in crate::proxy::http2) fn insist(&mut self) {
        if self.farewell == Farewell::Told {
            self.set_last();
        }
    }

    pub(super) fn set_last(&mut self) {
        self.farewell = Farewell::Last(self.last);
        self.write_goaway(self.last, Code::NoError);
        self.wake_driver();
    }

    /// Whether all is said that will be, and the peer knows. Streams that rest are not waited for.
    pub(in crate::proxy::http2) fn is_done(&self) -> bool {
        matches!(self.farewell, Farewell::Last(_)) && self.streams.busy() == 0 && self.outbox.is_empty()
    }

    /// Ends it: nothing goes on from here on.
    pub(in crate::proxy::http2) fn end(&mut self, code: Code) {
        let last = match (self.farewell, &self.peer) {
            // It began nothing.
            (_, Peer::Service(_)) => 0,
            (Farewell::Last(last), _) => last,
            _ => self.last,
        };
        self.farewell = Farewell::Last(last);
        self.write_goaway(last, code);
        self.lose(StreamFault::Rules(code.into()));
    }

    /// Nothing is asked of a service any more: it is told so.
    pub(in crate::proxy) fn leave(&mut self) {
        if self.lost.is_none() {
            self.farewell = Farewell::Last(0);
            self.write_goaway(0, Code::NoError);
            self.lose(StreamFault::GivenUp);
            self.wake_driver();
        }
    }

    /// The connection is gone, for whoever is left on it.
    pub(in crate::proxy) fn lose(&mut self, fault: StreamFault) {
        self.lost.get_or_insert(fault);
        self.streams.close_all(fault);
        self.line.clear();
        if let Peer::Service(service) = &mut self.peer {
            service.wake_all();
        }
    }

    fn write_goaway(&mut self, last: u32, code: Code) {
        let payload = [last.to_be_bytes(), (code as u32).to_be_bytes()].concat();
        frame::write(self.outbox.tail(), frame::GOAWAY, 0, frame::CONNECTION, &payload);
    }
}
