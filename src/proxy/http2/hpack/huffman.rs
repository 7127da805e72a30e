//! The Huffman code of HPACK (RFC 7541 §5.2 and appendix B). It is canonical: codes of one length follow each other in
//! the order of their symbols, so that their lengths are all there is to know. weir sends none.

use super::Undecodable;

/// The symbol that no text may have (RFC 7541 §5.2).
const END: u16 = 256;

const LENGTH_MAX: usize = 30;

/// How many bits each symbol has.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The code, made of its lengths.
struct Code {
    /// By eight bits: the symbol that they begin with, and its length. Where it is longer, none.
    short: [(u8, u8); 256],
    /// By length: its first code, how many there are, and where their symbols stand.
    first: [(u32, u32, usize); LENGTH_MAX + 1],
    /// All symbols in the order of their codes.
    symbols: [u16; 257],
}

static CODE: Code = Code::new();

impl Code {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "symbols of at most eight bits are bytes; `try_from` is not const"
    )]
    const fn new() -> Code {
        let mut made = Code { short: [(0, 0); 256], first: [(0, 0, 0); LENGTH_MAX + 1], symbols: [0; 257] };
        let (mut code, mut at, mut length) = (0_u32, 0, 1);
        while length <= LENGTH_MAX {
            code <<= 1;
            made.first[length] = (code, 0, at);
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    if length <= 8 {
                        let (from, count) = ((code as usize) << (8 - length), 1 << (8 - length));
                        let mut bits = from;
                        while bits < from + count {
                            made.short[bits] = (symbol as u8, length as u8);
                            bits += 1;
                        }
                    }
                    made.symbols[at] = symbol as u16;
                    made.first[length].1 += 1;
                    code += 1;
                    at += 1;
                }
                symbol += 1;
            }
            length += 1;
        }
        made
    }

    /// The symbol that these bits begin with, and its length.
    fn symbol(&self, bits: u32) -> (u16, u32) {
        let (short, length) = self.short[(bits >> 24) as usize];
        if length > 0 {
            return (u16::from(short), u32::from(length));
        }
        for length in 9..=LENGTH_MAX {
            let (first, count, at) = self.first[length];
            let place = (bits >> (32 - length)).wrapping_sub(first);
            if place < count {
                return (self.symbols[at + place as usize], u32::try_from(length).unwrap_or(u32::MAX));
            }
        }
        // Every 30 bits begin with a symbol.
        (END, 0)
    }
}

/// Puts a text behind `text`.
///
/// # Errors
/// [`Undecodable`] when it has the symbol of the end, or is padded with anything but fewer than eight ones.
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> Result<(), Undecodable> {
    let mut coded = coded.iter();
    // The last of these bits are known and not taken.
    let (mut bits, mut known) = (0_u64, 0_u32);
    loop {
        while known <= 56
            && let Some(byte) = coded.next()
        {
            bits = bits << 8 | u64::from(*byte);
            known += 8;
        }
        // Behind the end follow ones, as in a padding.
        let next = if known >= 32 { bits >> (known - 32) } else { !(!bits << (32 - known)) };
        let (symbol, length) = CODE.symbol(u32::try_from(next & u64::from(u32::MAX)).unwrap_or(u32::MAX));
        if length > known {
            let padding = (1 << known) - 1;
            return if known < 8 && bits & padding == padding { Ok(()) } else { Err(Undecodable) };
        }
        text.push(u8::try_from(symbol).map_err(|_end| Undecodable)?);
        known -= length;
    }
}
