//! What comes on streams: bodies, and how far a peer lets what is said to it go on.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::{Conduct, Key, Peer, Session, heads::unpadded, streams::Said};
use crate::proxy::{
    framing::Flaw,
    http2::{
        fault::{Reason, StreamFault},
        frame::{self, Code, Head, setting},
    },
    received::BodyFault,
};

impl Session {
    pub(super) fn take_data(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        if self.is_idle(head.stream) {
            return Err(Code::Protocol);
        }
        // All of it counts, were it padding, and wherever it goes (RFC 9113 §6.9).
        let counted = payload.len();
        self.window -= i64::try_from(counted).unwrap_or(i64::MAX);
        if self.window < 0 {
            return Err(Code::FlowControl);
        }
        let data = unpadded(head, payload)?;
        let Some(key) = self.streams.find(head.stream) else {
            self.give_back(counted);
            return if self.is_passed_over(head.stream) { Ok(()) } else { self.fault(head.stream, Code::StreamClosed) };
        };
        let stream = &mut self.streams[key];
        stream.window -= i64::try_from(counted).unwrap_or(i64::MAX);
        let left = stream.length_left.map(|left| left.checked_sub(data.len() as u64));
        let ended = head.has(frame::END_STREAM);
        let failure = if stream.ended {
            Some((Code::StreamClosed, StreamFault::Rules(Code::StreamClosed.into()).into()))
        } else if stream.window < 0 {
            Some((Code::FlowControl, StreamFault::Rules(Code::FlowControl.into()).into()))
        } else if stream.awaits_answer() {
            Some((Code::Protocol, StreamFault::Rules(Code::Protocol.into()).into()))
        } else if left == Some(None) || ended && left.flatten().is_some_and(|left| left > 0) {
            Some((Code::Protocol, BodyFault::Flawed(Flaw::Length)))
        } else {
            None
        };
        if let Some((code, fault)) = failure {
            self.give_back(counted);
            return self.fail_for(key, code, fault);
        }
        stream.length_left = left.flatten();
        stream.expects = false;
        if stream.unread {
            self.give_back(counted);
        } else {
            stream.body.extend_from_slice(data);
            stream.wake_reader();
            self.taken(key, counted - data.len());
        }
        let stream = &mut self.streams[key];
        if ended {
            stream.end(None);
        }
        self.settle(key);
        Ok(())
    }

    pub(super) fn take_reset(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        if self.is_idle(head.stream) {
            return Err(Code::Protocol);
        }
        let code: [u8; 4] = payload.try_into().map_err(|_length| Code::FrameSize)?;
        let Some(key) = self.streams.find(head.stream) else { return Ok(()) };
        let stream = &self.streams[key];
        if stream.said != Said::All {
            self.cancelled += 1;
            self.at_once += usize::from(!stream.looked_at);
        }
        self.break_off(key, StreamFault::Reset(Reason::of(u32::from_be_bytes(code))).into());
        match self.peer {
            Peer::Client(Conduct { resets_max, .. }) if self.at_once > resets_max => Err(Code::EnhanceYourCalm),
            _ => Ok(()),
        }
    }

