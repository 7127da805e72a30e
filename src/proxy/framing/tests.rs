use proptest::prelude::*;

use super::*;
use crate::proxy::fuzzing::{self, Scanned, scan};

const BOUNDS: Bounds = Bounds {
    head_bytes_max: 64 << 10,
    target_bytes_max: 8 << 10,
    fields_max: 100,
    trailer_bytes_max: 8 << 10,
    interim_max: 10,
};

fn requests(input: &[u8]) -> Scanned {
    scan(Side::Requests, BOUNDS, &[input])
}

fn responses(input: &[u8]) -> Scanned {
    scan(Side::Responses, BOUNDS, &[input])
}

/// What a head with these fields is refused for.
fn with_fields(fields: &str) -> Option<Flaw> {
    requests(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes()).flaw
}

#[test]
fn a_request_line_is_one_method_one_target_and_one_version() {
    for (line, expected) in [
        ("GET / HTTP/1.1", None),
        ("GET /a%2fb;c=d?x=%zz|{}^` HTTP/1.0", None),
        ("OPTIONS * HTTP/1.1", None),
        ("GET http://a/x HTTP/1.1", None),
        ("GET HTTP://A HTTP/1.1", None),
        ("GET http://a:80/ HTTP/1.1", None),
        ("M-SEARCH / HTTP/1.1", None),
        ("", Some(Flaw::Method)),
        (" GET / HTTP/1.1", Some(Flaw::RequestLine)),
        ("GET  / HTTP/1.1", Some(Flaw::RequestLine)),
        ("GET /  HTTP/1.1", Some(Flaw::RequestLine)),
        ("GET / HTTP/1.1 ", Some(Flaw::VersionSyntax)),
        ("GET\t/ HTTP/1.1", Some(Flaw::RequestLine)),
        ("GET /", Some(Flaw::RequestLine)),
        ("GET", Some(Flaw::RequestLine)),
        ("GET HTTP/1.1", Some(Flaw::RequestLine)),
        ("GET /pa th HTTP/1.1", Some(Flaw::RequestLine)),
        ("G@T / HTTP/1.1", Some(Flaw::Method)),
        ("get / HTTP/1.1", Some(Flaw::MethodNotSupported)),
        ("CONNECT a:443 HTTP/1.1", Some(Flaw::MethodNotSupported)),
        ("GET / http/1.1", Some(Flaw::VersionSyntax)),
        ("GET / HTTP/1", Some(Flaw::VersionSyntax)),
        ("GET / HTTP/01.1", Some(Flaw::VersionSyntax)),
        ("GET / HTTP/1.2", Some(Flaw::Version)),
        ("GET / HTTP/9.9", Some(Flaw::Version)),
        ("PRI * HTTP/2.0", Some(Flaw::Version)),
        ("GET /a#b HTTP/1.1", Some(Flaw::Target)),
        ("GET /a\\b HTTP/1.1", Some(Flaw::Target)),
        ("GET /a\u{7f} HTTP/1.1", Some(Flaw::Target)),
        ("GET /caf\u{e9} HTTP/1.1", Some(Flaw::Target)),
        ("GET /a%00 HTTP/1.1", Some(Flaw::Target)),
        ("GET /a%2 HTTP/1.1", Some(Flaw::Target)),
        ("GET a HTTP/1.1", Some(Flaw::Target)),
        ("GET * HTTP/1.1", Some(Flaw::Target)),
        ("GET ftp://a/ HTTP/1.1", Some(Flaw::Target)),
        ("GET http:///x HTTP/1.1", Some(Flaw::Target)),
        ("GET http://u@a/ HTTP/1.1", Some(Flaw::Target)),
        ("GET http://b/ HTTP/1.1", Some(Flaw::Host)),
        ("GET http://a:81/ HTTP/1.1", Some(Flaw::Host)),
        ("GET https://a:80/ HTTP/1.1", Some(Flaw::Host)),
    ] {
        assert_eq!(requests(format!("{line}\r\nhost: a\r\n\r\n").as_bytes()).flaw, expected, "{line:?}");
    }
}

