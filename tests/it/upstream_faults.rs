//! Faults of services, drawn from seeds: whatever one does to its connections, no answer comes after its
//! time, no broken body looks whole, and nothing unsafe is sent twice.
//!
//! `WEIR_FAULT_SEEDS=1000 cargo test --test it upstream_faults` tries so many; a seed that fails is told, and
//! `WEIR_FAULT_SEED=17` tries that one alone.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    arms_config,
    support::{Proxy, Upstream, raw_exchange},
};

/// Requests of one seed.
const REQUESTS: usize = 12;

/// Longer than every deadline of the proxy under test together, on a busy machine.
const HANGS_AFTER: Duration = Duration::from_secs(20);

const BODY: &str = "the body of an answer that is whole";

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// The connection is reset after so many bytes of the answer.
    Reset(usize),
    /// It is closed after so many.
    Truncate(usize),
    /// Nothing more comes after so many.
    Stall(usize),
    /// The bytes come one by one.
    Drip,
    /// Something that is not HTTP.
    Garbage,
    /// The answer comes before the request's body.
    Early,
    /// Many interim answers come first.
    Interim(usize),
    /// A second answer that nobody asked for follows.
    Surplus,
}

/// An answer that is whole, in one of several framings.
fn answer(random: &mut fastrand::Rng) -> Vec<u8> {
    let length = BODY.len();
    match random.usize(..3) {
        0 => format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{BODY}"),
        1 => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{BODY}\r\n0\r\n\r\n"),
        _ => format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{BODY}"),
    }
    .into_bytes()
}

fn fault(random: &mut fastrand::Rng, bytes: usize) -> Fault {
    match random.usize(..12) {
        0 | 1 => Fault::Reset(random.usize(..bytes)),
        2 | 3 => Fault::Truncate(random.usize(..bytes)),
        4 => Fault::Stall(random.usize(..bytes)),
        5 => Fault::Drip,
        6 => Fault::Garbage,
        7 => Fault::Early,
        8 => Fault::Interim(random.usize(1..50)),
        9 => Fault::Surplus,
        _ => Fault::None,
    }
}

/// Serves one connection, a fault or none for each request. A peer that goes away ends it.
fn serve(mut stream: TcpStream, mut random: fastrand::Rng, arrived: &[AtomicUsize]) -> std::io::Result<()> {
    while let Some(number) = read_number(&stream) {
        let whole = answer(&mut random);
        let fault = fault(&mut random, whole.len());
        arrived[number].fetch_add(1, Ordering::SeqCst);
        let cut = |stream: &mut TcpStream, bytes: usize| stream.write_all(&whole[..bytes]);
        match fault {
            Fault::Reset(bytes) => {
                cut(&mut stream, bytes)?;
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            Fault::Truncate(bytes) => return cut(&mut stream, bytes),
            Fault::Stall(bytes) => {
                cut(&mut stream, bytes)?;
                // Until the proxy gives it up.
                let mut rest = Vec::new();
                return stream.read_to_end(&mut rest).map(drop);
            }
            Fault::Drip => {
                for byte in &whole {
                    stream.write_all(&[*byte])?;
                    thread::yield_now();
                }
            }
            Fault::Garbage => return stream.write_all(&[random.u8(..); 64]),
            Fault::Early => return cut(&mut stream, whole.len()),
            Fault::Interim(count) => {
                stream.write_all(&b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(count))?;
                cut(&mut stream, whole.len())?;
            }
            Fault::Surplus => {
                cut(&mut stream, whole.len())?;
                stream.write_all(&whole)?;
            }
            Fault::None => cut(&mut stream, whole.len())?,
        }
    }
    Ok(())
}

/// Reads a head, behind what was left of a body before it, and gives the number in its path.
fn read_number(mut stream: &TcpStream) -> Option<usize> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read(&mut byte).ok()? == 1).then(|| head.push(byte[0]))?;
    }
    let head = String::from_utf8(head).ok()?;
    head.split_once(" /")?.1.split_once(' ')?.0.parse().ok()
}

