//! Buckets: which slot an assignment key falls in, and which slots a weight owns.
//!
//! The arithmetic is that of flagd's `fractional` operator, version 2: MurmurHash3_x86_32 with seed
//! 0 over the bytes of the toggle's key followed by those of the assignment key, then
//! `slot = (hash × total) >> 32`. An application that buckets with flagd agrees with the proxy.
//!
//! *Invariants*
//! - A weight owns the slots `[0, weight)`, so raising it only adds keys and lowering it removes the
//!   newest first.
//! - The number of slots never changes, so no reload reshuffles anybody.

use std::{fmt, str::FromStr};

/// Slots that every toggle is divided into: the resolution of a weight is 0.001%.
pub const SLOTS: u32 = 100_000;

/// How keys become slots; pinned for each toggle, so that a later algorithm never moves users silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bucketing {
    /// flagd's since 0.15: the hash of the salt followed by the assignment key.
    #[default]
    FlagdV2,
}

/// One of the [`SLOTS`] places an assignment key can fall in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

/// A share of all slots, from 0% to 100% in steps of 0.001%.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

/// Why a text is not a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// It is not a decimal number followed by `%`.
    #[error("a weight is a decimal number followed by %, as in \"2.5%\"")]
    Syntax,
    /// It is more than the whole.
    #[error("a weight is at most 100%")]
    OverWhole,
    /// It is finer than one slot.
    #[error("a weight has at most three digits after the point: one slot is 0.001%")]
    TooFine,
}

impl Bucketing {
    /// The slot of an assignment key under a salt.
    #[must_use]
    pub fn slot(self, salt: &str, assignment_key: &str) -> Slot {
        match self {
            Bucketing::FlagdV2 => Slot::of(salt, assignment_key),
        }
    }
}

impl Slot {
    /// The slot of an assignment key under a toggle's key.
    #[must_use]
    pub fn of(toggle_key: &str, assignment_key: &str) -> Slot {
        let mut hash = Murmur3::default();
        hash.write(toggle_key.as_bytes());
        hash.write(assignment_key.as_bytes());
        Slot::from_hash(hash.finish())
    }

    /// The slot of one hash, or of one uniformly random draw.
    #[must_use]
    pub fn from_hash(hash: u32) -> Slot {
        let wide = (u64::from(hash) * u64::from(SLOTS)) >> 32;
        Slot(u32::try_from(wide).unwrap_or(SLOTS - 1))
    }

    /// The slot of a request's one random number under a toggle's key: the same number gives independent
    /// slots under different keys, and the same slot whenever the toggle is asked again.
    #[must_use]
    pub fn of_draw(toggle_key: &str, draw: u32) -> Slot {
        let mut hash = Murmur3::default();
        hash.write(toggle_key.as_bytes());
        hash.write(&draw.to_le_bytes());
        Slot::from_hash(hash.finish())
    }

    /// The slot of that number; above the last one, the last one.
    #[must_use]
    pub fn from_number(number: u32) -> Slot {
        Slot(number.min(SLOTS - 1))
    }

    /// The slot's number, below [`SLOTS`].
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl Weight {
    /// No slot at all.
    pub const NONE: Weight = Weight(0);
    /// Every slot.
    pub const WHOLE: Weight = Weight(SLOTS);

    /// That many slots; above the whole, the whole.
    #[must_use]
    pub fn from_slots(slots: u32) -> Weight {
        Weight(slots.min(SLOTS))
    }

    /// How many slots it is.
    #[must_use]
    pub fn slots(self) -> u32 {
        self.0
    }

    /// Whether the weight owns the slot.
    #[must_use]
    pub fn owns(self, slot: Slot) -> bool {
        slot.0 < self.0
    }

    /// The share as a fraction of one.
    #[must_use]
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / f64::from(SLOTS)
    }
}

impl FromStr for Weight {
    type Err = WeightError;

    fn from_str(text: &str) -> Result<Weight, WeightError> {
        let number = text.trim().strip_suffix('%').ok_or(WeightError::Syntax)?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || number.ends_with('.') || !digits(whole) || !digits(fraction) {
            return Err(WeightError::Syntax);
        }
        if fraction.len() > 3 {
            return Err(WeightError::TooFine);
        }
        let percent: u32 = whole.parse().map_err(|_digits_only_so_too_large| WeightError::OverWhole)?;
        let thousandths: u32 = format!("{fraction:0<3}").parse().map_err(|_three_digits| WeightError::Syntax)?;
        let slots = percent.checked_mul(1000).and_then(|slots| slots.checked_add(thousandths));
        slots.filter(|&slots| slots <= SLOTS).map(Weight).ok_or(WeightError::OverWhole)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, thousandths) = (self.0 / 1000, self.0 % 1000);
        if thousandths == 0 {
            write!(f, "{percent}%")
        } else {
            let fraction = format!("{thousandths:03}");
            write!(f, "{percent}.{}%", fraction.trim_end_matches('0'))
        }
    }
}

