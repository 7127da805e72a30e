//! Numbers: what attributes hold and conditions compare with.

use std::{cmp::Ordering, fmt};

/// Below this every whole number is a float, too.
const EXACT: u64 = 1 << 53;

/// The first float above all [`Number::Whole`]; its negative is the least of them.
const WHOLE_END: f64 = 9_223_372_036_854_775_808.0;

/// A number. A whole one keeps all of its digits, and two are compared by what they are worth: a float has no
/// more than 53 bits, and identities are often longer.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// Any other, or one beyond 64 bits.
    Float(f64),
}

impl Number {
    /// A number that JSON writes.
    #[must_use]
    pub fn of(number: &serde_json::Number) -> Option<Number> {
        number.as_i64().map(Number::Whole).or_else(|| number.as_f64().map(Number::Float))
    }

    /// The number that a text is, blanks around it aside; `None` when it is none or not finite.
    #[must_use]
    #[inline]
    pub fn written(text: &str) -> Option<Number> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        // Most numbers are short and whole, and need no general parser.
        if digits && (1..=9).contains(&text.len()) {
            let whole = text.bytes().fold(0, |whole, digit| whole * 10 + u32::from(digit - b'0'));
            return Some(Number::Whole(whole.into()));
        }
        let text = text.trim();
        if let Ok(whole) = text.parse() {
            return Some(Number::Whole(whole));
        }
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Number::Float)
    }

    /// The nearest float.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "that is what is asked for")]
    pub fn float(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Float(float) => float,
        }
    }

    /// The same as a float, unless other whole numbers are the same float.
    #[must_use]
    pub fn exact_float(self) -> Option<f64> {
        match self {
            Number::Whole(whole) if whole.unsigned_abs() >= EXACT => None,
            number => Some(number.float()),
        }
    }
}

impl PartialEq for Number {
    #[inline]
    fn eq(&self, other: &Number) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    #[inline]
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Whole(left), Number::Whole(right)) => Some(left.cmp(right)),
            (Number::Float(left), Number::Float(right)) => left.partial_cmp(right),
            (Number::Whole(left), Number::Float(right)) => mixed(*left, *right),
            (Number::Float(left), Number::Whole(right)) => mixed(*right, *left).map(Ordering::reverse),
        }
    }
}

/// Nothing is rounded: a float that is as large as where they get coarse has no fraction to lose.
#[expect(clippy::cast_possible_truncation, reason = "it was seen to be within, and what is cut is compared besides")]
fn mixed(whole: i64, float: f64) -> Option<Ordering> {
    if let Some(exact) = Number::Whole(whole).exact_float() {
        return exact.partial_cmp(&float);
    }
    if float >= WHOLE_END {
        return Some(Ordering::Less);
    }
    if float < -WHOLE_END {
        return Some(Ordering::Greater);
    }
    (!float.is_nan()).then(|| whole.cmp(&(float as i64)))
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(whole) => whole.fmt(f),
            Number::Float(float) => float.fmt(f),
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "a float of a 64-bit whole number fits 128 bits")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::written(text).unwrap()
    }

    #[test]
    fn whole_numbers_are_compared_digit_by_digit_and_with_floats_without_rounding() {
        for (least, greatest) in [
            ("9007199254740992", "9007199254740993"),
            ("9007199254740992.0", "9007199254740993"),
            ("-9007199254740993", "-9007199254740992"),
            ("9223372036854775806", "9223372036854775807"),
            ("9223372036854775807", "9223372036854775808"),
            ("-9.3e18", "-9223372036854775808"),
            ("9223372036854775807", "1e19"),
            ("2", "2.5"),
            ("-2.5", "-2"),
            ("0.5", "1"),
        ] {
            assert!(number(least) < number(greatest), "{least} {greatest}");
            assert!(number(greatest) > number(least), "{least} {greatest}");
            assert_ne!(number(least), number(greatest), "{least} {greatest}");
        }
        for (left, right) in [
            ("7", "7.0"),
            (" +7 ", "007"),
            ("0", "-0.0"),
            ("9007199254740992", "9007199254740992.0"),
            ("-9223372036854775808", "-9223372036854775808.0"),
            ("123456789", "0123456789"),
        ] {
            assert_eq!(number(left), number(right), "{left} {right}");
        }
        assert_ne!(Number::Whole(0), Number::Float(f64::NAN));
        assert_ne!(Number::Whole(i64::MAX), Number::Float(f64::NAN));
        for text in ["", " ", "x", "1 2", "inf", "NaN", "1e999", "0x10", "1_000"] {
            assert_eq!(Number::written(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_as_text_and_as_json(whole: i64, float in -1e20..1e20_f64) {
            let json: serde_json::Number = serde_json::from_str(&whole.to_string()).unwrap();
            prop_assert_eq!(Number::of(&json), Number::written(&whole.to_string()));
            let json = serde_json::Number::from_f64(float).unwrap();
            prop_assert_eq!(Number::of(&json), Number::written(&json.to_string()));
        }

        #[test]
        fn the_order_is_that_of_wider_whole_numbers(left: i64, right: i64) {
            let (near, wide) = (right as f64, i128::from(left));
            prop_assert_eq!(Number::Whole(left).partial_cmp(&Number::Whole(right)), Some(left.cmp(&right)));
            prop_assert_eq!(Number::Whole(left).partial_cmp(&Number::Float(near)), Some(wide.cmp(&(near as i128))));
        }
    }
}
