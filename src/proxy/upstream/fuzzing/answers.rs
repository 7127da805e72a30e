//! Answers of HTTP/1.1: read in whatever pieces they are the same, and the same as a reader has them that is not ours.

use http::{HeaderMap, Method};

use super::super::http1::answer::answer as parsed;
use crate::proxy::{
    framing::{Bounds, Flaw, Side},
    http1::{Head, Inbox, Reason},
};

pub(in crate::proxy::upstream) const BOUNDS: Bounds =
    Bounds { head_bytes_max: 1024, target_bytes_max: 128, fields_max: 16, trailer_bytes_max: 128, interim_max: 2 };

/// What was read of an answer.
#[derive(Debug, Default, PartialEq)]
pub(in crate::proxy::upstream) struct Read {
    pub(in crate::proxy::upstream) interims: usize,
    /// Status, reason where it is no common one, and fields; nothing where the head is not whole.
    pub(in crate::proxy::upstream) head: String,
    pub(in crate::proxy::upstream) body: Vec<u8>,
    pub(in crate::proxy::upstream) trailers: String,
    pub(in crate::proxy::upstream) persists: bool,
    /// It is whole, perhaps since its connection has ended.
    pub(in crate::proxy::upstream) whole: bool,
    /// Nothing stands behind it.
    pub(in crate::proxy::upstream) rests: bool,
}

/// Reads what comes of a service in pieces of so many bytes, and then the connection's end.
pub(in crate::proxy::upstream) fn read(answer: &[u8], method: &Method, cuts: &[usize]) -> Result<Read, Flaw> {
    let (mut inbox, mut read, mut rest, mut cuts) =
        (Inbox::new(Side::Responses, BOUNDS), Read::default(), answer, cuts.iter().cycle());
    inbox.expect(method);
    let mut more = |inbox: &mut Inbox| {
        let cut = cuts.next().map_or(rest.len(), |cut| (*cut).min(rest.len()));
        inbox.room().extend_from_slice(&rest[..cut]);
        inbox.came();
        rest = &rest[cut..];
        cut > 0
    };
    loop {
        match inbox.head(None)? {
            Some(Head::Interim(_)) => read.interims += 1,
            Some(Head::Final(head)) => {
                let answer = parsed(&head)?;
                let reason = answer.response.extensions().get::<Reason>().map(|reason| text(&reason.0));
                let status = answer.response.status();
                let reason = reason.or(status.canonical_reason().map(str::to_owned)).unwrap_or_default();
                read.head = format!("{} {reason}|{}", status.as_str(), told(answer.response.headers()));
                read.persists = answer.persists && inbox.goes_on();
                break;
            }
            None if more(&mut inbox) => {}
            None => return Ok(read),
        }
    }
    assert_eq!(inbox.left() == Some(0), inbox.is_end());
    loop {
        match inbox.piece()? {
            Some(Some(frame)) => match frame.into_data() {
                Ok(data) => read.body.extend_from_slice(&data),
                Err(frame) => read.trailers = told(frame.trailers_ref().expect("neither data nor trailers")),
            },
            Some(None) => {
                read.whole = true;
                break;
            }
            None if more(&mut inbox) => {}
            None => {
                read.whole = inbox.close();
                break;
            }
        }
    }
    assert_eq!(inbox.is_end(), read.whole);
    while more(&mut inbox) {}
    read.rests = inbox.rest();
    Ok(read)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn told(fields: &HeaderMap) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}|", text(value.as_bytes()))).collect()
}

/// The first byte says what is answered and how it is cut.
pub(crate) fn answer(input: &[u8]) {
    let [how, bytes @ ..] = input else { return };
    let method = if how % 2 == 0 { Method::GET } else { Method::HEAD };
    let whole = read(bytes, &method, &[]).ok();
    let cut = usize::from(how / 2) % 32 + 1;
    assert_eq!(read(bytes, &method, &[cut]).ok(), whole, "in pieces of {cut}");
    let Some(read) = whole.filter(|read| !read.head.is_empty()) else { return };
    let (head, body, trailers) = otherwise(bytes, method == Method::HEAD, read.interims);
    // The order of several fields is that of each name alone.
    let sorted = |text: &str| {
        let mut fields: Vec<_> = text.split('|').map(str::to_owned).collect();
        fields.sort();
        fields
    };
    assert_eq!((sorted(&read.head), sorted(&read.trailers)), (sorted(&head), sorted(&trailers)));
    assert_eq!(text(&read.body), text(&body));
}

/// Head, body and trailers by another reader's eyes, as far as they are there.
fn otherwise(mut bytes: &[u8], to_head: bool, interims: usize) -> (String, Vec<u8>, String) {
    for _ in 0..interims {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an interim head ends");
        bytes = &bytes[end + 4..];
    }
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(bytes) else { panic!("{:?}", text(bytes)) };
    let (code, reason) = (response.code.unwrap_or_default(), response.reason.unwrap_or_default());
    let line = text(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default());
    let reason = if reason.is_empty() { line.get(13..).unwrap_or_default().to_owned() } else { reason.to_owned() };
    let head = format!("{code:03} {reason}|{}", named(response.headers));
    let one = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let mut rest = &bytes[length..];
    if to_head || matches!(code, 204 | 304) {
        return (head, Vec::new(), String::new());
    }
    if let Some(length) = one("content-length") {
        let length: usize = std::str::from_utf8(length.value).expect("digits").trim().parse().expect("a length");
        return (head, rest[..length.min(rest.len())].to_vec(), String::new());
    }
    if one("transfer-encoding").is_none() {
        return (head, rest.to_vec(), String::new());
    }
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((digits, size))) = httparse::parse_chunk_size(rest) {
        rest = &rest[digits..];
        if size == 0 {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let trailers = match httparse::parse_headers(rest, &mut fields) {
                Ok(httparse::Status::Complete((_, fields))) => named(fields),
                _ => String::new(),
            };
            return (head, body, trailers);
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        body.extend_from_slice(&rest[..size]);
        rest = rest[size..].strip_prefix(b"\r\n").unwrap_or_default();
    }
    (head, body, String::new())
}

fn named(fields: &[httparse::Header<'_>]) -> String {
    let fields = fields.iter().map(|field| format!("{}={}|", field.name.to_ascii_lowercase(), text(field.value)));
    fields.collect()
}
