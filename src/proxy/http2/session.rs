//! A connection of HTTP/2 without its socket (RFC 9113), with a client or with a service: bytes go in, requests or
//! answers come out; answers or requests go in, bytes come out.
//!
//! *Invariants*
//! - A block of fields is decoded whatever becomes of its stream: the table that the next one is read with depends on it.
//! - What a peer may make weir hold is bounded: bodies by the windows that it was given, a head by `head_bytes_max`,
//!   what waits to be sent by `send_bytes_max` for all streams, and what it has to be told by [`Session::wants_more`].
//! - A stream that has failed is told once, and passes nothing on that looks whole.

mod asking;
mod farewell;
mod heads;
mod owed;
mod receiving;
mod saying;
mod streams;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    task::{Context, Waker},
};

use tokio::task::AbortHandle;

pub(super) use self::streams::Key;
use self::{
    asking::Service,
    farewell::{FAREWELL, Farewell},
    heads::{Block, take_priority},
    owed::Owed,
    streams::{Stream, Streams},
};
pub(in crate::proxy) use self::{
    asking::{Question, Told},
    saying::Gone,
};
use super::{
    fault::StreamFault,
    frame::{self, Code, Head, PREFACE},
    head::Asked,
    hpack::{Decoder, Encoder},
    outbox::Outbox,
};
use crate::proxy::received::BodyFault;

/// So much may wait for a peer beside what bodies may: what it has brought about; and heads, where it is a client that
/// has brought about them. No more is read of one that does not read.
const OWED_BYTES_MAX: usize = 16 << 10;

/// So many streams that nobody listens to are remembered at least: as many as a client begins before it knows better.
const PASSED_OVER_MIN: usize = 256;

/// What a peer is asked to send back to show that it is there.
const SIGN_OF_LIFE: [u8; 8] = *b"alive?\0\0";

/// What a peer is held to.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Terms {
    pub(in crate::proxy) head_bytes_max: usize,
    pub(in crate::proxy) trailer_bytes_max: usize,
    pub(in crate::proxy) fields_max: usize,
    pub(in crate::proxy) frame_bytes_max: u32,
    pub(in crate::proxy) stream_window_bytes: u32,
    pub(in crate::proxy) connection_window_bytes: u32,
    /// What windows of streams may grow by, together.
    pub(in crate::proxy) growth_bytes_max: u32,
    pub(in crate::proxy) send_bytes_max: usize,
}

/// What a client is held to beside that: how much it may ask for at once, and how much of it for nothing.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Conduct {
    pub(in crate::proxy) streams_max: u32,
    pub(in crate::proxy) resets_max: usize,
    pub(in crate::proxy) cancels_max: usize,
}

/// What became of a connection so far.
#[derive(Debug)]
pub(in crate::proxy) struct Session {
    terms: Terms,
    peer: Peer,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    /// What the peer has to begin with has come.
    greeted: Greeting,
    /// The peer has taken notice of what it may do.
    knows_terms: bool,
    /// A head of which more has to come before anything else.
    block: Option<Block>,
    /// The greatest stream that was taken notice of.
    last: u32,
    /// What the peer may still send of bodies, and what it was not told yet that it may.
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
    pinged: bool,
    /// How often something came.
    heard: u64,
    /// Bytes that were written so far.
    written: u64,
    /// What waits to be written that a service has brought about.
    owed: Owed,
    /// Why the connection is gone.
    lost: Option<StreamFault>,
    /// Whoever reads and writes the socket.
    driver: Option<Waker>,
    /// It has its turn: what is said now is written at its end.
    driven: bool,
}

/// Who is at the other end.
#[derive(Debug)]
enum Peer {
    /// It asks.
    Client(Conduct),
    /// It is asked.
    Service(Service),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    /// So many bytes of the preface have come.
    Preface(usize),
    Settings,
    Done,
}

/// A request that has begun.
#[derive(Debug)]
pub(in crate::proxy) struct Begun {
    pub(super) key: Key,
    pub(super) asked: Asked,
    /// It has no body.
    pub(super) ended: bool,
}

