//! gRPC's deadline, as the protocol's specification (PROTOCOL-HTTP2) writes it.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long the caller waits for the whole call: `1*8DIGIT` and a unit. What is not written so says nothing.
pub(super) fn timeout<B>(request: &Request<B>) -> Option<Duration> {
    // Every call is a POST; the others need not be searched.
    if request.method() != Method::POST {
        return None;
    }
    parse(request.headers().get(GRPC_TIMEOUT)?)
}

fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_as_the_specification_writes_them() {
        for (text, nanos) in [
            ("1S", Some(1_000_000_000)),
            ("100m", Some(100_000_000)),
            ("99999999n", Some(99_999_999)),
            ("5u", Some(5_000)),
            ("2M", Some(120_000_000_000)),
            ("1H", Some(3_600_000_000_000)),
            ("0m", Some(0)),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("5 S", None),
        ] {
            let read = parse(&HeaderValue::from_str(text).unwrap());
            assert_eq!(read.map(|timeout| timeout.as_nanos()), nanos, "{text}");
        }
    }
}
