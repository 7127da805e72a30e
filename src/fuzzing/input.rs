//! How inputs are written, so that people can read and write them: parts divided by lines of `--`; a request's
//! head as `METHOD TARGET` and a field a line.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request, uri};

/// Between two parts.
const BETWEEN: &[u8] = b"\n--\n";

/// The parts of an input. Those that are not there are empty; the last one takes all the rest.
pub(super) fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut rest = input;
    let mut left = N;
    std::array::from_fn(|_| {
        left -= 1;
        let end = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN).filter(|_| left > 0);
        let (part, after) = end.map_or((rest, &b""[..]), |end| (&rest[..end], &rest[end + BETWEEN.len()..]));
        rest = after;
        part
    })
}

/// The first line.
pub(super) fn line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// What stands behind the first line.
pub(super) fn rest(text: &[u8]) -> &[u8] {
    text.get(line(text).len() + 1..).unwrap_or_default()
}

/// The number that the first line is; 0 when it is none.
pub(super) fn number(text: &[u8]) -> u16 {
    std::str::from_utf8(line(text)).ok().and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

/// A field a line, with one space behind its colon or none. Lines that are no fields are left out.
pub(super) fn fields(text: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = &line[colon + 1..];
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    fields
}

/// A request's head. A target `AUTHORITY PATH` is put together as from pseudo-fields, of parts that need not fit.
pub(super) fn head(text: &[u8], version: Version) -> Option<request::Parts> {
    let mut words = line(text).splitn(3, |byte| *byte == b' ');
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = Method::from_bytes(words.next()?).ok()?;
    head.uri = match (words.next()?, words.next()) {
        (target, None) => Uri::try_from(target).ok()?,
        (authority, Some(path)) => {
            let mut parts = uri::Parts::default();
            parts.scheme = Some(uri::Scheme::HTTP);
            parts.authority = Some(authority.try_into().ok()?);
            // Whoever reads a block of HTTP/2 takes no others.
            let path = Some(path).filter(|path| path.starts_with(b"/") && !path.contains(&b'#') || path == b"*")?;
            parts.path_and_query = Some(path.try_into().ok()?);
            Uri::from_parts(parts).ok()?
        }
    };
    head.version = version;
    head.headers = fields(rest(text));
    Some(head)
}