#[test]
fn a_request_names_one_valid_host() {
    for host in ["a", "a.example:8080", "127.0.0.1", "[::1]", "[::1]:80", "xn--a_b", "  a\t"] {
        assert_eq!(with_fields(&format!("host:{host}\r\n")), None, "{host:?}");
    }
    for host in [
        "", " ", "a b", "a/b", "u@a", "a:b", "a:", "a:99999", "a,b", "a#", "[::1", "::1", "a?b", "a%41", "[a]", ":80",
        "a\\b",
    ] {
        assert_eq!(with_fields(&format!("host:{host}\r\n")), Some(Flaw::Host), "{host:?}");
    }
    for fields in ["", "host: a\r\nhost: a\r\n", "host: a\r\nHOST: b\r\n"] {
        assert_eq!(with_fields(fields), Some(Flaw::Host), "{fields:?}");
    }
    assert_eq!(requests(b"GET / HTTP/1.0\r\n\r\n").flaw, None);
}

#[test]
fn a_body_has_one_length_told_in_one_way() {
    for (fields, expected) in [
        ("content-length: 5\r\n", None),
        ("content-length:  5 \r\n", None),
        ("content-length:\t5\r\n", Some(Flaw::Length)),
        ("content-length: 5\t\r\n", Some(Flaw::Length)),
        ("content-length: 0\r\n", None),
        ("transfer-encoding: Chunked\r\n", None),
        ("content-length: 5\r\ncontent-length: 5\r\n", Some(Flaw::Length)),
        ("content-length: 5, 5\r\n", Some(Flaw::Length)),
        ("content-length: +5\r\n", Some(Flaw::Length)),
        ("content-length: -0\r\n", Some(Flaw::Length)),
        ("content-length: 05\r\n", Some(Flaw::Length)),
        ("content-length: 0x5\r\n", Some(Flaw::Length)),
        ("content-length: 1_0\r\n", Some(Flaw::Length)),
        ("content-length: 1 0\r\n", Some(Flaw::Length)),
        ("content-length:\r\n", Some(Flaw::Length)),
        ("content-length: 9223372036854775808\r\n", Some(Flaw::Length)),
        ("content-length: 99999999999999999999\r\n", Some(Flaw::Length)),
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: chunked, chunked\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: , chunked\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: chunked,\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: gzip, chunked\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: chunked, gzip\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: xchunked\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: \"chunked\"\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: chunked;a=b\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: identity\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding:\r\n", Some(Flaw::Ambiguous)),
        ("transfer-encoding: gzip\r\n", Some(Flaw::Coding)),
        ("transfer-encoding:\u{b}chunked\r\n", Some(Flaw::FieldValue)),
        ("transfer_encoding: chunked\r\n", Some(Flaw::FieldName)),
        ("content_length: 5\r\n", Some(Flaw::FieldName)),
        ("content.length: 5\r\n", Some(Flaw::FieldName)),
        ("transfer!encoding: chunked\r\n", Some(Flaw::FieldName)),
        ("transfer-encoding : chunked\r\n", Some(Flaw::FieldName)),
    ] {
        assert_eq!(with_fields(&format!("host: a\r\n{fields}")), expected, "{fields:?}");
    }
    let old = requests(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(old.flaw, Some(Flaw::Ambiguous));
}

