//! What is asked of a service, what it answers, and what it may not.

mod bounds;

use bytes::Bytes;
use http::{HeaderName, Method};

use super::{super::asking::STREAMS_BEFORE, *};
use crate::proxy::{
    framing::Flaw,
    http2::hpack::{Field, naive::All},
};

/// A connection to a service that has greeted.
struct Service {
    session: Session,
    /// What weir said that fields are told by.
    decoder: Decoder,
    cx: Context<'static>,
}

impl Service {
    fn new() -> Service {
        let mut service = Service::silent();
        service.says(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat()).unwrap();
        service.told();
        service
    }

    fn silent() -> Service {
        let mut session = Session::with_service(TERMS, 2);
        let written = session.outbox().only().unwrap();
        assert!(written.starts_with(PREFACE));
        session.written(PREFACE.len());
        Service { session, decoder: Decoder::default(), cx: Context::from_waker(Waker::noop()) }
    }

    fn says(&mut self, bytes: &[u8]) -> Result<(), Code> {
        let mut at = 0;
        while at < bytes.len() {
            let (taken, begun) = self.session.take(&bytes[at..])?;
            assert!(begun.is_none() && taken > 0);
            at += taken;
        }
        Ok(())
    }

    fn told(&mut self) -> Vec<(Head, Vec<u8>)> {
        told(&mut self.session)
    }

    /// What of a head weir says.
    fn fields(&mut self, block: &[u8]) -> Vec<String> {
        let mut all = All::default();
        self.decoder.decode(block, &mut all).unwrap();
        let told = all.fields.into_iter().map(|field| match field {
            Field::Method(method) => format!(":method {method}"),
            Field::Scheme(scheme) => format!(":scheme {scheme}"),
            Field::Authority(authority) => format!(":authority {authority}"),
            Field::Path(path) => format!(":path {path}"),
            Field::Protocol(protocol) => format!(":protocol {}", protocol.as_str()),
            Field::Plain(name, value) => format!("{name} {}", value.to_str().unwrap()),
            Field::Status(_) | Field::Flawed => "flawed".to_owned(),
        });
        told.collect()
    }

    /// Asks for `/` by GET or POST, as a whole or not; held by whoever reads the answer and by whoever sends the body.
    fn asked(&mut self, method: &Method, all: bool) -> Key {
        let key = self.session.ask(&question(method, &HeaderMap::new()), all).unwrap();
        self.session.hold(key);
        if !all {
            self.session.hold(key);
        }
        key
    }

    /// The next head, or why there is none.
    fn head(&mut self, key: Key) -> Option<Result<u16, String>> {
        match self.session.poll_told(key, &self.cx) {
            Poll::Pending => None,
            Poll::Ready(told) => Some(told.map(|told| told.status.as_u16()).map_err(|fault| fault.to_string())),
        }
    }

    fn body(&mut self, key: Key) -> Vec<String> {
        body(&mut self.session, key, &self.cx)
    }

    fn resets(&mut self) -> Vec<(u32, u32)> {
        resets(&mut self.session)
    }
}

fn question<'a>(method: &'a Method, fields: &'a HeaderMap) -> Question<'a> {
    Question { method, scheme: "http", authority: b"a", path: "/", protocol: None, fields, length: None }
}

/// The head of an answer.
fn answer(stream: u32, flags: u8, fields: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, fields)
}

const OK: &[u8] = b"\x88";
const HINTS: &[u8] = b"\x08\x03103";

