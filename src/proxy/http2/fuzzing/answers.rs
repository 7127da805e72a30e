//! What a service of HTTP/2 may say to what it is asked.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Frame;

use super::{TERMS, bytes, number, taken};
use crate::proxy::http2::{
    fault::StreamFault,
    frame::{self, Code},
    session::{Key, Question, Session},
};

/// Interim responses that an answer may have.
const INTERIMS_MAX: usize = 2;

/// Requests that are asked at most.
const REQUESTS_MAX: usize = 50;

/// What happens on a connection to a service, one thing a line. The first line is how many bytes come at once; then
/// - `KIND FLAGS STREAM HEX` and `HEX`: a frame comes, or bytes,
/// - `ask METHOD`: a request is sent, as a whole unless it is a POST; CONNECT asks for a tunnel,
/// - `read N`: what there is of the answer to request N, from 0 on, is taken,
/// - `send N BYTES`: so much of its body is sent, as far as there is room, and that is all of it where there is,
/// - `leave N`: nobody wants it any more,
/// - `take BYTES`: the service takes so much of what it was told.
pub(crate) fn answers(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let cut = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.trim().parse().ok()).unwrap_or(1_usize);
    let lines: Vec<&[u8]> = lines.collect();
    let whole = Course::run(&lines, usize::MAX);
    assert_eq!(whole, Course::run(&lines, cut.max(1)), "in pieces of {cut}");
}

/// A request, and what came of it.
#[derive(Debug, PartialEq)]
struct Asked {
    key: Key,
    heads: Vec<String>,
    length: Option<usize>,
    body: Vec<u8>,
    /// How the answer ended, if it did.
    end: String,
    /// Its body may still be sent.
    sends: bool,
    left: bool,
    /// It asks for a tunnel: of an agreement no length counts (RFC 9110 §9.3.6).
    tunnel: bool,
}

/// A connection's course.
struct Course {
    session: Session,
    asked: Vec<Asked>,
    rest: Vec<u8>,
    told: Vec<u8>,
    ended: Option<Code>,
    cx: Context<'static>,
}

impl Course {
    /// What comes of these lines when bytes come in pieces of so many.
    fn run(lines: &[&[u8]], cut: usize) -> (Vec<Asked>, Vec<u8>, Option<Code>) {
        let (session, cx) = (Session::with_service(TERMS, INTERIMS_MAX), Context::from_waker(Waker::noop()));
        let mut course = Course { session, asked: Vec::new(), rest: Vec::new(), told: Vec::new(), ended: None, cx };
        course.comes(b"\0\0\0\x04\0\0\0\0\0", cut);
        for line in lines {
            let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let place = |word: usize| number(words.get(word).copied()).and_then(|number| usize::try_from(number).ok());
            match (words[0], place(1), place(2)) {
                (b"ask", ..) => course.asks(words.get(1).copied().unwrap_or_default()),
                (b"read", Some(request), _) => course.reads(request),
                (b"send", Some(request), Some(bytes)) => course.sends(request, bytes),
                (b"leave", Some(request), _) => course.leaves(request),
                (b"take", Some(bytes), _) => course.told.extend(taken(&mut course.session, bytes)),
                _ if course.session.wants_more() && course.ended.is_none() => course.comes(&bytes(line), cut),
                _ => {}
            }
        }
        course.finish();
        course.told.extend(taken(&mut course.session, usize::MAX));
        (course.asked, course.told, course.ended)
    }

    fn comes(&mut self, bytes: &[u8], cut: usize) {
        for piece in bytes.chunks(cut) {
            self.rest.extend_from_slice(piece);
            let mut at = 0;
            while self.ended.is_none() {
                match self.session.take(&self.rest[at..]) {
                    Err(code) => {
                        self.session.end(code);
                        self.ended = Some(code);
                    }
                    Ok((0, _)) => break,
                    Ok((taken, begun)) => {
                        assert!(begun.is_none(), "services begin nothing");
                        at += taken;
                    }
                }
            }
            self.rest.drain(..at);
        }
    }

