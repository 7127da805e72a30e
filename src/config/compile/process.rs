//! `[weir]`, `[admin]`, `[telemetry]`, `[limits]`, `[timeouts]` and `[forwarding]`.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::guards;
use crate::{
    config::{
        document::Document,
        section::{Field, Section},
        units,
    },
    plan::{Forwarding, Limits, Process, Timeouts, Via},
};

/// What RFC 9113 §6.9.1 and §6.5.2 allow for a flow-control window, but no less than a small body.
const WINDOW: RangeInclusive<u32> = 16_384..=0x7fff_ffff;
/// What RFC 9113 §6.5.2 allows for a frame.
const FRAME: RangeInclusive<u32> = 16_384..=0xff_ffff;

/// More workers than any machine has cores.
const WORKERS_MAX: u64 = 1024;

pub(super) fn process(document: &Document<'_>) -> Option<Process> {
    let mut process = Process {
        workers: 0,
        state_dir: "state".into(),
        drain_timeout: Duration::from_secs(30),
        lame_duck: Duration::ZERO,
        admin: None,
        telemetry: None,
        ofrep: None,
    };
    let mut whole = true;
    if let Some(field) = document.table("weir") {
        whole = weir(field, &mut process);
    }
    process.admin = address(document, "admin", &mut whole);
    process.telemetry = address(document, "telemetry", &mut whole);
    process.ofrep = ofrep_address(document, &mut whole);
    whole.then_some(process)
}

/// Reads `[weir]` over its defaults; `false` when something is wrong.
fn weir(field: Field<'_>, process: &mut Process) -> bool {
    let Some(mut section) = field.section() else { return false };
    let mut whole = true;
    if let Some(field) = section.take("workers") {
        match field.integer(0) {
            Some(workers) if workers <= WORKERS_MAX => {
                whole &= store(usize::try_from(workers).ok(), &mut process.workers);
            }
            Some(_) => field.refuse("that is too many workers".to_owned(), &format!("at most {WORKERS_MAX}")),
            None => whole = false,
        }
    }
    if let Some(field) = section.take("state_dir") {
        field.text().map_or_else(|| whole = false, |text| process.state_dir = text.into());
    }
    whole &= duration(&mut section, "drain_timeout", &mut process.drain_timeout);
    whole &= duration_or_none(&mut section, "lame_duck", &mut process.lame_duck);
    guards::take_default(&mut section);
    section.finish();
    whole
}

fn address(document: &Document<'_>, key: &str, whole: &mut bool) -> Option<SocketAddr> {
    let mut section = document.table(key)?.section()?;
    let field = section.require("address", "write where to listen, as in address = \"127.0.0.1:9900\"");
    section.finish();
    let address = field.and_then(|field| field.parse(units::socket_address));
    *whole &= address.is_some();
    address
}

/// The other keys of `[ofrep]` can name toggles, so that they are read after those.
fn ofrep_address(document: &Document<'_>, whole: &mut bool) -> Option<SocketAddr> {
    let mut section = document.table("ofrep")?.section()?;
    let hint = "write where to listen, as in address = \"127.0.0.1:8016\"";
    let address = section.require("address", hint).and_then(|field| field.parse(units::socket_address));
    *whole &= address.is_some();
    address
}

pub(super) fn limits(document: &Document<'_>) -> Option<Limits> {
    let mut limits = default_limits();
    let Some(field) = document.table("limits") else { return Some(limits) };
    let mut section = field.section()?;
    let wholes = [
        count(&mut section, "connections_max", &mut limits.connections_max),
        count(&mut section, "connections_per_source_max", &mut limits.connections_per_source_max),
        count(&mut section, "tls_handshakes_max", &mut limits.tls_handshakes_max),
        count(&mut section, "requests_max", &mut limits.requests_max),
        count(&mut section, "tunnels_max", &mut limits.tunnels_max),
        bytes_within(&mut section, "head_bytes_max", (8 << 10, 1 << 20), "8KiB to 1MiB", &mut limits.head_bytes_max),
        header_count(&mut section, &mut limits.header_count_max),
        ranged(&mut section, "http2_streams_max", 1..=10_000, &mut limits.http2_streams_max),
        ranged(&mut section, "http2_stream_window_bytes", WINDOW, &mut limits.http2_stream_window_bytes),
        ranged(&mut section, "http2_connection_window_bytes", WINDOW, &mut limits.http2_connection_window_bytes),
        ranged(&mut section, "http2_frame_bytes_max", FRAME, &mut limits.http2_frame_bytes_max),
        held(&mut section, "http2_send_bytes_max", &mut limits.http2_send_bytes_max),
        count(&mut section, "http2_resets_max", &mut limits.http2_resets_max),
        count(&mut section, "http2_cancels_max", &mut limits.http2_cancels_max),
        bytes_within(
            &mut section,
            "target_bytes_max",
            (1 << 10, 60 << 10),
            "1KiB to 60KiB",
            &mut limits.target_bytes_max,
        ),
        bytes_within(&mut section, "trailer_bytes_max", (64, 16 << 10), "64 to 16KiB", &mut limits.trailer_bytes_max),
        count(&mut section, "interim_responses_max", &mut limits.interim_responses_max),
        count(&mut section, "via_hops_max", &mut limits.via_hops_max),
        section.take("body_bytes_max").is_none_or(|field| store(field.size(), &mut limits.body_bytes_max)),
        bytes(&mut section, "contract_body_bytes_max", &mut limits.contract_body_bytes_max),
        bytes(&mut section, "token_bytes_max", &mut limits.token_bytes_max),
        count(&mut section, "tokens_remembered_max", &mut limits.tokens_remembered_max),
        count(&mut section, "idle_upstream_connections_max", &mut limits.idle_upstream_connections_max),
        count(&mut section, "upstream_connections_max", &mut limits.upstream_connections_max),
        ranged(
            &mut section,
            "upstream_http2_stream_window_bytes",
            WINDOW,
            &mut limits.upstream_http2_stream_window_bytes,
        ),
        ranged(
            &mut section,
            "upstream_http2_connection_window_bytes",
            WINDOW,
            &mut limits.upstream_http2_connection_window_bytes,
        ),
        held(&mut section, "upstream_http2_send_bytes_max", &mut limits.upstream_http2_send_bytes_max),
        bytes(&mut section, "replay_body_bytes_max", &mut limits.replay_body_bytes_max),
        count(&mut section, "dns_lookups_max", &mut limits.dns_lookups_max),
        bytes(&mut section, "linger_bytes_max", &mut limits.linger_bytes_max),
        section.take("body_rate_min").is_none_or(|field| store(field.integer(0), &mut limits.body_rate_min)),
    ];
    section.finish();
    wholes.into_iter().all(|whole| whole).then_some(limits)
}

