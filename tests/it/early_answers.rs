//! Answers that begin before their request has ended.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
};

use crate::{
    arms_config, plain_config,
    support::{Proxy, Raw, RawUpstream, Upstream, raw_exchange, read_head},
};

/// More than sockets and buffers on the way hold.
const LARGE: usize = 24 << 20;

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").unwrap();
        std::thread::park();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nfirst").unwrap();
    assert!(read_head(&stream), "no answer came");
    let mut body = [0; 2];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"no");
}

#[test]
fn an_early_answer_ends_its_connection_and_the_next_request_is_whole() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").unwrap();
        // What comes next on this connection is the rest of a body.
        while read_head(&stream) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong").ok();
        }
    });
    let proxy =
        Proxy::start(&arms_config(&format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address), "", ""));
    for _ in 0..5 {
        let mut half = std::net::TcpStream::connect(proxy.address()).unwrap();
        half.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf").unwrap();
        assert!(read_head(&half));
        let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert!(answer.ends_with("early"), "{answer}");
    }
}

#[test]
fn a_request_goes_on_while_its_answer_waits_for_a_client_that_reads_nothing_yet() {
    // Answers without looking at what is still to come of the request, and reads that besides.
    let upstream = Upstream::raw(|stream, _number| {
        let mut reads = stream.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut read = 0;
            let mut piece = vec![0; 1 << 16];
            while read < LARGE {
                read += reads.read(&mut piece).unwrap();
            }
        });
        let mut stream = stream;
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; LARGE]).unwrap();
        reading.join().unwrap();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[limits]\nbody_bytes_max = \"64MiB\""));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes()).unwrap();
    client.write_all(&vec![b'y'; LARGE]).unwrap();
    assert!(read_head(&client), "no answer came");
    let mut body = vec![0; LARGE];
    client.read_exact(&mut body).unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'));
}

#[test]
fn who_is_answered_before_its_body_is_there_is_told_that_the_connection_ends() {
    let upstream = RawUpstream::saying(b"");
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[limits]\nbody_bytes_max = 4\n"));
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
    let answered = |text: &str| {
        let mut client = Raw::connect(proxy.address());
        client.write(text);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        client.read_until("}");
        (client, head.contains("connection: close"))
    };
    let (mut client, closes) = answered(post);
    assert!(closes && client.rest().is_empty());
    // With all of it there, another request may follow.
    let (mut client, closes) = answered(&format!("{post}12345"));
    assert!(!closes);
    client.write(post);
    assert!(client.head().starts_with("HTTP/1.1 413 "));
}

#[test]
fn a_service_that_refuses_a_body_and_closes_is_heard() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream
            .write_all(b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 7\r\n\r\ntoo big")
            .unwrap();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for _ in 0..10 {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").unwrap();
        // The proxy may close before all of it is taken.
        let sends = client.try_clone().unwrap();
        let sending = thread::spawn(move || drop((&sends).write_all(&[b'y'; 1_000_000])));
        assert!(read_head(&client), "no answer came");
        let mut body = [0; 7];
        client.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"too big");
        sending.join().unwrap();
    }
}

#[test]
fn an_answer_whose_request_breaks_off_is_not_taken_for_whole() {
    // An answer that ends with its connection, and goes on for as long as the request does.
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\npart").unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf").unwrap();
    assert!(read_head(&client), "no answer came");
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).ok();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("part") && !answer.contains("0\r\n\r\n"), "{answer:?}");
}

#[test]
fn an_answer_that_is_not_worth_a_retry_after_all_comes_whole() {
    // It says early that it fails, and all of it when the request has ended.
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\n").unwrap();
        let mut body = [0; 4];
        if stream.read_exact(&mut body).is_ok() {
            stream.write_all(&body).unwrap();
        }
    });
    let retries = "retries = { on = [\"5xx\"], methods = \"any\" }";
    let config = plain_config(upstream.address, retries, "");
    let none = "[services.o]\nretry_budget = { percent = \"1%\", per_second = 0 }";
    let proxy = Proxy::start(&config.replace("[services.o]", none));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nha").unwrap();
    assert!(read_head(&client), "no answer came");
    client.write_all(b"lf").unwrap();
    let mut body = [0; 4];
    client.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"half");
}
