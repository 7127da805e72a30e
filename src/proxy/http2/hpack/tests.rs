//! The examples of RFC 7541 appendix C, what no block may have, and that both halves know the same of each other.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::{Decoder, Encoder, Field, Pseudo, TABLE_BYTES_MAX, Undecodable, huffman, naive::All, tables};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// The fields of a block in the order in which they stand.
fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Undecodable> {
    let mut all = All::default();
    decoder.decode(block, &mut all)?;
    let told = all.fields.into_iter().map(|field| match field {
        Field::Method(method) => format!(":method={method}"),
        Field::Scheme(scheme) => format!(":scheme={scheme}"),
        Field::Authority(authority) => format!(":authority={authority}"),
        Field::Path(path) => format!(":path={path}"),
        Field::Protocol(protocol) => format!(":protocol={}", protocol.as_str()),
        Field::Status(status) => format!(":status={}", status.as_str()),
        Field::Plain(name, value) => format!("{name}={}", String::from_utf8_lossy(value.as_bytes())),
        Field::Flawed => "flawed".to_owned(),
    });
    Ok(told.collect())
}

#[test]
fn requests_of_appendix_c_are_read_with_and_without_huffman_code() {
    let get = [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"];
    let second = [&get[..], &["cache-control=no-cache"]].concat();
    let third =
        [":method=GET", ":scheme=https", ":path=/index.html", ":authority=www.example.com", "custom-key=custom-value"];
    for blocks in [
        // C.3 and C.4.
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ] {
        let mut decoder = Decoder::default();
        for (block, expected) in blocks.iter().zip([&get[..], &second, &third]) {
            assert_eq!(decoded(&mut decoder, &bytes(block)).unwrap(), expected);
        }
    }
    // C.2.2 and C.2.3: literals that are not kept.
    let mut decoder = Decoder::default();
    assert_eq!(decoded(&mut decoder, &bytes("040c2f73616d706c652f70617468")).unwrap(), [":path=/sample/path"]);
    assert_eq!(decoded(&mut decoder, &bytes("100870617373776f726406736563726574")).unwrap(), ["password=secret"]);
    assert_eq!(decoded(&mut decoder, &[0xbe]), Err(Undecodable), "nothing is in the table");
}

#[test]
fn what_cannot_be_decoded_is_an_error() {
    for (what, block) in [
        ("a number that names nothing", &[0x80][..]),
        ("a number beyond the tables", &[0xff, 0x00]),
        ("a number that does not end", &[0xff]),
        ("a number that is larger than any", &[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a text that does not end", &[0x00, 0x05, b'a']),
        ("no value", &[0x00, 0x01, b'a']),
        ("a table that is larger than allowed", &[0x3f, 0xe2, 0x1f]),
        ("another size behind a field", &[0x82, 0x20]),
        ("code that ends within a symbol", &[0x00, 0x81, 0xfe, 0x00]),
        ("code that is padded with zeros", &[0x00, 0x81, 0x00, 0x00]),
        ("a whole byte of padding", &[0x00, 0x82, 0x1f, 0xff, 0x00]),
        ("code with the symbol of the end", &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00]),
    ] {
        assert_eq!(decoded(&mut Decoder::default(), block), Err(Undecodable), "{what}");
    }
    assert_eq!(decoded(&mut Decoder::default(), &[0x3f, 0xe1, 0x1f, 0x82]).unwrap(), [":method=GET"], "all of it");
}

#[test]
fn fields_that_no_request_has_are_flawed_and_the_rest_of_the_block_is_read() {
    let literal = |name: &[u8], value: &[u8]| {
        let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
        [&[0x40, length(name)], name, &[length(value)], value].concat()
    };
    for (name, value) in [
        (&b"X-Y"[..], &b"1"[..]),
        (b"x y", b"1"),
        (b"", b"1"),
        (b":status", b"20"),
        (b":x", b"1"),
        (b":path", b""),
        (b":path", b"x"),
        (b":path", b"/x#y"),
        (b":path", b"/x y"),
        (b":authority", b""),
        (b":authority", b"a/b"),
        (b":method", b"G T"),
        (b":scheme", b"h:"),
        (b":protocol", b"\xff"),
        (b"x\"y", b"1"),
        (b"\"", b"1"),
        (b"x\n", b"1"),
        (b"x", b"1\n"),
        (b"x", b"1\0"),
    ] {
        let mut decoder = Decoder::default();
        let block = [&literal(name, value)[..], &[0x82]].concat();
        assert_eq!(decoded(&mut decoder, &block).unwrap(), ["flawed", ":method=GET"], "{name:?}");
        // It has its place in the table all the same.
        assert_eq!(decoded(&mut decoder, &[0xbe]).unwrap(), ["flawed"]);
    }
}

#[test]
fn a_name_is_what_it_is_whatever_value_stood_behind_it() {
    let mut decoder = Decoder::default();
    assert_eq!(decoded(&mut decoder, b"\x40\x01x\x021\n").unwrap(), ["flawed"]);
    assert_eq!(decoded(&mut decoder, b"\x7e\x012").unwrap(), ["x=2"]);
}

#[test]
fn what_may_be_kept_by_nobody_is_marked() {
    let secret = |block: &[u8]| {
        let mut all = All::default();
        Decoder::default().decode(block, &mut all).unwrap();
        matches!(&all.fields[0], Field::Plain(_, value) if value.is_sensitive())
    };
    assert!(secret(b"\x10\x01x\x011") && secret(b"\x1f\x08\x011"));
    assert!(!secret(b"\x00\x01x\x011") && !secret(b"\x40\x01x\x011"));
}

#[test]
fn what_is_kept_has_memory_of_its_own() {
    let read = bytes::Bytes::from(vec![b'x'; 1 << 16]);
    let mut encoder = Encoder::new();
    let value = HeaderValue::from_maybe_shared(read.slice(..10)).unwrap();
    let fields = HeaderMap::from_iter([(HeaderName::from_static("x"), value)]);
    for _ in 0..3 {
        encoder.encode(Pseudo::None, &fields, &mut Vec::new());
    }
    drop(fields);
    assert!(read.is_unique());
}

#[test]
fn a_table_holds_no_more_than_it_may() {
    let mut decoder = Decoder::default();
    let field = |name: u8, length: usize| {
        let mut block = vec![0x40, 1, name, 127];
        let rest = length - 127;
        block.extend([u8::try_from(rest % 128).unwrap() | 128, u8::try_from(rest / 128).unwrap()]);
        block.extend(vec![b'v'; length]);
        block
    };
    // With 33 bytes more each (RFC 7541 §4.1), the two fill it; a third drives out the first.
    decoded(&mut decoder, &field(b'a', 2000)).unwrap();
    decoded(&mut decoder, &field(b'b', TABLE_BYTES_MAX - 2033 - 33)).unwrap();
    assert!(decoded(&mut decoder, &[0xbf]).unwrap()[0].starts_with("a="));
    decoded(&mut decoder, &field(b'c', 200)).unwrap();
    assert!(decoded(&mut decoder, &[0xbf]).unwrap()[0].starts_with("b="));
    assert_eq!(decoded(&mut decoder, &[0xc0]), Err(Undecodable));
    // One that is larger than the table empties it.
    decoded(&mut decoder, &field(b'd', TABLE_BYTES_MAX)).unwrap();
    assert_eq!(decoded(&mut decoder, &[0xbe]), Err(Undecodable));
    // A smaller one holds less.
    decoded(&mut decoder, &field(b'a', 200)).unwrap();
    assert_eq!(decoded(&mut decoder, &[0x20, 0xbe]), Err(Undecodable));
}

#[test]
fn names_of_the_static_table_are_found_by_their_first_number() {
    for (name, number) in [(":authority", 1), (":method", 2), (":path", 4), (":status", 8), ("accept", 19), ("via", 60)]
    {
        assert_eq!(tables::number_of(name), Some(number), "{name}");
    }
    for number in 1..=61 {
        let entry = tables::entry(number).unwrap();
        if let Field::Plain(name, _) = &entry.field {
            assert_eq!(tables::number_of(name.as_str()), Some(number), "{name}");
        }
    }
    for name in ["", "x", "accepted", "content-lengths", "x-request-id", ":statu"] {
        assert_eq!(tables::number_of(name), None, "{name}");
    }
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect()
}

fn encoded(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    encoder.encode(Pseudo::None, &map(fields), &mut block);
    block
}

#[test]
fn a_field_costs_one_byte_from_its_third_time_on_and_one_that_changes_drives_none_out() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::default());
    let lengths: Vec<usize> = (0..200)
        .map(|number| {
            let changing = number.to_string();
            let fields = [("server", "an-application"), ("x-request-id", &*changing)];
            let block = encoded(&mut encoder, &fields);
            assert_eq!(decoded(&mut decoder, &block).unwrap(), fields.map(|(name, value)| format!("{name}={value}")));
            block.len() - changing.len()
        })
        .collect();
    // A byte for the name by its number, two lengths, and the texts.
    let changing = 2 + "x-request-id".len() + 1;
    assert_eq!(lengths[..3], [1 + 1 + 1 + 14, 1 + 1 + 14, 1].map(|server| server + changing));
    assert!(lengths[2..].iter().all(|length| *length == lengths[2]), "{lengths:?}");
}

