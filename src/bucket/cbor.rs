//! Deterministic CBOR (RFC 8949 §4.2.1), written straight into the hash.
//!
//! Only what JSON can say occurs. So that languages agree which have but one type of number, a float without
//! fraction is written as the integer that it is when 64 bits hold it, and −0 as 0; other floats take the
//! shortest form that keeps them exact.

use serde_json::{Map, Number, Value};

use super::murmur::Murmur3;

/// 2^63 and 2^64: where integers of 64 bits end.
const SIGNED_END: f64 = 9_223_372_036_854_775_808.0;
const UNSIGNED_END: f64 = 18_446_744_073_709_551_616.0;

/// Major types (RFC 8949 §3.1).
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const HALF: u8 = 0xf9;
const SINGLE: u8 = 0xfa;
const DOUBLE: u8 = 0xfb;

/// Writes an array of two texts.
pub(super) fn write_texts(hash: &mut Murmur3, texts: [&str; 2]) {
    head(hash, ARRAY, texts.len() as u64);
    texts.into_iter().for_each(|written| text(hash, written));
}

/// Writes any value.
pub(super) fn write_value(hash: &mut Murmur3, value: &Value) {
    match value {
        Value::Null => hash.write(&[NULL]),
        Value::Bool(flag) => hash.write(&[if *flag { TRUE } else { FALSE }]),
        Value::Number(written) => number(hash, written),
        Value::String(written) => text(hash, written),
        Value::Array(values) => {
            head(hash, ARRAY, values.len() as u64);
            values.iter().for_each(|value| write_value(hash, value));
        }
        Value::Object(members) => map(hash, members),
    }
}

