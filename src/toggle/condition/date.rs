//! Points in time as attributes write them.

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
    let timestamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2027-01-15".len())?;
        jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
    })?;
    Some(timestamp.as_second() as f64 + f64::from(timestamp.subsec_nanosecond()) / 1e9)
}
