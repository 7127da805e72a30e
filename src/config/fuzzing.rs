//! Units, each against a reading by a pattern.
#![allow(clippy::expect_used, reason = "what cannot be, is a finding")]

use std::{sync::LazyLock, time::Duration};

use regex::Regex;

use super::units;
use crate::{
    bucket::Weight,
    identity::Attribute,
    plan::Place,
    route::{HostPattern, PathPattern},
    toggle::VersionRange,
};

type Pattern = LazyLock<Regex>;

static DURATION: Pattern = LazyLock::new(|| pattern(r"\A([0-9]+(ms|s|m|h))+\z"));
static PIECE: Pattern = LazyLock::new(|| pattern(r"([0-9]+)(ms|s|m|h)"));
static SIZE: Pattern = LazyLock::new(|| pattern(r"\A([0-9]+)\s*(|B|KiB|MiB|GiB|TiB)\z"));
static PERCENT: Pattern = LazyLock::new(|| pattern(r"\A0*([1-9][0-9]?|100)%\z"));
static WEIGHT: Pattern = LazyLock::new(|| pattern(r"\A\s*([0-9]+)(\.([0-9]{1,3}))?\s*%\s*\z"));
static MODE: Pattern = LazyLock::new(|| pattern(r"\A0?([0-7]{3})\z"));
static NAME: Pattern = LazyLock::new(|| pattern(r"\A[A-Za-z0-9._-]{1,100}\z"));
static PLACE: Pattern = LazyLock::new(|| pattern(r"\A([A-Za-z0-9._-]+):([0-9]+)\z"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

fn captured<'t>(pattern: &Regex, text: &'t str) -> Option<Vec<&'t str>> {
    let captures = pattern.captures(text)?;
    Some(captures.iter().map(|group| group.map_or("", |group| group.as_str())).collect())
}

/// One text as every unit.
pub(crate) fn units(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A long one teaches nothing that a short one does not.
    if text.len() > 300 {
        return;
    }
    duration(text);
    size(text);
    shares(text);
    addresses(text);
    let octal = captured(&MODE, text).and_then(|parts| u32::from_str_radix(parts[1], 8).ok());
    assert_eq!(units::mode(text).ok(), octal, "{text}");
    assert_eq!(units::name(text).is_ok(), captured(&NAME, text).is_some(), "{text}");
    if let Ok(day) = units::day(text) {
        assert_eq!(day.0 % 86_400, 0, "{text}");
        assert_eq!(units::day(&day.to_string()[..10]).is_ok(), (0..253_402_300_800).contains(&(day.0.abs())), "{text}");
    }
    for canonical in [true, false] {
        let text = if canonical { text.to_ascii_lowercase() } else { text.to_owned() };
        if let Ok(attribute) = text.parse::<Attribute>() {
            assert_eq!(attribute.to_string().parse(), Ok(attribute), "{text}");
        }
    }
    if let Ok(HostPattern::Exact(host) | HostPattern::Suffix(host)) = text.parse() {
        assert_eq!(host.parse(), Ok(HostPattern::Exact(host.clone())), "what is canonical stays so");
    }
    if let (Ok(PathPattern::Exact(path)), Ok(PathPattern::Prefix(prefix))) =
        (PathPattern::exact(text), PathPattern::prefix(text))
    {
        assert_eq!(path.trim_end_matches('/'), prefix);
    }
    if let Err(error) = VersionRange::parse(text) {
        assert!(!error.to_string().is_empty());
    }
}

fn duration(text: &str) {
    const YEAR_MS: u128 = 366 * 24 * 3600 * 1000;
    let read = units::duration(text).ok();
    let mut total: Option<u128> = captured(&DURATION, text).map(|_| 0);
    for piece in PIECE.captures_iter(text) {
        let factor = match &piece[2] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            _ => 3_600_000,
        };
        let number = piece[1].parse::<u64>().ok();
        total = total.zip(number).map(|(total, number)| total + u128::from(number) * factor);
    }
    let expected = total.filter(|total| (1..=YEAR_MS).contains(total));
    assert_eq!(read.map(|read| read.as_millis()), expected, "{text}");
    if let Some(read) = read {
        assert_eq!(units::duration(&format!("{}ms", read.as_millis())), Ok(read), "{text}");
        assert_eq!(read.subsec_nanos() % 1_000_000, 0);
        assert!(read >= Duration::from_millis(1));
    }
}

fn size(text: &str) {
    let expected = captured(&SIZE, text).and_then(|parts| {
        let power = ["B", "KiB", "MiB", "GiB", "TiB"].iter().position(|unit| *unit == parts[2]).unwrap_or(0);
        let bytes = u128::from(parts[1].parse::<u64>().ok()?) << (10 * power);
        u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)
    });
    assert_eq!(units::size(text).ok(), expected, "{text}");
}

fn shares(text: &str) {
    let whole = captured(&PERCENT, text).and_then(|parts| parts[1].parse().ok());
    assert_eq!(units::percent(text).ok(), whole, "{text}");
    let weight = captured(&WEIGHT, text).and_then(|parts| {
        let thousandths = format!("{:0<3}", parts[3]).parse::<u32>().ok()?;
        let slots = parts[1].parse::<u32>().ok()?.checked_mul(1000)?.checked_add(thousandths)?;
        (slots <= 100_000).then_some(slots)
    });
    let read = text.parse::<Weight>().ok();
    assert_eq!(read.map(Weight::slots), weight, "{text}");
    if let Some(read) = read {
        assert_eq!(read.to_string().parse(), Ok(read), "{text}");
    }
}

fn addresses(text: &str) {
    if let Ok(address) = units::socket_address(text) {
        assert_eq!(units::listening_address(&address.to_string()), Ok(address), "{text}");
    }
    if let Ok(network) = units::network(text) {
        assert_eq!(units::network(&network.to_string()), Ok(network), "{text}");
        assert!(network.contains(&network.addr()));
    }
    match units::place(text) {
        Ok(Place::Address(address)) => assert_eq!(text.parse(), Ok(address)),
        Ok(Place::Name { host, port }) => {
            let parts = captured(&PLACE, text).expect("a host and a port");
            assert_eq!((parts[1], parts[2].parse()), (&*host, Ok(port)), "{text}");
            assert!(host.contains(|c: char| c.is_ascii_alphabetic() || matches!(c, '-' | '_')) && port > 0, "{text}");
        }
        Ok(Place::Unix(path)) => assert!(path.is_absolute() && text.starts_with("unix:/"), "{text}"),
        Err(reason) => assert!(!reason.is_empty()),
    }
}
