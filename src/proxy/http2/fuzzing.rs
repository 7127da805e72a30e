//! What a client of HTTP/2 may send: read in whatever pieces it is the same, costs no more than it may, and its blocks
//! are what a slow reader makes of them.
#![allow(clippy::expect_used, reason = "what cannot be, is a finding")]

use std::task::{Context, Poll, Waker};

use http::{HeaderMap, StatusCode};

use super::{
    frame::{self, Code},
    hpack::{
        Decoder, Field,
        naive::{self, All},
    },
    session::{Key, Session, Terms},
};

const TERMS: Terms = Terms {
    streams_max: 4,
    head_bytes_max: 2 << 10,
    trailer_bytes_max: 1 << 10,
    fields_max: 10,
    frame_bytes_max: 16 << 10,
    stream_window_bytes: 200,
    connection_window_bytes: 1 << 16,
    send_bytes_max: 1000,
    resets_max: 8,
    cancels_max: 8,
};

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
        Field::Plain(name, value) => (name.as_str().as_bytes(), value.as_bytes()),
        Field::Flawed => return true,
    };
    // A scheme is told in small letters.
    told_name == name && (told_value == value || name == b":scheme" && told_value.eq_ignore_ascii_case(value))
}

/// What weir made of what a client sent.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    /// Each request's head, body, and how that ended.
    requests: Vec<(String, Vec<u8>, String)>,
    told: Vec<u8>,
    ended: Option<Code>,
}

/// Frames, one a line: kind, flags and stream as numbers, and the payload as hexadecimal digits; or bytes as such digits
/// alone. The first line is how many bytes come at once.
pub(crate) fn frames(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let cut = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.trim().parse().ok()).unwrap_or(1_usize);
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let sent: Vec<u8> = greeting.iter().copied().chain(lines.flat_map(bytes)).collect();
    let whole = heard(&sent, sent.len());
    assert_eq!(whole, heard(&sent, cut.max(1)), "in pieces of {cut}");
}

fn bytes(line: &[u8]) -> Vec<u8> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<u32>().ok();
    let framed = || {
        let (kind, flags, stream) = (number()?.try_into().ok()?, number()?.try_into().ok()?, number()?);
        Some((kind, flags, stream))
    };
    let Some((kind, flags, stream)) = { framed }() else { return hex(line) };
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, &hex(words.next().unwrap_or_default()));
    bytes
}

/// Hears all that a client sends in pieces of so many bytes; answers nothing before the end.
fn heard(sent: &[u8], cut: usize) -> Heard {
    let (mut session, mut heard, mut rest) = (Session::new(TERMS), Heard::default(), Vec::new());
    let mut keys: Vec<Key> = Vec::new();
    for piece in sent.chunks(cut.max(1)) {
        rest.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match session.take(&rest[at..]) {
                Err(code) => heard.ended = Some(code),
                Ok((taken, begun)) => {
                    at += taken;
                    let Some(begun) = begun else { break };
                    session.hold(begun.key);
                    session.hold(begun.key);
                    session.look_at(begun.key);
                    keys.push(begun.key);
                    let head = &begun.asked.head;
                    assert_eq!(
                        head.method == http::Method::CONNECT,
                        head.uri.path_and_query().is_none()
                            || begun.asked.head.extensions.get::<hyper::ext::Protocol>().is_some()
                    );
                    heard.requests.push((
                        format!("{} {} {:?}", head.method, head.uri, head.headers),
                        Vec::new(),
                        String::new(),
                    ));
                    assert!(session.counts().0 <= TERMS.streams_max as usize);
                    continue;
                }
            }
            break;
        }
        rest.drain(..at);
        if heard.ended.is_some() {
            break;
        }
    }
    // What it has to be told is no more than it brought about.
    assert!(session.outbox().len() <= 100 + 4 * sent.len(), "{} for {}", session.outbox().len(), sent.len());
    heard.told = session.outbox().slices().iter().flat_map(|slice| slice.to_vec()).collect();
    for (key, (_, body, end)) in keys.iter().zip(&mut heard.requests) {
        (*body, *end) = drained(&mut session, *key);
    }
    finish(&mut session, &keys);
    heard
}

/// What there is of a body, and how it ended.
fn drained(session: &mut Session, key: Key) -> (Vec<u8>, String) {
    let mut body = Vec::new();
    loop {
        match session.poll_piece(key, &Context::from_waker(Waker::noop())) {
            Poll::Pending => return (body, "goes on".to_owned()),
            Poll::Ready(None) => return (body, "is whole".to_owned()),
            Poll::Ready(Some(Err(fault))) => return (body, fault.to_string()),
            Poll::Ready(Some(Ok(piece))) => match piece.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(piece) => {
                    return (body, format!("{:?}", piece.into_trailers().expect("neither data nor trailers")));
                }
            },
        }
    }
}

/// Whatever happened, answers can be given and nothing is left of the streams.
fn finish(session: &mut Session, keys: &[Key]) {
    for key in keys {
        // Over for the client, perhaps.
        session.say_head(*key, StatusCode::OK, &HeaderMap::new(), true).ok();
        session.leave_body(*key);
        session.leave_answer(*key, Code::Internal);
    }
    assert_eq!(session.counts().0, 0);
}
