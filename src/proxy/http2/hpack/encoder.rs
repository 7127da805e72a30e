//! Writes blocks of fields (RFC 7541 §6). A field goes into the table when it is seen the second time: what differs from
//! one answer to the next never drives out what does not.

use std::collections::VecDeque;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::{TABLE_BYTES_MAX, field::bytes_of, tables};
use crate::proxy::http2::session::Question;

/// Fields that are remembered at once. More than a table of entries that are worth it holds.
const PLACES: usize = 128;

/// What a peer knows of the fields that were sent to it.
#[derive(Debug)]
pub(in crate::proxy::http2) struct Encoder {
    /// The last one first.
    entries: VecDeque<(Name<HeaderName>, Box<[u8]>)>,
    bytes: usize,
    bytes_max: usize,
    /// Entries that there were so far.
    made: u32,
    /// The least and the last bytes that the peer allowed and that it was not told of yet.
    resized: Option<(usize, usize)>,
    seen: Box<[Seen]>,
}

/// The name of a field that is worth an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name<N> {
    Authority,
    Plain(N),
}

/// What stands before the fields of a block.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy::http2) enum Pseudo<'a> {
    Status(StatusCode),
    Question(&'a Question<'a>),
    /// They are trailers.
    None,
}

/// Fields that are worth guessing at.
const SECRETS: [HeaderName; 4] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SET_COOKIE];

/// A field that was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    print: u32,
    /// Which entry it was made, from 1 on.
    entry: u32,
}

impl Encoder {
    pub(in crate::proxy::http2) fn new() -> Encoder {
        Encoder {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max: TABLE_BYTES_MAX,
            made: 0,
            resized: None,
            seen: Box::default(),
        }
    }

    /// The peer's table may have so many bytes from now on.
    pub(in crate::proxy::http2) fn resize(&mut self, bytes_max: usize) {
        let bytes_max = bytes_max.min(TABLE_BYTES_MAX);
        let least = self.resized.map_or(self.bytes_max, |(least, _)| least).min(bytes_max);
        self.resized = Some((least, bytes_max)).filter(|now| *now != (self.bytes_max, self.bytes_max));
    }

    /// Writes a head, or trailers. Fields of one connection are left out (RFC 9113 §8.2.2), and of a request what names
    /// the host beside its authority (§8.3.1).
    pub(in crate::proxy::http2) fn encode(&mut self, pseudo: Pseudo<'_>, fields: &HeaderMap, block: &mut Vec<u8>) {
        if let Some((least, last)) = self.resized.take() {
            for bytes_max in [least, last].into_iter().skip(usize::from(least == last)) {
                self.bytes_max = bytes_max;
                self.shrink(bytes_max);
                integer(block, 0x20, 5, bytes_max);
            }
        }
        let mut asks = false;
        match pseudo {
            Pseudo::Status(status) => encode_status(status, block),
            Pseudo::Question(question) => {
                asks = true;
                self.question(question, block);
            }
            Pseudo::None => {}
        }
        for (name, value) in fields {
            let named_before = asks && name == header::HOST;
            if !named_before && !is_of_one_connection(name) {
                // Guessing at one must not show in the length of what follows (RFC 7541 §7.1.3): many share a connection.
                if value.is_sensitive() || SECRETS.contains(name) {
                    literal(block, (0x10, 4), &Name::Plain(name), value.as_bytes());
                } else {
                    self.field(&Name::Plain(name), value.as_bytes(), block);
                }
            }
        }
        if let Pseudo::Question(Question { length: Some(length), .. }) = pseudo {
            literal(block, (0, 4), &Name::Plain(&header::CONTENT_LENGTH), length.to_string().as_bytes());
        }
    }

    /// What a request asks for. Targets differ from each other: they go into no table.
    fn question(&mut self, question: &Question<'_>, block: &mut Vec<u8>) {
        let Question { method, scheme, authority, path, protocol, fields: _, length: _ } = *question;
        match *method {
            _ if protocol.is_some() => literal_text(block, tables::METHOD, Method::CONNECT.as_str().as_bytes()),
            Method::GET => block.push(0x82),
            Method::POST => block.push(0x83),
            _ => literal_text(block, tables::METHOD, method.as_str().as_bytes()),
        }
        block.push(if scheme == "https" { 0x87 } else { 0x86 });
        if !authority.is_empty() {
            self.field(&Name::Authority, authority, block);
        }
        match path {
            "/" => block.push(0x84),
            _ => literal_text(block, tables::PATH, path.as_bytes()),
        }
        if let Some(protocol) = protocol {
            block.push(0);
            text(block, b":protocol");
            text(block, protocol.as_bytes());
        }
    }

