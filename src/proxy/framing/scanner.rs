//! The scanner: follows the messages of one direction of one connection.

use super::{
    Bounds,
    bytes::is_token,
    chunk,
    field::Fields,
    flaw::Flaw,
    head::{self, Body, FirstLine},
};

/// What a direction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Side {
    /// Requests of a client.
    Requests,
    /// Responses of an upstream.
    Responses,
}

/// The response that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Awaited {
    /// None: whatever comes is too much.
    Nothing,
    /// One that may have a body.
    Response,
    /// One to HEAD.
    HeadResponse,
}

/// What is to be done with the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Step {
    /// So many go on: a head, which is now judged.
    Head(usize),
    /// So many go on.
    Pass(usize),
    /// So many are for this hop alone.
    Drop(usize),
    /// So many are the head of an interim response.
    Interim(usize),
    /// So many are the head of a response that switches to the protocol that stands there.
    Switch {
        /// Bytes of the head.
        head: usize,
        /// Where the protocol's name stands in it.
        protocol: (usize, usize),
    },
    /// None goes on before more of them are there.
    More,
    /// None goes on any more.
    Refuse(Flaw),
}

/// What bytes are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Part {
    /// The next message.
    Head,
    /// A body, without what frames it.
    Data,
    /// What frames it.
    Frame,
    /// A trailer section, which goes on as a whole.
    Trailers,
}

/// Follows the messages of one direction of one connection.
#[derive(Debug)]
pub(in crate::proxy) struct Scanner {
    side: Side,
    bounds: Bounds,
    state: State,
    awaited: Awaited,
    interims: usize,
    /// The request whose head was passed last is `OPTIONS` for the whole server.
    server_wide: bool,
    /// The one empty line that may stand before a request was there.
    blank: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head(Lines),
    Body(u64),
    UntilClose,
    ChunkSize,
    /// The digits went on; the extension does not.
    ChunkExtension {
        bytes: usize,
        size: u64,
    },
    /// The end of a size line.
    ChunkLineEnd {
        size: u64,
    },
    ChunkData(u64),
    /// The end of a chunk's data.
    ChunkDataEnd,
    Trailer(Lines),
    /// Another protocol was asked for or begun; what follows may be of that.
    Paused,
    Refused(Flaw),
}

/// How far the lines of a head or a trailer section were read.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    /// Where the next line begins.
    next: usize,
    /// No line ends before this.
    searched: usize,
    first: Option<FirstLine>,
    fields: Fields,
}

impl Lines {
    /// The next line without its end, and where it stands; `None` when it has no end yet.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, Flaw> {
        let Some(offset) = memchr::memchr(b'\n', &bytes[self.searched..]) else {
            self.searched = bytes.len();
            return Ok(None);
        };
        let (start, end) = (self.next, self.searched + offset);
        (self.next, self.searched) = (end + 1, end + 1);
        match &bytes[start..end] {
            [line @ .., b'\r'] => Ok(Some((line, start))),
            _ => Err(Flaw::LineEnd),
        }
    }
}

impl Scanner {
    /// A scanner of a fresh connection.
    pub(in crate::proxy) fn new(side: Side, bounds: Bounds) -> Scanner {
        let state = State::Head(Lines::default());
        Scanner { side, bounds, state, awaited: Awaited::Nothing, interims: 0, server_wide: false, blank: false }
    }

    /// A request is about to be sent; its response may come from now on.
    pub(in crate::proxy) fn expect(&mut self, awaited: Awaited) {
        self.awaited = awaited;
        self.interims = 0;
    }

    /// So many bytes went on unlooked.
    pub(in crate::proxy) fn passed(&mut self, bytes: usize) {
        match self.state {
            State::Body(left) if left > bytes as u64 => self.state = State::Body(left - bytes as u64),
            State::Body(_) => self.next_message(),
            State::ChunkData(left) if left > bytes as u64 => self.state = State::ChunkData(left - bytes as u64),
            State::ChunkData(_) => self.state = State::ChunkDataEnd,
            _ => {}
        }
    }

    /// Whether the next bytes wait for the answer to a request that asks for another protocol, or are of that.
    pub(in crate::proxy) fn is_paused(&self) -> bool {
        matches!(self.state, State::Paused)
    }

    /// The protocol was not switched: what follows is the next request.
    pub(in crate::proxy) fn resume(&mut self) {
        if self.is_paused() {
            self.next_message();
        }
    }

    /// The protocol was switched: what follows is no HTTP.
    pub(in crate::proxy) fn hold(&mut self) {
        self.state = State::Paused;
    }