fn default_limits() -> Limits {
    Limits {
        connections_max: 10_000,
        connections_per_source_max: 10_000,
        tls_handshakes_max: 1_000,
        requests_max: 10_000,
        tunnels_max: 10_000,
        head_bytes_max: 64 << 10,
        header_count_max: 100,
        http2_streams_max: 100,
        http2_stream_window_bytes: 64 << 10,
        http2_connection_window_bytes: 1 << 20,
        http2_frame_bytes_max: 16 << 10,
        http2_send_bytes_max: 64 << 10,
        http2_resets_max: 100,
        http2_cancels_max: 500,
        target_bytes_max: 16 << 10,
        trailer_bytes_max: 8 << 10,
        interim_responses_max: 10,
        via_hops_max: 8,
        body_bytes_max: 16 << 30,
        contract_body_bytes_max: 1 << 20,
        token_bytes_max: 8 << 10,
        tokens_remembered_max: 1000,
        idle_upstream_connections_max: 1024,
        upstream_connections_max: 10_000,
        upstream_http2_stream_window_bytes: 256 << 10,
        // Anything less is used up by a few streams whose clients do not read, and holds up all others; what is
        // kept is bounded by each stream's window and the arm's streams_max.
        upstream_http2_connection_window_bytes: 0x7fff_ffff,
        upstream_http2_send_bytes_max: 64 << 10,
        replay_body_bytes_max: 64 << 10,
        dns_lookups_max: 8,
        linger_bytes_max: 1 << 20,
        body_rate_min: 64,
    }
}

pub(super) fn timeouts(document: &Document<'_>) -> Option<Timeouts> {
    let mut timeouts = Timeouts {
        proxy_protocol: Duration::from_secs(5),
        tls_handshake: Duration::from_secs(10),
        client_head: Duration::from_secs(60),
        first_request: Duration::from_millis(100),
        goaway: Duration::from_secs(1),
        http2_ping: Duration::from_secs(60),
        http2_pong: Duration::from_secs(20),
        connect: Duration::from_secs(2),
        body_idle: Duration::from_secs(60),
        stream_idle: Duration::from_secs(300),
        expect_continue: Duration::from_secs(1),
        linger: Duration::from_secs(1),
        half_closed: Duration::from_secs(5),
        tunnel_idle: Duration::from_secs(3600),
        upstream_idle: Duration::from_secs(30),
        dns: Duration::from_secs(5),
        dns_refresh: Duration::from_secs(5),
    };
    let Some(field) = document.table("timeouts") else { return Some(timeouts) };
    let mut section = field.section()?;
    let wholes = [
        duration(&mut section, "proxy_protocol", &mut timeouts.proxy_protocol),
        duration(&mut section, "tls_handshake", &mut timeouts.tls_handshake),
        duration(&mut section, "client_head", &mut timeouts.client_head),
        duration(&mut section, "first_request", &mut timeouts.first_request),
        duration(&mut section, "goaway", &mut timeouts.goaway),
        duration(&mut section, "http2_ping", &mut timeouts.http2_ping),
        duration(&mut section, "http2_pong", &mut timeouts.http2_pong),
        duration(&mut section, "connect", &mut timeouts.connect),
        duration(&mut section, "body_idle", &mut timeouts.body_idle),
        duration(&mut section, "stream_idle", &mut timeouts.stream_idle),
        duration(&mut section, "expect_continue", &mut timeouts.expect_continue),
        duration(&mut section, "linger", &mut timeouts.linger),
        duration_or_none(&mut section, "half_closed", &mut timeouts.half_closed),
        duration(&mut section, "tunnel_idle", &mut timeouts.tunnel_idle),
        duration(&mut section, "upstream_idle", &mut timeouts.upstream_idle),
        duration(&mut section, "dns", &mut timeouts.dns),
        duration(&mut section, "dns_refresh", &mut timeouts.dns_refresh),
    ];
    section.finish();
    wholes.into_iter().all(|whole| whole).then_some(timeouts)
}

