//! What goes out on streams. One that may send more waits in line behind those that came before, and passes its turn on
//! after each frame.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::task::AbortHandle;

use super::{Conduct, Key, Peer, Session, streams::Said};
use crate::proxy::http2::{
    fault::StreamFault,
    frame::{self, Code, HEAD_BYTES, Head},
    hpack::Pseudo,
};

/// Of the streams that a client may have so many rest at most: one in four.
const RESTING_SHARE: usize = 4;

/// The stream is over, or its connection: nothing more can be said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is over")]
pub(in crate::proxy) struct Gone;

impl Session {
    /// Somebody refers to a stream.
    pub(in crate::proxy::http2) fn hold(&mut self, key: Key) {
        self.streams[key].holders += 1;
    }

    /// Somebody had a look at it.
    pub(in crate::proxy::http2) fn look_at(&mut self, key: Key) {
        self.streams[key].looked_at = true;
    }

    /// Nobody reads its body any more. A request whose answer nobody wants is given up with it; one that was answered
    /// goes on.
    pub(in crate::proxy::http2) fn leave_body(&mut self, key: Key) {
        let stream = &mut self.streams[key];
        (stream.unread, stream.reader) = (true, None);
        let untaken = std::mem::take(&mut stream.body).len();
        let (given_up, task) = (stream.inquiry.is_some() && !stream.ended, &mut stream.task);
        if given_up {
            task.take().iter().for_each(AbortHandle::abort);
            self.reset(key, Code::Cancel, StreamFault::GivenUp);
        }
        self.give_back(untaken);
        self.settle(key);
        self.let_go(key);
    }

    /// Nobody says anything on it any more; what has no end by now gets none.
    pub(in crate::proxy::http2) fn leave_unsaid(&mut self, key: Key) {
        let stream = &mut self.streams[key];
        stream.task = None;
        let code = if stream.inquiry.is_some() { Code::Cancel } else { Code::Internal };
        if stream.said != Said::All {
            self.reset(key, code, StreamFault::GivenUp);
        }
        self.let_go(key);
    }

    /// Somebody refers to it no more.
    pub(in crate::proxy::http2) fn let_go(&mut self, key: Key) {
        self.streams[key].holders -= 1;
        self.streams.forget(key);
    }

    /// Whether nothing can be said on it any more.
    pub(in crate::proxy::http2) fn is_over(&self, key: Key) -> bool {
        self.check_unsaid(key).is_err()
    }

    /// Ends a stream before its end, by whoever works on it.
    pub(in crate::proxy::http2) fn reset(&mut self, key: Key, code: Code, fault: StreamFault) {
        if self.streams[key].is_open() {
            let id = self.streams[key].id;
            self.streams[key].task = None;
            self.break_off(key, fault.into());
            self.tell_reset(id, code);
        }
    }

    /// A stream is over when both sides have said all, and when nobody listens to what the peer still says. That it is
    /// told (RFC 9113 §8.1) where its window would have to be opened for more: most see the answer and stop before, and
    /// some lose an answer that a reset comes right behind. Until then the stream rests; where many do, it is told at once.
    pub(super) fn settle(&mut self, key: Key) {
        let stream = &self.streams[key];
        if !stream.is_open() || stream.said != Said::All || !stream.ended && !stream.unread {
            return;
        }
        // It may be what the end of the connection waits for.
        self.wake_driver();
        let (id, ended) = (stream.id, stream.ended);
        let has_room = stream.window > i64::from(stream.window_max / 2);
        self.grown -= std::mem::take(&mut self.streams[key].grown);
        if !ended && has_room && self.may_rest(key) {
            self.streams.rest(key);
            return;
        }
        self.streams.shut(key);
        if !ended {
            self.tell_reset(id, Code::NoError);
        }
    }

    /// Few streams of a client rest: one that forgets to end them has to have places for others.
    fn may_rest(&self, key: Key) -> bool {
        let Peer::Client(Conduct { streams_max, .. }) = self.peer else { return false };
        self.streams[key].resting || self.streams.resting() < streams_max as usize / RESTING_SHARE
    }

    /// Tells a client that waits for that that its body is wanted.
    pub(super) fn consent(&mut self, key: Key) {
        let stream = &mut self.streams[key];
        if stream.said == Said::Nothing && std::mem::take(&mut stream.expects) {
            self.write_head(key, Pseudo::Status(StatusCode::CONTINUE), &HeaderMap::new(), 0);
            self.wake_driver();
        }
    }

    /// Says an interim response (RFC 9113 §8.1), where there is room for one: nobody waits for it.
    pub(in crate::proxy::http2) fn say_interim(&mut self, key: Key, status: StatusCode, fields: &HeaderMap) {
        if self.streams[key].said == Said::Nothing && self.room() > 0 {
            self.write_head(key, Pseudo::Status(status), fields, 0);
            self.wake_driver();
        }
    }

