//! A connection of HTTP/2 without its socket (RFC 9113): bytes go in, requests come out; answers go in, bytes come out.
//!
//! *Invariants*
//! - A block of fields is decoded whatever becomes of its stream: the table that the next one is read with depends on it.
//! - What a client may make weir hold is bounded: bodies by the windows that it was given, a head by `head_bytes_max`,
//!   answers by `http2_send_bytes_max` for all of them, and what it has to be told by [`Session::wants_more`].
//! - A stream that has failed is told once, and passes nothing on that looks whole.

mod answering;
mod heads;
mod receiving;
mod streams;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    task::{Context, Waker},
};

use tokio::task::AbortHandle;

pub(super) use self::answering::Gone;
pub(super) use self::streams::{Key, Stream};
use self::{
    heads::{Block, take_priority},
    streams::Streams,
};
use super::{
    frame::{self, Code, Head, PREFACE},
    head::Asked,
    hpack::{Decoder, Encoder},
    outbox::Outbox,
};
use crate::proxy::received::BodyFault;

/// So much may wait for a client beside what its answers' bodies may: heads, and what it has brought about. No more is
/// read of one that does not read.
const OWED_BYTES_MAX: usize = 16 << 10;

/// So many streams that nobody listens to are remembered at least: as many as a client begins before it knows better.
const PASSED_OVER_MIN: usize = 256;

/// What a client is asked to send back when it is told to go.
const FAREWELL: [u8; 8] = *b"farewell";

/// What a client is asked to send back to show that it is there.
const SIGN_OF_LIFE: [u8; 8] = *b"alive?\0\0";

/// What a client is held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) streams_max: u32,
    pub(super) head_bytes_max: usize,
    pub(super) trailer_bytes_max: usize,
    pub(super) fields_max: usize,
    pub(super) frame_bytes_max: u32,
    pub(super) stream_window_bytes: u32,
    pub(super) connection_window_bytes: u32,
    pub(super) send_bytes_max: usize,
    pub(super) resets_max: usize,
    pub(super) cancels_max: usize,
}

/// What became of a connection so far.
#[derive(Debug)]
pub(super) struct Session {
    terms: Terms,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    /// The preface has come, and settings behind it.
    greeted: Greeting,
    /// The client has taken notice of what it may do.
    knows_terms: bool,
    /// A head of which more has to come before anything else.
    block: Option<Block>,
    /// The greatest stream that was taken notice of.
    last: u32,
    /// What the client may still send of bodies, and what it was not told yet that it may.
    window: i64,
    unreturned: u32,
    /// What was added to windows of streams.
    grown: u32,
    /// What it takes of bodies, and of one frame; what its streams begin with.
    its_window: i64,
    its_frame_bytes_max: usize,
    its_stream_window: u32,
    /// Streams that have something to send, in the order in which they may.
    line: VecDeque<Key>,
    outbox: Outbox,
    /// Streams that nobody listens to.
    passed_over: BTreeSet<u32>,
    /// The same in the order in which they became that.
    passed_over_since: VecDeque<u32>,
    faults: usize,
    /// Streams that the client reset in this turn before anybody had a look at them.
    at_once: usize,
    begun: u64,
    cancelled: u64,
    farewell: Farewell,
    /// A sign of life is asked for.
    asked: bool,
    /// Whoever reads and writes the socket.
    driver: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    /// So many bytes of the preface have come.
    Preface(usize),
    Settings,
    Done,
}

/// How far the client was told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    None,
    /// It was told, and streams that it began before it knew are welcome.
    Told,
    /// Streams above this one are passed over.
    Last(u32),
}

/// A request that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) key: Key,
    pub(super) asked: Asked,
    /// It has no body.
    pub(super) ended: bool,
}

impl Session {
    /// A fresh one, which has told the client what it may do.
    pub(super) fn new(terms: Terms) -> Session {
        // A connection's window is never smaller than what it begins with.
        let connection_window_bytes = terms.connection_window_bytes.max(frame::WINDOW_FIRST);
        let terms = Terms { connection_window_bytes, ..terms };
        let mut session = Session {
            terms,
            decoder: Decoder::default(),
            encoder: Encoder::new(),
            streams: Streams::default(),
            greeted: Greeting::Preface(0),
            knows_terms: false,
            block: None,
            last: 0,
            window: i64::from(connection_window_bytes),
            unreturned: 0,
            grown: 0,
            its_window: i64::from(frame::WINDOW_FIRST),
            its_frame_bytes_max: frame::PAYLOAD_BYTES_MIN,
            its_stream_window: frame::WINDOW_FIRST,
            line: VecDeque::new(),
            outbox: Outbox::default(),
            passed_over: BTreeSet::new(),
            passed_over_since: VecDeque::new(),
            faults: 0,
            at_once: 0,
            begun: 0,
            cancelled: 0,
            farewell: Farewell::None,
            asked: false,
            driver: None,
        };
        session.greet();
        session
    }

