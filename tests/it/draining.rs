//! Signals: a stop loses no request, a hang-up loads the configuration.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    plain_config,
    support::{
        Client, Process, Upstream,
        frames::{END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS, get},
    },
};

/// An upstream that tells of a request, and answers it when it is told to.
fn holding() -> (Upstream, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrivals) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Arc::new(tokio::sync::Mutex::new(gone));
    let upstream = Upstream::raw(move |mut stream, _number| {
        arrived.send(()).unwrap();
        // Released or given up: what counts is what the proxy did meanwhile.
        gone.blocking_lock().recv().ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1").unwrap();
    });
    (upstream, arrivals, go)
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_exits_with_0() {
    let (upstream, arrivals, go) = holding();
    let mut proxy = Process::start(&plain_config(upstream.address, "", ""));
    let mut waiting = TcpStream::connect(proxy.address).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    arrivals.recv().unwrap();
    let mut admin = Client::connect(proxy.admin).await;
    assert_eq!(admin.get("/readyz", &[]).await.status, 200);
    proxy.signal("TERM");
    proxy.logged("draining");
    let answer = admin.get("/readyz", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "draining\n"));
    go.send(()).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("v1"), "{answer}");
    proxy.logged("weir stopped");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(proxy.address).is_err(), "it still listens");
}

#[test]
fn drain_timeout_ends_what_does_not_finish() {
    let (upstream, arrivals, _go) = holding();
    let config = plain_config(upstream.address, "", "");
    let mut proxy = Process::start(&format!(
        "[weir]\nworkers = 1\nstate_dir = \"/nonexistent\"\ndrain_timeout = \"50ms\"\n{config}"
    ));
    let mut waiting = TcpStream::connect(proxy.address).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    arrivals.recv().unwrap();
    proxy.signal("TERM");
    proxy.logged("drain_timeout is over");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_idle_connection_does_not_hold_a_stop_back() {
    let upstream = Upstream::named("v1");
    let weir = "[weir]\nworkers = 1\nstate_dir = \"state\"\ndrain_timeout = \"1h\"\n";
    let mut proxy = Process::start(&format!("{weir}{}", plain_config(upstream.address, "", "")));
    let mut never_used = TcpStream::connect(proxy.address).unwrap();
    never_used.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut used = TcpStream::connect(proxy.address).unwrap();
    used.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    used.read_exact(&mut [0; 20]).unwrap();
    proxy.signal("TERM");
    assert_eq!(never_used.read(&mut [0]).unwrap(), 0);
    proxy.logged("weir stopped");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}

#[test]
fn first_request_is_how_long_a_drain_waits_for_that_of_a_new_connection_and_no_longer_than_that() {
    let upstream = Upstream::named("v1");
    let weir = "[weir]\nworkers = 1\nstate_dir = \"state\"\n";
    let timeouts = "[timeouts]\nfirst_request = \"1h\"\ngoaway = \"1h\"\n";
    let mut proxy = Process::start(&format!("{weir}{}", plain_config(upstream.address, "", timeouts)));
    let mut http1 = TcpStream::connect(proxy.address).unwrap();
    let mut http2 = Frames::connect(proxy.address, &[]);
    assert!(http2.next_of(SETTINGS).is_some());
    let mut used = TcpStream::connect(proxy.address).unwrap();
    used.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    used.read_exact(&mut [0; 20]).unwrap();
    // Whoever comes later is served, so all of them were accepted.
    let mut last = TcpStream::connect(proxy.address).unwrap();
    last.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    last.read_to_end(&mut Vec::new()).unwrap();
    proxy.signal("TERM");
    proxy.logged("draining");
    // The worker has heard of it when it closes what is idle.
    used.read_to_end(&mut Vec::new()).unwrap();
    http1.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    http1.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("connection: close"), "{answer}");
    http2.send(HEADERS, END_HEADERS | END_STREAM, 1, &get(&[])).unwrap();
    assert_eq!(http2.next_of(HEADERS).unwrap().stream, 1);
    // It agrees by closing.
    drop(http2);
    proxy.logged("weir stopped");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (upstream, arrivals, _go) = holding();
    let mut proxy = Process::start(&plain_config(upstream.address, "", ""));
    let mut waiting = TcpStream::connect(proxy.address).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    arrivals.recv().unwrap();
    proxy.signal("INT");
    proxy.logged("draining");
    proxy.signal("INT");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_rejection_is_one_line_that_names_the_problem() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "");
    let mut proxy = Process::start(&config);
    proxy.rewrite(&config.replace("service = ", "servce = "));
    proxy.signal("HUP");
    let line = proxy.logged("configuration rejected");
    assert_eq!((&line["level"], &line["generation"]), (&"ERROR".into(), &1.into()));
    let problems = line["problems"].as_str().unwrap();
    assert!(problems.contains("unknown key \"servce\" (did you mean \"service\"?)"), "{problems}");
}

#[test]
fn sighup_loads_the_configuration_now() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "");
    let mut proxy = Process::start(&config);
    proxy.rewrite(&config.replace("name = \"o\"", "name = \"renamed\""));
    proxy.signal("HUP");
    let line = proxy.logged("configuration reloaded");
    assert_eq!(line["generation"], 2);
    assert_eq!(line["changes"], "-routes.o +routes.renamed");
}
