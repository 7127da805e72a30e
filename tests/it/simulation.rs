//! Everything at once, drawn from seeds: services that fail in every way, reloads under load, and a drain in
//! the middle of it.
//!
//! Whatever comes together: no request takes longer than its deadlines, no body that broke off looks whole and
//! none is another request's, nothing unsafe is sent twice, whoever was served by a service gets an answer, and
//! the process ends by itself with 0.
//!
//! `WEIR_SEEDS=1000 cargo test --test it simulation` tries so many; a seed that fails is told, and
//! `WEIR_SEED=17` tries that one alone. A seed fixes what is asked, what fails, and at which request the
//! configuration changes and the drain begins; who of the clients is first is up to the machine.

use std::{
    error::Error as _,
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Fault, Faulty, Process, dead, every_seed};

const CLIENTS: usize = 4;
const REQUESTS_EACH: usize = 12;
const REQUESTS: usize = CLIENTS * REQUESTS_EACH;

/// Longer than every deadline of the proxy under test together, on a busy machine.
const HANGS_AFTER: Duration = Duration::from_secs(20);

/// One seed's world.
struct World {
    stable: Faulty,
    canary: Faulty,
    /// Nobody listens there.
    dead: SocketAddr,
    lame_duck: &'static str,
    /// Whether the end has begun: then a connection may be refused, or closed before it was used.
    draining: AtomicBool,
    next: AtomicUsize,
}

impl World {
    fn new(seed: u64, random: &mut fastrand::Rng) -> World {
        let mut faulty = |of: u64| {
            let protocol = ["http1", "h2"][random.usize(..2)];
            Faulty::start(protocol, seed ^ of << 60, REQUESTS, Some(8), Fault::any)
        };
        let (stable, canary) = (faulty(1), faulty(2));
        World {
            stable,
            canary,
            dead: dead(),
            lame_duck: ["0s", "50ms"][random.usize(..2)],
            draining: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        }
    }

    /// A configuration as the seed has it this time.
    fn config(&self, random: &mut fastrand::Rng) -> String {
        let mut either = |one: &'static str, other: &'static str| [one, other][random.usize(..2)];
        let dead = if either("", "dead") == "dead" { format!(", \"{}\"", self.dead) } else { String::new() };
        let retries = either("", "retries = { attempts = 2, on = [\"reset\", \"5xx\", \"connect-failure\"] }");
        let ejection = either("\"off\"", "{ failures = 2, base = \"10ms\", max = \"20ms\" }");
        let listener = either("", "requests_per_connection_max = 3\nconnection_age_max = \"200ms\"");
        let (stand_in, weight) = (either("fail", "stable"), either("30%", "70%"));
        let lame_duck = self.lame_duck;
        let arm = |faulty: &Faulty| {
            let (address, protocol) = (faulty.address, faulty.protocol);
            format!("endpoints = [\"{address}\"{dead}], ejection = {ejection}, protocol = \"{protocol}\"")
        };
        let (stable, canary) = (arm(&self.stable), arm(&self.canary));
        format!(
            r#"
[weir]
workers = 2
state_dir = "/nonexistent"
drain_timeout = "10s"
lame_duck = "{lame_duck}"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
{listener}
[timeouts]
body_idle = "100ms"
stream_idle = "100ms"
connect = "200ms"
[services.o]
split = {{ toggle = "t", on = "canary", off = "stable" }}
arms.stable = {{ {stable} }}
arms.canary = {{ {canary}, on_unavailable = "{stand_in}" }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
timeout = "200ms"
total_timeout = "2s"
{retries}
[toggles.t]
category = "ops"
owner = "team"
variants = {{ on = true, off = false }}
default = "off"
bucket_by = "header:x-user-id"
[rollouts.r]
toggle = "t"
variant = "on"
weight = "{weight}"
"#
        )
    }

    fn arrived(&self, number: usize) -> usize {
        self.stable.arrived(number) + self.canary.arrived(number)
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
    Http2,
}

/// A client's connection.
enum Speaking {
    /// For one request.
    Http10(TcpStream),
    Http11(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer, as far as it came.
struct Answer {
    status: StatusCode,
    /// None when it broke off, and the client was told.
    body: Option<Bytes>,
    /// Whether nobody could be told: an end by the connection is all that HTTP/1.0 has without a length.
    untold: bool,
}

/// Why there is no answer.
struct Unanswered {
    why: String,
    /// The request was given back.
    unsent: bool,
}

impl Speaking {
    async fn connect(address: SocketAddr, version: Version) -> Option<Speaking> {
        let connecting = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address));
        let stream = connecting.await.ok()?.ok()?;
        Some(match version {
            Version::Http10 => Speaking::Http10(stream),
            Version::Http11 => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
                tokio::spawn(connection);
                Speaking::Http11(sender)
            }
            Version::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
                tokio::spawn(connection);
                Speaking::Http2(sender)
            }
        })
    }