#[test]
fn fields_are_names_colons_and_values_line_by_line() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a: \t\u{e9} b\t\r\n\r\n", None),
        ("GET / HTTP/1.1\nhost: a\r\n\r\n", Some(Flaw::LineEnd)),
        ("GET / HTTP/1.1\r\nhost: a\n\r\n", Some(Flaw::LineEnd)),
        ("GET / HTTP/1.1\r\nhost: a\r\n\n", Some(Flaw::LineEnd)),
        ("GET / HTTP/1.1\rhost: a\r\n\r\n", Some(Flaw::VersionSyntax)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", Some(Flaw::FieldValue)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\r\r\n\r\n", Some(Flaw::FieldValue)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", Some(Flaw::FieldValue)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", Some(Flaw::Fold)),
        ("GET / HTTP/1.1\r\n \r\nhost: a\r\n\r\n", Some(Flaw::Fold)),
        ("GET / HTTP/1.1\r\nhost: a\r\n: a\r\n\r\n", Some(Flaw::FieldName)),
        ("GET / HTTP/1.1\r\nhost: a\r\nnone\r\n\r\n", Some(Flaw::FieldName)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx y: a\r\n\r\n", Some(Flaw::FieldName)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx[: a\r\n\r\n", Some(Flaw::FieldName)),
        ("GET / HTTP/1.1\r\nhost: a\r\n\u{e9}: a\r\n\r\n", Some(Flaw::FieldName)),
        ("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", None),
        ("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(Flaw::RequestLine)),
        ("\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(Flaw::LineEnd)),
        ("\rGET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(Flaw::RequestLine)),
        (" \r\n\r\n", Some(Flaw::RequestLine)),
        ("\u{16}\u{3}\u{1}", Some(Flaw::RequestLine)),
    ] {
        let bytes: Vec<u8> = head.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        assert_eq!(requests(&bytes).flaw, expected, "{head:?}");
    }
}

#[test]
fn chunks_are_sizes_data_and_line_ends_and_nothing_else() {
    for (body, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", None),
        ("A\r\n0123456789\r\n000\r\n\r\n", None),
        ("5;a=b;c;d=\"x;\\\"\"\r\nhello\r\n0;e\r\n\r\n", None),
        ("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", None),
        ("5;\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5 \r\nhello\r\n", Some(Flaw::Chunk)),
        ("5 ;a\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5;a =b\r\nhello\r\n", Some(Flaw::Chunk)),
        (" 5\r\nhello\r\n", Some(Flaw::Chunk)),
        ("0x5\r\nhello\r\n", Some(Flaw::Chunk)),
        ("+5\r\nhello\r\n", Some(Flaw::Chunk)),
        ("-5\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5_\r\nhello\r\n", Some(Flaw::Chunk)),
        ("\r\n", Some(Flaw::Chunk)),
        // TERM.EXT, EXT.TERM and SPILL: a line end that one reader sees and another does not.
        ("5;\nhello\r\n0\r\n\r\n", Some(Flaw::Chunk)),
        ("5;a\nb\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5;a\rb\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5\n;a\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5\rhello\r\n", Some(Flaw::Chunk)),
        ("5\r\nhello!!\r\n0\r\n\r\n", Some(Flaw::Chunk)),
        ("5\r\nhello0\r\n\r\n", Some(Flaw::Chunk)),
        ("5\r\nhello\n0\r\n\r\n", Some(Flaw::Chunk)),
        ("5;a\0\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5;a[\r\nhello\r\n", Some(Flaw::Chunk)),
        ("5;a=\"b\r\nhello\r\n", Some(Flaw::Chunk)),
        ("FFFFFFFFFFFFFFFF0\r\n", Some(Flaw::Chunk)),
        ("FFFFFFFFFFFFFFFF\r\n", Some(Flaw::Chunk)),
        ("00000000000000005\r\n", Some(Flaw::Chunk)),
        ("0\r\n\n", Some(Flaw::Trailer)),
        ("0\r\nx: a\n\r\n", Some(Flaw::Trailer)),
        ("0\r\ncontent-length: 5\r\n\r\n", Some(Flaw::Trailer)),
        ("0\r\nTransfer_Encoding: chunked\r\n\r\n", Some(Flaw::Trailer)),
        ("0\r\nhost: b\r\n\r\n", Some(Flaw::Trailer)),
        ("0\r\nx : a\r\n\r\n", Some(Flaw::Trailer)),
    ] {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let scanned = requests(format!("{head}{body}").as_bytes());
        assert_eq!((scanned.flaw, scanned.heads), (expected, 1), "{body:?}");
    }
}

#[test]
fn extensions_of_chunks_end_at_this_hop() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let scanned = requests(format!("{head}5;sig=abc\r\nhello\r\n0;last\r\n\r\n").as_bytes());
    assert_eq!(scanned.passed, format!("{head}5\r\nhello\r\n0\r\n\r\n").as_bytes());
}

