//! What a peer of HTTP/2 may send: read in whatever pieces it is the same, costs no more than it may, and its blocks are
//! what a slow reader makes of them.
#![allow(clippy::expect_used, reason = "what cannot be, is a finding")]

mod answers;

use std::task::{Context, Poll, Waker};

use http::{HeaderMap, StatusCode};
use http_body::Frame;

use super::{
    StreamFault,
    frame::{self, Code},
    head::Asked,
    hpack::{
        Decoder, Field,
        naive::{self, All},
    },
    session::{Begun, Conduct, Key, Session, Terms},
};

pub(crate) use self::answers::answers;

const TERMS: Terms = Terms {
    head_bytes_max: 2 << 10,
    trailer_bytes_max: 1 << 10,
    fields_max: 10,
    frame_bytes_max: 16 << 10,
    stream_window_bytes: 200,
    connection_window_bytes: 1 << 16,
    growth_bytes_max: 1 << 15,
    send_bytes_max: 1000,
};

const CONDUCT: Conduct = Conduct { streams_max: 4, resets_max: 8, cancels_max: 8 };

/// Bytes of hexadecimal digits; all else is passed over.
fn hex(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text
        .iter()
        .filter_map(|digit| char::from(*digit).to_digit(16))
        .filter_map(|digit| digit.try_into().ok())
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Blocks of fields, one a line, as hexadecimal digits.
pub(crate) fn hpack(input: &[u8]) {
    let (mut decoder, mut slow) = (Decoder::default(), naive::Decoder::default());
    for line in input.split(|byte| *byte == b'\n') {
        let block = hex(line);
        let mut all = All::default();
        let decoded = decoder.decode(&block, &mut all);
        let expected = slow.decode(&block);
        assert_eq!(decoded.is_ok(), expected.is_some(), "{line:?}");
        let Some(expected) = expected else { return };
        assert_eq!(all.fields.len(), expected.len(), "{line:?}");
        for ((field, bytes), (name, value)) in all.fields.iter().zip(all.bytes).zip(&expected) {
            assert_eq!(bytes, name.len() + value.len() + 32);
            assert!(is_told(field, name, value), "{field:?} of {name:?} {value:?}");
        }
    }
}

/// Whether a field is what its name and value say. One that is none may say anything.
fn is_told(field: &Field, name: &[u8], value: &[u8]) -> bool {
    let (told_name, told_value) = match field {
        Field::Method(method) => (&b":method"[..], method.as_str().as_bytes()),
        Field::Scheme(scheme) => (&b":scheme"[..], scheme.as_str().as_bytes()),
        Field::Authority(authority) => (&b":authority"[..], authority.as_str().as_bytes()),
        Field::Path(path) => (&b":path"[..], path.as_str().as_bytes()),
        Field::Protocol(protocol) => (&b":protocol"[..], protocol.as_str().as_bytes()),
        Field::Status(status) => (&b":status"[..], status.as_str().as_bytes()),
        Field::Plain(name, value) => (name.as_str().as_bytes(), value.as_bytes()),
        Field::Flawed => return true,
    };
    // A scheme is told in small letters.
    told_name == name && (told_value == value || name == b":scheme" && told_value.eq_ignore_ascii_case(value))
}

/// What happens on a connection, one thing a line. The first line is how many bytes come at once; then
/// - `KIND FLAGS STREAM HEX`: a frame comes, by numbers and the hexadecimal digits of its payload,
/// - `HEX`: bytes come,
/// - `read N`: what there is of the body of request N, from 0 on, is taken,
/// - `say N BYTES`: so much of its answer is said, as far as there is room, and that is all of it where there is,
/// - `take BYTES`: the client takes so much of what it was told.
pub(crate) fn frames(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let cut = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.trim().parse().ok()).unwrap_or(1_usize);
    let lines: Vec<&[u8]> = lines.collect();
    let whole = Course::run(&lines, usize::MAX);
    assert_eq!(whole, Course::run(&lines, cut.max(1)), "in pieces of {cut}");
}

/// The bytes of a frame, or of digits alone.
fn bytes(line: &[u8]) -> Vec<u8> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let framed = [words.next(), words.next(), words.next()].map(number);
    let [Some(kind), Some(flags), Some(stream)] = framed else { return hex(line) };
    let (Ok(kind), Ok(flags)) = (kind.try_into(), flags.try_into()) else { return hex(line) };
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, &hex(words.next().unwrap_or_default()));
    bytes
}

