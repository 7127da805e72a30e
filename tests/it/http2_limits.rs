//! Limits on what one client of HTTP/2 may cost, by their names.

use std::{io::Write, sync::mpsc, time::Duration};

use crate::{
    plain_config,
    support::{
        Proxy, Upstream,
        frames::{self, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, RESET, WINDOW_UPDATE, frame},
    },
};

/// Longer than anything here takes: a test that would hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(upstream: &Upstream, rest: &str) -> Proxy {
    Proxy::start(&plain_config(upstream.address, "", rest))
}

#[test]
fn http2_connection_window_bytes_is_what_a_client_may_send_over_all_of_its_streams() {
    let upstream = Upstream::named("v1");
    for (limits, bytes) in [("", 1 << 20), ("[limits]\nhttp2_connection_window_bytes = \"100KiB\"\n", 100 << 10)] {
        let proxy = start(&upstream, limits);
        let mut client = Frames::connect(proxy.address(), &[]);
        let window = client.next_of(WINDOW_UPDATE).unwrap();
        let opened = u32::from_be_bytes(window.payload.try_into().unwrap());
        // On top of what every connection begins with (RFC 9113 §6.9.2).
        assert_eq!((window.stream, opened + 65_535), (0, bytes), "{limits}");
    }
}

#[test]
fn http2_send_bytes_max_is_what_a_client_that_reads_nothing_may_cost() {
    // How much of an endless answer is taken until the client is given up.
    let taken = |limit: &str| {
        let (told, tells) = mpsc::channel();
        let upstream = Upstream::raw(move |mut stream, _number| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").unwrap();
            let mut bytes = 0_u64;
            while stream.write_all(&[b'x'; 16 << 10]).is_ok() {
                bytes += 16 << 10;
            }
            told.send(bytes).unwrap();
        });
        let limits = format!("[limits]\nhttp2_send_bytes_max = \"{limit}\"\n[timeouts]\nbody_idle = \"1s\"\n");
        let proxy = start(&upstream, &limits);
        // Windows as large as they can be, so that they hold nothing back.
        let mut client = Frames::connect(proxy.address(), &[(4, 0x7fff_ffff)]);
        client.send(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes()).unwrap();
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::get(&[])).unwrap();
        tells.recv_timeout(PATIENCE).unwrap()
    };
    // The sockets hold some, too, and as much each time.
    let (little, much) = (taken("16KiB"), taken("48MiB"));
    assert!(little + (32 << 20) < much, "{little} and {much}");
}

/// Whether a connection goes on after these frames, all of which are there at once.
fn goes_on(proxy: &Proxy, frames: &[Vec<u8>]) -> bool {
    let mut client = Frames::connect(proxy.address(), &[]);
    // It may be closed over what is still to be sent.
    client.send_raw(&[&frames.concat()[..], &frame(PING, 0, 0, &[0; 8])].concat()).ok();
    let told = std::iter::from_fn(|| client.next()).find(|frame| matches!(frame.kind, PING | GOAWAY));
    told.is_some_and(|frame| frame.kind == PING)
}

#[test]
fn http2_resets_max_ends_a_connection_of_streams_that_are_reset_at_once_or_for_their_faults() {
    let upstream = Upstream::named("v1");
    let get = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, &frames::get(&[]));
    let by_client = |stream: u32| [get(stream), frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat();
    // A field that HTTP/2 does not have.
    let odd = frames::get(&[("connection", b"close")]);
    let by_weir = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, &odd);
    let streams = (1..=41).step_by(2);
    for (limit, goes) in [(10, false), (100, true)] {
        let proxy = start(&upstream, &format!("[limits]\nhttp2_resets_max = {limit}\n"));
        let frames: Vec<_> = streams.clone().map(by_client).collect();
        assert_eq!(goes_on(&proxy, &frames), goes, "by the client, {limit}");
        let frames: Vec<_> = streams.clone().map(by_weir).collect();
        assert_eq!(goes_on(&proxy, &frames), goes, "by weir, {limit}");
    }
}