    fn greet(&mut self) {
        let Terms { streams_max, head_bytes_max, frame_bytes_max, stream_window_bytes, .. } = self.terms;
        let settings = [
            (frame::setting::STREAMS_MAX, streams_max),
            (frame::setting::WINDOW, stream_window_bytes),
            (frame::setting::FRAME_BYTES_MAX, frame_bytes_max),
            (frame::setting::HEAD_BYTES_MAX, u32::try_from(head_bytes_max).unwrap_or(u32::MAX)),
            // Whether a route lets its clients have a tunnel is told by its answer (RFC 8441 §3).
            (frame::setting::EXTENDED_CONNECT, 1),
        ];
        let out = self.outbox.tail();
        Head { length: 6 * settings.len(), kind: frame::SETTINGS, flags: 0, stream: frame::CONNECTION }.write(out);
        for (id, value) in settings {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        let more = self.terms.connection_window_bytes - frame::WINDOW_FIRST;
        if more > 0 {
            frame::write(out, frame::WINDOW_UPDATE, 0, frame::CONNECTION, &more.to_be_bytes());
        }
    }

    /// Takes in what was read, up to a request that begins: gives how many bytes that were, none of a frame that is
    /// not there as a whole.
    ///
    /// # Errors
    /// What the connection has to end for.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Begun>), Code> {
        let mut at = self.take_preface(bytes)?;
        while let Some(head) = Head::read(&bytes[at..]) {
            if head.length > self.terms.frame_bytes_max as usize {
                return Err(Code::FrameSize);
            }
            let from = at + frame::HEAD_BYTES;
            let Some(payload) = bytes.get(from..from + head.length) else { break };
            at = from + head.length;
            if let Some(begun) = self.take_frame(&head, payload)? {
                return Ok((at, Some(begun)));
            }
        }
        Ok((at, None))
    }

    fn take_preface(&mut self, bytes: &[u8]) -> Result<usize, Code> {
        let Greeting::Preface(known) = self.greeted else { return Ok(0) };
        let rest = &PREFACE[known..];
        let taken = rest.len().min(bytes.len());
        if bytes[..taken] != rest[..taken] {
            return Err(Code::Protocol);
        }
        self.greeted = if taken == rest.len() { Greeting::Settings } else { Greeting::Preface(known + taken) };
        Ok(taken)
    }

    fn take_frame(&mut self, head: &Head, payload: &[u8]) -> Result<Option<Begun>, Code> {
        if self.greeted != Greeting::Done {
            let greets = self.greeted == Greeting::Settings && head.kind == frame::SETTINGS && !head.has(frame::ACK);
            if !greets {
                return Err(Code::Protocol);
            }
            self.greeted = Greeting::Done;
        }
        if self.block.is_some() && head.kind != frame::CONTINUATION {
            return Err(Code::Protocol);
        }
        match head.kind {
            frame::DATA => self.take_data(head, payload)?,
            frame::HEADERS => return self.take_headers(head, payload),
            frame::CONTINUATION => return self.take_continuation(head, payload),
            frame::RESET => self.take_reset(head, payload)?,
            frame::SETTINGS => self.take_settings(head, payload)?,
            frame::PING => self.take_ping(head, payload)?,
            frame::WINDOW_UPDATE => self.take_window(head, payload)?,
            frame::PRIORITY => take_priority(head, payload)?,
            frame::GOAWAY if head.stream != frame::CONNECTION => return Err(Code::Protocol),
            frame::GOAWAY if payload.len() < 8 => return Err(Code::FrameSize),
            // Clients push nothing.
            frame::PUSH_PROMISE => return Err(Code::Protocol),
            // A client that goes closes the connection when it has its answers. Of kinds that nobody knows nothing
            // is made (RFC 9113 §5.5).
            _ => {}
        }
        Ok(None)
    }

    fn take_ping(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != frame::CONNECTION {
            return Err(Code::Protocol);
        }
        let payload: &[u8; 8] = payload.try_into().map_err(|_length| Code::FrameSize)?;
        if !head.has(frame::ACK) {
            self.tell(frame::PING, frame::ACK, frame::CONNECTION, payload);
        } else if *payload == FAREWELL && self.farewell == Farewell::Told {
            self.set_last();
        }
        Ok(())
    }

    /// Puts a short frame in line that the client has brought about.
    fn tell(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        frame::write(self.outbox.tail(), kind, flags, stream, payload);
        self.wake_driver();
    }

    fn tell_reset(&mut self, stream: u32, code: Code) {
        self.tell(frame::RESET, 0, stream, &(code as u32).to_be_bytes());
        self.pass_over(stream);
    }