#[test]
fn a_response_says_in_one_way_how_long_it_is() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", None),
        ("HTTP/1.1 200\r\n", None),
        ("HTTP/1.0 200 OK\r\n", None),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n", None),
        ("HTTP/1.1 999 \u{e9}\r\ntransfer-encoding: chunked\r\n", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n", Some(Flaw::Ambiguous)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n", Some(Flaw::Ambiguous)),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n", Some(Flaw::Ambiguous)),
        ("HTTP/1.1 204 None\r\ntransfer-encoding: chunked\r\n", Some(Flaw::Ambiguous)),
        ("HTTP/1.1 204 None\r\ncontent-length: 5\r\n", Some(Flaw::Ambiguous)),
        ("HTTP/1.1 103 Hints\r\ncontent-length: 5\r\n", Some(Flaw::Ambiguous)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n", Some(Flaw::Length)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n", Some(Flaw::Coding)),
        ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\n", Some(Flaw::Fold)),
        ("HTTP/1.1 20 OK\r\n", Some(Flaw::StatusLine)),
        ("HTTP/1.1 2000 OK\r\n", Some(Flaw::StatusLine)),
        ("HTTP/1.1  200 OK\r\n", Some(Flaw::StatusLine)),
        ("HTTP/2 200 OK\r\n", Some(Flaw::StatusLine)),
        ("HTTP/1.1 099 OK\r\n", Some(Flaw::StatusLine)),
        ("HTTP/1.1 200 a\0b\r\n", Some(Flaw::StatusLine)),
        ("HTTP/1.1 101 Switching\r\n", Some(Flaw::Upgrade)),
        ("HTTP/1.1 101 Switching\r\nupgrade: a\r\n", Some(Flaw::Upgrade)),
    ] {
        let bytes: Vec<u8> = format!("{head}\r\n").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        assert_eq!(responses(&bytes).flaw, expected, "{head:?}");
    }
}

#[test]
fn nothing_answers_what_was_not_asked() {
    let mut scanner = Scanner::new(Side::Responses, BOUNDS);
    assert_eq!(scanner.step(b"H"), Step::Refuse(Flaw::Unsolicited));
    let mut scanner = Scanner::new(Side::Responses, BOUNDS);
    scanner.expect(Awaited::HeadResponse);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(scanner.step(answer), Step::Head(answer.len()));
    assert_eq!(scanner.step(b"hello"), Step::Refuse(Flaw::Unsolicited));
}

#[test]
fn interim_responses_are_taken_out_and_counted() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let scanned = responses(format!("{hints}{hints}{last}").as_bytes());
    assert_eq!((scanned.interims, scanned.passed), (2, last.as_bytes().to_vec()));
    assert_eq!(responses(hints.repeat(11).as_bytes()).flaw, Some(Flaw::Interim));
}

#[test]
fn fields_of_one_hop_are_no_part_of_an_interim_response() {
    let head = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nconnection: x-b, close\r\nX-B: 1\r\nkeep-alive: 1\r\nx-c: 2\r\n\r\n";
    let fields: Vec<_> = interim_fields(head).map(|field| std::str::from_utf8(field).unwrap()).collect();
    assert_eq!(fields, ["link: </a>", "x-c: 2"]);
}

#[test]
fn what_is_too_much_is_refused_as_what_it_is() {
    let long = "a".repeat(70_000);
    for (head, expected) in [
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), Flaw::TargetTooLong),
        (format!("GET /{long}"), Flaw::TargetTooLong),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", &long[..9000]), Flaw::TargetTooLong),
        (format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"), Flaw::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\nx: {long}"), Flaw::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\n{long}"), Flaw::HeadTooLarge),
        (format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", &long.to_uppercase()), Flaw::RequestLine),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "x: a\r\n".repeat(101)), Flaw::FieldCount),
    ] {
        assert_eq!(requests(head.as_bytes()).flaw, Some(expected), "{}", &head[..40]);
    }
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (body, expected) in [
        (format!("5;{long}\r\n"), Flaw::Chunk),
        (format!("0\r\nx: {long}\r\n\r\n"), Flaw::Trailer),
        (format!("0\r\n{}\r\n", "x: a\r\n".repeat(101)), Flaw::Trailer),
    ] {
        assert_eq!(requests(format!("{chunked}{body}").as_bytes()).flaw, Some(expected), "{}", &body[..8]);
    }
}

