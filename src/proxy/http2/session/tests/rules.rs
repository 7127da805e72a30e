//! What a client may not send, by what becomes of it.

use super::*;

#[test]
fn what_breaks_the_rules_of_a_connection_ends_it() {
    let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let headers = |payload: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, payload);
    let window = |stream, more: u32| frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    for (what, frames, code) in [
        ("a frame that is too large", [&[0, 0x40, 1, DATA, 0, 0, 0, 0, 1][..], &[0; 16_385]].concat(), Code::FrameSize),
        ("data of the connection", frame(DATA, 0, 0, b"x"), Code::Protocol),
        ("data of a stream that was not begun", frame(DATA, 0, 1, b"x"), Code::Protocol),
        ("more padding than there is", [post(1, &[]), frame(DATA, PADDED, 1, &[2, b'x'])].concat(), Code::Protocol),
        ("padding without a length", [post(1, &[]), frame(DATA, PADDED, 1, &[])].concat(), Code::FrameSize),
        ("a head of the connection", frame(HEADERS, END_HEADERS, 0, GET), Code::Protocol),
        ("a head of a server's stream", frame(HEADERS, END_HEADERS, 2, GET), Code::Protocol),
        ("a head on a stream before the last", [get(3), get(1)].concat(), Code::StreamClosed),
        ("a head that is padded too much", frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0x82]), Code::Protocol),
        ("half a priority", frame(HEADERS, END_HEADERS | PRIORITIZED, 1, &[0; 4]), Code::FrameSize),
        (
            "a stream that depends on itself",
            frame(HEADERS, END_HEADERS | PRIORITIZED, 1, &[0, 0, 0, 1, 0]),
            Code::Protocol,
        ),
        ("a field that is in no table", headers(&[0xbe]), Code::Compression),
        ("a head that goes on without one", frame(CONTINUATION, END_HEADERS, 1, GET), Code::Protocol),
        (
            "a head that is broken into",
            [frame(HEADERS, 0, 1, GET), frame(PING, 0, 0, &[0; 8])].concat(),
            Code::Protocol,
        ),
        (
            "a head that goes on elsewhere",
            [frame(HEADERS, 0, 1, GET), frame(CONTINUATION, END_HEADERS, 3, GET)].concat(),
            Code::Protocol,
        ),
        (
            "a head of frames without end",
            [frame(HEADERS, 0, 1, GET), frame(CONTINUATION, 0, 1, &[]).repeat(40)].concat(),
            Code::EnhanceYourCalm,
        ),
        ("a reset of the connection", frame(RESET, 0, 0, &[0; 4]), Code::Protocol),
        ("a reset of a stream that was not begun", frame(RESET, 0, 1, &[0; 4]), Code::Protocol),
        ("a reset without a code", [get(1), frame(RESET, 0, 1, &[0; 3])].concat(), Code::FrameSize),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), Code::Protocol),
        ("settings that are cut", frame(SETTINGS, 0, 0, &[0; 5]), Code::FrameSize),
        ("an acknowledgement that says something", frame(SETTINGS, ACK, 0, &[0; 6]), Code::FrameSize),
        ("a push that is neither", frame(SETTINGS, 0, 0, &setting(2, 2)), Code::Protocol),
        ("a window beyond all", frame(SETTINGS, 0, 0, &setting(4, 1 << 31)), Code::FlowControl),
        ("frames that are too small", frame(SETTINGS, 0, 0, &setting(5, 16_383)), Code::Protocol),
        ("frames that are too large", frame(SETTINGS, 0, 0, &setting(5, 1 << 24)), Code::Protocol),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8]), Code::Protocol),
        ("half a ping", frame(PING, 0, 0, &[0; 7]), Code::FrameSize),
        ("a farewell of a stream", frame(GOAWAY, 0, 1, &[0; 8]), Code::Protocol),
        ("half a farewell", frame(GOAWAY, 0, 0, &[0; 7]), Code::FrameSize),
        ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 4]), Code::Protocol),
        ("no window at all", window(0, 0), Code::Protocol),
        ("half a window", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Code::FrameSize),
        ("a window of a stream that was not begun", window(1, 1), Code::Protocol),
        ("more window than any", window(0, (1 << 31) - 1), Code::FlowControl),
        (
            "settings that open a window too far",
            [get(1), window(1, (1 << 31) - 65_536), frame(SETTINGS, 0, 0, &setting(4, 65_536))].concat(),
            Code::FlowControl,
        ),
        ("a priority of the connection", frame(PRIORITY, 0, 0, &[0; 5]), Code::Protocol),
        ("half a priority of a stream", frame(PRIORITY, 0, 1, &[0; 4]), Code::FrameSize),
        ("a priority that depends on itself", frame(PRIORITY, 0, 3, &[0, 0, 0, 3, 0]), Code::Protocol),
    ] {
        assert_eq!(Client::new(TERMS).sends(&frames), Err(code), "{what}");
    }
}

