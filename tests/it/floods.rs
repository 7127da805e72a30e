//! Floods of HTTP/2 frames: each is held at little memory, and others are served meanwhile.
//!
//! How soon they are served is told with each flood, and asserted where the machine is quiet and the build is that
//! of a release: all but one in a hundred answers within 50 ms, of 2,000 beside a flood that begins anew for as long.
//!
//! ```console
//! WEIR_BESIDE_MS=50 WEIR_BESIDE_ANSWERS=2000 cargo test --release --test it floods -- --nocapture --test-threads=1
//! ```

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    plain_config,
    support::{
        Client, Process, RawUpstream, Upstream,
        frames::{
            ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, RESET, SETTINGS,
            WINDOW_UPDATE, block, frame, get, head,
        },
        number,
    },
};

/// What one flood may cost, in bytes.
const COST_MAX: u64 = 16 << 20;

/// Longer than any answer beside a flood takes on a busy machine that runs a debug build.
const BESIDE_MAX: Duration = Duration::from_secs(2);

/// What all but one in a hundred answers beside a flood may take, where the machine is quiet enough to be
/// asked for it: `WEIR_BESIDE_MS`.
fn beside_p99_max() -> Duration {
    number("WEIR_BESIDE_MS").map_or(BESIDE_MAX, Duration::from_millis)
}

/// Sends frames until they are all sent or the connection is closed, reading what comes. Says whether
/// the connection was closed for it.
fn flood(address: SocketAddr, settings: &[(u16, u32)], send: impl FnOnce(&mut Frames) -> io::Result<()>) -> bool {
    let mut frames = Frames::connect(address, settings);
    let mut twin = frames.twin();
    let reader = thread::spawn(move || {
        let mut told = false;
        while let Some(frame) = twin.next() {
            told |= frame.kind == GOAWAY;
        }
        told
    });
    let broken = send(&mut frames).is_err();
    frames.close();
    reader.join().unwrap() || broken
}

/// Floods a process of its own while another client asks, and holds both to their limits. Says whether every
/// flood's connection was closed.
async fn held(flood_it: impl Fn(SocketAddr) -> bool + Send + 'static) -> bool {
    let upstream = Upstream::streaming(300_000);
    let process = Process::start(&plain_config(upstream.address, "", ""));
    let address = process.address;
    let mut beside = Client::connect(address).await;
    beside.get("/", &[]).await;
    let before = process.memory_peak_bytes();
    let answers = number("WEIR_BESIDE_ANSWERS").unwrap_or(0);
    let enough = Arc::new(AtomicBool::new(answers == 0));
    let once = Arc::new(AtomicBool::new(false));
    let (told, done) = (Arc::clone(&enough), Arc::clone(&once));
    let flooding = thread::spawn(move || {
        let mut closed = flood_it(address);
        done.store(true, Ordering::Relaxed);
        while !told.load(Ordering::Relaxed) {
            closed &= flood_it(address);
        }
        closed
    });
    let (mut took, mut cost) = (Vec::new(), None);
    while !flooding.is_finished() {
        // Of one: those that follow are there before all of it is given back.
        if once.load(Ordering::Relaxed) {
            cost.get_or_insert_with(|| process.memory_peak_bytes() - before);
        }
        enough.store(took.len() as u64 >= answers, Ordering::Relaxed);
        let asked = Instant::now();
        assert_eq!(beside.get("/", &[]).await.body.len(), 300_000);
        took.push(asked.elapsed());
    }
    took.sort();
    if let Some(slowest) = took.last() {
        let p99 = took[took.len() * 99 / 100];
        eprintln!("beside the flood: {} answers, p99 {p99:?}, slowest {slowest:?}", took.len());
        assert!(*slowest < BESIDE_MAX && p99 < beside_p99_max(), "{slowest:?}, p99 {p99:?} beside the flood");
    }
    let all = process.memory_peak_bytes() - before;
    let cost = cost.unwrap_or(all);
    eprintln!("the flood cost {} KiB, all of them {} KiB", cost >> 10, all >> 10);
    assert!(cost <= COST_MAX, "{} KiB", cost >> 10);
    flooding.join().unwrap()
}

/// Odd stream numbers, as clients give them.
fn streams(count: u32) -> impl Iterator<Item = u32> + Clone {
    (0..count).map(|number| 2 * number + 1)
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let closed = held(|address| {
        flood(address, &[], |frames| {
            streams(50_000).try_for_each(|stream| {
                frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[]))?;
                frames.send(RESET, 0, stream, &8_u32.to_be_bytes())
            })
        })
    });
    assert!(closed.await);
}