/// Pipelined messages of every kind, with bytes after them that are the beginning of one more.
const CONVERSATION: &[u8] = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nx-t: 1\r\n\r\nHEAD /d HTTP/1.0\r\n\r\n\
GET /e HTTP/1.1\r\nhost: ";

#[test]
fn where_reads_are_cut_changes_nothing() {
    let whole = requests(CONVERSATION);
    assert_eq!((whole.heads, whole.flaw), (4, None));
    for piece in 1..CONVERSATION.len() {
        let pieces: Vec<&[u8]> = CONVERSATION.chunks(piece).collect();
        assert_eq!(scan(Side::Requests, BOUNDS, &pieces), whole, "pieces of {piece}");
    }
    for cut in 0..CONVERSATION.len() {
        let (first, second) = CONVERSATION.split_at(cut);
        assert_eq!(scan(Side::Requests, BOUNDS, &[first, second]), whole, "cut at {cut}");
    }
}

#[test]
fn behind_a_request_for_an_upgrade_nothing_is_read_as_http() {
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
    let scanned = requests(format!("{upgrade}\u{1}garbage").as_bytes());
    assert_eq!((scanned.heads, scanned.flaw, scanned.switched), (1, None, true));
    for other in [
        upgrade.replace("websocket", "h2c"),
        upgrade.replace("Upgrade\r\n", "x\r\n"),
        upgrade.replace("GET", "POST"),
        upgrade.replace("\r\n\r\n", "\r\ncontent-length: 1\r\n\r\nx"),
        upgrade.replace("\r\n\r\n", "\r\nupgrade: other\r\n\r\n"),
        upgrade.replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        assert!(!requests(other.as_bytes()).switched, "{other}");
    }
}

/// Pieces that messages are made of, sound ones and others.
const PIECES: [&str; 57] = [
    "GET ",
    "POST ",
    "OPTIONS ",
    "get ",
    "/",
    "/a?b",
    "*",
    "http://a",
    "https://a:443/x",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/2.0\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 None\r\n",
    "HTTP/1.1 103 Hints\r\n",
    "HTTP/1.0 304\r\n",
    "HTTP/1.1 101 Switching\r\n",
    "host: a\r\n",
    "Host: b\r\n",
    "host:\r\n",
    "content-length: 5\r\n",
    "Content-Length: 0\r\n",
    "content-length: 05\r\n",
    "content-length:\t5\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip\r\n",
    "connection: upgrade\r\n",
    "upgrade: websocket\r\n",
    "x-a: b\r\n",
    "x-a : b\r\n",
    " folded\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    "\t",
    " ",
    "5\r\n",
    "hello",
    "5;a=b\r\nhello\r\n",
    "0\r\n",
    "0\r\n\r\n",
    "0\r\nx-t: 1\r\n\r\n",
    "a\r\n0123456789\r\n",
    ";",
    "=",
    "\"",
    "%41",
    "%00",
    "#",
    "\\",
    ":",
    ",",
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "[::1]",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_scanner_and_a_naive_parser_agree(
        side in any::<u8>(),
        cut in any::<u8>(),
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..14),
    ) {
        let mut data = vec![side, cut];
        pieces.iter().for_each(|piece| data.extend_from_slice(piece.as_bytes()));
        fuzzing::framing(&data);
    }

    #[test]
    fn hosts_that_are_sound_are_sound_in_a_uri(text in "[\\[\\]a-zA-Z0-9.:_~!$&'()*+;=,%@/-]{0,20}") {
        fuzzing::authority(text.as_bytes());
    }
}
