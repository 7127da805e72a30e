//! What comes on a connection: bytes go in, heads and pieces of bodies come out. Nothing is made of a byte that
//! the scanner did not judge.

use std::{
    cell::RefCell,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::proxy::framing::{Awaited, Bounds, Flaw, Part, Scanner, Side, Step, trimmed};

/// Room that is made for what is read at once: at first, and for a body that fills it. No keys of the configuration:
/// what is held to limits is what comes, not the pieces that it comes in.
const ROOM_BYTES_MIN: usize = 8 << 10;
const ROOM_BYTES_MAX: usize = 64 << 10;

/// With less room than this more is made before the next reading.
const ROOM_BYTES_LEFT: usize = 1 << 10;

/// Room for the beginning of a message.
const FIRST_BYTES_MAX: usize = 4 << 10;

thread_local! {
    static FIRST: RefCell<Box<[u8]>> = RefCell::new(vec![0; FIRST_BYTES_MAX].into());
}

/// What came on a connection and was not taken yet.
#[derive(Debug)]
pub(in crate::proxy) struct Inbox {
    scanner: Scanner,
    bytes: BytesMut,
    room: usize,
    /// The connection has ended, and a body with it.
    closed: bool,
}

/// A head that came and was judged.
#[derive(Debug)]
pub(in crate::proxy) enum Head {
    /// Of an interim response.
    Interim(Bytes),
    /// Of a request, of a final response, or of one that switches to the protocol that was asked for.
    Final(Bytes),
}

impl Inbox {
    /// Of a connection whose peer sends messages of this side.
    pub(in crate::proxy) fn new(side: Side, bounds: Bounds) -> Inbox {
        let scanner = Scanner::new(side, bounds);
        Inbox { scanner, bytes: BytesMut::new(), room: ROOM_BYTES_MIN, closed: false }
    }

    /// A request is about to be sent: its answer may come from now on.
    pub(in crate::proxy) fn expect(&mut self, method: &Method) {
        let awaited = if method == Method::HEAD { Awaited::HeadResponse } else { Awaited::Response };
        self.scanner.expect(awaited);
    }

    /// Reads what is there of a stream; gives how many bytes that were. The beginning of a message comes by way of one room
    /// for all connections of a worker, so that those that wait keep none, and since most messages are far smaller than the
    /// room that has to be there for them.
    pub(in crate::proxy) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.is_empty() && self.scanner.part() == Part::Head {
            return FIRST.with_borrow_mut(|room| {
                let mut room = ReadBuf::new(room);
                ready!(Pin::new(stream).poll_read(cx, &mut room))?;
                self.bytes.extend_from_slice(room.filled());
                Poll::Ready(Ok(room.filled().len()))
            });
        }
        let read = ready!(pin!(stream.read_buf(self.room())).poll(cx));
        self.came();
        Poll::Ready(read)
    }

    /// Where more is read to.
    pub(in crate::proxy) fn room(&mut self) -> &mut BytesMut {
        if self.bytes.capacity() - self.bytes.len() < ROOM_BYTES_LEFT {
            self.bytes.reserve(self.room);
        }
        &mut self.bytes
    }

    /// More was read. Where it filled its room, it gets more the next time.
    pub(in crate::proxy) fn came(&mut self) {
        if self.bytes.len() == self.bytes.capacity() {
            self.room = (2 * self.room).min(ROOM_BYTES_MAX);
        }
    }

    /// The next head; `None` when it is not there as a whole. A response may switch to the protocol that the fields of its
    /// request ask for, and to no other one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::proxy) fn head(&mut self, request: Option<&HeaderMap>) -> Result<Option<Head>, Flaw> {
        let length = loop {
            match self.scanner.step(&self.bytes) {
                Step::More => return Ok(None),
                Step::Refuse(flaw) => return Err(flaw),
                Step::Interim(length) => return Ok(Some(Head::Interim(self.bytes.split_to(length).freeze()))),
                Step::Head(length) => break length,
                Step::Switch { head, protocol: (start, end) } => {
                    let protocol = &self.bytes[start..end];
                    let asked = request.and_then(|fields| fields.get(header::UPGRADE));
                    asked.filter(|asked| asked.as_bytes().eq_ignore_ascii_case(protocol)).ok_or(Flaw::Upgrade)?;
                    self.scanner.hold();
                    break head;
                }
                // An empty line before a request.
                Step::Drop(length) if self.scanner.is_in_head() => self.bytes.advance(length),
                // Of a message that began before.
                Step::Pass(_) | Step::Drop(_) => return Err(Flaw::Unsolicited),
            }
        };
        let head = self.bytes.split_to(length).freeze();
        if let Some(left) = self.scanner.left() {
            self.room = usize::try_from(left).unwrap_or(usize::MAX).clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX);
        }
        Ok(Some(Head::Final(head)))
    }

    /// Whether what follows the message may be another one.
    pub(in crate::proxy) fn goes_on(&self) -> bool {
        !self.scanner.ends_with_connection() && !self.scanner.is_paused()
    }

    /// Whether another protocol was asked for, or is spoken: what comes is not looked at.
    pub(in crate::proxy) fn is_paused(&self) -> bool {
        self.scanner.is_paused()
    }

    /// The protocol stays what it is.
    pub(in crate::proxy) fn resume(&mut self) {
        self.scanner.resume();
    }

    /// Whether the request whose head came last is `OPTIONS` for the whole server in absolute form.
    pub(in crate::proxy) fn is_server_wide(&self) -> bool {
        self.scanner.is_server_wide()
    }

    /// Whether what came and was not taken begins so.
    pub(super) fn begins_with(&self, bytes: &[u8]) -> bool {
        self.bytes.starts_with(bytes)
    }

    /// Bytes that came and were not taken.
    pub(in crate::proxy) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole body, when it is there and its length was told.
    pub(in crate::proxy) fn whole(&mut self) -> Option<Bytes> {
        let left = usize::try_from(self.scanner.left()?).ok().filter(|left| *left <= self.bytes.len())?;
        self.scanner.passed(left);
        Some(self.bytes.split_to(left).freeze())
    }

    /// The next piece of the body; `None` when it is not there yet, and within that at the body's end.
    ///
    /// # Errors
    /// What is wrong with what frames it.
    pub(in crate::proxy) fn piece(&mut self) -> Result<Option<Option<Frame<Bytes>>>, Flaw> {
        loop {
            let part = self.scanner.part();
            if part == Part::Head {
                return Ok(Some(None));
            }
            match (self.scanner.step(&self.bytes), part) {
                (Step::More, _) => return Ok(None),
                (Step::Refuse(flaw), _) => return Err(flaw),
                (Step::Pass(length), Part::Data) => {
                    return Ok(Some(Some(Frame::data(self.bytes.split_to(length).freeze()))));
                }
                (Step::Pass(length), Part::Trailers) => {
                    let trailers = fields(&self.bytes.split_to(length).freeze(), 0, 0, |_, _| {})?;
                    if !trailers.is_empty() {
                        return Ok(Some(Some(Frame::trailers(trailers))));
                    }
                }
                (Step::Pass(length) | Step::Drop(length), _) => self.bytes.advance(length),
                (Step::Head(_) | Step::Interim(_) | Step::Switch { .. }, _) => return Err(Flaw::Unsolicited),
            }
        }
    }

    /// The connection has ended; whether the body has, too.
    pub(in crate::proxy) fn close(&mut self) -> bool {
        self.closed = self.scanner.ends_with_connection();
        self.closed
    }

    /// Whether the message that began has ended.
    pub(in crate::proxy) fn is_end(&self) -> bool {
        self.closed || self.scanner.part() == Part::Head
    }

    /// Bytes of the body that are still to come, where that is known.
    pub(in crate::proxy) fn left(&self) -> Option<u64> {
        if self.closed { Some(0) } else { self.scanner.left() }
    }

    /// Whether nothing is there that no request asked for. What was read to is given back.
    pub(in crate::proxy) fn rest(&mut self) -> bool {
        let rests = self.bytes.is_empty() && self.scanner.is_between_messages() && !self.closed;
        (self.bytes, self.room) = (BytesMut::new(), ROOM_BYTES_MIN);
        rests
    }

    /// What came behind the head by which protocols were switched.
    pub(in crate::proxy) fn take_glued(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes).into()
    }
}