/// MurmurHash3_x86_32 with seed 0, fed in pieces so that joining two keys allocates nothing.
/// Source: Austin Appleby's public-domain reference, `MurmurHash3_x86_32`.
#[derive(Default)]
struct Murmur3 {
    hash: u32,
    block: u32,
    bytes_written: u32,
}

impl Murmur3 {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let place = self.bytes_written % 4;
            self.block |= u32::from(byte) << (8 * place);
            self.bytes_written = self.bytes_written.wrapping_add(1);
            if place == 3 {
                self.hash ^= scramble(self.block);
                self.hash = self.hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
                self.block = 0;
            }
        }
    }

    fn finish(self) -> u32 {
        let mut hash = self.hash;
        if !self.bytes_written.is_multiple_of(4) {
            hash ^= scramble(self.block);
        }
        hash ^= self.bytes_written;
        hash ^= hash >> 16;
        hash = hash.wrapping_mul(0x85eb_ca6b);
        hash ^= hash >> 13;
        hash = hash.wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn murmur3(text: &str) -> u32 {
        let mut hash = Murmur3::default();
        hash.write(text.as_bytes());
        hash.finish()
    }

    #[test]
    fn the_hash_is_flagds() {
        for (text, expected) in
            [("ejOoVL", 0), ("bY9fO-", 1), ("SI7p-", 0x7fff_ffff), ("6LvT0", 0x8000_0000), ("ceQdGm", 0xffff_ffff)]
        {
            assert_eq!(murmur3(text), expected, "{text}");
        }
    }

    #[test]
    fn the_highest_hash_falls_in_the_last_slot() {
        assert_eq!(Slot::from_hash(u32::MAX).number(), SLOTS - 1);
        assert_eq!(Slot::from_hash(0).number(), 0);
    }

    #[test]
    fn weights_read_as_written() {
        for (text, expected) in [
            ("0%", Ok("0%")),
            ("100%", Ok("100%")),
            ("2.5%", Ok("2.5%")),
            ("0.001%", Ok("0.001%")),
            ("1.50 %", Ok("1.5%")),
            ("100.001%", Err(WeightError::OverWhole)),
            ("99999999999%", Err(WeightError::OverWhole)),
            ("0.0001%", Err(WeightError::TooFine)),
            ("5", Err(WeightError::Syntax)),
            ("5.%", Err(WeightError::Syntax)),
            ("-5%", Err(WeightError::Syntax)),
            (".5%", Err(WeightError::Syntax)),
            ("%", Err(WeightError::Syntax)),
        ] {
            let read = text.parse::<Weight>().map(|weight| weight.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn ten_percent_of_ten_thousand_keys_is_a_thousand() {
        let tenth: Weight = "10%".parse().unwrap();
        let owned = (0..10_000).filter(|user| tenth.owns(Slot::of("checkout-v2", &format!("user-{user}")))).count();
        assert!((900..=1100).contains(&owned), "{owned}");
    }

    #[test]
    fn one_draw_gives_independent_slots_under_different_keys() {
        let half: Weight = "50%".parse().unwrap();
        let owned = |key: &str, draw: u32| half.owns(Slot::of_draw(key, draw));
        let draws = || (0..10_000_u32).map(|draw| draw.wrapping_mul(0x9e37_79b9));
        let one = draws().filter(|draw| owned("one", *draw)).count();
        let both = draws().filter(|draw| owned("one", *draw) && owned("two", *draw)).count();
        assert!((4800..=5200).contains(&one) && (2300..=2700).contains(&both), "{one}, {both}");
    }

    proptest! {
        #[test]
        fn joining_in_pieces_hashes_like_the_whole(left in ".*", right in ".*") {
            let mut pieces = Murmur3::default();
            pieces.write(left.as_bytes());
            pieces.write(right.as_bytes());
            prop_assert_eq!(pieces.finish(), murmur3(&format!("{left}{right}")));
        }

        #[test]
        fn raising_a_weight_never_moves_a_user_back(key in ".+", low in 0..=SLOTS, more in 0..=SLOTS) {
            let slot = Slot::of("toggle", &key);
            let raised = Weight((low + more).min(SLOTS));
            prop_assert!(!Weight(low).owns(slot) || raised.owns(slot));
        }

        #[test]
        fn a_weight_survives_printing(slots in 0..=SLOTS) {
            prop_assert_eq!(Weight(slots).to_string().parse::<Weight>(), Ok(Weight(slots)));
        }
    }
}
