//! The PROXY protocol, versions 1 and 2: what a load balancer in front says of the client's address.
//!
//! Source: "The PROXY protocol, versions 1 & 2", sections 2.1 and 2.2. Everything here is pure: bytes
//! so far → what they say, that more is needed, or that they are no preamble.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Version 2 begins with this.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A line of version 1 with its end.
const LINE_BYTES_MAX: usize = 107;

/// Signature, version and command, family, length.
const HEADER_BYTES: usize = 16;

/// The longest preamble of version 2 that is read: addresses and what is added to them.
pub(super) const BYTES_MAX: usize = HEADER_BYTES + 2048;

/// What bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preamble {
    /// They are not all there.
    More,
    /// The first `bytes` of them are the preamble.
    Whole {
        /// How long it is.
        bytes: usize,
        /// The client's address; `None` when the balancer speaks for itself, as for a health check.
        source: Option<IpAddr>,
    },
    /// They are none.
    Broken,
}

/// Reads as much of a preamble as is there.
pub(super) fn read(bytes: &[u8]) -> Preamble {
    let signed = bytes.len().min(SIGNATURE.len());
    if bytes[..signed] == SIGNATURE[..signed] {
        return if signed < SIGNATURE.len() { Preamble::More } else { version_2(bytes) };
    }
    let named = bytes.len().min(6);
    match bytes[..named] == b"PROXY "[..named] {
        true if named < 6 => Preamble::More,
        true => version_1(bytes),
        false => Preamble::Broken,
    }
}

/// One line of text: `PROXY TCP4 SOURCE DESTINATION PORT PORT`.
fn version_1(bytes: &[u8]) -> Preamble {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LINE_BYTES_MAX { Preamble::More } else { Preamble::Broken };
    };
    let whole = |source| Preamble::Whole { bytes: end + 2, source };
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else { return Preamble::Broken };
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // What follows is to be passed over.
        return whole(None);
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, source_port, destination_port] = words[..] else { return Preamble::Broken };
    if port(source_port).and(port(destination_port)).is_none() {
        return Preamble::Broken;
    }
    let source: Option<IpAddr> = match family {
        Some("TCP4") => {
            source.parse().ok().zip(destination.parse().ok()).map(|(ip, _): (Ipv4Addr, Ipv4Addr)| ip.into())
        }
        Some("TCP6") => {
            source.parse().ok().zip(destination.parse().ok()).map(|(ip, _): (Ipv6Addr, Ipv6Addr)| ip.into())
        }
        _ => None,
    };
    source.map_or(Preamble::Broken, |source| whole(Some(source)))
}

/// A port in decimal without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// A header of 16 bytes, then addresses, then additions that are passed over.
fn version_2(bytes: &[u8]) -> Preamble {
    let Some(header) = bytes.get(..HEADER_BYTES) else { return Preamble::More };
    let length = HEADER_BYTES + usize::from(u16::from_be_bytes([header[14], header[15]]));
    let (version, command, family) = (header[12] >> 4, header[12] & 15, header[13]);
    if version != 2 || command > 1 || length > BYTES_MAX {
        return Preamble::Broken;
    }
    let Some(rest) = bytes.get(HEADER_BYTES..length) else { return Preamble::More };
    let source = match (command, family) {
        // LOCAL: the balancer speaks for itself.
        (0, _) => None,
        // Over IPv4 and IPv6: two addresses, two ports.
        (1, 0x11) => match rest.first_chunk::<4>() {
            Some(source) if rest.len() >= 12 => Some(IpAddr::from(*source)),
            _ => return Preamble::Broken,
        },
        (1, 0x21) => match rest.first_chunk::<16>() {
            Some(source) if rest.len() >= 36 => Some(IpAddr::from(*source)),
            _ => return Preamble::Broken,
        },
        // Over Unix sockets, or unspecified: no address that is one of the network.
        (1, 0x00 | 0x31) => None,
        // Datagrams, and what does not exist.
        _ => return Preamble::Broken,
    };
    Preamble::Whole { bytes: length, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Version 2 for a client over IPv4, with so many bytes added.
    fn signed(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0, 80];

    #[test]
    fn preambles_tell_the_clients_address() {
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let v6: IpAddr = "2001:db8::7".parse().unwrap();
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        for (bytes, source) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 80\r\n".to_vec(), Some(v4)),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 80\r\n".to_vec(), Some(v6)),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n".to_vec(), None),
            (signed(0x21, 0x11, &V4), Some(v4)),
            (signed(0x21, 0x21, &six), Some(v6)),
            (signed(0x21, 0x11, &[&V4[..], &[0x04, 0, 1, 0]].concat()), Some(v4)),
            (signed(0x20, 0x00, &[]), None),
            (signed(0x20, 0x11, &V4), None),
            (signed(0x21, 0x00, &[]), None),
            (signed(0x21, 0x31, &[0; 216]), None),
        ] {
            let whole = Preamble::Whole { bytes: bytes.len(), source };
            assert_eq!(read(&[&bytes[..], b"GET / HTTP/1.1\r\n"].concat()), whole, "{bytes:?}");
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Preamble::More, "{end} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_preamble_is_broken() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.7  198.51.100.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 \xff\r\n",
            &[b"PROXY UNKNOWN ", &[b'x'; 100][..], b"\r\n"].concat(),
            &signed(0x11, 0x11, &V4),
            &signed(0x22, 0x11, &V4),
            &signed(0x21, 0x12, &V4),
            &signed(0x21, 0x11, &V4[..11]),
            &signed(0x21, 0x21, &V4),
            &signed(0x21, 0x11, &[0; 4000]),
        ] {
            assert_eq!(read(bytes), Preamble::Broken, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        /// No bytes are read past their end, asked for without a limit, or read in another way when more follow.
        #[test]
        fn any_bytes_are_read_once_and_for_all(
            kind in 0..3_usize,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            more in proptest::collection::vec(any::<u8>(), 0..3000),
        ) {
            let start: &[u8] = [&b"PROXY TCP4 "[..], &SIGNATURE, &[]][kind];
            bytes.splice(0..0, start.iter().copied());
            let longer = [&bytes[..], &more].concat();
            match read(&bytes) {
                Preamble::More => prop_assert!(bytes.len() < BYTES_MAX),
                Preamble::Whole { bytes: length, source } => {
                    prop_assert!(length <= bytes.len());
                    prop_assert_eq!(read(&longer), Preamble::Whole { bytes: length, source });
                }
                Preamble::Broken => prop_assert_eq!(read(&longer), Preamble::Broken),
            }
        }
    }
}
