//! Buckets: which slot an assignment key falls in, and which slots a weight owns.
//!
//! The arithmetic is that of flagd's `fractional` operator: MurmurHash3_x86_32 with seed 0, then
//! `slot = (hash × total) >> 32`. What is hashed depends on the [`Bucketing`]. An application that buckets
//! with flagd agrees with the proxy.
//!
//! *Invariants*
//! - A weight owns the slots `[0, weight)`, so raising it only adds keys and lowering it removes the
//!   newest first.
//! - The number of slots never changes, so no reload reshuffles anybody.

mod cbor;
mod murmur;

use std::{fmt, str::FromStr};

use serde_json::Value;

use murmur::Murmur3;

/// Slots that every toggle is divided into: the resolution of a weight is 0.001%.
pub const SLOTS: u32 = 100_000;

/// How keys become slots; pinned for each toggle, so that a later algorithm never moves users silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bucketing {
    /// flagd's since 0.15: the hash of the salt's bytes followed by those of the assignment key.
    #[default]
    FlagdV2,
    /// flagd's next: the hash of the array `[salt, assignment key]` in deterministic CBOR (RFC 8949 §4.2.1).
    FlagdV3,
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
    /// All of them.
    pub const ALL: [Bucketing; 2] = [Bucketing::FlagdV2, Bucketing::FlagdV3];

    /// The word that configuration uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Bucketing::FlagdV2 => "flagd-v2",
            Bucketing::FlagdV3 => "flagd-v3",
        }
    }

    /// The slot of an assignment key under a salt.
    #[must_use]
    pub fn slot(self, salt: &str, assignment_key: &str) -> Slot {
        Slot::from_hash(self.hash(salt, assignment_key))
    }

    /// The hash of an assignment key under a salt.
    #[must_use]
    pub fn hash(self, salt: &str, assignment_key: &str) -> u32 {
        let mut hash = Murmur3::default();
        match self {
            Bucketing::FlagdV2 => {
                hash.write(salt.as_bytes());
                hash.write(assignment_key.as_bytes());
            }
            Bucketing::FlagdV3 => cbor::write_texts(&mut hash, [salt, assignment_key]),
        }
        hash.finish()
    }

    /// The hash of one explicit value, as the first argument of flagd's `fractional` gives it. `None` when
    /// the algorithm does not hash values of that kind: version 2 takes texts alone, none takes null.
    #[must_use]
    pub fn hash_value(self, value: &Value) -> Option<u32> {
        let mut hash = Murmur3::default();
        match (self, value) {
            (_, Value::Null) => return None,
            (Bucketing::FlagdV2, Value::String(text)) => hash.write(text.as_bytes()),
            (Bucketing::FlagdV2, _) => return None,
            (Bucketing::FlagdV3, value) => cbor::write_value(&mut hash, value),
        }
        Some(hash.finish())
    }
}

impl fmt::Display for Bucketing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Slot {
    /// The slot of an assignment key under a toggle's key, by the default algorithm.
    #[must_use]
    pub fn of(toggle_key: &str, assignment_key: &str) -> Slot {
        Bucketing::default().slot(toggle_key, assignment_key)
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

    /// Whether it leaves nothing to the slot.
    #[must_use]
    pub fn is_for_all_or_none(self) -> bool {
        self == Weight::NONE || self == Weight::WHOLE
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