    async fn ask(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
        let answer = match self {
            Speaking::Http10(stream) => return ask_http10(stream, request).await,
            Speaking::Http11(sender) => sender.send_request(request).await,
            Speaking::Http2(sender) => {
                *request.uri_mut() = format!("http://shop{}", request.uri().path()).parse().unwrap();
                request.headers_mut().remove("host");
                sender.send_request(request).await
            }
        };
        if let Err(error) = &answer
            && is_broken_off(error)
        {
            return Ok(Answer { status: StatusCode::OK, body: None, untold: false });
        }
        // Given back unsent: the connection was ending, and another one takes it.
        let answer = answer.map_err(|error| Unanswered { why: format!("{error:?}"), unsent: error.is_canceled() })?;
        let status = answer.status();
        let body = answer.into_body().collect().await.ok().map(http_body_util::Collected::to_bytes);
        Ok(Answer { status, body, untold: false })
    }

    async fn is_ready(&mut self) -> bool {
        match self {
            Speaking::Http10(_) => false,
            Speaking::Http11(sender) => sender.ready().await.is_ok(),
            Speaking::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// Whether an answer over HTTP/2 broke off so early that the reset overtook its head, which waited for a socket with
/// room. By the code the client knows that its request may have been acted on (RFC 9113 §8.7).
fn is_broken_off(error: &hyper::Error) -> bool {
    let reset = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    reset.is_some_and(|reset| reset.is_reset() && reset.reason() == Some(h2::Reason::INTERNAL_ERROR))
}

/// Asks as an old client does, and reads until the connection ends.
async fn ask_http10(stream: &mut TcpStream, request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
    let unanswered = |why: String| Unanswered { why, unsent: false };
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let user = head.headers["x-user-id"].to_str().unwrap();
    let mut text = format!("{} {} HTTP/1.0\r\nhost: shop\r\nx-user-id: {user}\r\n", head.method, head.uri);
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let text = [text.as_bytes(), b"\r\n", &body].concat();
    stream.write_all(&text).await.map_err(|error| unanswered(error.to_string()))?;
    let mut answer = Vec::new();
    // A reset behind the answer's end, or in the middle of it, is the end of it, too.
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| unanswered(format!("no answer: {answer:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| unanswered(format!("no status: {head:?}")))?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let whole = length.is_none_or(|length| length.parse() == Ok(body.len()));
    let body = whole.then(|| Bytes::copy_from_slice(body.as_bytes()));
    Ok(Answer { status, body, untold: length.is_none() })
}

/// What goes wrong with one request, if anything does.
async fn wrong(
    world: &World,
    connection: &mut Option<Speaking>,
    request: Request<Full<Bytes>>,
    number: usize,
) -> Option<String> {
    let unsafe_to_repeat = request.method() == Method::POST;
    let answer = match connection {
        Some(connection) => match connection.ask(request).await {
            Err(unanswered) if unanswered.unsent && world.arrived(number) == 0 => return None,
            answer => answer.map_err(|unanswered| unanswered.why),
        },
        None => Err("no connection".to_owned()),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            *connection = None;
            let (arrived, draining) = (world.arrived(number), world.draining.load(Ordering::SeqCst));
            return (arrived > 0 || !draining).then(|| format!("{error}, after it came to a service {arrived} times"));
        }
    };
    let arrived = world.arrived(number);
    if unsafe_to_repeat && arrived > 1 {
        return Some(format!("it was sent {arrived} times"));
    }
    let whole = Faulty::body(number);
    match (answer.status, answer.body) {
        (StatusCode::OK, Some(body)) if answer.untold && whole.as_bytes().starts_with(&body) => None,
        (StatusCode::OK, Some(body)) if body != whole => Some(format!("{body:?} passed as whole")),
        (StatusCode::OK, Some(_)) => None,
        (StatusCode::OK, None) => {
            if matches!(connection, Some(Speaking::Http11(_))) {
                *connection = None;
            }
            None
        }
        (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, Some(_)) => None,
        (status, body) => Some(format!("{status} with {body:?}")),
    }
}

/// Asks until its requests are done or the proxy is gone; tells of each.
async fn ask(world: &World, address: SocketAddr, mut random: fastrand::Rng, done: mpsc::Sender<()>) -> Vec<String> {
    let version =
        [Version::Http10, Version::Http11, Version::Http11, Version::Http2, Version::Http2][random.usize(..5)];
    let (mut connection, mut complaints) = (None::<Speaking>, Vec::new());
    for _ in 0..REQUESTS_EACH {
        let ready = match &mut connection {
            Some(connection) => connection.is_ready().await,
            None => false,
        };
        if !ready {
            connection = Speaking::connect(address, version).await;
        }
        let number = world.next.fetch_add(1, Ordering::SeqCst);
        let (method, body) = if random.bool() { (Method::POST, "payload") } else { (Method::GET, "") };
        let request = Request::builder().method(method.clone()).uri(format!("/{number}")).header("host", "shop");
        let request = request.header("x-user-id", random.u8(..).to_string()).body(Full::from(body)).unwrap();
        let begun = Instant::now();
        let found = tokio::time::timeout(HANGS_AFTER, wrong(world, &mut connection, request, number)).await;
        let found = found.unwrap_or_else(|_elapsed| Some(format!("it hangs since {:?}", begun.elapsed())));
        complaints.extend(found.map(|found| format!("{method} /{number} over {version:?}: {found}")));
        // Who listens has all that was to happen behind it.
        done.send(()).ok();
    }
    complaints
}

/// How the process ended, if it did.
fn code(process: &mut Process) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < HANGS_AFTER {
        match process.child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None => thread::park_timeout(Duration::from_millis(1)),
        }
    }
    None
}

/// What one seed does wrong.
fn complaint(seed: u64) -> Option<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::new(seed, &mut random);
    let mut process = Process::start(&world.config(&mut random));
    let (address, (done, dones)) = (process.address, mpsc::channel());
    let drains_at = random.usize(REQUESTS / 2..REQUESTS);
    let mut complaints = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (world, random, done) = (&world, random.fork(), done.clone());
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                scope.spawn(move || runtime.block_on(ask(world, address, random, done)))
            })
            .collect();
        for _ in 0..drains_at {
            dones.recv().unwrap();
            if random.u8(..6) == 0 {
                let config = world.config(&mut random);
                let broken = random.u8(..4) == 0;
                process.rewrite(&if broken { config.replace("service = ", "servce = ") } else { config });
                process.signal("HUP");
            }
        }
        world.draining.store(true, Ordering::SeqCst);
        process.signal("TERM");
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    match code(&mut process) {
        Some(0) => {}
        code => complaints.push(format!("the process ended with {code:?}")),
    }
    (!complaints.is_empty()).then(|| complaints.join("\n  "))
}

#[test]
fn no_faults_reloads_and_drain_together_hang_corrupt_repeat_or_lose_anything() {
    every_seed(8, complaint);
}
