//! The date of answers that come without one (RFC 9110 §6.6.1).

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

thread_local! {
    static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// The date of now. It is written once a second.
pub(super) fn now() -> HeaderValue {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(last, date)| {
        if *last != second {
            (*last, *date) = (second, written(second));
        }
        date.clone()
    })
}

fn written(second: u64) -> HeaderValue {
    let timestamp = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp.unwrap_or_default());
    text.ok().and_then(|text| HeaderValue::try_from(text).ok()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_written_as_rfc_9110_says() {
        assert_eq!(super::written(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(super::now().len(), 29);
    }
}
