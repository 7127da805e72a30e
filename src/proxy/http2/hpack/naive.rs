//! A second reading of RFC 7541, slow and obvious: to compare with.

use super::{Field, Fields, TABLE_BYTES_MAX, huffman, tables};

/// Takes all fields, and what each counts for.
#[derive(Default)]
pub(in crate::proxy::http2) struct All {
    pub(in crate::proxy::http2) fields: Vec<Field>,
    pub(in crate::proxy::http2) bytes: Vec<usize>,
}

impl Fields for All {
    fn takes(&mut self, bytes: usize) -> bool {
        self.bytes.push(bytes);
        true
    }

    fn take(&mut self, field: Field) {
        self.fields.push(field);
    }
}

/// A name and a value.
pub(in crate::proxy::http2) type Text = (Vec<u8>, Vec<u8>);

/// What was kept, the last one first, and how much may be.
pub(in crate::proxy::http2) struct Decoder {
    kept: Vec<Text>,
    bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { kept: Vec::new(), bytes_max: TABLE_BYTES_MAX }
    }
}

impl Decoder {
    /// The fields of a block; `None` when it is none.
    pub(in crate::proxy::http2) fn decode(&mut self, block: &[u8]) -> Option<Vec<Text>> {
        let (mut at, mut fields) = (0, Vec::new());
        while at < block.len() {
            let first = block[at];
            if first & 0x80 != 0 {
                let number = integer(block, &mut at, 7)?;
                fields.push(self.entry(number)?);
            } else if first & 0xe0 == 0x20 {
                let bytes_max = integer(block, &mut at, 5)?;
                if !fields.is_empty() || bytes_max > TABLE_BYTES_MAX {
                    return None;
                }
                self.bytes_max = bytes_max;
                self.evict();
            } else {
                let keeps = first & 0x40 != 0;
                let number = integer(block, &mut at, if keeps { 6 } else { 4 })?;
                let name = if number == 0 { text(block, &mut at)? } else { self.entry(number)?.0 };
                let field = (name, text(block, &mut at)?);
                fields.push(field.clone());
                if keeps {
                    self.kept.insert(0, field);
                    self.evict();
                }
            }
        }
        Some(fields)
    }

    fn evict(&mut self) {
        while self.kept.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() > self.bytes_max {
            self.kept.pop();
        }
    }

    fn entry(&self, number: usize) -> Option<Text> {
        if number == 0 {
            return None;
        }
        let known =
            tables::FIELDS.get(number - 1).map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        known.or_else(|| self.kept.get(number - 1 - tables::FIELDS.len()).cloned())
    }
}

fn integer(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let most = (1_usize << bits) - 1;
    let mut number = usize::from(*block.get(*at)?) & most;
    *at += 1;
    if number < most {
        return Some(number);
    }
    for place in 0..4 {
        let byte = usize::from(*block.get(*at)?);
        *at += 1;
        number += (byte & 127) * 128_usize.pow(place);
        if byte < 128 {
            return Some(number);
        }
    }
    None
}

fn text(block: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let coded = block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let bytes = block.get(*at..at.checked_add(length)?)?;
    *at += length;
    if !coded {
        return Some(bytes.to_vec());
    }
    // Bit by bit, until the bits are a code.
    let (mut text, mut code) = (Vec::new(), String::new());
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        code.push(if bit == 1 { '1' } else { '0' });
        if let Some(symbol) = CODES.with(|codes| codes.iter().position(|known| *known == code)) {
            text.push(u8::try_from(symbol).ok()?);
            code.clear();
        }
    }
    (code.len() < 8 && !code.contains('0')).then_some(text)
}

thread_local! {
    /// The code of each symbol, made as a canonical code is: one more than the one before, and a zero behind it for each
    /// bit that it has more.
    static CODES: Vec<String> = {
        let mut symbols: Vec<usize> = (0..huffman::LENGTHS.len()).collect();
        symbols.sort_by_key(|symbol| huffman::LENGTHS[*symbol]);
        let (mut codes, mut next, mut before) = (vec![String::new(); symbols.len()], 0_u64, 0);
        for symbol in symbols {
            let length = usize::from(huffman::LENGTHS[symbol]);
            next <<= length - before;
            codes[symbol] = format!("{next:0length$b}");
            (next, before) = (next + 1, length);
        }
        codes
    };
}
