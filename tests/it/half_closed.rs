//! Clients of HTTP/1 that send no more: those that wait for their answers, and those that are gone.

use std::{
    net::Shutdown,
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};

use tokio::sync::Mutex;

use crate::{
    plain_config,
    support::{Proxy, Raw, RawUpstream},
};

/// Longer than anything here takes: a test that would hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that tells what came, and answers when it is told to, or tells that nobody waits any more.
fn service() -> (RawUpstream, Sender<()>, Receiver<String>) {
    let (go, going) = mpsc::channel::<()>();
    let (told, tells) = mpsc::channel();
    let going = Mutex::new(going);
    let upstream = RawUpstream::start(move |head, raw| {
        let target = head.split(' ').nth(1).unwrap().to_owned();
        if target == "/beside" {
            raw.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            return true;
        }
        told.send(target.clone()).unwrap();
        if target == "/gone" {
            told.send(format!("{:?} behind it", raw.rest())).unwrap();
            return false;
        }
        going.blocking_lock().recv().unwrap();
        raw.write(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfor \r\n2\r\n{target}\r\n0\r\n\r\n"
        ));
        true
    });
    (upstream, go, tells)
}

fn start(upstream: &RawUpstream, half_closed: &str) -> Proxy {
    Proxy::start(&plain_config(
        upstream.address,
        "timeout = \"1h\"",
        &format!("[timeouts]\nhalf_closed = \"{half_closed}\"\n"),
    ))
}

fn asking(proxy: &Proxy, requests: &str) -> Raw {
    let mut client = Raw::connect(proxy.address());
    client.write(requests);
    client
}

/// What came to the only worker before this is done with.
async fn pass_by(proxy: &Proxy) {
    assert_eq!(proxy.client().await.get("/beside", &[]).await.status, 200);
}

#[tokio::test]
async fn a_client_that_sends_no_more_gets_all_its_answers_and_then_the_end() {
    let (upstream, go, tells) = service();
    let proxy = start(&upstream, "1h");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
    for requests in [vec!["/1"], vec!["/1", "/2", "/3"]] {
        let mut client = asking(&proxy, &requests.iter().map(|target| get(target)).collect::<String>());
        assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), "/1");
        client.stream.shutdown(Shutdown::Write).unwrap();
        pass_by(&proxy).await;
        requests.iter().for_each(|_| go.send(()).unwrap());
        let answers = client.rest();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), requests.len(), "{answers}");
        assert_eq!(answers.matches("\r\n0\r\n\r\n").count(), requests.len(), "{answers}");
        requests.iter().skip(1).for_each(|target| assert_eq!(&tells.recv_timeout(PATIENCE).unwrap(), target));
    }
}

#[tokio::test]
async fn a_client_that_sends_no_more_before_it_is_read_is_answered_too() {
    let (upstream, go, _tells) = service();
    let proxy = start(&upstream, "1h");
    go.send(()).unwrap();
    let mut client = asking(&proxy, "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.rest().ends_with("2\r\n/1\r\n0\r\n\r\n"));
}

/// The service hears of a client that is gone: its connection ends.
fn hears_of_it(tells: &Receiver<String>) {
    assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), "\"\" behind it");
}

#[test]
fn requests_of_who_is_gone_end_after_half_closed() {
    for half_closed in ["0s", "100ms"] {
        let (upstream, _go, tells) = service();
        let proxy = start(&upstream, half_closed);
        let client = asking(&proxy, "GET /gone HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), "/gone");
        drop(client);
        hears_of_it(&tells);
    }
}

#[test]
fn requests_of_who_resets_the_connection_end_at_once() {
    let (upstream, _go, tells) = service();
    let proxy = start(&upstream, "1h");
    let client = asking(&proxy, "GET /gone HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), "/gone");
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    hears_of_it(&tells);
}

#[test]
fn half_a_request_is_answered_to_nobody() {
    let (upstream, _go, tells) = service();
    let proxy = start(&upstream, "1h");
    for half in ["content-length: 5\r\n\r\nhel", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = asking(&proxy, &format!("POST /gone HTTP/1.1\r\nhost: a\r\n{half}"));
        assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), "/gone");
        client.stream.shutdown(Shutdown::Write).unwrap();
        let answer = client.rest();
        assert!(!answer.contains(" 200 "), "{answer}");
        let body = tells.recv_timeout(PATIENCE).unwrap();
        assert!(!body.contains("\\r\\n0\\r\\n"), "{body}");
    }
}

#[test]
fn a_client_that_goes_amid_a_conversation_is_noticed_by_whoever_has_its_answer() {
    for half_closed in ["0s", "100ms"] {
        let (told, tells) = mpsc::channel();
        let upstream = RawUpstream::start(move |_head, raw| {
            raw.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n");
            told.send(raw.read_until("full")).unwrap();
            told.send(format!("{:?} behind it", raw.rest())).unwrap();
            false
        });
        let proxy = start(&upstream, half_closed);
        let mut client = asking(&proxy, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
        client.read_until("part");
        // The rest of its request is read by whoever sends it on.
        client.write("full");
        assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), "halffull");
        drop(client);
        hears_of_it(&tells);
    }
}
