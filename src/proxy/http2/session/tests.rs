//! The rules of RFC 9113 for what a peer sends, by the frames that break and keep them.

mod rules;
mod services;
mod streams;

use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use proptest::prelude::*;

use super::*;
use crate::proxy::http2::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITIZED, PRIORITY,
    PUSH_PROMISE, RESET, SETTINGS, WINDOW_UPDATE,
};

const TERMS: Terms = Terms {
    head_bytes_max: 16 << 10,
    trailer_bytes_max: 1 << 10,
    fields_max: 10,
    frame_bytes_max: 16 << 10,
    stream_window_bytes: 1000,
    connection_window_bytes: 1 << 16,
    growth_bytes_max: 1 << 15,
    send_bytes_max: 1000,
};

const CONDUCT: Conduct = Conduct { streams_max: 3, resets_max: 5, cancels_max: 100 };

/// `:method: GET`, `:scheme: http`, `:path: /` and `:authority: a`.
const GET: &[u8] = b"\x82\x86\x84\x41\x01a";
/// The same with POST.
const POST: &[u8] = b"\x83\x86\x84\x41\x01a";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, payload);
    bytes
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
}

fn post(stream: u32, more: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &[POST, more].concat())
}

/// A field that is kept nowhere.
fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
    [&[0, length(name.as_bytes())], name.as_bytes(), &[length(value)], value].concat()
}

/// The frames that a peer was told since it was last looked at.
fn told(session: &mut Session) -> Vec<(Head, Vec<u8>)> {
    let bytes: Vec<u8> = session.outbox().slices().iter().flat_map(|slice| slice.to_vec()).collect();
    session.written(bytes.len());
    let (mut at, mut frames) = (0, Vec::new());
    while let Some(head) = Head::read(&bytes[at..]) {
        let from = at + frame::HEAD_BYTES;
        at = from + head.length;
        frames.push((head, bytes[from..at].to_vec()));
    }
    frames
}

/// The streams that were reset, and why.
fn resets(session: &mut Session) -> Vec<(u32, u32)> {
    let told = told(session).into_iter().filter(|(head, _)| head.kind == RESET);
    told.map(|(head, payload)| (head.stream, u32::from_be_bytes(payload.try_into().unwrap()))).collect()
}

/// The pieces of a body that are there.
fn body(session: &mut Session, key: Key, cx: &Context<'_>) -> Vec<String> {
    let mut pieces = Vec::new();
    loop {
        pieces.push(match session.poll_piece(key, cx) {
            Poll::Pending => "...".to_owned(),
            Poll::Ready(None) => "end".to_owned(),
            Poll::Ready(Some(Err(_))) => "broken".to_owned(),
            Poll::Ready(Some(Ok(piece))) => match piece.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                Err(trailers) => format!("{} trailers", Frame::into_trailers(trailers).unwrap().len()),
            },
        });
        if ["...", "end", "broken"].contains(&&**pieces.last().unwrap()) {
            return pieces;
        }
    }
}

/// A connection whose client has greeted.
struct Client {
    session: Session,
    asked: Vec<Key>,
    cx: Context<'static>,
}

impl Client {
    fn new(terms: Terms) -> Client {
        Client::held_to(terms, CONDUCT)
    }

    fn held_to(terms: Terms, conduct: Conduct) -> Client {
        let mut client = Client { session: Session::with_client(terms, conduct), ..Client::silent(terms) };
        client.sends(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, ACK, 0, &[])].concat()).unwrap();
        client.told();
        client
    }

    fn silent(terms: Terms) -> Client {
        Client {
            session: Session::with_client(terms, CONDUCT),
            asked: Vec::new(),
            cx: Context::from_waker(Waker::noop()),
        }
    }

    /// Gives how much of it was taken.
    fn sends(&mut self, bytes: &[u8]) -> Result<usize, Code> {
        let mut at = 0;
        loop {
            let (taken, begun) = self.session.take(&bytes[at..])?;
            at += taken;
            let Some(begun) = begun else { return Ok(at) };
            // Its body and its answer.
            self.session.hold(begun.key);
            self.session.hold(begun.key);
            self.session.look_at(begun.key);
            self.asked.push(begun.key);
        }
    }

    /// The frames that it was told since it was last looked at.
    fn told(&mut self) -> Vec<(Head, Vec<u8>)> {
        told(&mut self.session)
    }

    /// The streams that were reset, and why.
    fn resets(&mut self) -> Vec<(u32, u32)> {
        resets(&mut self.session)
    }

    /// The pieces of the body that are there.
    fn body(&mut self, key: Key) -> Vec<String> {
        body(&mut self.session, key, &self.cx)
    }

    /// How much may be said on a stream at once.
    fn room(&mut self, key: Key) -> Option<usize> {
        match self.session.poll_room(key, &self.cx) {
            Poll::Ready(room) => Some(room.unwrap()),
            Poll::Pending => None,
        }
    }

    fn answers(&mut self, key: Key) {
        self.session.say_head(key, StatusCode::OK, &HeaderMap::new(), true).unwrap();
    }
}

