//! Faults of services, drawn from seeds: whatever one does to its connections, no answer comes after its
//! time, no broken body looks whole, and nothing unsafe is sent twice.
//!
//! `WEIR_SEEDS=1000 cargo test --test it upstream_faults` tries so many; a seed that fails is told, and
//! `WEIR_SEED=17` tries that one alone.

use std::{
    io::Write,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    arms_config,
    support::{
        Fault, Faulty, Proxy, Upstream, every_seed,
        frames::{ACK, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, PING, RESET, get},
        raw_exchange,
    },
};

/// Requests of one seed.
const REQUESTS: usize = 12;

/// Longer than every deadline of the proxy under test together, on a busy machine.
const HANGS_AFTER: Duration = Duration::from_secs(20);

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
fn complaint(protocol: &'static str, seed: u64) -> Option<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let upstream = Faulty::start(protocol, seed, REQUESTS, None, Fault::any);
    let retries =
        if random.bool() { "retries = { attempts = 2, on = [\"reset\", \"5xx\", \"connect-failure\"] }" } else { "" };
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"{protocol}\" }}", upstream.address);
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
        // How often it came, by its number: one that comes late is not taken for the next.
        let sent = upstream.arrived(number);
        let wrong = if begun.elapsed() > HANGS_AFTER {
            Some("it hung".to_owned())
        } else if post && sent > 1 {
            Some(format!("a POST was sent {sent} times"))
        } else if answer.starts_with("HTTP/1.1 200") {
            whole_body(answer)
                .filter(|body| *body != Faulty::body(number))
                .map(|body| format!("{body:?} passed as whole"))
        } else if !(answer.starts_with("HTTP/1.1 502") || answer.starts_with("HTTP/1.1 504")) {
            Some("it is no answer".to_owned())
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Some(format!("request {number} ({line:?}): {wrong}\n{answer}"));
        }
    }
    None
}

#[test]
fn no_fault_of_a_service_hangs_corrupts_or_repeats() {
    every_seed(30, |seed| complaint("http1", seed));
}

#[test]
fn no_fault_of_a_service_of_http_2_does_either() {
    every_seed(30, |seed| complaint("h2", seed));
}

#[test]
fn an_answer_that_breaks_off_at_any_byte_is_never_whole() {
    const BODY: &str = "the body of an answer that is whole";
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

/// A connection that is closed before anything of an answer came looks stale: its client may ask once more.
#[test]
fn the_head_of_an_answer_that_breaks_off_reaches_the_client() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").unwrap();
    });
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    for _ in 0..500 {
        let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
        let answer = raw_exchange(proxy.address(), request);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer:?}");
    }
    let mut client = Frames::connect(proxy.address(), &[]);
    for stream in (1..3000).step_by(2) {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[])).unwrap();
        assert_eq!(client.outcome(stream), "200", "stream {stream}");
    }
}

/// Sends requests one after the other until the connection ends; gives the streams that were reset before their
/// heads came.
fn reset_without_a_head(address: SocketAddr) -> Vec<u32> {
    let mut client = Frames::connect(address, &[]);
    let mut reset = Vec::new();
    for stream in (1..).step_by(2) {
        if client.send(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[])).is_err() {
            break;
        }
        let of_the_stream = |frame: &Frame| frame.stream == stream || frame.kind == PING && frame.flags & ACK == 0;
        match std::iter::from_fn(|| client.next()).find(of_the_stream) {
            Some(frame) if frame.kind == PING => {
                client.send(PING, ACK, 0, &frame.payload).ok();
            }
            Some(frame) if frame.kind == RESET => reset.push(stream),
            Some(_head) => {}
            None => break,
        }
    }
    reset
}

/// The drain wakes connections from another thread, which had their heads written behind the failure.
#[tokio::test]
async fn a_drain_does_not_lose_the_heads_of_answers_that_break_off() {
    for _ in 0..15 {
        let upstream = Upstream::raw(|mut stream, _number| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").unwrap();
        });
        let arms = format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address);
        let proxy = Proxy::start(&arms_config(&arms, "", ""));
        let address = proxy.address();
        let clients: Vec<_> = (0..3).map(|_| thread::spawn(move || reset_without_a_head(address))).collect();
        while upstream.connections() < 20 {
            tokio::task::yield_now().await;
        }
        proxy.into_app().drain().await;
        for client in clients {
            assert_eq!(client.join().unwrap(), Vec::<u32>::new());
        }
    }
}