#[test]
fn fields_that_look_alike_are_told_apart() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::default());
    for round in 0..20 {
        // They begin and end alike.
        let value = format!("alike at first{}and alike at last", round % 2);
        let block = encoded(&mut encoder, &[("x", &value)]);
        assert_eq!(decoded(&mut decoder, &block).unwrap(), [format!("x={value}")]);
    }
}

#[test]
fn what_is_secret_is_never_kept_and_what_is_of_one_connection_is_left_out() {
    let mut encoder = Encoder::new();
    for _ in 0..3 {
        let block = encoded(&mut encoder, &[("set-cookie", "a=1"), ("connection", "x"), ("keep-alive", "timeout=5")]);
        assert_eq!(block, b"\x1f\x28\x03a=1");
    }
}

#[test]
fn a_peer_that_allows_less_is_told_so_before_the_next_field() {
    let (mut encoder, fields) = (Encoder::new(), [("server", "a")]);
    for _ in 0..3 {
        encoded(&mut encoder, &fields);
    }
    assert_eq!(encoded(&mut encoder, &fields), [0xbe]);
    // Emptied and opened again: both are said (RFC 7541 §4.2).
    encoder.resize(0);
    encoder.resize(1 << 20);
    let mut decoder = Decoder::default();
    let block = encoded(&mut encoder, &fields);
    assert_eq!(block[..4], [0x20, 0x3f, 0xe1, 0x1f], "{block:x?}");
    assert_eq!(decoded(&mut decoder, &block).unwrap(), ["server=a"]);
    encoder.resize(0);
    encoded(&mut encoder, &fields);
    for _ in 0..3 {
        assert_eq!(encoded(&mut encoder, &fields)[0], 0x0f, "nothing is kept");
    }
}