#[test]
fn a_connection_begins_with_its_preface_and_settings_however_they_are_cut() {
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1)].concat();
    let mut client = Client::silent(TERMS);
    let mut rest: &[u8] = &[];
    for end in 1..=greeting.len() {
        let begin = end - 1 - rest.len();
        let taken = client.sends(&greeting[begin..end]).unwrap();
        rest = &greeting[begin + taken..end];
    }
    assert_eq!(client.asked.len(), 1);
    for (first, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Err(Code::Protocol)),
        (b"PRI * HTTP/2.0\r\n\r\nSX", Err(Code::Protocol)),
        (b"PRI * HTTP/2.0\r\n\r\nS", Ok(19)),
    ] {
        assert_eq!(Client::silent(TERMS).sends(first), expected);
    }
    for other in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[]), get(1)] {
        assert_eq!(Client::silent(TERMS).sends(&[PREFACE, &other].concat()), Err(Code::Protocol));
    }
}

#[test]
fn too_many_streams_are_refused_and_those_that_are_over_make_room() {
    let mut client = Client::new(TERMS);
    client.sends(&[get(1), get(3), post(5, &[]), post(7, &[])].concat()).unwrap();
    assert_eq!(client.resets(), [(7, Code::Refused as u32)]);
    // It did not know.
    client.sends(&[frame(DATA, 0, 7, b"x"), frame(DATA, END_STREAM, 7, b"x")].concat()).unwrap();
    assert_eq!(client.resets(), []);
    let (first, third) = (client.asked[0], client.asked[2]);
    client.answers(first);
    client.answers(third);
    client.sends(&get(9)).unwrap();
    assert_eq!((client.asked.len(), client.resets()), (4, vec![]));
    client.sends(&get(11)).unwrap();
    assert_eq!(client.resets(), [(11, Code::Refused as u32)], "one of the answered still sends");
    client.session.leave_body(third);
    assert_eq!(client.resets(), [(5, Code::NoError as u32)], "nobody wants the rest of it (RFC 9113 §8.1)");
    client.sends(&get(13)).unwrap();
    assert_eq!((client.asked.len(), client.resets()), (5, vec![]));
}

#[test]
fn a_client_that_brings_about_too_many_resets_is_not_heard_any_longer() {
    let flawed = |stream: u32| frame(HEADERS, END_HEADERS, stream, b"\x82");
    let streams = (1..).step_by(2);
    let frames: Vec<u8> = streams.clone().take(5).flat_map(flawed).collect();
    let mut client = Client::new(TERMS);
    client.sends(&frames).unwrap();
    assert_eq!(client.sends(&flawed(101)), Err(Code::EnhanceYourCalm));

    // At once, or after somebody had a look.
    let mut client = Client::new(TERMS);
    let reset = |stream: u32| [get(stream), frame(RESET, 0, stream, &[0; 4])].concat();
    let frames: Vec<u8> = streams.take(20).flat_map(reset).collect();
    client.sends(&frames).unwrap();
    let mut hasty = Session::with_client(TERMS, CONDUCT);
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frames].concat();
    let mut at = 0;
    let outcome = loop {
        match hasty.take(&bytes[at..]) {
            Ok((taken, Some(begun))) => {
                hasty.hold(begun.key);
                at += taken;
            }
            Ok((_, None)) => break Ok(()),
            Err(code) => break Err(code),
        }
    };
    assert_eq!(outcome, Err(Code::EnhanceYourCalm));
}

#[test]
fn no_more_is_read_of_a_client_that_does_not_read_what_it_has_to_be_told() {
    let mut client = Client::new(TERMS);
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut pings = 0;
    while client.session.wants_more() {
        client.sends(&ping).unwrap();
        pings += 1;
    }
    assert_eq!(pings, (TERMS.send_bytes_max + OWED_BYTES_MAX).div_ceil(ping.len()));
    client.told();
    assert!(client.session.wants_more());
}

#[test]
fn no_more_is_read_of_a_client_that_does_not_read_the_heads_of_its_answers() {
    let mut client = Client::new(TERMS);
    let fields = HeaderMap::from_iter([(http::header::SET_COOKIE, HeaderValue::from_static("sid=0123456789"))]);
    for stream in (1..10_000).step_by(2).take_while(|_| client.session.wants_more()).collect::<Vec<u32>>() {
        client.sends(&get(stream)).unwrap();
        let key = client.asked[0];
        client.asked.clear();
        client.session.say_head(key, StatusCode::OK, &fields, true).unwrap();
    }
    assert!(!client.session.wants_more());
}