/// The body of an answer, when its framing says that it is whole.
fn whole_body(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        return (body.len() == length.parse::<usize>().ok()?).then(|| body.to_owned());
    }
    if !head.contains("transfer-encoding: chunked") {
        return None;
    }
    let (mut rest, mut whole) = (body, String::new());
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

/// The final answer, behind those that are passed on before it.
fn without_interims(mut answer: &str) -> &str {
    while answer.starts_with("HTTP/1.1 1")
        && let Some((_, rest)) = answer.split_once("\r\n\r\n")
    {
        answer = rest;
    }
    answer
}

/// What one seed does wrong.
fn complaint(seed: u64) -> Option<String> {
    // How often each request came, by its number: one that comes late is not taken for the next.
    let arrived: Arc<[AtomicUsize]> = (0..REQUESTS).map(|_| AtomicUsize::new(0)).collect();
    let (counted, mut random) = (Arc::clone(&arrived), fastrand::Rng::with_seed(seed));
    let upstream = Upstream::acting(move |stream, number, _seen| {
        let (stream, counted) = (stream.into_std().unwrap(), Arc::clone(&counted));
        stream.set_nonblocking(false).unwrap();
        let random = fastrand::Rng::with_seed(seed ^ (number as u64) << 32);
        // Either end may break it off: that is what is tried.
        thread::spawn(move || serve(stream, random, &counted).ok());
        async {}
    });
    let retries =
        if random.bool() { "retries = { attempts = 2, on = [\"reset\", \"5xx\", \"connect-failure\"] }" } else { "" };
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address);
    let times = "[timeouts]\nbody_idle = \"100ms\"\nstream_idle = \"100ms\"\n";
    let proxy = Proxy::start(&arms_config(&arms, &format!("timeout = \"200ms\"\n{retries}"), times));
    for number in 0..REQUESTS {
        let post = random.bool();
        let line = if post {
            format!("POST /{number} HTTP/1.1\r\ncontent-length: 7")
        } else {
            format!("GET /{number} HTTP/1.1")
        };
        let body = if post { "payload" } else { "" };
        let request = format!("{line}\r\nhost: a\r\nconnection: close\r\n\r\n{body}");
        let begun = Instant::now();
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        let answer = without_interims(&answer);
        let sent = arrived[number].load(Ordering::SeqCst);
        let wrong = if begun.elapsed() > HANGS_AFTER {
            Some("it hung".to_owned())
        } else if post && sent > 1 {
            Some(format!("a POST was sent {sent} times"))
        } else if answer.starts_with("HTTP/1.1 200") {
            whole_body(answer).filter(|body| body != BODY).map(|body| format!("{body:?} passed as whole"))
        } else if !(answer.starts_with("HTTP/1.1 502") || answer.starts_with("HTTP/1.1 504")) {
            Some("it is no answer".to_owned())
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Some(format!("seed {seed}, request {number} ({line:?}): {wrong}\n{answer}"));
        }
    }
    None
}

#[test]
fn no_fault_of_a_service_hangs_corrupts_or_repeats() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seeds = match number("WEIR_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEIR_FAULT_SEEDS").unwrap_or(30),
    };
    let complaints: Vec<String> = seeds.filter_map(complaint).collect();
    assert!(complaints.is_empty(), "WEIR_FAULT_SEED tries one alone:\n{}", complaints.join("\n"));
}

#[test]
fn an_answer_that_breaks_off_at_any_byte_is_never_whole() {
    for whole in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()),
    ] {
        let bytes = whole.len();
        let upstream = Upstream::raw(move |mut stream, number| {
            stream.write_all(&whole.as_bytes()[..number.min(whole.len())]).ok();
        });
        let arms = format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address);
        let proxy = Proxy::start(&arms_config(&arms, "", ""));
        for cut in 0..=bytes {
            let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let body = answer.starts_with("HTTP/1.1 200").then(|| whole_body(&answer)).flatten();
            // All of the body may have come without the end of the framing: then it is not whole either.
            assert_eq!(body.is_some(), cut == bytes, "after {cut} of {bytes} bytes: {answer}");
        }
    }
}
