//! What is asked of services, and the heads of their answers.

use std::{
    collections::VecDeque,
    mem::take,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::{
    Key, Peer, Session,
    streams::{Said, Stream},
};
use crate::proxy::{
    framing::Flaw,
    http2::{
        fault::{Reason, StreamFault},
        frame::{self, Code, Head},
        head::{Answer, Draft},
        hpack::Pseudo,
    },
    received::BodyFault,
};

/// Streams at once for as long as a service has said nothing.
pub(super) const STREAMS_BEFORE: usize = 100;

/// What is known of a service.
#[derive(Debug)]
pub(super) struct Service {
    interims_max: usize,
    /// Streams that it takes at once, and whether it takes extended CONNECT, once it has said so.
    pub(super) streams_max: Option<u32>,
    pub(super) takes_tunnels: bool,
    /// It goes away.
    leaving: bool,
    /// Who waits for its settings.
    waiting: Vec<Waker>,
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Question<'a> {
    pub(in crate::proxy) method: &'a Method,
    pub(in crate::proxy) scheme: &'static str,
    pub(in crate::proxy) authority: &'a [u8],
    pub(in crate::proxy) path: &'a str,
    /// What a tunnel is asked for (RFC 8441 §4).
    pub(in crate::proxy) protocol: Option<&'a str>,
    /// Those that name the host or concern a connection are left out.
    pub(in crate::proxy) fields: &'a HeaderMap,
    /// How long its body is, where the fields do not tell.
    pub(in crate::proxy) length: Option<u64>,
}

/// What a stream that weir began has beside others.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// Heads that came and that nobody has taken.
    told: VecDeque<Told>,
    interims: usize,
    /// The head of the answer itself has come.
    pub(super) answered: bool,
    expects: Expected,
    /// How many bytes are written before it, and how often something has come.
    begins_at: u64,
    heard: u64,
}

/// What a request expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// It is HEAD: its answer has no body, whatever length it tells.
    Head,
    Tunnel,
    Body,
}

/// The head of an answer, or of an interim one before it.
#[derive(Debug)]
pub(in crate::proxy) struct Told {
    pub(in crate::proxy) status: StatusCode,
    pub(in crate::proxy) fields: HeaderMap,
}

impl Service {
    pub(super) fn new(interims_max: usize) -> Service {
        Service { interims_max, streams_max: None, takes_tunnels: false, leaving: false, waiting: Vec::new() }
    }

