//! What comes in blocks of fields: heads, and trailers.

use super::{Begun, Conduct, Key, Peer, Session, Stream, Terms, farewell::Farewell};
use crate::proxy::http2::{
    frame::{self, Code, Head},
    head::{Draft, Malformed},
    hpack::FIELD_BYTES,
};

/// A frame of a head that goes on counts for as much at least, so that many empty ones are as many large ones.
const CONTINUATION_BYTES_MIN: usize = 1 << 10;

/// A head of which the end has not come.
#[derive(Debug)]
pub(super) struct Block {
    stream: u32,
    ended: bool,
    bytes: Vec<u8>,
    /// What its frames count for.
    cost: usize,
}

impl Session {
    pub(super) fn take_headers(&mut self, head: &Head, payload: &[u8]) -> Result<Option<Begun>, Code> {
        // Streams of clients, which weir is to services, have odd numbers (RFC 9113 §5.1.1).
        if head.stream.is_multiple_of(2) {
            return Err(Code::Protocol);
        }
        let mut fields = unpadded(head, payload)?;
        if head.has(frame::PRIORITIZED) {
            let (priority, behind) = fields.split_first_chunk::<5>().ok_or(Code::FrameSize)?;
            check_dependency(head.stream, priority)?;
            fields = behind;
        }
        let ended = head.has(frame::END_STREAM);
        let block = Block { stream: head.stream, ended, bytes: Vec::new(), cost: 0 };
        if head.has(frame::END_HEADERS) {
            self.charged(block, fields)?;
            return self.take_block(head.stream, ended, fields);
        }
        self.block = Some(self.joined(block, fields)?);
        Ok(None)
    }

    pub(super) fn take_continuation(&mut self, head: &Head, fields: &[u8]) -> Result<Option<Begun>, Code> {
        let block = self.block.take().filter(|block| block.stream == head.stream).ok_or(Code::Protocol)?;
        let block = self.joined(block, fields)?;
        if head.has(frame::END_HEADERS) {
            return self.take_block(block.stream, block.ended, &block.bytes);
        }
        self.block = Some(block);
        Ok(None)
    }

    fn joined(&self, block: Block, fields: &[u8]) -> Result<Block, Code> {
        let mut block = self.charged(block, fields)?;
        block.bytes.extend_from_slice(fields);
        Ok(block)
    }

    /// A block may be larger than what it says; it is not read at any size.
    fn charged(&self, mut block: Block, fields: &[u8]) -> Result<Block, Code> {
        block.cost += fields.len().max(CONTINUATION_BYTES_MIN);
        let cost_max = self.terms.head_bytes_max.max(frame::PAYLOAD_BYTES_MIN).saturating_mul(2);
        if block.cost > cost_max { Err(Code::EnhanceYourCalm) } else { Ok(block) }
    }

    fn take_block(&mut self, stream: u32, ended: bool, block: &[u8]) -> Result<Option<Begun>, Code> {
        let Terms { head_bytes_max, trailer_bytes_max, fields_max, .. } = self.terms;
        // Trailers are judged by their lines.
        let lines = trailer_bytes_max.saturating_add(FIELD_BYTES.saturating_mul(fields_max));
        let known = self.streams.find(stream);
        let answers = known.is_some_and(|key| self.streams[key].awaits_answer());
        let is_head = stream > self.last || answers;
        let mut draft = Draft::new(if is_head { head_bytes_max } else { lines }, fields_max);
        self.decoder.decode(block, &mut draft).map_err(|_undecodable| Code::Compression)?;
        // Those of a service end their stream alone: others' requests are on its connection.
        if draft.is_bomb() && matches!(self.peer, Peer::Client(_)) {
            return Err(Code::EnhanceYourCalm);
        }
        match (known, &self.peer) {
            (Some(key), _) if answers => self.take_answer(key, ended, draft)?,
            (Some(key), _) => self.take_trailers(key, ended, draft)?,
            (None, Peer::Client(conduct)) if stream > self.last => {
                let conduct = *conduct;
                return self.begin(stream, ended, draft, conduct);
            }
            (None, Peer::Service(_)) if stream > self.last => return Err(Code::Protocol),
            (None, _) if self.is_passed_over(stream) => {}
            (None, _) => return Err(Code::StreamClosed),
        }
        Ok(None)
    }

    fn begin(&mut self, id: u32, ended: bool, draft: Draft, conduct: Conduct) -> Result<Option<Begun>, Code> {
        self.last = id;
        if matches!(self.farewell, Farewell::Last(_)) {
            self.pass_over(id);
            return Ok(None);
        }
        if self.streams.open() >= conduct.streams_max as usize {
            self.tell_reset(id, Code::Refused);
            return Ok(None);
        }
        let Ok(asked) = draft.into_request(ended) else {
            self.begun += 1;
            self.cancelled += 1;
            self.fault(id, Code::Protocol)?;
            return Ok(None);
        };
        self.begun += 1;
        // What it was not told it cannot know.
        let least = if self.knows_terms { 0 } else { frame::WINDOW_FIRST };
        let window_bytes = self.terms.stream_window_bytes;
        let mut stream = Stream::begun(id, ended, &asked, window_bytes, i64::from(self.its_stream_window));
        stream.window = stream.window.max(i64::from(least));
        let key = self.streams.open_one(stream);
        Ok(Some(Begun { key, asked, ended }))
    }

    fn take_trailers(&mut self, key: Key, ended: bool, draft: Draft) -> Result<(), Code> {
        if self.streams[key].ended {
            return self.fail(key, Code::StreamClosed);
        }
        match draft.into_trailers() {
            Ok(trailers) if ended && self.streams[key].length_left.is_none_or(|left| left == 0) => {
                self.streams[key].end(Some(trailers));
                self.settle(key);
                Ok(())
            }
            Ok(_) | Err(Malformed) => self.fail(key, Code::Protocol),
        }
    }
}

/// What a frame has between its padding (RFC 9113 §6.1).
pub(super) fn unpadded<'a>(head: &Head, payload: &'a [u8]) -> Result<&'a [u8], Code> {
    if !head.has(frame::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Code::FrameSize)?;
    rest.len().checked_sub(usize::from(*padding)).map(|length| &rest[..length]).ok_or(Code::Protocol)
}

/// Priorities of RFC 7540 are read, and nothing is made of them.
pub(super) fn take_priority(head: &Head, payload: &[u8]) -> Result<(), Code> {
    if head.stream == frame::CONNECTION {
        return Err(Code::Protocol);
    }
    check_dependency(head.stream, payload.try_into().map_err(|_length| Code::FrameSize)?)
}

fn check_dependency(stream: u32, [a, b, c, d, _weight]: &[u8; 5]) -> Result<(), Code> {
    if frame::number([*a, *b, *c, *d]) == stream { Err(Code::Protocol) } else { Ok(()) }
}