#[test]
fn a_request_is_said_as_it_stands_and_what_comes_again_is_said_by_its_number() {
    let fields = HeaderMap::from_iter(
        [("host", "other"), ("connection", "x"), ("te", "trailers"), ("x", "1"), ("upgrade", "y")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    );
    let (none, patch) = (HeaderMap::new(), Method::PATCH);
    let plain = question(&Method::GET, &none);
    let mut service = Service::new();
    for (question, expected) in [
        (plain, ":method GET|:scheme http|:authority a|:path /"),
        (Question { scheme: "https", ..plain }, ":method GET|:scheme https|:authority a|:path /"),
        (
            Question { method: &Method::POST, path: "/a?b", ..plain },
            ":method POST|:scheme http|:authority a|:path /a?b",
        ),
        (Question { method: &patch, authority: b"", ..plain }, ":method PATCH|:scheme http|:path /"),
        (
            Question { method: &Method::OPTIONS, path: "*", ..plain },
            ":method OPTIONS|:scheme http|:authority a|:path *",
        ),
        (
            Question { protocol: Some("websocket"), ..plain },
            ":method CONNECT|:scheme http|:authority a|:path /|:protocol websocket",
        ),
        (
            Question { fields: &fields, length: Some(5), ..plain },
            ":method GET|:scheme http|:authority a|:path /|te trailers|x 1|content-length 5",
        ),
    ] {
        service.session.ask(&question, true).unwrap();
        let (head, block) = service.told().remove(0);
        assert_eq!((head.kind, head.flags), (HEADERS, END_HEADERS | END_STREAM));
        assert_eq!(service.fields(&block).join("|"), expected);
    }
    service.session.ask(&plain, true).unwrap();
    let (head, block) = service.told().remove(0);
    assert_eq!((head.stream, &*block), (15, &b"\x82\x86\xbe\x84"[..]), "the authority stands in the table by now");
}

#[test]
fn an_answer_comes_behind_its_interim_ones_with_its_body_and_trailers() {
    let mut service = Service::new();
    let key = service.asked(&Method::GET, true);
    assert_eq!(service.head(key), None);
    let data = frame(DATA, 0, 1, b"text");
    let trailers = answer(1, END_STREAM, &field("x", b"1"));
    service.says(&[answer(1, 0, HINTS), answer(1, 0, OK), data, trailers].concat()).unwrap();
    assert_eq!([service.head(key), service.head(key)], [Some(Ok(103)), Some(Ok(200))]);
    assert_eq!(service.session.whole(key), None, "it has trailers");
    assert_eq!(service.body(key), ["text", "1 trailers", "end"]);
    assert_eq!(service.session.counts().0, 0);
    let key = service.asked(&Method::GET, true);
    let told = [OK, &field("content-length", b"4")].concat();
    service.says(&[answer(3, 0, &told), frame(DATA, 0, 3, b"te")].concat()).unwrap();
    assert_eq!(service.session.whole(key), None, "it has no end");
    service.says(&frame(DATA, END_STREAM, 3, b"xt")).unwrap();
    assert_eq!((service.head(key), service.session.whole(key)), (Some(Ok(200)), Some(Bytes::from("text"))));
    assert!(service.session.is_read(key));
    let key = service.asked(&Method::GET, true);
    service.says(&[answer(5, 0, OK), frame(DATA, END_STREAM, 5, b"text")].concat()).unwrap();
    assert_eq!((service.session.whole(key), service.body(key)), (None, vec!["text".into(), "end".into()]));
}

#[test]
fn a_length_that_a_bodiless_answer_tells_is_that_of_another_one() {
    let length = field("content-length", b"5");
    for (method, status, whole) in
        [(Method::HEAD, OK, true), (Method::GET, b"\x8b", true), (Method::GET, b"\x89", true), (Method::GET, OK, false)]
    {
        let mut service = Service::new();
        let key = service.asked(&method, true);
        service.says(&answer(1, END_STREAM, &[status, &length].concat())).unwrap();
        assert_eq!(service.head(key).unwrap().is_ok(), whole, "{method} {status:?}");
        let mut service = Service::new();
        let key = service.asked(&method, true);
        let data = frame(DATA, END_STREAM, 1, b"hello");
        service.says(&[answer(1, 0, &[status, &length].concat()), data].concat()).unwrap();
        assert_eq!(
            service.head(key),
            Some(Ok(if status == OK {
                200
            } else if status == b"\x8b" {
                304
            } else {
                204
            }))
        );
        assert_eq!(service.body(key)[0] == "hello", !whole, "{method} {status:?}");
    }
}

#[test]
fn what_is_no_answer_breaks_off_its_stream_and_no_other_one() {
    let rule = |code: Code| StreamFault::Rules(code.into()).to_string();
    let (data, length) = (|flags, data: &[u8]| frame(DATA, flags, 1, data), field("content-length", b"2"));
    for (what, frames, code, fault) in [
        ("no status", answer(1, 0, &field("x", b"1")), Code::Protocol, Flaw::StatusLine.to_string()),
        ("two of them", answer(1, 0, b"\x88\x88"), Code::Protocol, Flaw::FieldName.to_string()),
        ("a late one", answer(1, 0, &[&field("x", b"1"), OK].concat()), Code::Protocol, Flaw::FieldName.to_string()),
        ("none that is one", answer(1, 0, b"\x08\x0220"), Code::Protocol, Flaw::StatusLine.to_string()),
        ("a request", answer(1, 0, &[GET, OK].concat()), Code::Protocol, Flaw::StatusLine.to_string()),
        (
            "a field of one connection",
            answer(1, 0, &[OK, &field("connection", b"x")].concat()),
            Code::Protocol,
            Flaw::FieldName.to_string(),
        ),
        ("another protocol", answer(1, 0, b"\x08\x03101"), Code::Protocol, Flaw::Upgrade.to_string()),
        ("an end before it", answer(1, END_STREAM, HINTS), Code::Protocol, Flaw::StatusLine.to_string()),
        ("too many before it", answer(1, 0, HINTS).repeat(3), Code::Protocol, Flaw::Interim.to_string()),
        ("data before it", data(0, b"x"), Code::Protocol, rule(Code::Protocol)),
        (
            "a head that is too large",
            answer(1, 0, &[OK, &field("x", &[b'x'; 100]).repeat(130)].concat()),
            Code::Protocol,
            Flaw::HeadTooLarge.to_string(),
        ),
        (
            "no length that is one",
            answer(1, 0, &[OK, &field("content-length", b"+1")].concat()),
            Code::Protocol,
            Flaw::Length.to_string(),
        ),
        (
            "less than it said",
            [answer(1, 0, &[OK, &length].concat()), data(END_STREAM, b"x")].concat(),
            Code::Protocol,
            Flaw::Length.to_string(),
        ),
        (
            "more than it said",
            [answer(1, 0, &[OK, &length].concat()), data(0, b"xyz")].concat(),
            Code::Protocol,
            Flaw::Length.to_string(),
        ),
        (
            "more than it may at once",
            [answer(1, 0, OK), data(0, &[b'x'; 1001])].concat(),
            Code::FlowControl,
            rule(Code::FlowControl),
        ),
        (
            "trailers without an end",
            [answer(1, 0, OK), answer(1, 0, &field("x", b"1"))].concat(),
            Code::Protocol,
            rule(Code::Protocol),
        ),
        (
            "trailers that tell a status",
            [answer(1, 0, OK), answer(1, END_STREAM, OK)].concat(),
            Code::Protocol,
            rule(Code::Protocol),
        ),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 1, &[0; 4]), Code::Protocol, rule(Code::Protocol)),
    ] {
        breaks_off(what, &frames, code, &fault);
    }
}