    pub(super) fn wake_all(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Session {
    /// Whether another request may be sent.
    pub(in crate::proxy) fn takes_requests(&self) -> bool {
        let leaving = matches!(&self.peer, Peer::Service(service) if service.leaving);
        self.lost.is_none() && !leaving && self.last < frame::STREAM_MAX
    }

    /// How many requests may be under way at once.
    pub(in crate::proxy) fn streams_max(&self) -> usize {
        let Peer::Service(service) = &self.peer else { return 0 };
        // A service that names no number has no limit (RFC 9113 §6.5.2).
        let told = service.streams_max.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        told.unwrap_or(if self.is_greeted() { usize::MAX } else { STREAMS_BEFORE })
    }

    /// Whether the service takes tunnels, which it has to have said before one is asked for (RFC 8441 §3). One whose
    /// connection is gone is not said to take none: what is sent on it fails, and tells why.
    pub(in crate::proxy) fn poll_takes_tunnels(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let (greeted, lost) = (self.is_greeted(), self.lost.is_some());
        let Peer::Service(service) = &mut self.peer else { return Poll::Ready(false) };
        if greeted || lost {
            return Poll::Ready(service.takes_tunnels || lost);
        }
        if !service.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
            service.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sends the head of a request, and whether that is all of it.
    ///
    /// # Errors
    /// Why no request is sent on this connection any more.
    pub(in crate::proxy) fn ask(&mut self, question: &Question<'_>, all: bool) -> Result<Key, StreamFault> {
        if !self.takes_requests() {
            return Err(self.lost.unwrap_or(StreamFault::WentAway(Code::NoError.into())));
        }
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        let expects = match question.method {
            _ if question.protocol.is_some() => Expected::Tunnel,
            &Method::HEAD => Expected::Head,
            _ => Expected::Body,
        };
        let begins_at = self.written + self.outbox.len() as u64;
        let (told, heard) = (VecDeque::new(), self.heard);
        let inquiry = Inquiry { told, interims: 0, answered: false, expects, begins_at, heard };
        let windows = (self.terms.stream_window_bytes, i64::from(self.its_stream_window));
        let key = self.streams.open_one(Stream::ours(self.last, inquiry, windows));
        self.begun += 1;
        self.write_head(key, Pseudo::Question(question), question.fields, if all { frame::END_STREAM } else { 0 });
        self.streams[key].said = if all { Said::All } else { Said::Head };
        self.wake_driver();
        Ok(key)
    }

    pub(super) fn take_answer(&mut self, key: Key, ended: bool, draft: Draft) -> Result<(), Code> {
        match self.judge_answer(key, ended, draft) {
            Ok(told) => {
                let stream = &mut self.streams[key];
                if let Some(inquiry) = &mut stream.inquiry {
                    inquiry.told.push_back(told);
                }
                stream.wake_reader();
            }
            Err(flaw) => return self.fail_for(key, Code::Protocol, BodyFault::Flawed(flaw)),
        }
        if ended {
            self.streams[key].end(None);
            self.settle(key);
        }
        Ok(())
    }

    fn judge_answer(&mut self, key: Key, ended: bool, draft: Draft) -> Result<Told, Flaw> {
        let interims_max = if let Peer::Service(service) = &self.peer { service.interims_max } else { 0 };
        let stream = &mut self.streams[key];
        let inquiry = stream.inquiry.as_mut().ok_or(Flaw::Unsolicited)?;
        let Answer { status, fields, length } = draft.into_answer()?;
        if status.is_informational() {
            inquiry.interims += 1;
            return match status {
                // What CONNECT asks for is agreed to by 200 (RFC 8441 §4).
                StatusCode::SWITCHING_PROTOCOLS => Err(Flaw::Upgrade),
                // Nothing ends before its answer.
                _ if ended => Err(Flaw::StatusLine),
                _ if inquiry.interims > interims_max => Err(Flaw::Interim),
                _ => Ok(Told { status, fields }),
            };
        }
        inquiry.answered = true;
        stream.length_left = match inquiry.expects {
            Expected::Head => Some(0),
            _ if matches!(status.as_u16(), 204 | 304) => Some(0),
            Expected::Tunnel if status.is_success() => None,
            _ => length,
        };
        if ended && stream.length_left.is_some_and(|left| left > 0) {
            Err(Flaw::Length)
        } else {
            Ok(Told { status, fields })
        }
    }

    pub(super) fn take_goaway(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != frame::CONNECTION {
            return Err(Code::Protocol);
        }
        let (last, rest) = payload.split_first_chunk().ok_or(Code::FrameSize)?;
        let (code, _debug) = rest.split_first_chunk().ok_or(Code::FrameSize)?;
        let (last, code) = (frame::number(*last), Reason::of(u32::from_be_bytes(*code)));
        // A client that goes closes the connection when it has its answers.
        let Peer::Service(service) = &mut self.peer else { return Ok(()) };
        service.leaving = true;
        while let Some(key) = self.streams.above(last) {
            self.break_off(key, StreamFault::WentAway(code).into());
        }
        Ok(())
    }

    // Whoever waits for an answer.

    /// The next head: of an interim answer, or of the one that its body follows.
    ///
    /// # Errors
    /// Why there is none.
    pub(in crate::proxy) fn poll_told(&mut self, key: Key, cx: &Context<'_>) -> Poll<Result<Told, BodyFault>> {
        let stream = &mut self.streams[key];
        if let Some(told) = stream.inquiry.as_mut().and_then(|inquiry| inquiry.told.pop_front()) {
            return Poll::Ready(Ok(told));
        }
        if !stream.is_open() {
            return Poll::Ready(Err(stream.take_fault()));
        }
        stream.read_by(cx);
        Poll::Pending
    }

    /// All of a body whose length was told, when it is there and has no trailers. Of others it is left to chance whether
    /// it is, and they are all to be passed on in the same way.
    pub(in crate::proxy) fn whole(&mut self, key: Key) -> Option<Bytes> {
        let stream = &mut self.streams[key];
        if !stream.ended || stream.fault.is_some() || stream.trailers.is_some() || stream.length_left.is_none() {
            return None;
        }
        let whole = take(&mut stream.body).freeze();
        self.give_back(whole.len());
        Some(whole)
    }

    /// Whether no byte of a request was written, nor will be.
    pub(in crate::proxy) fn is_unsent(&self, key: Key) -> bool {
        let inquiry = self.streams[key].inquiry.as_ref();
        self.lost.is_some() && inquiry.is_some_and(|inquiry| self.written <= inquiry.begins_at)
    }

    /// Whether nothing at all has come since a request began.
    pub(in crate::proxy) fn is_unheard(&self, key: Key) -> bool {
        self.streams[key].inquiry.as_ref().is_some_and(|inquiry| self.heard == inquiry.heard)
    }
}