    /// What the next bytes are of.
    pub(in crate::proxy) fn part(&self) -> Part {
        match self.state {
            State::Head(_) | State::Paused => Part::Head,
            State::Body(_) | State::UntilClose | State::ChunkData(_) => Part::Data,
            State::Trailer(_) => Part::Trailers,
            _ => Part::Frame,
        }
    }

    /// Bytes of the body that are still to come, where its head told.
    pub(in crate::proxy) fn left(&self) -> Option<u64> {
        match self.state {
            State::Head(_) | State::Paused => Some(0),
            State::Body(left) => Some(left),
            _ => None,
        }
    }

    /// Whether the message ends with the connection.
    pub(in crate::proxy) fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Whether the next bytes belong to a head.
    pub(in crate::proxy) fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Whether every message that began has ended.
    pub(in crate::proxy) fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Head(lines) if lines.searched == 0)
    }

    /// Whether the request whose head was passed last is `OPTIONS` for the whole server in absolute form.
    pub(in crate::proxy) fn is_server_wide(&self) -> bool {
        self.server_wide
    }

    /// Refuses everything from now on.
    pub(in crate::proxy) fn refuse(&mut self, flaw: Flaw) -> Step {
        self.state = State::Refused(flaw);
        Step::Refuse(flaw)
    }

    /// What is to be done with the next bytes. They begin where the last step's ended; after
    /// [`Step::More`], with those that were there before.
    pub(in crate::proxy) fn step(&mut self, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::More;
        }
        let step = match self.state {
            State::Head(lines) => self.head(bytes, lines),
            State::Body(left) | State::ChunkData(left) => {
                let pass = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.passed(pass);
                Ok(Step::Pass(pass))
            }
            State::UntilClose => Ok(Step::Pass(bytes.len())),
            State::ChunkSize => self.chunk_size(bytes),
            State::ChunkExtension { bytes: length, size } => {
                // The whole line was there when its digits went on, but what went on may have been all that
                // there was room for.
                let drop = length.min(bytes.len());
                self.state = match length - drop {
                    0 => State::ChunkLineEnd { size },
                    bytes => State::ChunkExtension { bytes, size },
                };
                Ok(Step::Drop(drop))
            }
            State::ChunkLineEnd { size } => self.line_end(
                bytes,
                match size {
                    0 => State::Trailer(Lines::default()),
                    size => State::ChunkData(size),
                },
            ),
            State::ChunkDataEnd => self.line_end(bytes, State::ChunkSize),
            State::Trailer(lines) => self.trailer(bytes, lines),
            State::Paused => Ok(Step::More),
            State::Refused(flaw) => Err(flaw),
        };
        step.unwrap_or_else(|flaw| self.refuse(flaw))
    }

    fn head(&mut self, bytes: &[u8], mut lines: Lines) -> Result<Step, Flaw> {
        if self.side == Side::Responses && self.awaited == Awaited::Nothing {
            return Err(Flaw::Unsolicited);
        }
        if self.side == Side::Requests && lines.searched == 0 && !self.blank {
            // Old clients end a body with a line that is none of it (RFC 9112 §2.2). It says nothing to anybody, and
            // goes nowhere; more of them could be the rest of something.
            match bytes {
                [b'\r', b'\n', ..] => {
                    self.blank = true;
                    return Ok(Step::Drop(2));
                }
                [b'\r'] => return Ok(Step::More),
                _ => {}
            }
        }
        while let Some((line, at)) = lines.line(bytes)? {
            if lines.next > self.bounds.head_bytes_max {
                return Err(self.too_large(lines.first, bytes));
            }
            let Some(first) = lines.first else {
                lines.first = Some(match self.side {
                    Side::Requests => head::request_line(line, self.bounds.target_bytes_max)?,
                    Side::Responses => head::status_line(line)?,
                });
                continue;
            };
            if line.is_empty() {
                return self.judge(&bytes[..lines.next], first, &lines.fields);
            }
            lines.fields.read(self.side, line, at)?;
            if lines.fields.count > self.bounds.fields_max {
                return Err(Flaw::FieldCount);
            }
        }
        if bytes.len() > self.bounds.head_bytes_max {
            return Err(self.too_large(lines.first, bytes));
        }
        self.early(bytes, &lines)?;
        self.state = State::Head(lines);
        Ok(Step::More)
    }

    /// A target without an end is what is too long, when there is nothing else.
    fn too_large(&self, first: Option<FirstLine>, bytes: &[u8]) -> Flaw {
        let method_ends = memchr::memchr(b' ', &bytes[..bytes.len().min(64)]).is_some();
        match (self.side, first) {
            (Side::Requests, None) if method_ends => Flaw::TargetTooLong,
            (Side::Requests, None) => Flaw::RequestLine,
            _ => Flaw::HeadTooLarge,
        }
    }

    /// What can be said of a line that has no end yet: whoever speaks no HTTP at all may never send one.
    fn early(&self, bytes: &[u8], lines: &Lines) -> Result<(), Flaw> {
        let sound = match (self.side, lines.first) {
            (Side::Requests, None) => bytes.first().is_none_or(|first| is_token(*first)),
            (Side::Responses, None) => bytes.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected),
            _ => true,
        };
        match self.side {
            _ if sound => Ok(()),
            Side::Requests => Err(Flaw::RequestLine),
            Side::Responses => Err(Flaw::StatusLine),
        }
    }

    fn judge(&mut self, head: &[u8], first: FirstLine, fields: &Fields) -> Result<Step, Flaw> {
        match first {
            FirstLine::Request { method_end, target_end, http_11 } => {
                let request = head::request(head, (method_end, target_end, http_11), fields)?;
                self.server_wide = request.server_wide;
                self.blank = false;
                self.follow(request.body);
                if request.upgrade {
                    self.state = State::Paused;
                }
                Ok(Step::Head(head.len()))
            }
            FirstLine::Status { code: 101, http_11 } => {
                let protocol = fields.upgrade.filter(|_| http_11 && fields.wants_upgrade).ok_or(Flaw::Upgrade)?;
                head::response(101, http_11, fields, false)?;
                Ok(Step::Switch { head: head.len(), protocol })
            }
            FirstLine::Status { code: code @ 100..=199, http_11 } => {
                head::response(code, http_11, fields, false)?;
                self.interims += 1;
                if self.interims > self.bounds.interim_max {
                    return Err(Flaw::Interim);
                }
                self.state = State::Head(Lines::default());
                Ok(Step::Interim(head.len()))
            }
            FirstLine::Status { code, http_11 } => {
                let body = head::response(code, http_11, fields, self.awaited == Awaited::HeadResponse)?;
                self.awaited = Awaited::Nothing;
                self.follow(body);
                Ok(Step::Head(head.len()))
            }
        }
    }

    fn follow(&mut self, body: Body) {
        self.state = match body {
            Body::None => State::Head(Lines::default()),
            Body::Length(length) => State::Body(length),
            Body::Chunked => State::ChunkSize,
            Body::UntilClose => State::UntilClose,
        };
    }

    fn next_message(&mut self) {
        self.state = State::Head(Lines::default());
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Step, Flaw> {
        let within = &bytes[..bytes.len().min(chunk::LINE_BYTES_MAX)];
        let Some(end) = memchr::memchr(b'\n', within) else {
            // Waiting for the end of what cannot become a size would be waiting for nothing.
            let sound = within.len() < chunk::LINE_BYTES_MAX && bytes.first().is_some_and(u8::is_ascii_hexdigit);
            return if sound { Ok(Step::More) } else { Err(Flaw::Chunk) };
        };
        let [line @ .., b'\r'] = &bytes[..end] else { return Err(Flaw::Chunk) };
        let (size, digits) = chunk::size(line)?;
        self.state = match line.len() - digits {
            0 => State::ChunkLineEnd { size },
            bytes => State::ChunkExtension { bytes, size },
        };
        Ok(Step::Pass(digits))
    }

    fn line_end(&mut self, bytes: &[u8], next: State) -> Result<Step, Flaw> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.state = next;
                Ok(Step::Pass(2))
            }
            [b'\r'] => Ok(Step::More),
            _ => Err(Flaw::Chunk),
        }
    }

    fn trailer(&mut self, bytes: &[u8], mut lines: Lines) -> Result<Step, Flaw> {
        while let Some((line, _)) = lines.line(bytes).map_err(|_line_end| Flaw::Trailer)? {
            if lines.next > self.bounds.trailer_bytes_max {
                return Err(Flaw::Trailer);
            }
            if line.is_empty() {
                self.next_message();
                return Ok(Step::Pass(lines.next));
            }
            chunk::trailer(line)?;
            lines.fields.count += 1;
            if lines.fields.count > self.bounds.fields_max {
                return Err(Flaw::Trailer);
            }
        }
        if bytes.len() > self.bounds.trailer_bytes_max {
            return Err(Flaw::Trailer);
        }
        self.state = State::Trailer(lines);
        Ok(Step::More)
    }
}