/// These frames break off a request, for this fault and by this code, and no other one.
fn breaks_off(what: &str, frames: &[u8], code: Code, fault: &str) {
    let mut service = Service::new();
    let (key, other) = (service.asked(&Method::GET, true), service.asked(&Method::GET, true));
    service.says(frames).unwrap_or_else(|code| panic!("{what}: {code:?}"));
    assert_eq!(service.resets(), [(1, code as u32)], "{what}");
    let mut heads = std::iter::repeat_with(|| service.head(key).unwrap());
    assert_eq!(heads.find_map(Result::err).unwrap(), fault, "{what}");
    // What is under way is passed over.
    let late = [answer(1, 0, OK), frame(DATA, END_STREAM, 1, b"x"), frame(RESET, 0, 1, &[0; 4])].concat();
    service.says(&[late, answer(3, END_STREAM, OK)].concat()).unwrap();
    assert_eq!((service.resets(), service.head(other)), (vec![], Some(Ok(200))), "{what}");
}

#[test]
fn a_service_that_often_fails_one_way_still_serves_the_others() {
    let mut service = Service::new();
    for stream in (1..1000).step_by(2) {
        let key = service.asked(&Method::GET, true);
        service.says(&answer(stream, 0, b"\x82")).unwrap();
        service.session.leave_body(key);
        service.told();
    }
    assert!(service.session.takes_requests());
}

