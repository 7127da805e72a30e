//! Points in time as attributes write them.

use jiff::Timestamp;

use crate::identity::Seen;

/// Seconds since 1970: a number or its text is just that; other texts are read as RFC 3339 (§5.6) writes
/// them, and a date alone is the moment it begins in UTC.
pub(super) fn seconds(seen: &Seen<'_>) -> Option<f64> {
    match seen {
        Seen::Number(number) => Some(number.float()),
        Seen::Text(text) => {
            if let Some(moment) = plain(text.as_bytes()) {
                return Some(moment);
            }
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
    let timestamp: Timestamp = text.parse().ok()?;
    Some(timestamp.as_second() as f64 + f64::from(timestamp.subsec_nanosecond()) / 1e9)
}

/// `2027-01-15` and `2027-01-15T08:30:00Z`: as nearly all dates are written, and read without a general parser.
fn plain(text: &[u8]) -> Option<f64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, ref time @ ..] = text else { return None };
    let (year, month, day) = (pair(y1, y2)? * 100 + pair(y3, y4)?, pair(m1, m2)?, pair(d1, d2)?);
    let (hour, minute, second) = match *time {
        [] => (0, 0, 0),
        [b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'Z'] => (pair(h1, h2)?, pair(m1, m2)?, pair(s1, s2)?),
        _ => return None,
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let exists = (1..=12).contains(&month) && (1..=days).contains(&day);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let of_day = f64::from((hour * 60 + minute) * 60 + second);
    (exists && is_time).then(|| f64::from(days_since_1970(year, month, day)) * 86_400.0 + of_day)
}

/// Counted in years that begin in March, so that the day which leap years add is their last.
fn days_since_1970(year: i32, month: i32, day: i32) -> i32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 719_469
}

fn pair(tens: u8, ones: u8) -> Option<i32> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
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
            prop_assert_eq!(plain(text.as_bytes()), written(&text), "{}", text);
        }
    }
}