#[test]
fn statuses_are_said_by_their_number_where_they_have_one() {
    for status in [200, 204, 206, 304, 400, 404, 500, 100, 103, 201, 418, 503, 999] {
        let mut block = Vec::new();
        Encoder::new().encode(Pseudo::Status(StatusCode::from_u16(status).unwrap()), &HeaderMap::new(), &mut block);
        match block[..] {
            [number] => assert!((0x88..=0x8e).contains(&number)),
            _ => assert_eq!(block, [&[0x08, 3], status.to_string().as_bytes()].concat()),
        }
    }
}

proptest! {
    #[test]
    fn any_code_is_a_text_or_an_error(code in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut text = Vec::new();
        if huffman::decode(&code, &mut text).is_ok() {
            // No symbol has fewer than five bits.
            prop_assert!(text.len() <= code.len() * 8 / 5);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same_through_all_that_came_before(
        heads in proptest::collection::vec(proptest::collection::vec((0..6_usize, "[ -~]{0,40}"), 0..8), 1..30),
        sizes in proptest::collection::vec(proptest::option::of(0..5000_usize), 30),
    ) {
        let names = ["server", "content-type", "x-a", "x-b", "etag", "set-cookie"];
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::default());
        for (head, size) in heads.iter().zip(sizes) {
            if let Some(size) = size {
                encoder.resize(size);
            }
            let fields: HeaderMap = head.iter().map(|(name, value)| {
                let value = HeaderValue::from_str(value.trim()).unwrap();
                (HeaderName::from_static(names[*name]), value)
            }).collect();
            let mut block = Vec::new();
            encoder.encode(Pseudo::None, &fields, &mut block);
            let said: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
            prop_assert_eq!(decoded(&mut decoder, &block).unwrap(), said);
        }
    }

    #[test]
    fn any_block_is_read_or_refused(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..5)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            if decoded(&mut decoder, &block).is_err() {
                break;
            }
        }
    }
}
