//! Units: durations, sizes, addresses and names, as configuration writes them.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use ipnet::IpNet;

use crate::{plan::Place, toggle::Timestamp};

/// A duration such as `"250ms"`, `"5s"`, `"10m"`, `"1h"` or `"1h30m"`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const SYNTAX: &str = "a duration is a text of numbers with units, as in \"250ms\", \"5s\", \"10m\" or \"1h30m\"";
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, unit);
        (number, rest) = leading_number(rest).ok_or(SYNTAX)?;
        (unit, rest) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
        let piece = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            _ => return Err(SYNTAX),
        };
        total = piece.and_then(|piece| total.checked_add(piece)).ok_or(SYNTAX)?;
    }
    // tokio's timers end about two years from now; a year is longer than anybody waits for a peer.
    match total {
        Duration::ZERO => Err("a duration is longer than nothing"),
        total if total > Duration::from_secs(366 * 24 * 3600) => Err("a duration is at most a year"),
        total => Ok(total),
    }
}

/// A size in bytes: a number, or a text such as `"512"`, `"64KiB"`, `"1MiB"` or `"16GiB"`.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    const SYNTAX: &str = "a size is a number of bytes, or a text such as \"64KiB\", \"1MiB\" or \"16GiB\"";
    let (number, unit) = leading_number(text).ok_or(SYNTAX)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(SYNTAX),
    };
    number.checked_mul(factor).filter(|size| *size > 0).ok_or("a size is more than nothing and less than 16 EiB")
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Some((number.parse().ok()?, rest))
}

/// A number of digits alone: the library takes a sign, too.
fn digits(text: &str) -> Option<u64> {
    leading_number(text).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

/// An address to listen on.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    let address = text.parse();
    address
        .or(Err("an address is an IP address with a port, as in \"127.0.0.1:8080\" or \"[::]:8080\"; port 0 takes any"))
}

/// An address to listen at: a TCP one. Unix sockets are told apart before.
pub(super) fn listening_address(text: &str) -> Result<SocketAddr, &'static str> {
    socket_address(text).or(Err(
        "an address is an IP address with a port, as in \"127.0.0.1:8080\" or \"[::]:8080\" (port 0 takes any), \
         or a Unix socket, as in \"unix:/run/weir/edge.sock\"",
    ))
}

/// Permissions of a file, in octal digits.
pub(super) fn mode(text: &str) -> Result<u32, &'static str> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or("a mode is three octal digits, as in \"660\" for the owner and their group")
}

/// Where to forward to: `host:port`, where the host is a name or an IP address, or `unix:/path`.
pub(super) fn place(text: &str) -> Result<Place, &'static str> {
    const SYNTAX: &str = "an endpoint is a host and a port, as in \"127.0.0.1:9001\" or \"orders.internal:80\", or \
                          a Unix socket, as in \"unix:/run/orders.sock\"";
    // What fits in sockaddr_un, with its end.
    const UNIX_PATH_BYTES_MAX: usize = 107;
    if let Some(path) = text.strip_prefix("unix:") {
        let sound = path.starts_with('/') && path.len() <= UNIX_PATH_BYTES_MAX && !path.contains('\0');
        return sound
            .then(|| Place::Unix(Path::new(path).into()))
            .ok_or("a Unix socket has an absolute path of at most 107 bytes, as in \"unix:/run/orders.sock\"");
    }
    if let Some(address) = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0) {
        return Ok(Place::Address(address));
    }
    let (host, port) = text.rsplit_once(':').ok_or(SYNTAX)?;
    let named = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    // A host of digits and dots alone was meant as an address and is none.
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let port = digits(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    match port {
        Some(port) if named && !numeric => Ok(Place::Name { host: host.into(), port }),
        _ => Err(SYNTAX),
    }
}

/// A whole percentage of at least 1, such as `"50%"`.
pub(super) fn percent(text: &str) -> Result<u32, &'static str> {
    let number = text.strip_suffix('%').and_then(digits).and_then(|number| u32::try_from(number).ok());
    number.filter(|number| (1..=100).contains(number)).ok_or("a share is a text from \"1%\" to \"100%\"")
}

/// A network in CIDR notation; an address alone is the network of that one.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse().or_else(|_not_a_network| text.parse::<IpAddr>().map(IpNet::from));
    network.or(Err("a network is an address and a prefix length, as in \"10.0.0.0/8\""))
}

/// A day such as `2027-01-15`: the moment it begins, in UTC.
pub(super) fn day(text: &str) -> Result<Timestamp, &'static str> {
    let day =
        text.parse::<jiff::civil::Date>().and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)));
    day.map(|day| Timestamp(day.as_second())).or(Err("a day is written as in 2027-01-15"))
}

/// A name of something: what metrics, logs and other tables call it.
pub(super) fn name(text: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= 100 && text.bytes().all(plain) {
        Ok(())
    } else {
        Err("a name has 1 to 100 letters, digits, \"-\", \"_\" or \".\"")
    }
}

/// A name that stands as a value.
pub(super) fn name_of(text: &str) -> Result<String, &'static str> {
    name(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, millis) in [("250ms", 250), ("5s", 5000), ("10m", 600_000), ("1h30m", 5_400_000), ("1s500ms", 1500)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-5s", "5d", "0s", "9000h", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_written() {
        for (text, bytes) in [("512", 512), ("64KiB", 65_536), ("1 MiB", 1_048_576), ("16GiB", 17_179_869_184)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "1kb", "1MB", "0", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_are_hosts_with_ports_or_unix_sockets() {
        for text in ["127.0.0.1:9001", "[::1]:80"] {
            assert_eq!(place(text), Ok(Place::Address(text.parse().unwrap())));
        }
        for (text, host, port) in
            [("orders:80", "orders", 80), ("orders.prod.svc.cluster.local:8080", "orders.prod.svc.cluster.local", 8080)]
        {
            assert_eq!(place(text), Ok(Place::Name { host: host.into(), port }));
        }
        assert_eq!(place("unix:/run/a.sock"), Ok(Place::Unix(Path::new("/run/a.sock").into())));
        let long = format!("unix:/{}", "a".repeat(107));
        for text in [
            "orders",
            "orders:",
            "orders:0",
            "127.0.0.1:0",
            "orders:+80",
            ":80",
            "http://orders:80",
            "or ders:80",
            "1.2.3:80",
            "::1:80",
            "unix:",
            "unix:run/a.sock",
            &long,
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_whole_percentages() {
        assert_eq!((percent("1%"), percent("100%")), (Ok(1), Ok(100)));
        for text in ["", "0%", "101%", "50", "5.5%", "-1%", "+5%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("10.1.2.3").map(|network| network.to_string()), Ok("10.1.2.3/32".into()));
        assert_eq!(network("10.0.0.0/8").map(|network| network.to_string()), Ok("10.0.0.0/8".into()));
        assert!(network("10.0.0.0/33").is_err());
    }
}