fn number(word: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

/// A request, and what became of it.
#[derive(Debug, PartialEq)]
struct Heard {
    key: Key,
    head: String,
    body: Vec<u8>,
    /// How the body ended, if it did.
    end: String,
}

/// A connection's course.
struct Course {
    session: Session,
    requests: Vec<Heard>,
    rest: Vec<u8>,
    told: Vec<u8>,
    ended: Option<Code>,
    cx: Context<'static>,
}

impl Course {
    /// What comes of these lines when bytes come in pieces of so many.
    fn run(lines: &[&[u8]], cut: usize) -> (Vec<Heard>, Vec<u8>, Option<Code>) {
        let (session, cx) = (Session::with_client(TERMS, CONDUCT), Context::from_waker(Waker::noop()));
        let mut course = Course { session, requests: Vec::new(), rest: Vec::new(), told: Vec::new(), ended: None, cx };
        course.comes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", cut);
        for line in lines {
            let mut words = line.split(|byte| *byte == b' ');
            let (verb, first, second) = (words.next(), number(words.next()), number(words.next()));
            match (verb, first.and_then(|number| usize::try_from(number).ok()), second) {
                (Some(b"read"), Some(request), _) => course.reads(request),
                (Some(b"say"), Some(request), Some(bytes)) => course.says(request, bytes as usize),
                (Some(b"take"), Some(bytes), _) => course.takes(bytes),
                _ if course.session.wants_more() && course.ended.is_none() => course.comes(&bytes(line), cut),
                _ => {}
            }
        }
        for request in 0..course.requests.len() {
            course.reads(request);
        }
        course.finish();
        course.takes(usize::MAX);
        (course.requests, course.told, course.ended)
    }

    fn comes(&mut self, bytes: &[u8], cut: usize) {
        let waited = self.session.outbox().len();
        for piece in bytes.chunks(cut) {
            self.rest.extend_from_slice(piece);
            let mut at = 0;
            while self.ended.is_none() {
                match self.session.take(&self.rest[at..]) {
                    Err(code) => self.ended = Some(code),
                    Ok((taken, begun)) => {
                        at += taken;
                        let Some(begun) = begun else { break };
                        self.begin(begun);
                    }
                }
            }
            self.rest.drain(..at);
        }
        // What it has to be told is no more than it brought about.
        let waits = self.session.outbox().len();
        assert!(waits <= waited + 4 * (bytes.len() + 100), "{waits} after {waited} for {}", bytes.len());
    }

    fn begin(&mut self, begun: Begun) {
        let Begun { key, asked: Asked { head, .. }, .. } = begun;
        // Its body and its answer.
        self.session.hold(key);
        self.session.hold(key);
        self.session.look_at(key);
        let tunnel = head.extensions.get::<super::Protocol>().is_some();
        assert_eq!(head.method == http::Method::CONNECT && !tunnel, head.uri.path_and_query().is_none());
        assert!(head.headers.len() <= TERMS.fields_max + 1);
        assert!(self.session.open().0 <= CONDUCT.streams_max as usize);
        let head = format!("{} {} {:?}", head.method, head.uri, head.headers);
        self.requests.push(Heard { key, head, body: Vec::new(), end: String::new() });
    }

    fn reads(&mut self, request: usize) {
        let Some(heard) = self.requests.get_mut(request).filter(|heard| heard.end.is_empty()) else { return };
        while let Poll::Ready(piece) = self.session.poll_piece(heard.key, &self.cx) {
            match piece.map(|piece| piece.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => heard.body.extend_from_slice(&data),
                Some(Ok(Err(trailers))) => heard.end = format!("{trailers:?}"),
                Some(Err(fault)) => heard.end = fault.to_string(),
                None => heard.end = "is whole".to_owned(),
            }
            if !heard.end.is_empty() {
                break;
            }
        }
    }

    fn says(&mut self, request: usize, mut bytes: usize) {
        let Some(Heard { key, .. }) = self.requests.get(request) else { return };
        // Said before, or over for the client.
        self.session.say_head(*key, StatusCode::OK, &HeaderMap::new(), false).ok();
        while let Poll::Ready(Ok(room)) = self.session.poll_room(*key, &self.cx) {
            assert!(room > 0 && room <= TERMS.send_bytes_max);
            let length = room.min(bytes);
            bytes -= length;
            let said = self.session.say_data(*key, vec![b'x'; length].into(), bytes == 0);
            if said.is_err() || bytes == 0 {
                return;
            }
        }
    }

    fn takes(&mut self, bytes: usize) {
        self.told.extend(taken(&mut self.session, bytes));
    }

    /// Whatever happened, answers can be given, nothing happens on streams any more, and nothing is left of them behind
    /// their connection.
    fn finish(&mut self) {
        for Heard { key, .. } in &self.requests {
            self.session.leave_body(*key);
            self.session.leave_unsaid(*key);
        }
        let (open, resting) = self.session.open();
        assert_eq!((open, self.session.kept()), (resting, resting));
        self.session.lose(StreamFault::Closed);
        assert_eq!(self.session.kept(), 0);
    }
}

/// What a peer takes, so many bytes at most.
fn taken(session: &mut Session, bytes: usize) -> Vec<u8> {
    let mut waits: Vec<u8> = session.outbox().slices().iter().flat_map(|slice| slice.to_vec()).collect();
    let there = waits.len();
    waits.truncate(bytes);
    session.written(waits.len());
    let (len, room) = (session.outbox().len(), session.outbox().tail().capacity());
    assert!(room <= (8 << 10) + 4 * len.max(there), "{room} for {len}");
    waits
}