    fn asks(&mut self, method: &[u8]) {
        let Ok(method) = Method::from_bytes(method) else { return };
        let protocol = (method == Method::CONNECT).then_some("websocket");
        let sends = method == Method::POST || protocol.is_some();
        let fields = HeaderMap::new();
        let question = Question {
            method: &method,
            scheme: "http",
            authority: b"a",
            path: "/",
            protocol,
            fields: &fields,
            length: None,
        };
        if self.asked.len() == REQUESTS_MAX {
            return;
        }
        let Ok(key) = self.session.ask(&question, !sends) else { return };
        for _end in 0..=usize::from(sends) {
            self.session.hold(key);
        }
        let (heads, body, end) = (Vec::new(), Vec::new(), String::new());
        self.asked.push(Asked { key, heads, length: None, body, end, sends, left: false, tunnel: protocol.is_some() });
    }

    fn reads(&mut self, request: usize) {
        let Some(asked) = self.asked.get_mut(request).filter(|asked| asked.end.is_empty() && !asked.left) else {
            return;
        };
        while asked.heads.last().is_none_or(|head| head.starts_with('1')) {
            match self.session.poll_told(asked.key, &self.cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(told)) => {
                    asked.heads.push(format!("{} {:?}", told.status.as_u16(), told.fields));
                    assert!(asked.heads.len() <= INTERIMS_MAX + 1);
                    assert!(told.fields.len() <= TERMS.fields_max + 1);
                    let length =
                        told.fields.get("content-length").filter(|_| !(asked.tunnel && told.status.is_success()));
                    asked.length = length.and_then(|value| value.to_str().ok()?.parse().ok());
                }
                Poll::Ready(Err(fault)) => {
                    asked.end = fault.to_string();
                    return;
                }
            }
        }
        while let Poll::Ready(piece) = self.session.poll_piece(asked.key, &self.cx) {
            match piece.map(|piece| piece.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => asked.body.extend_from_slice(&data),
                Some(Ok(Err(trailers))) => asked.end = format!("{trailers:?}"),
                Some(Err(fault)) => asked.end = fault.to_string(),
                None => {
                    // Whatever the service does, half an answer is no whole one.
                    let whole = asked.length.is_none_or(|length| length == asked.body.len());
                    assert!(whole || asked.body.is_empty(), "{} of {:?}", asked.body.len(), asked.length);
                    asked.end = "is whole".to_owned();
                }
            }
            if !asked.end.is_empty() {
                break;
            }
        }
    }

    fn sends(&mut self, request: usize, mut bytes: usize) {
        let Some(asked) = self.asked.get(request).filter(|asked| asked.sends && !asked.left) else { return };
        while let Poll::Ready(Ok(room)) = self.session.poll_room(asked.key, &self.cx) {
            assert!(room > 0 && room <= TERMS.send_bytes_max);
            let length = room.min(bytes);
            bytes -= length;
            let said = self.session.say_data(asked.key, Bytes::from(vec![b'x'; length]), bytes == 0);
            if said.is_err() || bytes == 0 {
                return;
            }
        }
    }

    fn leaves(&mut self, request: usize) {
        let Some(asked) = self.asked.get_mut(request).filter(|asked| !asked.left) else { return };
        asked.left = true;
        self.session.leave_body(asked.key);
        if asked.sends {
            self.session.leave_unsaid(asked.key);
        }
    }

    /// Whatever happened, every request comes to an end, and nothing is left of it.
    fn finish(&mut self) {
        for request in 0..self.asked.len() {
            self.reads(request);
        }
        for request in (0..self.asked.len()).step_by(2) {
            self.leaves(request);
        }
        self.session.lose(StreamFault::Closed);
        for request in 0..self.asked.len() {
            self.reads(request);
            let asked = &self.asked[request];
            assert!(asked.left || !asked.end.is_empty(), "nobody learns what became of {request}");
            self.leaves(request);
        }
        assert_eq!((self.session.counts().0, self.session.kept()), (0, 0));
        let frames = self.session.outbox().len();
        assert!(frames <= (1 << 20) + 4 * frame::HEAD_BYTES, "{frames}");
    }
}
