//! What the fuzz targets call; every corpus runs in the tests too.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{
    framing::{
        Awaited, Bounds, Flaw, Scanner, Side, Step, is_authority,
        naive::{self, End, Maxima},
    },
    headers,
};

/// Small, so that a short input reaches each of them.
const BOUNDS: Bounds =
    Bounds { head_bytes_max: 400, target_bytes_max: 60, fields_max: 6, trailer_bytes_max: 100, interim_max: 2 };

/// What the scanner makes of an input that comes in pieces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) passed: Vec<u8>,
    pub(super) heads: usize,
    pub(super) interims: usize,
    pub(super) flaw: Option<Flaw>,
    pub(super) switched: bool,
}

/// Feeds a scanner as a stream does.
pub(super) fn scan(side: Side, bounds: Bounds, pieces: &[&[u8]]) -> Scanned {
    let mut scanner = Scanner::new(side, bounds);
    scanner.expect(Awaited::Response);
    let (mut scanned, mut raw) = (Scanned::default(), Vec::new());
    for piece in pieces {
        if raw.is_empty() && scanner.is_open_for(piece.len()) {
            scanner.passed(piece.len());
            scanned.passed.extend_from_slice(piece);
            continue;
        }
        raw.extend_from_slice(piece);
        loop {
            let step = scanner.step(&raw);
            let taken = match step {
                Step::Head(length) => {
                    scanned.heads += 1;
                    if side == Side::Responses {
                        scanner.expect(Awaited::Response);
                    }
                    length
                }
                Step::Pass(length) | Step::Drop(length) => length,
                Step::Interim(length) => {
                    scanned.interims += 1;
                    length
                }
                Step::Switch { .. } => {
                    scanned.switched = true;
                    return scanned;
                }
                Step::More => break,
                Step::Refuse(flaw) => {
                    scanned.flaw = Some(flaw);
                    return scanned;
                }
            };
            assert!(taken > 0 && taken <= raw.len(), "{step:?} of {} bytes", raw.len());
            if matches!(step, Step::Head(_) | Step::Pass(_)) {
                scanned.passed.extend_from_slice(&raw[..taken]);
            }
            raw.drain(..taken);
        }
        scanned.switched = scanner.is_paused();
    }
    scanned
}

/// The scanner against the naive parser, and against itself with the input in pieces. The first byte picks
/// the side, the second how the input is cut.
///
/// # Panics
/// When they differ.
pub fn framing(data: &[u8]) {
    let [side, cut, input @ ..] = data else { return };
    let side = if side % 2 == 0 { Side::Requests } else { Side::Responses };
    let whole = scan(side, BOUNDS, &[input]);
    let piece = usize::from(*cut % 32) + 1;
    let pieces: Vec<&[u8]> = input.chunks(piece).collect();
    // What is wrong may be known earlier, and then by another name.
    let named = |scanned: Scanned| Scanned { flaw: scanned.flaw.map(|_| Flaw::RequestLine), ..scanned };
    let whole = named(whole);
    assert_eq!(named(scan(side, BOUNDS, &pieces)), whole, "in pieces of {piece}");

    let maxima = Maxima {
        head: BOUNDS.head_bytes_max,
        target: BOUNDS.target_bytes_max,
        fields: BOUNDS.fields_max,
        trailer: BOUNDS.trailer_bytes_max,
        interims: BOUNDS.interim_max,
    };
    let naive = naive::judge(input, side == Side::Requests, maxima);
    assert_eq!((whole.heads, whole.interims), (naive.heads, naive.interims), "heads; {whole:?} {naive:?}");
    assert_eq!(whole.switched, naive.end == End::Switched, "switched; {whole:?} {naive:?}");
    assert_eq!(whole.passed, naive.passed, "what is passed; {whole:?} {naive:?}");
    // Of a head without an end either may know the worst before the other does.
    let foreseen = whole.flaw.is_some() && naive.end == End::Open;
    assert!(
        foreseen || naive.end == End::Hopeless || whole.flaw.is_some() == (naive.end == End::Refused),
        "refused; {whole:?} {naive:?}"
    );
    if side == Side::Requests {
        targets_are_uris(&whole.passed);
    }
}

/// Every target that is passed is one that hyper takes: else hyper would answer instead of weir.
fn targets_are_uris(passed: &[u8]) {
    for line in passed.split(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b" HTTP/1.1\r")) {
        let Some(target) = line.splitn(2, |byte| *byte == b' ').nth(1) else { continue };
        if target.starts_with(b"/") || target.starts_with(b"http") {
            let uri = Uri::from_maybe_shared(Bytes::copy_from_slice(target));
            // Bodies have such lines too, with anything in them.
            assert!(uri.is_ok() || passed.split(|byte| *byte == b'\n').count() > 3, "{target:?}");
        }
    }
}

/// Hosts: what is one can stand in a URI and comes back from it as it was.
///
/// # Panics
/// When it does not.
pub fn authority(data: &[u8]) {
    if !is_authority(data) {
        return;
    }
    let text = std::str::from_utf8(data).unwrap_or_else(|_| panic!("{data:?} is no text"));
    let uri: Uri = format!("http://{text}/").parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let authority = uri.authority().map(http::uri::Authority::as_str);
    assert_eq!(authority, Some(text));
    assert!(!text.contains(['@', '/', '#', '?', '\\', ' ']), "{text}");
    assert!(!crate::identity::canonical_host(text).is_empty(), "{text}");
}

/// Fields of one hop and forwarded ones: whatever a client sends, nothing that is for one hop goes on, and
/// what frames the message stays.
///
/// # Panics
/// When something does.
pub fn forwarded(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let host = headers.get("host").cloned();
    headers::strip_hop_by_hop(&mut headers);
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        assert!(!headers.contains_key(name), "{name} goes on");
    }
    assert!(headers.get("te").is_none_or(|te| te == "trailers"));
    assert_eq!(headers.get("host").cloned(), host);
}