#[tokio::test]
async fn resets_that_weir_is_made_to_send_end_the_connection() {
    let closed = held(|address| {
        flood(address, &[], |frames| {
            streams(50_000).try_for_each(|stream| {
                // A field that HTTP/2 does not have is the stream's fault, and weir has to reset it.
                frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[("connection", b"close")]))
            })
        })
    });
    assert!(closed.await);
}

#[tokio::test]
async fn heads_that_never_end_end_the_connection() {
    let closed = held(|address| {
        flood(address, &[], |frames| {
            frames.send(HEADERS, END_STREAM, 1, &get(&[]))?;
            (0..100_000).try_for_each(|_| frames.send(CONTINUATION, 0, 1, &block(&[("x", &[b'x'; 100])])))
        })
    });
    assert!(closed.await);
}

#[tokio::test]
async fn empty_continuations_end_the_connection() {
    let closed = held(|address| {
        flood(address, &[], |frames| {
            frames.send(HEADERS, END_STREAM, 1, &get(&[]))?;
            (0..200_000).try_for_each(|_| frames.send(CONTINUATION, 0, 1, &[]))
        })
    });
    assert!(closed.await);
}

#[tokio::test]
async fn empty_and_tiny_data_is_held() {
    for data in [&b""[..], b"x"] {
        held(move |address| {
            flood(address, &[], |frames| {
                frames.send(HEADERS, END_HEADERS, 1, &head(b"POST", &[]))?;
                let many: Vec<u8> = frame(DATA, 0, 1, data).repeat(1000);
                (0..60).try_for_each(|_| frames.send_raw(&many))
            })
        })
        .await;
    }
}

#[tokio::test]
async fn settings_and_pings_are_held() {
    for flooding in [
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PING, 0, 0, &[0; 8]),
        frame(PING, ACK, 0, &[0; 8]),
        // Of a kind that nobody knows, which has to be passed over.
        frame(0x42, 0, 0, &[]),
    ] {
        held(move |address| {
            let many = flooding.repeat(1000);
            flood(address, &[], |frames| (0..50).try_for_each(|_| frames.send_raw(&many)))
        })
        .await;
    }
}

/// Nothing that weir has to answer is kept for a client that reads nothing.
#[tokio::test]
async fn pings_of_a_client_that_reads_nothing_are_held() {
    held(|address| {
        let many = frame(PING, 0, 0, &[0; 8]).repeat(1000);
        let mut frames = Frames::connect(address, &[]);
        frames.impatient();
        (0..5000).try_for_each(|_| frames.send_raw(&many)).is_err()
    })
    .await;
}

#[tokio::test]
async fn windows_that_are_never_opened_hold_little() {
    for window in [0, 1] {
        held(move |address| {
            flood(address, &[(4, window)], |frames| {
                streams(100)
                    .try_for_each(|stream| frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[])))?;
                // Byte by byte.
                let one = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
                streams(100).cycle().take(20_000).try_for_each(|stream| {
                    let open = frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes());
                    frames.send_raw(&[&one[..], &open].concat())
                })
            })
        })
        .await;
    }
}

/// Answers that have no body hold no stream open, and their heads need no window.
#[tokio::test]
async fn heads_of_answers_that_nobody_reads_hold_little() {
    let answer = format!("HTTP/1.1 204 No Content\r\nset-cookie: a={}\r\n\r\n", "x".repeat(3000));
    let upstream = RawUpstream::start(move |_head, raw| {
        raw.write(&answer);
        true
    });
    let process = Process::start(&plain_config(upstream.address, "", ""));
    let before = process.memory_peak_bytes();
    let mut frames = Frames::connect(process.address, &[]);
    frames.impatient();
    // More than the sockets take.
    let head = get(&[("x", &[b'x'; 1000])]);
    let mut each = streams(20_000).map(|stream| frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &head));
    assert!(each.any(|sent| sent.is_err()), "no more is read of it");
    let cost = process.memory_peak_bytes() - before;
    assert!(cost <= COST_MAX, "{} KiB", cost >> 10);
}

#[tokio::test]
async fn small_blocks_that_unfold_to_large_heads_are_held() {
    held(|address| {
        flood(address, &[], |frames| {
            // A field of almost the whole table is indexed once, and then named by one byte each time.
            let large = [b'x'; 3900];
            let mut indexed = get(&[]);
            indexed.push(0x40);
            indexed.extend_from_slice(&block(&[("bomb", &large)])[1..]);
            frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &indexed)?;
            let bomb = [get(&[]), vec![0x80 | 62; 15_000]].concat();
            streams(1000).skip(1).try_for_each(|stream| frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &bomb))
        })
    })
    .await;
}