#[test]
fn a_client_that_takes_little_but_never_all_costs_no_more() {
    let mut outbox = Outbox::default();
    outbox.push(vec![0; 4096].into());
    for number in 0..10_000_u32 {
        outbox.push(vec![number.to_le_bytes()[0]; 4096].into());
        assert!(outbox.slices().iter().all(|slice| slice.iter().all(|byte| *byte == slice[0] || slice.len() > 4096)));
        outbox.advance(4096);
        assert_eq!(outbox.only().unwrap(), vec![number.to_le_bytes()[0]; 4096]);
    }
    assert!(outbox.tail().capacity() <= 4 * 4096);
}

#[test]
fn a_frame_of_many_windows_is_one_of_the_last() {
    let mut client = Client::new(TERMS);
    client.sends(&get(1)).unwrap();
    let window = |window: u32| [&[0, 4][..], &window.to_be_bytes()].concat();
    let settings = [window(1 << 30).repeat(100), window(7)].concat();
    client.sends(&frame(SETTINGS, 0, 0, &settings)).unwrap();
    assert_eq!(client.room(client.asked[0]), Some(7));
    client.sends(&frame(SETTINGS, 0, 0, &[window(1), window(1 << 31), window(2)].concat())).unwrap_err();
}

#[test]
fn who_is_sent_away_for_a_fault_is_told_nothing_else() {
    let mut client = Client::new(TERMS);
    client.sends(&get(1)).unwrap();
    client.session.end(Code::Protocol);
    client.session.bid_farewell();
    client.session.insist();
    let told = client.told();
    assert_eq!((told.len(), &told[0].1[..]), (1, &[0, 0, 0, 1, 0, 0, 0, 1][..]));
}

#[test]
fn who_does_not_answer_a_farewell_is_let_in_no_longer_than_until_weir_insists() {
    let mut client = Client::new(TERMS);
    client.session.bid_farewell();
    client.sends(&get(1)).unwrap();
    client.session.insist();
    client.sends(&[get(3), frame(RESET, 0, 3, &[0; 4])].concat()).unwrap();
    assert_eq!((client.asked.len(), client.session.counts()), (1, (1, 1, 0)));
}

#[test]
fn a_farewell_lets_in_what_was_under_way_and_nothing_behind_it() {
    let mut client = Client::new(TERMS);
    client.sends(&get(1)).unwrap();
    client.session.bid_farewell();
    client.session.bid_farewell();
    let told = client.told();
    assert_eq!(told.iter().map(|(head, _)| head.kind).collect::<Vec<_>>(), [GOAWAY, PING]);
    assert_eq!(told[0].1, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    client.sends(&get(3)).unwrap();
    client.sends(&frame(PING, ACK, 0, &told[1].1)).unwrap();
    assert_eq!(client.told()[0].1, [0, 0, 0, 3, 0, 0, 0, 0]);
    client.sends(&[post(5, &[]), frame(DATA, 0, 5, b"x"), frame(DATA, END_STREAM, 5, b"x")].concat()).unwrap();
    assert_eq!((client.asked.len(), client.told().len()), (2, 0));
    for key in client.asked.clone() {
        assert!(!client.session.is_done());
        client.answers(key);
    }
    assert!(!client.session.is_done(), "they are not written");
    client.told();
    assert!(client.session.is_done());
}

proptest! {
    /// However what a client sends is cut, weir asks the same of its services and tells the client the same.
    #[test]
    fn it_is_the_same_however_it_is_cut(
        frames in proptest::collection::vec((0..11_u8, any::<u8>(), 0..8_u32, proptest::collection::vec(any::<u8>(), 0..20)), 0..20),
        cuts in proptest::collection::vec(1..40_usize, 1..10),
    ) {
        let sent: Vec<u8> = frames.iter().flat_map(|(kind, flags, stream, payload)| {
            let head = [GET, POST, payload][usize::from(*flags) % 3];
            frame(*kind, *flags, *stream, if *kind == HEADERS { head } else { payload })
        }).collect();
        let mut whole = Client::new(TERMS);
        let outcome = whole.sends(&sent).map(drop);
        let mut parts = Client::new(TERMS);
        let (mut rest, mut at, mut cut_outcome) = (Vec::new(), 0, Ok(()));
        for cut in cuts.iter().cycle() {
            if at == sent.len() || cut_outcome.is_err() {
                break;
            }
            let end = (at + cut).min(sent.len());
            rest.extend_from_slice(&sent[at..end]);
            at = end;
            cut_outcome = parts.sends(&rest).map(|taken| drop(rest.drain(..taken)));
        }
        prop_assert_eq!(outcome, cut_outcome);
        prop_assert_eq!(&whole.asked, &parts.asked);
        prop_assert_eq!(whole.told(), parts.told());
    }
}