#[test]
fn more_data_than_the_connection_s_window_ends_it() {
    let terms = Terms { stream_window_bytes: 1 << 20, connection_window_bytes: 70_000, ..TERMS };
    for (last, outcome) in [(70_000 - 4 * 16_384, Ok(())), (70_001 - 4 * 16_384, Err(Code::FlowControl))] {
        let mut client = Client::new(terms);
        client.sends(&[post(1, &[]), post(3, &[])].concat()).unwrap();
        client.sends(&[frame(DATA, 0, 1, &[0; 16_384]), frame(DATA, 0, 3, &[0; 16_384])].concat().repeat(2)).unwrap();
        assert_eq!(client.sends(&frame(DATA, 0, 1, &vec![0; last])).map(drop), outcome);
    }
}

#[test]
fn what_breaks_the_rules_of_a_stream_ends_that_one_alone() {
    let window = |more: u32| frame(WINDOW_UPDATE, 0, 1, &more.to_be_bytes());
    let length = |length: &[u8]| field("content-length", length);
    let (data, last) = (|data: &[u8]| frame(DATA, 0, 1, data), |data: &[u8]| frame(DATA, END_STREAM, 1, data));
    let trailers = |flags: u8, fields: &[u8]| frame(HEADERS, END_HEADERS | flags, 1, fields);
    for (what, frames, code) in [
        ("data behind the end", [get(1), data(b"x")].concat(), Code::StreamClosed),
        ("trailers behind the end", [get(1), trailers(END_STREAM, b"")].concat(), Code::StreamClosed),
        ("data beyond its window", [post(1, &[]), data(&[0; 1001])].concat(), Code::FlowControl),
        ("more than announced", [post(1, &length(b"2")), data(b"xxx")].concat(), Code::Protocol),
        ("less than announced", [post(1, &length(b"2")), last(b"x")].concat(), Code::Protocol),
        ("nothing of what was announced", [post(1, &length(b"2")), last(b"")].concat(), Code::Protocol),
        (
            "less than announced before trailers",
            [post(1, &length(b"2")), data(b"x"), trailers(END_STREAM, b"")].concat(),
            Code::Protocol,
        ),
        ("trailers that are not the end", [post(1, &[]), trailers(0, b"")].concat(), Code::Protocol),
        ("trailers with a method", [post(1, &[]), trailers(END_STREAM, b"\x82")].concat(), Code::Protocol),
        (
            "trailers of one connection",
            [post(1, &[]), trailers(END_STREAM, &field("connection", b"x"))].concat(),
            Code::Protocol,
        ),
        ("an empty window", [get(1), window(0)].concat(), Code::Protocol),
        ("more window than any", [get(1), window((1 << 31) - 1)].concat(), Code::FlowControl),
        ("no path", frame(HEADERS, END_HEADERS, 1, b"\x82\x86"), Code::Protocol),
        (
            "a field behind which a pseudo-field stands",
            post(1, &[&field("x", b"1")[..], b"\x84"].concat()),
            Code::Protocol,
        ),
        (
            "a path behind a field",
            frame(HEADERS, END_HEADERS, 1, &[&b"\x82\x86\x41\x01a"[..], &field("x", b"1"), b"\x84"].concat()),
            Code::Protocol,
        ),
        (
            "a tunnel that has a length",
            frame(HEADERS, END_HEADERS, 1, &[&field(":method", b"CONNECT")[..], b"\x41\x01a", &length(b"5")].concat()),
            Code::Protocol,
        ),
        (
            "a tunnel to a path",
            frame(HEADERS, END_HEADERS, 1, &[&field(":method", b"CONNECT")[..], b"\x84\x41\x01a"].concat()),
            Code::Protocol,
        ),
        ("two methods", post(1, b"\x82"), Code::Protocol),
        ("a stream of one connection", post(1, &field("transfer-encoding", b"chunked")), Code::Protocol),
        ("two lengths", post(1, &[length(b"1"), length(b"2")].concat()), Code::Protocol),
        ("a length that is none", post(1, &length(b"+1")), Code::Protocol),
        ("a protocol without CONNECT", post(1, &field(":protocol", b"websocket")), Code::Protocol),
        (
            "every target at once",
            frame(HEADERS, END_HEADERS, 1, &[&field(":path", b"*")[..], b"\x82\x86\x41\x01a"].concat()),
            Code::Protocol,
        ),
    ] {
        let mut client = Client::new(TERMS);
        client.sends(&frames).unwrap_or_else(|code| panic!("{what}: {code:?}"));
        assert_eq!(client.resets(), [(1, code as u32)], "{what}");
        for key in std::mem::take(&mut client.asked) {
            assert_eq!(client.body(key), ["broken"], "{what}");
            assert_eq!(client.body(key), ["broken"], "however often it is asked: {what}");
            assert!(client.session.say_head(key, StatusCode::OK, &HeaderMap::new(), true).is_err(), "{what}");
        }
        // What was under way is passed over, and the connection goes on.
        client.sends(&[data(b"x"), trailers(END_STREAM, b""), window(1), get(3)].concat()).unwrap();
        assert_eq!((client.asked.len(), client.resets()), (1, vec![]), "{what}");
    }
}