/// Reads what is there of a stream, and forgets it; gives how many bytes that were.
pub(super) fn poll_away<S: AsyncRead + Unpin>(cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<usize>> {
    FIRST.with_borrow_mut(|room| {
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    })
}

/// The fields of a section that begins at `start` and ends with an empty line, each of them shown to `see`, with `room` for
/// so many more: to make it later costs as much as to put all of them in again. They were judged.
pub(in crate::proxy) fn fields(
    section: &Bytes,
    start: usize,
    room: usize,
    mut see: impl FnMut(&HeaderName, &HeaderValue),
) -> Result<HeaderMap, Flaw> {
    let lines = memchr::memchr_iter(b'\n', &section[start..]).count();
    let lines = lines.saturating_sub(1);
    // Where there is no room for more, there may be for these.
    let fields = HeaderMap::try_with_capacity(lines + room).or_else(|_size| HeaderMap::try_with_capacity(lines));
    let mut fields = fields.map_err(|_size| Flaw::FieldCount)?;
    let mut at = start;
    while let Some(length) = memchr::memchr(b'\n', &section[at..]).filter(|length| *length > 1) {
        let line = &section[at..at + length - 1];
        let colon = memchr::memchr(b':', line).ok_or(Flaw::FieldName)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_name| Flaw::FieldName)?;
        let value = section.slice_ref(trimmed(&line[colon + 1..]));
        let value = HeaderValue::from_maybe_shared(value).map_err(|_value| Flaw::FieldValue)?;
        see(&name, &value);
        fields.try_append(name, value).map_err(|_size| Flaw::FieldCount)?;
        at += length + 1;
    }
    Ok(fields)
}