/// A type and its argument, in the fewest bytes.
fn head(hash: &mut Murmur3, major: u8, argument: u64) {
    let first = |low: u8| major << 5 | low;
    let wide = argument.to_be_bytes();
    match argument {
        0..24 => hash.write(&[first(wide[7])]),
        24..0x100 => hash.write(&[first(24), wide[7]]),
        0x100..0x1_0000 => {
            hash.write(&[first(25)]);
            hash.write(&wide[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            hash.write(&[first(26)]);
            hash.write(&wide[4..]);
        }
        _ => {
            hash.write(&[first(27)]);
            hash.write(&wide);
        }
    }
}

fn text(hash: &mut Murmur3, text: &str) {
    head(hash, TEXT, text.len() as u64);
    hash.write(text.as_bytes());
}

fn number(hash: &mut Murmur3, number: &Number) {
    if let Some(integer) = number.as_u64() {
        head(hash, UNSIGNED, integer);
    } else if let Some(integer) = number.as_i64() {
        negative(hash, integer);
    } else {
        double(hash, number.as_f64().unwrap_or_default());
    }
}

/// The argument of −1 − n is n.
fn negative(hash: &mut Murmur3, integer: i64) {
    head(hash, NEGATIVE, integer.unsigned_abs() - 1);
}

fn double(hash: &mut Murmur3, double: f64) {
    #[expect(clippy::cast_possible_truncation, reason = "whether it is exact is asked right after")]
    let single = double as f32;
    if double.fract() == 0.0 && (0.0..UNSIGNED_END).contains(&double) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
        head(hash, UNSIGNED, double as u64);
    } else if double.fract() == 0.0 && (-SIGNED_END..0.0).contains(&double) {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        negative(hash, double as i64);
    } else if let Some(half) = half(single).filter(|_| f64::from(single) == double) {
        hash.write(&[HALF]);
        hash.write(&half.to_be_bytes());
    } else if f64::from(single) == double {
        hash.write(&[SINGLE]);
        hash.write(&single.to_bits().to_be_bytes());
    } else {
        hash.write(&[DOUBLE]);
        hash.write(&double.to_bits().to_be_bytes());
    }
}

/// The bits of a binary16 (IEEE 754) of just this value.
fn half(single: f32) -> Option<u16> {
    let bits = single.to_bits();
    let (sign, exponent, fraction) = (bits >> 31, (bits >> 23) & 0xff, bits & 0x7f_ffff);
    let half = match exponent {
        // A normal one: its exponent is rebiased, its fraction loses 13 bits.
        113..=142 if fraction & 0x1fff == 0 => (exponent - 112) << 10 | fraction >> 13,
        // A subnormal one: a multiple of 2^-24.
        103..=112 => {
            let significand = fraction | 0x80_0000;
            let shift = 126 - exponent;
            (significand.trailing_zeros() >= shift).then_some(significand >> shift)?
        }
        _ => return None,
    };
    u16::try_from(sign << 15 | half).ok()
}

/// Keys stand in the order of their encoding: shorter ones first.
fn map(hash: &mut Murmur3, members: &Map<String, Value>) {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| left.len().cmp(&right.len()).then_with(|| left.cmp(right)));
    head(hash, MAP, sorted.len() as u64);
    for (key, value) in sorted {
        text(hash, key);
        write_value(hash, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::bucket::Bucketing::FlagdV3;

    /// The place of a hash among parts of equal weight, counted from 1 as flagd's test bed names them.
    fn part(hash: u32, parts: u64) -> u64 {
        ((u64::from(hash) * parts) >> 32) + 1
    }

    #[test]
    fn values_fall_where_flagds_test_bed_has_them() {
        for (value, expected) in [
            (json!(true), 5),
            (json!(false), 1),
            (json!("user1"), 22),
            (json!("user2"), 16),
            (json!(123), 20),
            (json!(456), 12),
            (json!(1.23), 14),
            (json!(4.56), 18),
            (json!("123"), 22),
            (json!("true"), 24),
            (json!("null"), 8),
            (json!(0), 8),
            (json!(-0.0), 8),
            (json!(1.0), 23),
            (json!(1), 23),
            (json!(-2.0), 12),
            (json!(-2), 12),
            (json!(9_007_199_254_740_992.0), 10),
            (json!(9_007_199_254_740_992_u64), 10),
            (json!(2_147_483_647), 10),
            (json!(-2_147_483_649_i64), 18),
            (json!(23), 21),
            (json!(24), 11),
            (json!(255), 13),
            (json!(256), 13),
            (json!(65_535), 4),
            (json!(65_536), 11),
            (json!(4_294_967_295_u64), 14),
            (json!(4_294_967_296_u64), 19),
            (json!(-24), 4),
            (json!(-25), 16),
            (json!(1e20), 19),
            (json!(0.000_061_035_156_25), 22),
            (json!(5.960_464_477_539_063e-8), 23),
            (json!(-65_505.0), 17),
            (json!(3.402_823_466_385_288_6e38), 10),
            (json!(1.175_494_350_822_287_5e-38), 24),
            (json!(3.5e38), 1),
            (json!(-1.797_693_134_862_315_7e308), 9),
            (json!(5e-324), 2),
            (json!({"aa": 2, "z": 1}), 21),
            (json!({"c": "text", "bbb": 1, "a": true, "dddd": 2.5}), 25),
            (json!({"aaa": 1, "ÿ": 2}), 12),
            (json!({"b": -0.0, "a": {"b": 1}, "c": 0.0}), 8),
            (json!({"a": [1, "two", true, [], null]}), 23),
            (json!(""), 4),
            (json!("12345678901234567890123"), 4),
            (json!("123456789012345678901234"), 14),
            (json!("あいうえおかき"), 17),
            (json!("A\\u0000B"), 15),
            (json!("e\\u0301"), 7),
            (json!("\\uD83D\\uDE00"), 23),
        ] {
            assert_eq!(FlagdV3.hash_value(&value).map(|hash| part(hash, 25)), Some(expected), "{value}");
        }
        assert_eq!(FlagdV3.hash_value(&Value::Null), None);
    }

    #[test]
    fn keys_under_a_salt_fall_where_flagds_test_bed_has_them() {
        let flag = "fractional-flag-shorthand";
        for (key, expected) in
            [("user-1", 1), ("user-2", 2), ("user-3", 1), ("jon@company.com", 2), ("jane@company.com", 2)]
        {
            assert_eq!(part(FlagdV3.hash(flag, key), 2), expected, "{key}");
        }
    }

    #[test]
    fn streaming_a_pair_hashes_like_the_array() {
        for (salt, key) in [("a", "b"), ("", "é"), (&*"s".repeat(300), &*"k".repeat(70_000))] {
            assert_eq!(Some(FlagdV3.hash(salt, key)), FlagdV3.hash_value(&json!([salt, key])));
        }
    }
}
