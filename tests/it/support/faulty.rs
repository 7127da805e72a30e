//! A service that does whatever services do wrong, as a seed says.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Upstream, faulty_http2};

/// What happens to one answer of HTTP/1.1; one of HTTP/2 has something like it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
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
    /// The answer comes before the request's body, and the connection ends with it.
    Early,
    /// Many interim answers come first.
    Interim(usize),
    /// A second answer that nobody asked for comes with it. One that comes only later is the next one's, for all
    /// that anybody can tell.
    Surplus,
}

/// The service. Requests have a number for a path: `/17`.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    /// What it speaks, as it is configured.
    pub(crate) protocol: &'static str,
    arrived: Arc<[AtomicUsize]>,
    _upstream: Upstream,
}

impl Fault {
    /// Any of them, or none, in an answer of so many bytes.
    pub(crate) fn any(random: &mut fastrand::Rng, bytes: usize) -> Fault {
        match random.usize(..12) {
            4 => Fault::Stall(random.usize(..bytes)),
            _ => Fault::quick(random, bytes),
        }
    }

    /// Any that is over at once.
    pub(crate) fn quick(random: &mut fastrand::Rng, bytes: usize) -> Fault {
        match random.usize(..11) {
            0 | 1 => Fault::Reset(random.usize(..bytes)),
            2 | 3 => Fault::Truncate(random.usize(..bytes)),
            4 => Fault::Drip,
            5 => Fault::Garbage,
            6 => Fault::Early,
            7 => Fault::Interim(random.usize(1..50)),
            8 => Fault::Surplus,
            _ => Fault::None,
        }
    }
}

impl Faulty {
    /// Serves requests of numbers below `requests`; one in `refused` connections is reset as soon as it is
    /// there. Its protocol is `http1` or `h2`.
    pub(crate) fn start(
        protocol: &'static str,
        seed: u64,
        requests: usize,
        refused: Option<u32>,
        draw: fn(&mut fastrand::Rng, usize) -> Fault,
    ) -> Faulty {
        let arrived: Arc<[AtomicUsize]> = (0..requests).map(|_| AtomicUsize::new(0)).collect();
        let counted = Arc::clone(&arrived);
        let upstream = Upstream::acting(move |stream, number, _seen| {
            let counted = Arc::clone(&counted);
            let mut random = fastrand::Rng::with_seed(seed ^ (number as u64) << 32);
            let refused = refused.is_some_and(|refused| random.u32(..refused) == 0);
            async move {
                if refused {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
                } else if protocol == "h2" {
                    faulty_http2::serve(stream, random, counted, draw).await;
                } else {
                    let stream = stream.into_std().unwrap();
                    stream.set_nonblocking(false).unwrap();
                    // Either end may break it off: that is what is tried.
                    thread::spawn(move || serve(stream, random, &counted, draw).ok());
                }
            }
        });
        Faulty { address: upstream.address, protocol, arrived, _upstream: upstream }
    }

    /// How often the request of this number came.
    pub(crate) fn arrived(&self, number: usize) -> usize {
        self.arrived[number].load(Ordering::SeqCst)
    }

    /// The body of an answer to the request of this number, when it is whole.
    pub(crate) fn body(number: usize) -> String {
        format!("the answer to {number} is whole, ").repeat(1 + number % 7)
    }
}

/// An answer that is whole, in one of several framings.
fn answer(random: &mut fastrand::Rng, number: usize) -> Vec<u8> {
    let body = Faulty::body(number);
    let length = body.len();
    match random.usize(..3) {
        0 => format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"),
        1 => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        _ => format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"),
    }
    .into_bytes()
}

/// Serves one connection, a fault or none for each request. A peer that goes away ends it.
fn serve(
    mut stream: TcpStream,
    mut random: fastrand::Rng,
    arrived: &[AtomicUsize],
    draw: fn(&mut fastrand::Rng, usize) -> Fault,
) -> io::Result<()> {
    while let Some(number) = read_number(&stream) {
        let whole = answer(&mut random, number);
        let fault = draw(&mut random, whole.len());
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
            Fault::Surplus => stream.write_all(&whole.repeat(2))?,
            Fault::None => cut(&mut stream, whole.len())?,
        }
    }
    Ok(())
}

/// Reads a head, behind what was left of a body before it, and gives the number in its path.
fn read_number(mut stream: &TcpStream) -> Option<usize> {
    let (mut head, mut piece) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read(&mut piece).ok()? == 1).then(|| head.push(piece[0]))?;
    }
    let head = String::from_utf8(head).ok()?;
    head.split_once(" /")?.1.split_once(' ')?.0.parse().ok()
}