impl Session {
    /// A fresh one with a client, which is told what it may do.
    pub(super) fn with_client(terms: Terms, conduct: Conduct) -> Session {
        Session::new(terms, Peer::Client(conduct), Greeting::Preface(0))
    }

    /// A fresh one with a service, which is told what it may do, and that it may have so many interim responses before
    /// each answer.
    pub(in crate::proxy) fn with_service(terms: Terms, interims_max: usize) -> Session {
        Session::new(terms, Peer::Service(Service::new(interims_max)), Greeting::Settings)
    }

    fn new(terms: Terms, peer: Peer, greeted: Greeting) -> Session {
        // A connection's window is never smaller than what it begins with.
        let connection_window_bytes = terms.connection_window_bytes.max(frame::WINDOW_FIRST);
        let terms = Terms { connection_window_bytes, ..terms };
        let mut session = Session {
            terms,
            peer,
            decoder: Decoder::default(),
            encoder: Encoder::new(),
            streams: Streams::default(),
            greeted,
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
            pinged: false,
            heard: 0,
            written: 0,
            owed: Owed::default(),
            lost: None,
            driver: None,
            driven: false,
        };
        session.greet();
        session
    }

    fn greet(&mut self) {
        let Terms { head_bytes_max, frame_bytes_max, stream_window_bytes, .. } = self.terms;
        let own = match self.peer {
            // Whether a route lets its clients have a tunnel is told by its answer (RFC 8441 §3).
            Peer::Client(Conduct { streams_max, .. }) => {
                [(frame::setting::STREAMS_MAX, streams_max), (frame::setting::EXTENDED_CONNECT, 1)]
            }
            Peer::Service(_) => [(frame::setting::STREAMS_MAX, 0), (frame::setting::PUSH, 0)],
        };
        let both = [
            (frame::setting::WINDOW, stream_window_bytes),
            (frame::setting::FRAME_BYTES_MAX, frame_bytes_max),
            (frame::setting::HEAD_BYTES_MAX, u32::try_from(head_bytes_max).unwrap_or(u32::MAX)),
        ];
        let settings = [&own[..], &both].concat();
        let out = self.outbox.tail();
        if let Peer::Service(_) = self.peer {
            out.extend_from_slice(PREFACE);
        }
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
    /// not there as a whole. Services begin none.
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

    fn is_greeted(&self) -> bool {
        self.greeted == Greeting::Done
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
        if !self.is_greeted() {
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
            frame::GOAWAY => self.take_goaway(head, payload)?,
            // Clients push nothing, and services may not.
            frame::PUSH_PROMISE => return Err(Code::Protocol),
            // Of kinds that nobody knows nothing is made (RFC 9113 §5.5).
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

    /// Puts a short frame in line that the peer has brought about.
    fn tell(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        frame::write(self.outbox.tail(), kind, flags, stream, payload);
        if let Peer::Service(_) = self.peer {
            self.owed.add(frame::HEAD_BYTES + payload.len(), self.written + self.outbox.len() as u64);
        }
        self.wake_driver();
    }

    fn tell_reset(&mut self, stream: u32, code: Code) {
        self.tell(frame::RESET, 0, stream, &(code as u32).to_be_bytes());
        self.pass_over(stream);
    }

    /// What comes on a stream from now on was sent before the client knew that nobody listens. So many are remembered
    /// as there may be under way.
    fn pass_over(&mut self, stream: u32) {
        let Peer::Client(Conduct { streams_max, .. }) = self.peer else { return };
        if self.passed_over.insert(stream) {
            self.passed_over_since.push_back(stream);
        }
        if self.passed_over.len() > PASSED_OVER_MIN.max(streams_max as usize)
            && let Some(oldest) = self.passed_over_since.pop_front()
        {
            self.passed_over.remove(&oldest);
        }
    }

    /// Whether nobody has begun it (RFC 9113 §5.1): weir begins none with clients, and services begin none.
    fn is_idle(&self, stream: u32) -> bool {
        stream > self.last || stream.is_multiple_of(2)
    }

    /// A service is not held to what it still says of what it was asked before: it was weir who began it.
    fn is_passed_over(&self, stream: u32) -> bool {
        matches!(self.peer, Peer::Service(_)) || self.passed_over.contains(&stream)
    }

    /// Resets a stream for a fault of the peer's; a client that has many is not heard any longer.
    fn fault(&mut self, stream: u32, code: Code) -> Result<(), Code> {
        self.tell_reset(stream, code);
        self.faults += 1;
        match self.peer {
            Peer::Client(Conduct { resets_max, .. }) if self.faults > resets_max => Err(Code::EnhanceYourCalm),
            _ => Ok(()),
        }
    }

    /// The same, for one that is open, where the peer broke a rule.
    fn fail(&mut self, key: Key, code: Code) -> Result<(), Code> {
        self.fail_for(key, code, StreamFault::Rules(code.into()).into())
    }

    /// The same, where what it sent may not pass.
    fn fail_for(&mut self, key: Key, code: Code, fault: BodyFault) -> Result<(), Code> {
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

    /// Whether more may be read of the peer. Of a service what it has brought about counts alone: while weir asks, and
    /// neither reads before the other one does, nothing would go on.
    pub(super) fn wants_more(&self) -> bool {
        match self.peer {
            Peer::Client(_) => self.outbox.len() < self.terms.send_bytes_max.saturating_add(OWED_BYTES_MAX),
            Peer::Service(_) => self.owed.bytes() < OWED_BYTES_MAX,
        }
    }

    /// A turn begins: whoever works on a stream had one.
    pub(super) fn begin_turn(&mut self, cx: &Context<'_>) {
        (self.at_once, self.driven) = (0, true);
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
    }

    /// The turn ends: whoever has something to say wakes the driver.
    pub(super) fn end_turn(&mut self) {
        self.driven = false;
    }

    /// What is to be written.
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Some of it was.
    pub(super) fn written(&mut self, bytes: usize) {
        self.outbox.advance(bytes);
        self.written += bytes as u64;
        self.owed.written(self.written);
        self.pass_on();
    }

    /// Whoever works on a stream can be ended by this.
    pub(in crate::proxy) fn works_on(&mut self, key: Key, task: AbortHandle) {
        self.streams[key].task = Some(task);
    }

    /// On how many streams something happens, and how many were begun and cancelled so far.
    pub(in crate::proxy) fn counts(&self) -> (usize, u64, u64) {
        (self.streams.busy(), self.begun, self.cancelled)
    }

    /// Streams that are open, and those of them that rest.
    #[cfg(any(test, fuzzing))]
    pub(super) fn open(&self) -> (usize, usize) {
        (self.streams.open(), self.streams.resting())
    }

    /// Streams that are open or that somebody refers to.
    #[cfg(any(test, fuzzing))]
    pub(super) fn kept(&self) -> usize {
        self.streams.kept()
    }

    /// Honest clients cancel too: only one that cancels most of very many requests is asked to go.
    pub(super) fn cancels_most(&self) -> bool {
        let Peer::Client(Conduct { cancels_max, .. }) = self.peer else { return false };
        self.cancelled > cancels_max as u64 && self.cancelled * 2 > self.begun
    }

    /// Asks the peer for a sign of life; `false` when it gave none since it was asked.
    pub(super) fn ask_for_life(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.pinged, true);
        if first {
            frame::write(self.outbox.tail(), frame::PING, 0, frame::CONNECTION, &SIGN_OF_LIFE);
            self.wake_driver();
        }
        first
    }

    /// The peer is there.
    pub(super) fn hear(&mut self) {
        self.pinged = false;
        self.heard += 1;
    }

    /// How often something came.
    pub(in crate::proxy) fn heard(&self) -> u64 {
        self.heard
    }

    fn wake_driver(&self) {
        // What is said in the driver's own turn is written at its end.
        if let Some(driver) = self.driver.as_ref().filter(|_| !self.driven) {
            driver.wake_by_ref();
        }
    }
}
