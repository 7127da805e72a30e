//! Points in time as attributes write them.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};

use crate::identity::Seen;

/// Seconds since 1970: a number or its text is just that; other texts are read as RFC 3339 (§5.6) writes
/// them, and a date alone is the moment it begins in UTC.
pub(super) fn seconds(seen: &Seen<'_>) -> Option<f64> {
    match seen {
        Seen::Number(number) => Some(*number),
        Seen::Text(text) => {
            let text = text.trim();
            match text.parse::<f64>() {
                Ok(number) => Some(number).filter(|number| number.is_finite()),
                Err(_no_number) => written(text),
            }
        }
        Seen::Flag(_) | Seen::List(_) => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a second of any year that can be written is exact")]
fn written(text: &str) -> Option<f64> {
    let timestamp = plain(text.as_bytes()).or_else(|| text.parse::<Timestamp>().ok())?;
    Some(timestamp.as_second() as f64 + f64::from(timestamp.subsec_nanosecond()) / 1e9)
}

/// `2027-01-15` and `2027-01-15T08:30:00Z`: as nearly all dates are written, and read without a general parser.
fn plain(text: &[u8]) -> Option<Timestamp> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, ref time @ ..] = text else { return None };
    let year = i16::from(pair(y1, y2)?) * 100 + i16::from(pair(y3, y4)?);
    let date = Date::new(year, pair(m1, m2)?, pair(d1, d2)?).ok()?;
    let time = match *time {
        [] => Time::midnight(),
        [b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'Z'] => {
            Time::new(pair(h1, h2)?, pair(m1, m2)?, pair(s1, s2)?, 0).ok()?
        }
        _ => return None,
    };
    TimeZone::UTC.to_timestamp(date.to_datetime(time)).ok()
}

fn pair(tens: u8, ones: u8) -> Option<i8> {
    let digit = |byte: u8| i8::try_from(byte.wrapping_sub(b'0')).ok().filter(|digit| *digit < 10);
    Some(digit(tens)? * 10 + digit(ones)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_dates_are_moments() {
        for (text, expected) in [
            ("1970-01-02", Some(86_400.0)),
            ("1970-01-01T00:01:00Z", Some(60.0)),
            ("1970-01-01T01:00:00+01:00", Some(0.0)),
            ("1970-01-01T00:00:00.5Z", Some(0.5)),
            ("1970-01-01t00:00:01z", Some(1.0)),
            (" 86400 ", Some(86_400.0)),
            ("2027-02-30", None),
            ("2027-01-15T25:00:00Z", None),
            ("2027-01-15T08:30:00", None),
            ("2027-1-15", None),
            ("2027-01", None),
            ("20270115", Some(20_270_115.0)),
            ("2027-01-15 tomorrow", None),
            ("", None),
            ("NaN", None),
        ] {
            assert_eq!(seconds(&Seen::Text(text.into())), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_is_what_the_library_reads(
            (year, month, day) in (0..10_000, 0..14, 0..33),
            (hour, minute, second) in (0..26, 0..62, 0..60),
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
            prop_assert_eq!(plain(text.as_bytes()), text.parse().ok(), "{}", text);
        }
    }
}
