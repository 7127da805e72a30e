//! Writes blocks of fields (RFC 7541 §6). A field goes into the table when it is seen the second time: what differs from
//! one answer to the next never drives out what does not.

use std::collections::VecDeque;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{TABLE_BYTES_MAX, field::bytes_of, tables};

/// Fields that are remembered at once. More than a table of entries that are worth it holds.
const PLACES: usize = 128;

/// What a peer knows of the fields that were sent to it.
#[derive(Debug)]
pub(in crate::proxy::http2) struct Encoder {
    /// The last one first.
    entries: VecDeque<(HeaderName, HeaderValue)>,
    bytes: usize,
    bytes_max: usize,
    /// Entries that there were so far.
    made: u32,
    /// The least and the last bytes that the peer allowed and that it was not told of yet.
    resized: Option<(usize, usize)>,
    seen: Box<[Seen]>,
}

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

    /// Writes a head, or trailers, which have no status. Fields of one connection are left out (RFC 9113 §8.2.2).
    pub(in crate::proxy::http2) fn encode(
        &mut self,
        status: Option<StatusCode>,
        fields: &HeaderMap,
        block: &mut Vec<u8>,
    ) {
        if let Some((least, last)) = self.resized.take() {
            for bytes_max in [least, last].into_iter().skip(usize::from(least == last)) {
                self.bytes_max = bytes_max;
                self.shrink(bytes_max);
                integer(block, 0x20, 5, bytes_max);
            }
        }
        if let Some(status) = status {
            encode_status(status, block);
        }
        for (name, value) in fields {
            if !is_of_one_connection(name) {
                self.field(name, value, block);
            }
        }
    }

    fn field(&mut self, name: &HeaderName, value: &HeaderValue, block: &mut Vec<u8>) {
        let (known, bytes) = (tables::number_of(name.as_str()), bytes_of(name.as_str().len(), value.len()));
        // Guessing at one must not show in the length of what follows (RFC 7541 §7.1.3).
        if value.is_sensitive() || name == header::SET_COOKIE {
            return literal(block, (0x10, 4), known, name, value);
        }
        let print = print(name.as_str(), value.as_bytes());
        let Some(place) = self.place(print).filter(|_| bytes <= self.bytes_max) else {
            return literal(block, (0, 4), known, name, value);
        };
        let seen = self.seen[place];
        if seen.print != print {
            self.seen[place] = Seen { print, entry: 0 };
            return literal(block, (0, 4), known, name, value);
        }
        if let Some(behind) = self.behind(seen)
            && let (one, other) = &self.entries[behind]
            && (one, other) == (name, value)
        {
            return integer(block, 0x80, 7, tables::FIRST_OF_CONNECTION + behind);
        }
        literal(block, (0x40, 6), known, name, value);
        self.shrink(self.bytes_max - bytes);
        self.bytes += bytes;
        self.made = self.made.wrapping_add(1);
        // A value may be a piece of all that was read with it.
        if let Ok(own) = HeaderValue::from_bytes(value.as_bytes()) {
            self.entries.push_front((name.clone(), own));
        }
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
            self.bytes -= bytes_of(name.as_str().len(), value.len());
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

fn literal(block: &mut Vec<u8>, (kind, bits): (u8, u32), known: Option<usize>, name: &HeaderName, value: &HeaderValue) {
    integer(block, kind, bits, known.unwrap_or(0));
    if known.is_none() {
        text(block, name.as_str().as_bytes());
    }
    text(block, value.as_bytes());
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
