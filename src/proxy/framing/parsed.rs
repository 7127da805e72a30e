//! Heads and trailers of HTTP/2, whose blocks were read: held to what a head of HTTP/1.1 is held to, on either side.

use http::{HeaderMap, Method};

use super::{Bounds, chunk, field::Fields, flaw::Flaw, head::is_method, scanner::Side, target::target};

/// Judges a request's method, path and fields.
pub(in crate::proxy) fn judge_request(
    method: &Method,
    path: Option<&str>,
    headers: &HeaderMap,
    bounds: &Bounds,
) -> Result<(), Flaw> {
    if !is_method(method.as_str().as_bytes()) {
        return Err(Flaw::MethodNotSupported);
    }
    if let Some(path) = path {
        if path.len() > bounds.target_bytes_max {
            return Err(Flaw::TargetTooLong);
        }
        target(method.as_str().as_bytes(), path.as_bytes())?;
    }
    judge_fields(Side::Requests, headers)
}

/// Judges a response's fields.
pub(in crate::proxy) fn judge_response(headers: &HeaderMap, bounds: &Bounds) -> Result<(), Flaw> {
    if headers.len() > bounds.fields_max {
        return Err(Flaw::FieldCount);
    }
    if headers.values().any(|value| is_spaced(value.as_bytes())) {
        return Err(Flaw::FieldValue);
    }
    judge_fields(Side::Responses, headers)
}

/// Judges a trailer section: its size is what it would be in HTTP/1.1. Space around a value is left
/// alone, since messages of gRPC may end with it.
pub(in crate::proxy) fn judge_trailers(trailers: &HeaderMap, bounds: &Bounds) -> Result<(), Flaw> {
    const AROUND: usize = ": \r\n".len();
    const END: usize = "\r\n".len();
    let lengths = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + AROUND);
    if trailers.len() > bounds.fields_max || lengths.sum::<usize>() + END > bounds.trailer_bytes_max {
        return Err(Flaw::Trailer);
    }
    trailers.keys().try_for_each(|name| chunk::trailer_name(name.as_str().as_bytes()))
}

/// Whether space stands at either end of a value, which would be lost in HTTP/1.1 (RFC 9113 §8.2.1).
pub(in crate::proxy) fn is_spaced(value: &[u8]) -> bool {
    [value.first(), value.last()].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
}

fn judge_fields(side: Side, headers: &HeaderMap) -> Result<(), Flaw> {
    let mut fields = Fields::default();
    headers.iter().try_for_each(|(name, value)| fields.judge(side, name.as_str().as_bytes(), value.as_bytes(), 0))
}