pub(super) fn forwarding(document: &Document<'_>) -> Option<Forwarding> {
    let mut forwarding = Forwarding { name: "weir".to_owned(), via: None, x_forwarded: true, forwarded: false };
    let mut via = true;
    let Some(field) = document.table("forwarding") else {
        forwarding.via = Via::new(&forwarding.name);
        return Some(forwarding);
    };
    let mut section = field.section()?;
    let wholes = [
        section.take("name").is_none_or(|field| store(field.parse(units::name_of), &mut forwarding.name)),
        section.take("via").is_none_or(|field| store(field.flag(), &mut via)),
        section.take("client").is_none_or(|field| client_fields(&field, &mut forwarding)),
    ];
    section.finish();
    forwarding.via = via.then(|| Via::new(&forwarding.name)).flatten();
    wholes.into_iter().all(|whole| whole).then_some(forwarding)
}

/// Which fields tell an upstream who the client is.
fn client_fields(field: &Field<'_>, forwarding: &mut Forwarding) -> bool {
    let words = [
        ("x-forwarded", (true, false)),
        ("forwarded", (false, true)),
        ("both", (true, true)),
        ("none", (false, false)),
    ];
    let read = field.word(&words);
    if let Some((x_forwarded, forwarded)) = read {
        (forwarding.x_forwarded, forwarding.forwarded) = (x_forwarded, forwarded);
    }
    read.is_some()
}

/// Reads a duration over its default; `false` when it is there and wrong.
pub(super) fn duration(section: &mut Section<'_>, key: &'static str, duration: &mut Duration) -> bool {
    section.take(key).is_none_or(|field| store(field.parse(units::duration), duration))
}

/// The same, of one that may be none at all.
fn duration_or_none(section: &mut Section<'_>, key: &'static str, duration: &mut Duration) -> bool {
    let read = |text: &str| if text == "0s" { Ok(Duration::ZERO) } else { units::duration(text) };
    section.take(key).is_none_or(|field| store(field.parse(read), duration))
}

pub(super) fn count(section: &mut Section<'_>, key: &'static str, count: &mut usize) -> bool {
    let read = |field: Field<'_>| field.integer(1).and_then(|number| usize::try_from(number).ok());
    section.take(key).is_none_or(|field| store(read(field), count))
}

pub(super) fn bytes(section: &mut Section<'_>, key: &'static str, bytes: &mut usize) -> bool {
    let read = |field: Field<'_>| field.size().and_then(|number| usize::try_from(number).ok());
    section.take(key).is_none_or(|field| store(read(field), bytes))
}

/// Reads a size or number over its default, within the range that its protocol has.
fn ranged(section: &mut Section<'_>, key: &'static str, range: RangeInclusive<u32>, number: &mut u32) -> bool {
    let Some(field) = section.take(key) else { return true };
    let Some(size) = field.size() else { return false };
    let fits = u32::try_from(size).ok().filter(|size| range.contains(size));
    if fits.is_none() {
        let hint = format!("write {} to {}", range.start(), range.end());
        field.refuse("the number is out of range".to_owned(), &hint);
    }
    store(fits, number)
}

/// A header map holds at most 32,768 fields, those included that are added on the way.
fn header_count(section: &mut Section<'_>, header_count: &mut usize) -> bool {
    let Some(field) = section.take("header_count_max") else { return true };
    let Some(number) = field.integer(1) else { return false };
    if number > 10_000 {
        field.refuse("a head cannot be limited to that".to_owned(), "write 1 to 10000");
        return false;
    }
    store(usize::try_from(number).ok(), header_count)
}

/// What is less is kept to by no client, and what is more by no service: `http` itself takes no target above 64 KiB.
fn bytes_within(
    section: &mut Section<'_>,
    key: &'static str,
    (least, most): (u64, u64),
    hint: &str,
    bytes: &mut usize,
) -> bool {
    let Some(field) = section.take(key) else { return true };
    let Some(size) = field.size() else { return false };
    if !(least..=most).contains(&size) {
        field.refuse("that is no limit that can be kept".to_owned(), &format!("write {hint}"));
        return false;
    }
    store(usize::try_from(size).ok(), bytes)
}

/// Bytes that are held for a peer.
fn held(section: &mut Section<'_>, key: &'static str, bytes: &mut usize) -> bool {
    bytes_within(section, key, (1, 1 << 30), "1 to 1GiB", bytes)
}

fn store<T>(read: Option<T>, into: &mut T) -> bool {
    read.map(|value| *into = value).is_some()
}