    /// Says the head of the answer, and whether that is all of it.
    ///
    /// # Errors
    /// [`Gone`].
    pub(in crate::proxy::http2) fn say_head(
        &mut self,
        key: Key,
        status: StatusCode,
        fields: &HeaderMap,
        all: bool,
    ) -> Result<(), Gone> {
        self.check_unsaid(key)?;
        self.write_head(key, Pseudo::Status(status), fields, if all { frame::END_STREAM } else { 0 });
        self.said(key, all);
        Ok(())
    }

    /// Says the trailers, which end the answer, or the request.
    ///
    /// # Errors
    /// [`Gone`].
    pub(in crate::proxy::http2) fn say_trailers(&mut self, key: Key, trailers: &HeaderMap) -> Result<(), Gone> {
        self.check_unsaid(key)?;
        self.write_head(key, Pseudo::None, trailers, frame::END_STREAM);
        self.said(key, true);
        Ok(())
    }

    /// Nothing follows an end.
    fn check_unsaid(&self, key: Key) -> Result<(), Gone> {
        let stream = &self.streams[key];
        if stream.is_open() && stream.said != Said::All { Ok(()) } else { Err(Gone) }
    }

    fn said(&mut self, key: Key, all: bool) {
        self.streams[key].said = if all { Said::All } else { Said::Head };
        if all {
            self.leave_line(key);
            self.settle(key);
        }
        self.wake_driver();
    }

    pub(super) fn write_head(&mut self, key: Key, pseudo: Pseudo<'_>, fields: &HeaderMap, flags: u8) {
        let (stream, most) = (self.streams[key].id, self.its_frame_bytes_max);
        let out = self.outbox.tail();
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        self.encoder.encode(pseudo, fields, out);
        let from = begin + HEAD_BYTES;
        let length = out.len() - from;
        if length <= most {
            let head = Head { length, kind: frame::HEADERS, flags: flags | frame::END_HEADERS, stream };
            out[begin..from].copy_from_slice(&head.bytes());
            return;
        }
        let block = out.split_off(from);
        out.truncate(begin);
        let (mut kind, mut flags) = (frame::HEADERS, flags);
        let mut pieces = block.chunks(most).peekable();
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { frame::END_HEADERS } else { 0 };
            frame::write(out, kind, flags | last, stream, piece);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
    }

    /// How many bytes of a body may be said at once; some, when it is ready.
    ///
    /// # Errors
    /// [`Gone`].
    pub(in crate::proxy::http2) fn poll_room(&mut self, key: Key, cx: &Context<'_>) -> Poll<Result<usize, Gone>> {
        if let Err(gone) = self.check_unsaid(key) {
            return Poll::Ready(Err(gone));
        }
        let its_window = self.streams[key].its_window;
        if its_window > 0 {
            let (first, waiting) = (self.line.front() == Some(&key), !self.line.is_empty());
            let room = self.its_window.min(i64::try_from(self.room()).unwrap_or(i64::MAX));
            if room > 0 && (first || !waiting) {
                if first {
                    self.line.pop_front();
                }
                let room = usize::try_from(room.min(its_window)).unwrap_or(usize::MAX);
                return Poll::Ready(Ok(room.min(self.its_frame_bytes_max)));
            }
            if !self.line.contains(&key) {
                self.line.push_back(key);
            }
        } else {
            self.leave_line(key);
        }
        let stream = &mut self.streams[key];
        if !stream.writer.as_ref().is_some_and(|writer| writer.will_wake(cx.waker())) {
            stream.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Says a piece of a body, no longer than there was room for, and whether that is all of it.
    ///
    /// # Errors
    /// [`Gone`].
    pub(in crate::proxy::http2) fn say_data(&mut self, key: Key, data: Bytes, all: bool) -> Result<(), Gone> {
        self.check_unsaid(key)?;
        let stream = &mut self.streams[key];
        let counted = i64::try_from(data.len()).unwrap_or(i64::MAX);
        stream.its_window -= counted;
        self.its_window -= counted;
        let flags = if all { frame::END_STREAM } else { 0 };
        Head { length: data.len(), kind: frame::DATA, flags, stream: stream.id }.write(self.outbox.tail());
        self.outbox.push(data);
        self.said(key, all);
        self.pass_on();
        Ok(())
    }

    /// How much may wait to be written.
    fn room(&self) -> usize {
        self.terms.send_bytes_max.saturating_sub(self.outbox.len())
    }

    pub(super) fn leave_line(&mut self, key: Key) {
        if !self.line.is_empty() {
            self.line.retain(|other| *other != key);
            self.pass_on();
        }
    }

    /// Whoever is first in line may go on, and as many behind it as there is room for frames: what they say is written
    /// at once.
    pub(super) fn pass_on(&mut self) {
        let room = self.its_window.min(i64::try_from(self.room()).unwrap_or(i64::MAX));
        let frames = usize::try_from(room).unwrap_or(0).div_ceil(self.its_frame_bytes_max);
        for key in self.line.iter().take(frames) {
            self.streams[*key].wake_writer();
        }
    }
}