    fn field(&mut self, name: &Name<&HeaderName>, value: &[u8], block: &mut Vec<u8>) {
        let bytes = bytes_of(name.text().len(), value.len());
        let print = print(name.text(), value);
        let Some(place) = self.place(print).filter(|_| bytes <= self.bytes_max) else {
            return literal(block, (0, 4), name, value);
        };
        let seen = self.seen[place];
        if seen.print != print {
            self.seen[place] = Seen { print, entry: 0 };
            return literal(block, (0, 4), name, value);
        }
        if let Some(behind) = self.behind(seen)
            && let (one, other) = &self.entries[behind]
            && (one.by_ref(), &**other) == (*name, value)
        {
            return integer(block, 0x80, 7, tables::FIRST_OF_CONNECTION + behind);
        }
        literal(block, (0x40, 6), name, value);
        self.shrink(self.bytes_max - bytes);
        self.bytes += bytes;
        self.made = self.made.wrapping_add(1);
        // A value may be a piece of all that was read with it.
        self.entries.push_front((name.owned(), value.into()));
        self.seen[place].entry = self.made;
    }

    /// Where a field is remembered: in one of two places, of which none that stands for an entry is given away.
    fn place(&mut self, print: u32) -> Option<usize> {
        if self.seen.is_empty() {
            self.seen = vec![Seen::default(); PLACES].into();
        }
        let first = print as usize % PLACES;
        let places = [first, first ^ 1];
        let known = places.into_iter().find(|place| self.seen[*place].print == print);
        known.or_else(|| places.into_iter().find(|place| self.behind(self.seen[*place]).is_none()))
    }

    /// How many entries came behind that of a field, if it is one.
    fn behind(&self, seen: Seen) -> Option<usize> {
        let behind = self.made.wrapping_sub(seen.entry) as usize;
        (seen.entry > 0 && behind < self.entries.len()).then_some(behind)
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some((name, value)) = self.entries.pop_back()
        {
            self.bytes -= bytes_of(name.by_ref().text().len(), value.len());
        }
    }
}

impl Name<HeaderName> {
    fn by_ref(&self) -> Name<&HeaderName> {
        match self {
            Name::Authority => Name::Authority,
            Name::Plain(name) => Name::Plain(name),
        }
    }
}

impl Name<&HeaderName> {
    fn text(&self) -> &str {
        match self {
            Name::Authority => ":authority",
            Name::Plain(name) => name.as_str(),
        }
    }

    fn owned(&self) -> Name<HeaderName> {
        match *self {
            Name::Authority => Name::Authority,
            Name::Plain(name) => Name::Plain(name.clone()),
        }
    }
}

fn encode_status(status: StatusCode, block: &mut Vec<u8>) {
    match status.as_u16() {
        200 => block.push(0x88),
        204 => block.push(0x89),
        206 => block.push(0x8a),
        304 => block.push(0x8b),
        400 => block.push(0x8c),
        404 => block.push(0x8d),
        500 => block.push(0x8e),
        _ => {
            integer(block, 0, 4, tables::STATUS);
            text(block, status.as_str().as_bytes());
        }
    }
}

fn is_of_one_connection(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// By what a field is found again. Two that share one are told apart by themselves.
fn print(name: &str, value: &[u8]) -> u32 {
    let eight = |bytes: &[u8]| {
        let mut eight = [0; 8];
        let length = bytes.len().min(8);
        eight[..length].copy_from_slice(&bytes[..length]);
        u64::from_le_bytes(eight)
    };
    let (name, last) = (name.as_bytes(), value.len().saturating_sub(8));
    let mut print = (name.len() as u64) << 32 | value.len() as u64;
    for part in [eight(name), eight(&name[name.len().saturating_sub(8)..]), eight(value), eight(&value[last..])] {
        print = (print ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    // Never that of a place that is empty.
    (print >> 32) as u32 | 1
}

/// The value of a name of the static table, kept nowhere.
fn literal_text(block: &mut Vec<u8>, name: usize, value: &[u8]) {
    integer(block, 0, 4, name);
    text(block, value);
}

fn literal(block: &mut Vec<u8>, (kind, bits): (u8, u32), name: &Name<&HeaderName>, value: &[u8]) {
    let known = tables::number_of(name.text());
    integer(block, kind, bits, known.unwrap_or(0));
    if known.is_none() {
        text(block, name.text().as_bytes());
    }
    text(block, value);
}

/// A number behind the first bits of a byte (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, kind: u8, bits: u32, number: usize) {
    let most = (1_u8 << bits) - 1;
    match u8::try_from(number) {
        Ok(number) if number < most => block.push(kind | number),
        _ => {
            block.push(kind | most);
            let mut rest = number - usize::from(most);
            loop {
                let [low, ..] = rest.to_le_bytes();
                rest >>= 7;
                if rest == 0 {
                    return block.push(low);
                }
                block.push(low | 0x80);
            }
        }
    }
}

fn text(block: &mut Vec<u8>, text: &[u8]) {
    integer(block, 0, 7, text.len());
    block.extend_from_slice(text);
}
