//! Faulty requests without end: what they cost is given back. Memory and descriptors stay where they are after
//! the first quarter of them, whatever the services and the clients do to their connections.
//!
//! `WEIR_SOAK=1000000 cargo test --release --test it soak -- --nocapture` sends so many, and tells the figures.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    arms_config,
    support::{
        Client, Fault, Faulty, Process, dead,
        frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RESET, frame, get, head},
        number,
    },
};

const CLIENTS: usize = 4;

/// What may be more at the end than after the first quarter: idle connections come and go, and so do pages.
const DESCRIPTORS_MAX: usize = 32;
const MEMORY_MAX: u64 = 8 << 20;

/// One request, or something that looks like one. Whatever comes back is read and forgotten.
fn misbehave(address: SocketAddr, random: &mut fastrand::Rng, path: usize) -> std::io::Result<()> {
    if random.u8(..8) == 0 {
        return misbehave_in_frames(address, random);
    }
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let (version, host) = (["HTTP/1.1", "HTTP/1.0"][random.usize(..2)], ["one", "two"][random.usize(..2)]);
    let fields = format!("{version}\r\nhost: {host}\r\nconnection: close");
    let get = format!("GET /{path} {fields}\r\n\r\n");
    let post = |length: usize| format!("POST /{path} {fields}\r\ncontent-length: {length}\r\n\r\npayload");
    match random.u8(..8) {
        // Gone before its answer, by a close or by a reset.
        0 => return stream.write_all(get.as_bytes()),
        1 => {
            stream.write_all(post(7).as_bytes())?;
            return socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        // Gone in the middle of a head, or of a body.
        2 => return stream.write_all(&get.as_bytes()[..random.usize(..get.len())]),
        3 => return stream.write_all(post(1000).as_bytes()),
        4 => {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n")?
        }
        5 => stream.write_all(post(7).as_bytes())?,
        _ => stream.write_all(get.as_bytes())?,
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map(drop)
}

/// Streams that are reset, never ended, or too long, on a connection that ends without a word.
fn misbehave_in_frames(address: SocketAddr, random: &mut fastrand::Rng) -> std::io::Result<()> {
    let mut frames = Frames::connect(address, &[]);
    for stream in [1, 3, 5, 7] {
        match random.u8(..4) {
            0 => frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[]))?,
            1 => frames.send(HEADERS, END_HEADERS, stream, &head(b"POST", &[]))?,
            2 => frames.send_raw(
                &[
                    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[])),
                    frame(RESET, 0, stream, &8_u32.to_be_bytes()),
                ]
                .concat(),
            )?,
            _ => frames.send_raw(
                &[
                    frame(HEADERS, END_HEADERS, stream, &head(b"POST", &[("content-length", b"1")])),
                    frame(DATA, END_STREAM, stream, b"more"),
                ]
                .concat(),
            )?,
        }
    }
    frames.close();
    while frames.next().is_some() {}
    Ok(())
}

/// Sends so many of them, from several clients.
fn soak(address: SocketAddr, seed: u64, requests: std::ops::Range<usize>) {
    let next = AtomicUsize::new(requests.start);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (next, end) = (&next, requests.end);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed ^ client as u64);
                loop {
                    let path = next.fetch_add(1, Ordering::Relaxed);
                    if path >= end {
                        return;
                    }
                    // A connection that breaks is what this is about.
                    misbehave(address, &mut random, path).ok();
                }
            });
        }
    });
}

/// Memory and descriptors, once nothing is under way any more.
async fn settled(process: &Process) -> (u64, usize) {
    let begun = Instant::now();
    let mut admin = Client::connect(process.admin).await;
    loop {
        let metrics = admin.get("/metrics", &[]).await;
        let open = |series: &str| {
            let value = metrics.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            value.is_some_and(|value| value != "0")
        };
        if !open("weir_connections{listener=\"edge\"}") && !open("weir_requests_in_flight") {
            return (process.memory_bytes(), process.descriptors());
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come to rest: {}", metrics.text());
    }
}

#[tokio::test]
async fn faulty_requests_leave_nothing_behind() {
    let requests = usize::try_from(number("WEIR_SOAK").unwrap_or(2_000)).unwrap();
    let seed = number("WEIR_SEED").unwrap_or(1);
    let [one, two] = ["http1", "h2"].map(|protocol| Faulty::start(protocol, seed, requests, Some(16), Fault::quick));
    let arms = |faulty: &Faulty| {
        let (endpoints, protocol) = (format!("\"{}\", \"{}\"", faulty.address, dead()), faulty.protocol);
        format!("arms.stable = {{ endpoints = [{endpoints}], ejection = \"off\", protocol = \"{protocol}\" }}")
    };
    let retries = "timeout = \"1s\"\nretries = { attempts = 1, on = [\"reset\"], backoff_base = \"1ms\" }";
    let times = "[timeouts]\nbody_idle = \"200ms\"\nstream_idle = \"200ms\"\nclient_head = \"1s\"";
    let of_http2 = format!(
        "{times}\n[services.two]\n{}\n[[routes]]\nname = \"two\"\nmatch = {{ host = \"two\", path_prefix = \"/\" }}\n\
         service = \"two\"\n{retries}\n",
        arms(&two)
    );
    let process = Process::start(&arms_config(&arms(&one), retries, &of_http2));
    let quarter = requests / 4;
    soak(process.address, seed, 0..quarter);
    let (memory_before, descriptors_before) = settled(&process).await;
    let begun = Instant::now();
    soak(process.address, seed ^ 1 << 32, quarter..requests);
    let took = begun.elapsed();
    let (memory, descriptors) = settled(&process).await;
    eprintln!(
        "{} faulty requests in {took:?}: {} KiB before, {} KiB after; {descriptors_before} descriptors before, \
         {descriptors} after",
        requests - quarter,
        memory_before >> 10,
        memory >> 10,
    );
    assert!(descriptors <= descriptors_before + DESCRIPTORS_MAX, "{descriptors_before}, then {descriptors}");
    assert!(memory <= memory_before + MEMORY_MAX, "{memory_before} bytes, then {memory}");
}