#[test]
fn what_breaks_the_rules_of_a_connection_ends_it_for_all_of_its_requests() {
    let setting = |id: u8, value: u32| [&[0, id][..], &value.to_be_bytes()].concat();
    for (what, frames, code) in [
        ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]), Code::Protocol),
        ("an answer to nothing", answer(3, 0, OK), Code::Protocol),
        ("an answer on a stream of its own", answer(2, 0, OK), Code::Protocol),
        ("data on a stream of its own", frame(DATA, 0, 2, b"x"), Code::Protocol),
        ("a reset of a stream of its own", frame(RESET, 0, 2, &[0; 4]), Code::Protocol),
        ("a window of a stream of its own", frame(WINDOW_UPDATE, 0, 2, &[0, 0, 0, 1]), Code::Protocol),
        ("an unknown field", answer(1, 0, &[0xbe]), Code::Compression),
        ("a push that it may not allow", frame(SETTINGS, 0, 0, &setting(2, 1)), Code::Protocol),
        ("a tunnel that is neither", frame(SETTINGS, 0, 0, &setting(8, 2)), Code::Protocol),
        ("a farewell of a stream", frame(GOAWAY, 0, 1, &[0; 8]), Code::Protocol),
        ("half a farewell", frame(GOAWAY, 0, 0, &[0; 7]), Code::FrameSize),
        ("HTTP/1.1", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Code::FrameSize),
    ] {
        let mut service = Service::new();
        let key = service.asked(&Method::GET, true);
        assert_eq!(service.says(&frames), Err(code), "{what}");
        service.session.end(code);
        let fault = StreamFault::Rules(code.into());
        assert_eq!(service.head(key), Some(Err(fault.to_string())), "{what}");
        let (head, payload) = service.told().pop().unwrap();
        assert_eq!((head.kind, &payload[..4], payload[7]), (GOAWAY, &[0; 4][..], code as u8), "{what}");
        assert_eq!(service.session.ask(&question(&Method::GET, &HeaderMap::new()), true), Err(fault));
    }
    let mut hasty = Service::silent();
    assert_eq!(hasty.says(&frame(PING, 0, 0, &[0; 8])), Err(Code::Protocol), "it does not greet");
}

#[test]
fn a_service_that_goes_away_ends_what_it_took_and_says_that_it_made_nothing_of_the_rest() {
    let mut service = Service::new();
    let keys = [1, 3, 5].map(|_stream| service.asked(&Method::GET, true));
    let goaway = |last: u8, code: u8| frame(GOAWAY, 0, 0, &[0, 0, 0, last, 0, 0, 0, code, b'!']);
    service.says(&goaway(3, 0)).unwrap();
    assert!(!service.session.takes_requests());
    let fault = |service: &mut Service, key| match service.session.poll_told(key, &service.cx) {
        Poll::Ready(Err(BodyFault::Stream(fault))) => fault,
        other => panic!("{other:?}"),
    };
    assert!(fault(&mut service, keys[2]).is_unprocessed());
    service.says(&[answer(1, END_STREAM, OK), goaway(1, 11)].concat()).unwrap();
    assert_eq!(service.head(keys[0]), Some(Ok(200)));
    let gone = fault(&mut service, keys[1]);
    assert!(gone.is_unprocessed() && gone.to_string().contains("ENHANCE_YOUR_CALM"), "{gone}");
}

