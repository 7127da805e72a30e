//! The bytes of HTTP/1.1 and of what comes before them.

use std::net::IpAddr;

use bytes::Bytes;
use http::Uri;

use super::super::{
    framing::{
        Awaited, Bounds, Flaw, Scanner, Side, Step, interim_fields, is_authority,
        naive::{self, End},
    },
    preamble::{self, Preamble},
};
use super::maxima;

/// Small, so that a short input reaches each of them.
const BOUNDS: Bounds =
    Bounds { head_bytes_max: 400, target_bytes_max: 60, fields_max: 6, trailer_bytes_max: 100, interim_max: 2 };

/// What the scanner makes of an input that comes in pieces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Scanned {
    pub(in crate::proxy) passed: Vec<u8>,
    pub(in crate::proxy) heads: usize,
    pub(in crate::proxy) interims: usize,
    pub(in crate::proxy) flaw: Option<Flaw>,
    pub(in crate::proxy) switched: bool,
}

/// Feeds a scanner as a stream does.
pub(in crate::proxy) fn scan(side: Side, bounds: Bounds, pieces: &[&[u8]]) -> Scanned {
    let mut scanner = Scanner::new(side, bounds);
    scanner.expect(Awaited::Response);
    let (mut scanned, mut raw) = (Scanned::default(), Vec::new());
    for piece in pieces {
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
pub(crate) fn framing(data: &[u8]) {
    let [side, cut, input @ ..] = data else { return };
    let side = if side % 2 == 0 { Side::Requests } else { Side::Responses };
    let whole = scan(side, BOUNDS, &[input]);
    let piece = usize::from(*cut % 32) + 1;
    let pieces: Vec<&[u8]> = input.chunks(piece).collect();
    // What is wrong may be known earlier, and then by another name.
    let named = |scanned: Scanned| Scanned { flaw: scanned.flaw.map(|_| Flaw::RequestLine), ..scanned };
    let whole = named(whole);
    assert_eq!(named(scan(side, BOUNDS, &pieces)), whole, "in pieces of {piece}");

    let naive = naive::judge(input, side == Side::Requests, maxima(&BOUNDS));
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

/// Every target that is passed is one that can be read: what is refused is refused by its framing.
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
pub(crate) fn authority(data: &[u8]) {
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

/// The head of an interim response: what goes on of it is fields, and none that is for one hop.
pub(crate) fn interim(input: &[u8]) {
    let text: String = input.iter().map(|byte| char::from(*byte)).collect();
    let sound = text.ends_with("\r\n\r\n")
        && text.split_once("\r\n").is_some_and(|(line, fields)| !line.contains('\n') && naive::are_fields(fields));
    for field in interim_fields(input) {
        let field: String = field.iter().map(|byte| char::from(*byte)).collect();
        let (name, value) = field.split_once(':').expect("a field has a colon");
        assert!(!value.contains(['\r', '\n', '\0']), "{field:?}");
        let name = name.to_ascii_lowercase();
        let hop =
            ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "content-length", "transfer-encoding"];
        assert!(!hop.contains(&&*name), "{name} goes on");
        if sound {
            let options = text.lines().skip(1).filter_map(|line| line.split_once(':'));
            let mut options = options.filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
            let named = |value: &str| {
                value.split(',').any(|option| option.trim_matches([' ', '\t']).eq_ignore_ascii_case(&name))
            };
            assert!(!options.any(|(_, value)| named(value)), "{name} goes on");
        }
    }
}

/// A preamble of the PROXY protocol: read in any pieces it is the same, and the same as by its grammar.
pub(crate) fn preamble(input: &[u8]) {
    let read = preamble::read(input);
    let mut settled = None;
    for end in 0..input.len().min(300) {
        match (preamble::read(&input[..end]), settled) {
            (Preamble::More, None) => {}
            (found, None) => settled = Some(found),
            (found, Some(before)) => assert_eq!(found, before, "{end} bytes"),
        }
    }
    if let Some(settled) = settled {
        assert_eq!(read, settled);
    }
    match read {
        Preamble::More => assert!(input.len() < preamble::BYTES_MAX),
        Preamble::Whole { bytes, source } => assert_eq!(said(&input[..bytes]), Some(source), "{:?}", &input[..bytes]),
        Preamble::Broken => assert!((0..=input.len()).all(|end| said(&input[..end]).is_none()), "{input:?}"),
    }
}

/// What a whole preamble says of the client, by the tables of the specification; `None` when it is none.
fn said(preamble: &[u8]) -> Option<Option<IpAddr>> {
    if let Some(line) = preamble.strip_prefix(b"PROXY ") {
        let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
        if preamble.len() > 107 || line.contains("\r\n") {
            return None;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let port = |word: &str| word.parse::<u16>().is_ok_and(|port| port.to_string() == word);
        return match words[..] {
            ["UNKNOWN", ..] => Some(None),
            [family @ ("TCP4" | "TCP6"), source, destination, from, to] if port(from) && port(to) => {
                let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
                let fits = [source, destination].iter().all(|ip| ip.is_ipv4() == (family == "TCP4"));
                fits.then_some(Some(source))
            }
            _ => None,
        };
    }
    let rest = preamble.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let [command, family, high, low, addresses @ ..] = rest else { return None };
    if addresses.len() != usize::from(*high) * 256 + usize::from(*low) || addresses.len() > 2048 {
        return None;
    }
    match (command, family) {
        (0x20, _) | (0x21, 0x00 | 0x31) => Some(None),
        (0x21, 0x11) => Some(Some(IpAddr::from(<[u8; 4]>::try_from(addresses.get(..12)?.get(..4)?).ok()?))),
        (0x21, 0x21) => Some(Some(IpAddr::from(<[u8; 16]>::try_from(addresses.get(..36)?.get(..16)?).ok()?))),
        _ => None,
    }
}
