//! What services say, and callers of gRPC about time.
#![allow(clippy::expect_used, reason = "what cannot be, is a finding")]

pub(super) mod answers;

use std::{sync::LazyLock, time::Duration};

use http::{HeaderValue, Request};
use regex::Regex;

use super::{
    grpc,
    http1::keep_alive::{announced, below},
};

static SECONDS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)\A\s*timeout\s*=\s*\+?([0-9]+)\s*\z").expect("a pattern"));
static TIMEOUT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\A([0-9]{1,8})([HMSmun])\z").expect("a pattern"));

pub(crate) use answers::answer;

/// `Keep-Alive` of a service.
pub(crate) fn keep_alive(input: &[u8]) {
    let Ok(field) = std::str::from_utf8(input) else { return };
    let told = announced(field);
    let mut timeouts = field.split(',').filter(|parameter| {
        parameter.split_once('=').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))
    });
    let first = timeouts.next().and_then(|parameter| SECONDS.captures(parameter)?[1].parse::<u64>().ok());
    assert_eq!(told, first, "{field:?}");
    if let Some(told) = told {
        let kept = below(told);
        assert!(kept < Duration::from_secs(told) || told == 0, "{field:?}");
        assert!(kept >= Duration::from_secs(told) / 2);
    }
}

/// `grpc-timeout` of a caller.
pub(crate) fn grpc_timeout(input: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    let request = Request::post("/a").header("grpc-timeout", value).body(());
    let read = request.ok().and_then(|request| grpc::timeout(&request));
    let text: String = input.iter().map(|byte| char::from(*byte)).collect();
    let expected = TIMEOUT.captures(&text).and_then(|parts| {
        let unit: u128 = match &parts[2] {
            "H" => 3_600_000_000_000,
            "M" => 60_000_000_000,
            "S" => 1_000_000_000,
            "m" => 1_000_000,
            "u" => 1000,
            _ => 1,
        };
        Some(parts[1].parse::<u128>().ok()? * unit)
    });
    assert_eq!(read.map(|read| read.as_nanos()), expected, "{text:?}");
}
