//! Tests of one value, against slower readings of the same.
#![allow(clippy::expect_used, reason = "what cannot be, is a finding")]

use std::{cmp::Ordering, net::IpAddr, sync::LazyLock};

use ipnet::IpNet;
use regex::Regex;
use semver::{Version, VersionReq};

use super::{Literal, Literals, Phrase, Phrases, Test, VersionRange, date, version};
use crate::identity::{Number, Seen};
use crate::toggle::Timestamp;

/// One comparator with numbers of a modest size.
static PLAIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\A(<|>|=|<=|>=|~|\^)[0-9]{1,9}(\.[0-9]{1,9}){0,2}\z").expect("a pattern"));

/// The lines of an input that is text.
fn lines<const N: usize>(input: &[u8]) -> Option<[&str; N]> {
    let mut lines = std::str::from_utf8(input).ok()?.splitn(N, '\n');
    Some(std::array::from_fn(|_| lines.next().unwrap_or_default()))
}

/// A range, then a version, against the library that Cargo uses.
pub(crate) fn version(input: &[u8]) {
    let Some([range, text]) = lines(input) else { return };
    let read = version::read(&Seen::Text(text.into()));
    let known = Version::parse(text).ok();
    if let Some(known) = &known {
        let read = read.as_ref().expect("a version is one");
        assert_eq!(
            (read.major, read.minor, read.patch, &read.pre),
            (known.major, known.minor, known.patch, &known.pre)
        );
    }
    let (Ok(range), Some(read)) = (VersionRange::parse(range), read) else { return };
    let holds = range.holds(&read);
    // Of pre-releases the library has another opinion, and of the largest numbers there is no next one.
    let largest = [read.major, read.minor, read.patch].contains(&u64::MAX) || input.len() > 200;
    let plain = lines::<2>(input).map(|[range, _]| range.replace(['v', 'V'], "").replace(' ', ""));
    let plain = plain.filter(|plain| PLAIN.is_match(plain));
    let known_range = plain.and_then(|plain| VersionReq::parse(&plain).ok());
    if let (Some(known), Some(range), false) = (known.filter(|known| known.pre.is_empty()), known_range, largest) {
        assert_eq!(range.matches(&known), holds, "{known} in {range}");
    }
}

/// A text, then a value: what compares texts, with case and without.
pub(crate) fn text(input: &[u8]) {
    let Some([text, value]) = lines(input) else { return };
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    for (ignore_case, text_as, value_as) in
        [(false, text.to_owned(), value.to_owned()), (true, lower(text), lower(value))]
    {
        let phrase = Phrase::new(text, ignore_case);
        let seen = Seen::Text(value.into());
        let several: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let is_one = text_as.split(' ').any(|one| one == value_as);
        for (test, expected) in [
            (Test::Equals(Literal::Text(phrase.clone())), value_as == text_as),
            (Test::StartsWith(phrase.clone()), value_as.starts_with(&text_as)),
            (Test::EndsWith(phrase.clone()), value_as.ends_with(&text_as)),
            (Test::Contains(phrase), value_as.contains(&text_as)),
            (Test::In(Literals::Texts(Phrases::new(several, ignore_case))), is_one),
        ] {
            assert_eq!(test.holds(&seen), expected, "{test:?} of {value:?}");
        }
    }
}

/// A bound, then a value: numbers, dates, addresses.
pub(crate) fn condition(input: &[u8]) {
    let Some([bound, value]) = lines(input) else { return };
    let seen = Seen::Text(value.into());
    if let Some(wanted) = Number::written(bound) {
        let order = exact(bound).zip(exact(value)).map(|(bound, value)| value.cmp(&bound));
        let is = |what: fn(Ordering) -> bool| order.is_some_and(what);
        for (test, expected) in [
            (Test::Equals(Literal::Number(wanted)), is(Ordering::is_eq)),
            (Test::In(Literals::Numbers(vec![wanted])), is(Ordering::is_eq)),
            (Test::Above(wanted), is(Ordering::is_gt)),
            (Test::AtLeast(wanted), is(Ordering::is_ge)),
            (Test::Below(wanted), is(Ordering::is_lt)),
            (Test::AtMost(wanted), is(Ordering::is_le)),
        ] {
            assert_eq!(test.holds(&seen), expected, "{test:?} of {value:?}");
        }
    }
    let moment = value.trim().parse::<jiff::Timestamp>().ok();
    if let (None, Some(moment)) = (exact(value), moment) {
        #[expect(clippy::cast_precision_loss, reason = "a second of any year that can be written is exact")]
        let seconds = moment.as_second() as f64 + f64::from(moment.subsec_nanosecond()) / 1e9;
        assert_eq!(date::seconds(&seen), Some(seconds), "{value:?}");
        if let Ok(bound) = bound.parse::<i64>() {
            let bound = Timestamp(bound.clamp(-1_000_000_000_000, 1_000_000_000_000));
            let (before, after) = (Test::Before(bound).holds(&seen), Test::After(bound).holds(&seen));
            assert!(!(before && after), "{value:?}");
            assert_eq!(before || after, seconds != bound.seconds(), "{value:?}");
        }
    }
    if let (Ok(network), Ok(ip)) = (bound.parse::<IpNet>(), value.parse::<IpAddr>()) {
        assert_eq!(Test::InNetwork(vec![network]).holds(&seen), within(network, ip.to_canonical()), "{ip} {network}");
    }
}

/// The number that a text is: its whole part, and a rank of what is left of it. Beyond 126 bits only the order of
/// floats is kept.
fn exact(text: &str) -> Option<(i128, i64)> {
    const LIMIT: f64 = 8e37;
    // Floats of one sign are in the order of their bits.
    let rank = |float: f64| {
        let bits = float.abs().to_bits().cast_signed();
        if float < 0.0 { -bits } else { bits }
    };
    if let Ok(whole) = text.trim().parse::<i64>() {
        return Some((whole.into(), 0));
    }
    let float = text.trim().parse::<f64>().ok().filter(|float| float.is_finite())?;
    if float.abs() >= LIMIT {
        return Some((if float > 0.0 { i128::MAX } else { i128::MIN }, rank(float)));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is within the limit")]
    Some((float.trunc() as i128, rank(float.fract())))
}

/// Bit by bit.
fn within(network: IpNet, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => format!("{:032b}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:0128b}", ip.to_bits()),
    };
    let (left, right) = (bits(network.addr()), bits(ip));
    let length = usize::from(network.prefix_len());
    left.len() == right.len() && left[..length] == right[..length]
}
