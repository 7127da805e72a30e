//! Everything that a client may be doing goes on while the configuration changes, and ends well when
//! the process does. `WEIR_RELOADS` and `WEIR_DRAINS` say how often; the defaults keep a test run short.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use weir::Outcome;

use crate::support::{Client, Process, Proxy, Raw, RawUpstream, Upstream};

fn times(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |times| times.parse().unwrap())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A service of gRPC: it sends each message back, then the status. With a gate, not before that opens.
fn calls(arrived: Option<mpsc::Sender<()>>, gate: Option<Arc<tokio::sync::Semaphore>>) -> Upstream {
    Upstream::acting(move |stream, _number, _seen| {
        let (arrived, gate) = (arrived.clone(), gate.clone());
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let (arrived, gate) = (arrived.clone(), gate.clone());
                tokio::spawn(async move {
                    let message = request.into_body().data().await.unwrap().unwrap();
                    arrived.inspect(|arrived| arrived.send(()).unwrap());
                    if let Some(gate) = gate {
                        gate.acquire().await.unwrap().forget();
                    }
                    let mut send = respond.send_response(Response::new(()), false).unwrap();
                    send.send_data(message, false).unwrap();
                    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                    send.send_trailers(trailers).unwrap();
                });
            }
        }
    })
}

/// Sends back what comes through its tunnels, line by line.
fn echo() -> RawUpstream {
    RawUpstream::start(|_head, raw| {
        raw.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        loop {
            let line = raw.read_until("\n");
            if line.is_empty() {
                return false;
            }
            raw.write(line);
        }
    })
}

/// A client of HTTP/2 by prior knowledge.
async fn http2(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    // It ends with the process that it talks to, if need be by an error; what counts are the answers.
    tokio::spawn(async { connection.await.ok() });
    client
}

/// One request by HTTP/2, its whole answer, and the status of gRPC when it has one.
async fn ask(client: &h2::client::SendRequest<Bytes>, path: &str, message: Option<&'static str>) -> (String, String) {
    let request = Request::builder().version(Version::HTTP_2).uri(format!("http://shop{path}"));
    let request = match message {
        Some(_) => request.method("POST").header("content-type", "application/grpc").header("te", "trailers"),
        None => request,
    };
    let mut client = client.clone().ready().await.unwrap();
    let (answer, mut body) = client.send_request(request.body(()).unwrap(), message.is_none()).unwrap();
    if let Some(message) = message {
        body.send_data(message.into(), true).unwrap();
    }
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    let status = trailers.get("grpc-status").map_or("none", |status| status.to_str().unwrap());
    (String::from_utf8(text).unwrap(), status.to_owned())
}

/// Three services, each with a route that stays, and a route that another version renames and turns.
fn config(plain: (SocketAddr, &str), calls: SocketAddr, tunnels: SocketAddr, version: u64) -> String {
    let service = |name: &str, (address, protocol): (SocketAddr, &str)| {
        format!(
            "[services.{name}]\narms.stable = {{ endpoints = [\"{address}\"], protocol = \"{protocol}\" }}\n\
             [[routes]]\nname = \"{name}\"\nmatch = {{ path_prefix = \"/{name}\" }}\nservice = \"{name}\"\n"
        )
    };
    let (plain, calls) = (service("plain", plain), service("calls", (calls, "h2")));
    let tunnels = service("tunnels", (tunnels, "http1"));
    let turned = if version.is_multiple_of(2) { "plain" } else { "calls" };
    let other = format!("name = \"v{version}\"\nmatch = {{ path_prefix = \"/other\" }}\nservice = \"{turned}\"\n");
    format!("{plain}{calls}{tunnels}[[routes]]\n{other}")
}

#[test]
fn reloads_fail_no_request_of_any_protocol_and_cut_no_tunnel() {
    let (plain, calls, tunnels) = (Upstream::named("v1"), calls(None, None), echo());
    let config = |version| config((plain.address, "http1"), calls.address, tunnels.address, version);
    let proxy = Proxy::start(&config(0));
    let (address, stop) = (proxy.address(), AtomicBool::new(false));
    let counts: [AtomicU64; 4] = Default::default();
    let count = |kind: usize| counts[kind].fetch_add(1, Ordering::Relaxed);
    let goes_on = || !stop.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let http1 = scope.spawn(|| {
            runtime().block_on(async {
                let mut client = Client::connect(address).await;
                while goes_on() {
                    assert_eq!(client.get("/plain", &[]).await.text(), "v1");
                    count(0);
                }
            });
        });
        let http2s = scope.spawn(|| {
            runtime().block_on(async {
                let client = http2(address).await;
                while goes_on() {
                    assert_eq!(ask(&client, "/plain", None).await, ("v1".into(), "none".into()));
                    count(1);
                }
            });
        });
        let grpc = scope.spawn(|| {
            runtime().block_on(async {
                let client = http2(address).await;
                while goes_on() {
                    assert_eq!(ask(&client, "/calls", Some("message")).await, ("message".into(), "0".into()));
                    count(2);
                }
            });
        });
        let tunnel = scope.spawn(|| {
            let mut tunnel = Raw::connect(address);
            tunnel.write("GET /tunnels HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
            assert!(tunnel.head().starts_with("HTTP/1.1 101 "));
            while goes_on() {
                tunnel.write("line\n");
                assert_eq!(tunnel.read_until("\n"), "line\n", "the tunnel was cut");
                count(3);
            }
        });
        let clients = [http1, http2s, grpc, tunnel];
        for version in 1..=times("WEIR_RELOADS", 30) {
            let before: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let outcome = runtime().block_on(proxy.reload(&config(version)));
            assert!(!matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
            // Each goes on under this generation.
            while !moved_on(&counts, &before) {
                assert!(clients.iter().all(|client| !client.is_finished()), "at reload {version}");
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    eprintln!("answers by HTTP/1.1, HTTP/2 and gRPC, and lines through a tunnel: {counts:?}");
}

/// Whether every kind of traffic has moved on.
fn moved_on(counts: &[AtomicU64; 4], before: &[u64]) -> bool {
    counts.iter().zip(before).all(|(count, before)| count.load(Ordering::Relaxed) > before + 1)
}

#[test]
fn a_drain_answers_whatever_is_in_flight() {
    for drain in 0..times("WEIR_DRAINS", 5) {
        let (arrived, arrivals) = mpsc::channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let calls = calls(Some(arrived), Some(Arc::clone(&gate)));
        let mut process = Process::start(&config((calls.address, "h2"), calls.address, calls.address, drain));
        let address = process.address;
        let (http1, grpc) = (
            thread::spawn(move || {
                runtime().block_on(async {
                    let answer = Client::connect(address).await.post("/plain", &[], "message").await;
                    assert_eq!((answer.status.as_u16(), answer.text()), (200, "message"));
                });
            }),
            thread::spawn(move || {
                runtime().block_on(async {
                    let client = http2(address).await;
                    let call = || ask(&client, "/calls", Some("message"));
                    let answers = tokio::join!(call(), call(), call());
                    let good = ("message".to_owned(), "0".to_owned());
                    assert_eq!(answers, (good.clone(), good.clone(), good));
                });
            }),
        );
        (0..4).for_each(|_| arrivals.recv().unwrap());
        process.signal("TERM");
        process.logged("draining");
        gate.add_permits(4);
        http1.join().unwrap();
        grpc.join().unwrap();
        process.logged("weir stopped");
        assert_eq!(process.child.wait().unwrap().code(), Some(0), "drain {drain}");
    }
}
