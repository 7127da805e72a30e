//! Reads blocks of fields (RFC 7541 §3 and §6).

use std::collections::VecDeque;

use super::{
    TABLE_BYTES_MAX, Undecodable,
    field::{Entry, Field, Name, bytes_of},
    huffman, tables,
};

/// Room that is kept for the texts of the next block.
const TEXT_BYTES_KEPT: usize = 1 << 10;

/// What is known of the fields that a peer has sent.
#[derive(Debug, Default)]
pub(in crate::proxy::http2) struct Decoder {
    /// The last one first.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Bytes less than [`TABLE_BYTES_MAX`] that the peer wants to use.
    unused: usize,
    /// Where texts are put together.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Whoever takes the fields of a block.
pub(in crate::proxy::http2) trait Fields {
    /// Whether the next one, which counts for so many bytes (RFC 9113 §6.5.2), is taken. Nothing is made of those that
    /// are not.
    fn takes(&mut self, bytes: usize) -> bool;

    fn take(&mut self, field: Field);
}

/// How a literal stands in a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Kept,
    Passing,
    /// Whoever sends it on may not keep it, either (RFC 7541 §6.2.3).
    Secret,
}

impl Decoder {
    /// Reads a whole block.
    ///
    /// # Errors
    /// [`Undecodable`]: nothing that follows on the connection can be decoded, either.
    pub(in crate::proxy::http2) fn decode(
        &mut self,
        mut block: &[u8],
        fields: &mut impl Fields,
    ) -> Result<(), Undecodable> {
        let mut begun = false;
        while let [first, ..] = *block {
            let literal = match first {
                0x80.. => {
                    let number = integer(&mut block, 7)?;
                    let entry = self.entry(number)?;
                    if fields.takes(entry.bytes) {
                        fields.take(entry.field.clone());
                    }
                    begun = true;
                    continue;
                }
                0x20..0x40 => {
                    // Only before the first field (RFC 7541 §4.2).
                    let bytes_max = integer(&mut block, 5)?;
                    if begun || bytes_max > TABLE_BYTES_MAX {
                        return Err(Undecodable);
                    }
                    self.unused = TABLE_BYTES_MAX - bytes_max;
                    self.shrink(bytes_max);
                    continue;
                }
                0x40.. => Literal::Kept,
                0x10.. => Literal::Secret,
                _ => Literal::Passing,
            };
            begun = true;
            self.literal(&mut block, literal, fields)?;
        }
        self.name.shrink_to(TEXT_BYTES_KEPT);
        self.value.shrink_to(TEXT_BYTES_KEPT);
        Ok(())
    }

    fn literal(&mut self, block: &mut &[u8], literal: Literal, fields: &mut impl Fields) -> Result<(), Undecodable> {
        let number = integer(block, if literal == Literal::Kept { 6 } else { 4 })?;
        let (name, name_bytes) = if number == 0 {
            text(block, &mut self.name)?;
            (Name::read(&self.name), self.name.len())
        } else {
            let entry = self.entry(number)?;
            (entry.name.clone(), entry.name_bytes)
        };
        text(block, &mut self.value)?;
        let takes = fields.takes(bytes_of(name_bytes, self.value.len()));
        match literal {
            Literal::Kept => {
                let entry = Entry::new(name, name_bytes, &self.value);
                if takes {
                    fields.take(entry.field.clone());
                }
                self.keep(entry);
            }
            Literal::Passing if takes => fields.take(name.with(&self.value)),
            Literal::Secret if takes => fields.take(name.with(&self.value).secret()),
            Literal::Passing | Literal::Secret => {}
        }
        Ok(())
    }

    fn entry(&self, number: usize) -> Result<&Entry, Undecodable> {
        match number.checked_sub(tables::FIRST_OF_CONNECTION) {
            None => tables::entry(number),
            Some(place) => self.entries.get(place),
        }
        .ok_or(Undecodable)
    }

    /// One that is larger than the table empties it (RFC 7541 §4.4).
    fn keep(&mut self, entry: Entry) {
        let bytes_max = TABLE_BYTES_MAX - self.unused;
        self.shrink(bytes_max.saturating_sub(entry.bytes));
        if entry.bytes <= bytes_max {
            self.bytes += entry.bytes;
            self.entries.push_front(entry);
        }
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= oldest.bytes;
        }
    }
}

/// A number whose first bits are the last ones of the first byte (RFC 7541 §5.1). None that anybody needs has more than
/// four bytes behind that.
fn integer(block: &mut &[u8], bits: u32) -> Result<usize, Undecodable> {
    let (first, mut rest) = block.split_first().ok_or(Undecodable)?;
    let most = (1 << bits) - 1;
    let mut number = usize::from(first & most);
    if number == usize::from(most) {
        let mut shift = 0;
        loop {
            let (next, behind) = rest.split_first().filter(|_| shift < 28).ok_or(Undecodable)?;
            number += usize::from(next & 0x7f) << shift;
            shift += 7;
            rest = behind;
            if next & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(number)
}

/// A text (RFC 7541 §5.2).
fn text(block: &mut &[u8], text: &mut Vec<u8>) -> Result<(), Undecodable> {
    let coded = block.first().is_some_and(|first| first & 0x80 > 0);
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Undecodable)?;
    *block = rest;
    text.clear();
    if coded {
        return huffman::decode(bytes, text);
    }
    text.extend_from_slice(bytes);
    Ok(())
}