    pub(super) fn take_settings(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != frame::CONNECTION {
            return Err(Code::Protocol);
        }
        if head.has(frame::ACK) {
            self.knows_terms = true;
            return if payload.is_empty() { Ok(()) } else { Err(Code::FrameSize) };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Code::FrameSize);
        }
        let mut window = None;
        for setting in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match id {
                setting::TABLE_BYTES => self.encoder.resize(usize::try_from(value).unwrap_or(usize::MAX)),
                // A service has nothing to allow (RFC 9113 §6.5.2).
                setting::PUSH if value > u32::from(matches!(self.peer, Peer::Client(_))) => return Err(Code::Protocol),
                setting::WINDOW if i64::from(value) > frame::WINDOW_MAX => return Err(Code::FlowControl),
                setting::WINDOW => window = Some(value),
                setting::FRAME_BYTES_MAX => {
                    let bytes_max = usize::try_from(value).unwrap_or(usize::MAX);
                    if !(frame::PAYLOAD_BYTES_MIN..1 << 24).contains(&bytes_max) {
                        return Err(Code::Protocol);
                    }
                    self.its_frame_bytes_max = bytes_max;
                }
                setting::EXTENDED_CONNECT if value > 1 => return Err(Code::Protocol),
                setting::EXTENDED_CONNECT | setting::STREAMS_MAX => self.learn(id, value),
                _ => {}
            }
        }
        if let Peer::Service(service) = &mut self.peer {
            service.wake_all();
        }
        // Once for all that a frame says of it: each takes a look at all streams.
        window.map_or(Ok(()), |window| self.set_stream_window(window))?;
        self.tell(frame::SETTINGS, frame::ACK, frame::CONNECTION, &[]);
        Ok(())
    }

    fn learn(&mut self, id: u16, value: u32) {
        match &mut self.peer {
            Peer::Service(service) if id == setting::STREAMS_MAX => service.streams_max = Some(value),
            Peer::Service(service) => service.takes_tunnels = value == 1,
            // Nothing is asked of it.
            Peer::Client(_) => {}
        }
    }

    /// Streams that are open have more by it, or less (RFC 9113 §6.9.2).
    fn set_stream_window(&mut self, window: u32) -> Result<(), Code> {
        let more = i64::from(window) - i64::from(self.its_stream_window);
        self.its_stream_window = window;
        for stream in self.streams.iter_mut().filter(|stream| stream.is_open()) {
            stream.its_window += more;
            if stream.its_window > frame::WINDOW_MAX {
                return Err(Code::FlowControl);
            }
            if more > 0 {
                stream.wake_writer();
            }
        }
        Ok(())
    }

    pub(super) fn take_window(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        let more = i64::from(frame::number(payload.try_into().map_err(|_length| Code::FrameSize)?));
        if head.stream == frame::CONNECTION {
            self.its_window += more;
            if more == 0 {
                return Err(Code::Protocol);
            }
            if self.its_window > frame::WINDOW_MAX {
                return Err(Code::FlowControl);
            }
            self.pass_on();
            return Ok(());
        }
        if self.is_idle(head.stream) {
            return Err(Code::Protocol);
        }
        let Some(key) = self.streams.find(head.stream) else { return Ok(()) };
        let stream = &mut self.streams[key];
        stream.its_window += more;
        if more == 0 {
            return self.fail(key, Code::Protocol);
        }
        if stream.its_window > frame::WINDOW_MAX {
            return self.fail(key, Code::FlowControl);
        }
        stream.wake_writer();
        Ok(())
    }

    // Whoever reads a body.

    /// The next piece of a body; `None` at its end.
    pub(in crate::proxy::http2) fn poll_piece(
        &mut self,
        key: Key,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let stream = &mut self.streams[key];
        if stream.body.is_empty() && (!stream.is_open() && !stream.ended || stream.fault.is_some()) {
            return Poll::Ready(Some(Err(stream.take_fault())));
        }
        if !stream.body.is_empty() {
            // A rest of it would keep all of the room.
            let piece = std::mem::take(&mut stream.body).freeze();
            self.taken(key, piece.len());
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(trailers) = stream.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if stream.ended {
            return Poll::Ready(None);
        }
        stream.awaited = true;
        stream.read_by(cx);
        self.consent(key);
        Poll::Pending
    }

    /// Whether nothing more of a body comes.
    pub(in crate::proxy::http2) fn is_read(&self, key: Key) -> bool {
        let stream = &self.streams[key];
        stream.ended && stream.fault.is_none() && stream.body.is_empty() && stream.trailers.is_none()
    }

    /// How much of a body is to come, where that was told: not where all of it happens to be there, so that the same
    /// request is always sent on in the same way.
    pub(in crate::proxy::http2) fn left(&self, key: Key) -> Option<u64> {
        let stream = &self.streams[key];
        stream.length_left.map(|left| left + stream.body.len() as u64)
    }

    /// Bytes of a stream are in nobody's way any more.
    fn taken(&mut self, key: Key, bytes: usize) {
        self.give_back(bytes);
        let stream = &mut self.streams[key];
        stream.unreturned += u32::try_from(bytes).unwrap_or(u32::MAX);
        if stream.ended || !stream.is_open() || stream.unreturned < stream.window_max / 2 {
            return;
        }
        let mut returned = std::mem::take(&mut stream.unreturned);
        // One whose reader had to wait is held up by its window alone: it gets twice as much by the round trip.
        if std::mem::take(&mut stream.awaited) {
            let more = stream.window_max.min(self.terms.growth_bytes_max.saturating_sub(self.grown));
            (stream.window_max, stream.grown) = (stream.window_max + more, stream.grown + more);
            (self.grown, returned) = (self.grown + more, returned + more);
        }
        stream.window += i64::from(returned);
        let id = stream.id;
        self.tell(frame::WINDOW_UPDATE, 0, id, &returned.to_be_bytes());
    }

    /// Bytes of the connection are, too. That is told when it is as much as half of what the peer has left: seldom while
    /// it has much, and at once when streams that nobody reads hold almost all of it.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.unreturned += u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.unreturned == 0 || i64::from(self.unreturned) < self.window / 2 {
            return;
        }
        let returned = std::mem::take(&mut self.unreturned);
        self.window += i64::from(returned);
        self.tell(frame::WINDOW_UPDATE, 0, frame::CONNECTION, &returned.to_be_bytes());
    }
}