    /// What comes on a stream from now on was sent before the client knew that nobody listens. So many are remembered
    /// as there may be under way.
    fn pass_over(&mut self, stream: u32) {
        if self.passed_over.insert(stream) {
            self.passed_over_since.push_back(stream);
        }
        if self.passed_over.len() > PASSED_OVER_MIN.max(self.terms.streams_max as usize)
            && let Some(oldest) = self.passed_over_since.pop_front()
        {
            self.passed_over.remove(&oldest);
        }
    }

    fn is_passed_over(&self, stream: u32) -> bool {
        self.passed_over.contains(&stream)
    }

    /// Resets a stream for a fault of the client's; one that has many is not heard any longer.
    fn fault(&mut self, stream: u32, code: Code) -> Result<(), Code> {
        self.tell_reset(stream, code);
        self.faults += 1;
        if self.faults > self.terms.resets_max { Err(Code::EnhanceYourCalm) } else { Ok(()) }
    }

    /// The same, for one that is open.
    fn fail(&mut self, key: Key, code: Code, fault: BodyFault) -> Result<(), Code> {
        let id = self.streams[key].id;
        self.break_off(key, fault);
        self.fault(id, code)
    }

    /// Ends a stream where it stands, and whatever works on it.
    fn break_off(&mut self, key: Key, fault: BodyFault) {
        self.grown -= std::mem::take(&mut self.streams[key].grown);
        let given_back = self.streams.close(key, fault);
        self.give_back(given_back);
        self.leave_line(key);
    }

    // Whoever drives it.

    /// Whether more may be read of the client.
    pub(super) fn wants_more(&self) -> bool {
        self.outbox.len() < self.terms.send_bytes_max.saturating_add(OWED_BYTES_MAX)
    }

    /// A turn begins: whoever works on a stream had one.
    pub(super) fn begin_turn(&mut self, cx: &Context<'_>) {
        self.at_once = 0;
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
    }

    /// What is to be written.
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Some of it was.
    pub(super) fn written(&mut self, bytes: usize) {
        self.outbox.advance(bytes);
        self.pass_on();
    }

    /// Whoever works on a stream can be ended by this.
    pub(super) fn works_on(&mut self, key: Key, task: AbortHandle) {
        self.streams[key].task = Some(task);
    }

    /// How many streams are open, and how many were begun and cancelled so far.
    pub(super) fn counts(&self) -> (usize, u64, u64) {
        (self.streams.open(), self.begun, self.cancelled)
    }

    /// Honest clients cancel too: only one that cancels most of very many requests is asked to go.
    pub(super) fn cancels_most(&self) -> bool {
        self.cancelled > self.terms.cancels_max as u64 && self.cancelled * 2 > self.begun
    }

    /// Asks the client to go: first with room for what it began before it knew (RFC 9113 §6.8).
    pub(super) fn bid_farewell(&mut self) {
        if self.farewell == Farewell::None {
            self.farewell = Farewell::Told;
            self.write_goaway(frame::STREAM_MAX, Code::NoError);
            frame::write(self.outbox.tail(), frame::PING, 0, frame::CONNECTION, &FAREWELL);
            self.wake_driver();
        }
    }

    /// It was asked to go a while ago: what it began before it knew has come by now.
    pub(super) fn insist(&mut self) {
        if self.farewell == Farewell::Told {
            self.set_last();
        }
    }

    fn set_last(&mut self) {
        self.farewell = Farewell::Last(self.last);
        self.write_goaway(self.last, Code::NoError);
        self.wake_driver();
    }

    /// Asks the client for a sign of life; `false` when it gave none since it was asked.
    pub(super) fn ask_for_life(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.asked, true);
        if first {
            frame::write(self.outbox.tail(), frame::PING, 0, frame::CONNECTION, &SIGN_OF_LIFE);
            self.wake_driver();
        }
        first
    }

    /// The client is there.
    pub(super) fn heard(&mut self) {
        self.asked = false;
    }

    /// Whether everything is done, and the client knows that nothing more will be.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.farewell, Farewell::Last(_)) && self.streams.open() == 0 && self.outbox.is_empty()
    }

    /// Ends it: nothing goes on from here on.
    pub(super) fn end(&mut self, code: Code) {
        let last = if let Farewell::Last(last) = self.farewell { last } else { self.last };
        self.farewell = Farewell::Last(last);
        self.write_goaway(last, code);
        self.lose();
    }

    /// The connection is gone.
    pub(super) fn lose(&mut self) {
        self.streams.close_all();
        self.line.clear();
    }

    fn write_goaway(&mut self, last: u32, code: Code) {
        let payload = [last.to_be_bytes(), (code as u32).to_be_bytes()].concat();
        frame::write(self.outbox.tail(), frame::GOAWAY, 0, frame::CONNECTION, &payload);
    }

    fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }
}