#[test]
fn a_reset_says_whether_anything_was_made_of_a_request() {
    for (code, unprocessed) in [(7, true), (0, false), (2, false), (8, false), (99, false)] {
        let mut service = Service::new();
        let key = service.asked(&Method::POST, false);
        service.says(&frame(RESET, 0, 1, &[0, 0, 0, code])).unwrap();
        let Poll::Ready(Err(BodyFault::Stream(fault))) = service.session.poll_told(key, &service.cx) else { panic!() };
        assert_eq!((fault.is_unprocessed(), fault.is_lost()), (unprocessed, false), "{code}");
        assert!(service.session.say_data(key, Bytes::new(), true).is_err());
        assert_eq!(service.resets(), []);
    }
}

#[test]
fn a_whole_answer_stays_one_whatever_becomes_of_its_request() {
    type Act = fn(&mut Service, Key);
    let acts: [(&str, Act); 4] = [
        ("reset", |service, _| service.says(&frame(RESET, 0, 1, &[0; 4])).unwrap()),
        ("broken off", |service, key| service.session.leave_unsaid(key)),
        ("lost", |service, _| service.session.lose(StreamFault::Closed)),
        ("gone", |service, _| service.says(&frame(GOAWAY, 0, 0, &[0; 8])).unwrap()),
    ];
    for (what, act) in acts {
        let mut service = Service::new();
        let key = service.asked(&Method::POST, false);
        service.says(&[answer(1, 0, OK), frame(DATA, END_STREAM, 1, b"text")].concat()).unwrap();
        act(&mut service, key);
        assert_eq!(service.resets(), if what == "broken off" { vec![(1, 8)] } else { vec![] }, "{what}");
        assert_eq!(
            (service.head(key), service.body(key)),
            (Some(Ok(200)), vec!["text".into(), "end".into()]),
            "{what}"
        );
    }
    // What is not whole is not.
    for (what, act) in acts {
        let mut service = Service::new();
        let key = service.asked(&Method::POST, false);
        service
            .says(&[answer(1, 0, &[OK, &field("content-length", b"9")].concat()), frame(DATA, 0, 1, b"text")].concat())
            .unwrap();
        act(&mut service, key);
        let left = service.session.left(key);
        assert_eq!(
            (service.head(key), service.body(key)),
            (Some(Ok(200)), vec!["text".into(), "broken".into()]),
            "{what}"
        );
        assert_eq!(left, Some(9), "nothing of it is taken: {what}");
    }
}

#[test]
fn who_wants_no_answer_any_more_says_so_and_who_has_it_sends_the_rest() {
    let mut service = Service::new();
    let key = service.asked(&Method::POST, false);
    service.says(&[answer(1, 0, OK), frame(DATA, 0, 1, b"text")].concat()).unwrap();
    service.session.leave_body(key);
    assert_eq!((service.resets(), service.session.counts().0), (vec![(1, 8)], 0));
    service.session.leave_unsaid(key);
    let key = service.asked(&Method::POST, false);
    service.says(&answer(3, END_STREAM, OK)).unwrap();
    service.session.leave_body(key);
    assert_eq!((service.resets(), service.session.counts().0), (vec![], 1));
    assert!(service.session.poll_room(key, &service.cx).is_ready());
    service.session.say_data(key, Bytes::from("rest"), true).unwrap();
    service.session.leave_unsaid(key);
    let (data, _) = service.told().pop().unwrap();
    assert_eq!((data.kind, data.flags, service.session.counts().0), (DATA, END_STREAM, 0));
}
