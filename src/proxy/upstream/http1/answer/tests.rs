use http::Method;
use proptest::prelude::*;

use super::*;
use crate::proxy::{
    framing::Side,
    http1::{Head, Inbox},
    upstream::fuzzing::answers::{BOUNDS, Read, read},
};

const ANSWERS: [&str; 12] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a:  1 \t\r\nX-A:\t2\r\nx-empty:\r\n\r\nhello",
    "HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 404\r\ncontent-length: 2\r\n\r\nno",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n there\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: 1\r\nx-u: 2\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 1\r\n\r\na",
    "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal",
    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n",
];

#[test]
fn an_answer_is_read_as_it_was_written() {
    let whole = |head: &str, body: &str| Read {
        head: head.to_owned(),
        body: body.as_bytes().to_vec(),
        persists: true,
        whole: true,
        rests: true,
        ..Read::default()
    };
    let ended = |read: Read| Read { persists: false, ..read };
    let expected = [
        whole("200 OK|content-length=5|x-a=1|x-a=2|x-empty=|", "hello"),
        whole("200 Fine|content-length=0|", ""),
        whole("404 |content-length=2|", "no"),
        whole("204 No Content|", ""),
        Read { interims: 1, ..whole("200 OK|content-length=1|", "a") },
        whole("200 OK|transfer-encoding=chunked|", "hello there"),
        Read { trailers: "x-t=1|x-u=2|".to_owned(), ..whole("200 OK|transfer-encoding=chunked|", "a") },
        Read { rests: false, ..ended(whole("200 OK|", "until the end")) },
        ended(whole("200 OK|connection=x, Close|content-length=1|", "a")),
        ended(whole("200 OK|content-length=1|", "a")),
        Read { whole: false, rests: false, ..whole("200 OK|content-length=5|", "hal") },
        Read { rests: false, ..whole("200 OK|content-length=1|", "a") },
    ];
    for (answer, expected) in ANSWERS.iter().zip(expected) {
        assert_eq!(read(answer.as_bytes(), &Method::GET, &[]), Ok(expected), "{answer:?}");
    }
}

#[test]
fn an_answer_to_head_has_no_body() {
    let read = read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", &Method::HEAD, &[]).unwrap();
    assert!(read.whole && read.rests && read.persists && read.body.is_empty());
}

#[test]
fn what_is_no_answer_is_refused() {
    for (answer, flaw) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", Flaw::Length),
        ("HTTP/2 200 OK\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", Flaw::Upgrade),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhellox", Flaw::Chunk),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nhost: a\r\n\r\n", Flaw::Trailer),
    ] {
        assert_eq!(read(answer.as_bytes(), &Method::GET, &[]), Err(flaw), "{answer:?}");
    }
}

fn inbox() -> Inbox {
    Inbox::new(Side::Responses, BOUNDS)
}

#[test]
fn a_whole_body_is_there_at_once_and_only_when_it_is_whole() {
    for (answer, body) in [(ANSWERS[0], Some("hello")), (ANSWERS[10], None), (ANSWERS[5], None), (ANSWERS[7], None)] {
        let mut inbox = inbox();
        inbox.expect(&Method::GET);
        inbox.room().extend_from_slice(answer.as_bytes());
        assert!(matches!(inbox.head(None), Ok(Some(Head::Final(_)))));
        assert_eq!(inbox.whole().as_deref(), body.map(str::as_bytes), "{answer:?}");
        assert_eq!(inbox.is_end() && inbox.rest(), body.is_some(), "{answer:?}");
    }
}

proptest! {
    #[test]
    fn it_does_not_matter_how_an_answer_is_cut(
        place in 0..ANSWERS.len(),
        cuts in prop::collection::vec(1..20_usize, 1..20),
    ) {
        let answer = ANSWERS[place].as_bytes();
        prop_assert_eq!(read(answer, &Method::GET, &cuts), read(answer, &Method::GET, &[]));
    }
}
