//! Bodies, and answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

use bytes::Bytes;

use super::*;

#[test]
fn bodies_are_given_as_they_come_and_their_windows_opened_as_they_are_taken() {
    let mut client = Client::new(TERMS);
    client.sends(&[post(1, &[]), frame(DATA, 0, 1, b"one")].concat()).unwrap();
    let key = client.asked[0];
    assert_eq!(client.body(key), ["one", "..."]);
    client.sends(&[frame(DATA, PADDED, 1, b"\x04-two0000"), frame(DATA, 0, 1, b"-three")].concat()).unwrap();
    assert_eq!(client.body(key), ["-two-three", "..."]);
    let opened = |client: &mut Client| -> Vec<(u32, u32)> {
        let told = client.told().into_iter().filter(|(head, _)| head.kind == WINDOW_UPDATE);
        told.map(|(head, payload)| (head.stream, u32::from_be_bytes(payload.try_into().unwrap()))).collect()
    };
    assert_eq!(opened(&mut client), [], "it is not worth telling");
    client.sends(&frame(DATA, 0, 1, &[b'x'; 600])).unwrap();
    assert_eq!(opened(&mut client), [], "nobody took it");
    client.body(key);
    assert_eq!(opened(&mut client), [(1, 618 + 1000)], "and twice as much from now on");
    client
        .sends(&[frame(DATA, 0, 1, b"4"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("x", b"1"))].concat())
        .unwrap();
    assert!(!client.session.is_read(key));
    assert_eq!(client.body(key), ["4", "1 trailers", "end"]);
    assert!(client.session.is_read(key));
}

#[test]
fn a_client_that_does_not_know_its_terms_yet_has_the_window_that_all_begin_with() {
    let mut client = Client::silent(TERMS);
    let data = frame(DATA, 0, 1, &[b'x'; 16_000]);
    client.sends(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &post(1, &[]), &data.repeat(4)].concat()).unwrap();
    client.told();
    client.sends(&[frame(SETTINGS, ACK, 0, &[]), post(3, &[]), frame(DATA, 0, 3, &[b'x'; 1001])].concat()).unwrap();
    assert_eq!(client.resets(), [(3, Code::FlowControl as u32)]);
}

#[test]
fn a_body_that_is_taken_as_it_comes_gets_up_to_half_of_the_connection_s_window() {
    let mut client = Client::new(Terms { connection_window_bytes: 80_000, growth_bytes_max: 40_000, ..TERMS });
    client.sends(&[post(1, &[]), post(3, &[])].concat()).unwrap();
    let keys = client.asked.clone();
    let (mut window, mut greatest) = (1000, 1000);
    for _ in 0..40 {
        // All that it may, in frames.
        while window > 0 {
            let piece = window.min(16_000);
            client.sends(&frame(DATA, 0, 1, &vec![b'x'; piece])).unwrap();
            window -= piece;
        }
        client.body(keys[0]);
        for (head, payload) in client.told().into_iter().filter(|(head, _)| head.kind == WINDOW_UPDATE) {
            if head.stream == 1 {
                window += u32::from_be_bytes(payload.try_into().unwrap()) as usize;
            }
        }
        greatest = greatest.max(window);
    }
    assert_eq!(greatest, 1000 + 40_000);
    // Whose is not taken keeps what it had.
    client.sends(&frame(DATA, 0, 3, &[b'x'; 1000])).unwrap();
    client.sends(&frame(DATA, 0, 3, b"x")).unwrap();
    assert_eq!(client.resets(), [(3, Code::FlowControl as u32)]);
    // One that is over leaves it to others.
    assert_eq!(client.session.grown, 40_000);
    client.sends(&frame(RESET, 0, 1, &[0; 4])).unwrap();
    assert_eq!(client.session.grown, 0);
}

#[test]
fn a_body_that_is_taken_more_slowly_than_it_comes_gets_no_more() {
    let mut client = Client::new(TERMS);
    client.sends(&post(1, &[])).unwrap();
    for _ in 0..10 {
        client.sends(&frame(DATA, 0, 1, &[b'x'; 1000])).unwrap();
        let piece = client.session.poll_piece(client.asked[0], &client.cx);
        assert!(matches!(piece, Poll::Ready(Some(Ok(_)))), "nobody waits for it");
        assert_eq!(client.session.streams[client.asked[0]].body.capacity(), 0, "nothing is kept of what was taken");
    }
    let told = client.told().into_iter().filter(|(head, _)| head.stream == 1);
    assert!(told.map(|(_, payload)| payload).all(|payload| payload == 1000_u32.to_be_bytes()));
}

#[test]
fn a_client_that_did_not_know_its_terms_is_held_to_them_when_it_does() {
    let mut client = Client::silent(TERMS);
    client.sends(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &post(1, &[])].concat()).unwrap();
    client.sends(&[frame(SETTINGS, ACK, 0, &[]), frame(DATA, 0, 1, &[b'x'; 1000])].concat()).unwrap();
    client.told();
    client.body(client.asked[0]);
    // It may have no more by now than it was told.
    assert!(client.told().iter().any(|(head, _)| (head.kind, head.stream) == (WINDOW_UPDATE, 1)));
}

#[test]
fn streams_are_passed_over_by_the_time_and_not_by_their_numbers() {
    let mut client = Client::held_to(TERMS, Conduct { resets_max: 1000, ..CONDUCT });
    client.sends(&post(1, &[])).unwrap();
    let first = client.asked[0];
    for stream in (3..).step_by(2).take(2 * PASSED_OVER_MIN) {
        client.sends(&[get(stream), frame(PING, 0, 0, &[0; 8])].concat()).unwrap();
        client.session.reset(*client.asked.last().unwrap(), Code::Internal, StreamFault::GivenUp);
        client.told();
    }
    client.answers(first);
    client.session.leave_body(first);
    assert_eq!(client.resets(), [(1, Code::NoError as u32)]);
    client.sends(&[frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[])].concat()).unwrap();
    assert_eq!(client.resets(), []);
}

#[test]
fn the_length_of_a_body_is_known_when_it_is_told_and_not_when_all_of_it_happens_to_be_there() {
    let mut client = Client::new(TERMS);
    client.sends(&[post(1, &field("content-length", b"5")), post(3, &[])].concat()).unwrap();
    let (told, untold) = (client.asked[0], client.asked[1]);
    assert_eq!((client.session.left(told), client.session.left(untold)), (Some(5), None));
    client.sends(&[frame(DATA, 0, 1, b"xx"), frame(DATA, END_STREAM, 3, b"xx")].concat()).unwrap();
    assert_eq!((client.session.left(told), client.session.left(untold)), (Some(5), None));
    client.body(told);
    assert_eq!(client.session.left(told), Some(3));
}

#[test]
fn what_nobody_takes_is_given_back_to_the_connection() {
    let data = |stream| frame(DATA, 0, stream, &[0; 900]);
    let reset = |stream| frame(RESET, 0, stream, &[0; 4]);
    let ended = |stream: u32| frame(DATA, END_STREAM, stream, &[]);
    let unread = |client: &mut Client| client.session.leave_body(client.asked[0]);
    let nothing = |_: &mut Client| ();
    type Act = fn(&mut Client);
    for (what, before, act, after) in [
        ("left before it came", vec![], unread as Act, vec![data as fn(u32) -> Vec<u8>]),
        ("left when it was there", vec![data as fn(u32) -> Vec<u8>], unread, vec![]),
        ("broken off", vec![data], nothing, vec![]),
        ("too late", vec![reset], nothing, vec![data]),
        ("behind its end", vec![ended], nothing, vec![data]),
    ] {
        let mut client = Client::held_to(TERMS, Conduct { resets_max: 1000, ..CONDUCT });
        let rounds = 4 * TERMS.connection_window_bytes / 900;
        for stream in (1..2 * rounds).step_by(2) {
            client.sends(&post(stream, &[])).unwrap();
            for frames in &before {
                client.sends(&frames(stream)).unwrap_or_else(|code| panic!("{what}: {code:?}"));
            }
            act(&mut client);
            for frames in &after {
                client.sends(&frames(stream)).unwrap_or_else(|code| panic!("{what}: {code:?}"));
            }
            client.sends(&reset(stream)).unwrap();
            client.asked.clear();
            client.told();
        }
    }
}

#[test]
fn answers_wait_for_their_window_that_of_the_connection_and_for_room() {
    let mut client = Client::new(Terms { send_bytes_max: 100_000, ..TERMS });
    let window = |stream: u32, more: u32| frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    client.sends(&[get(1), get(3), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10])].concat()).unwrap();
    let (first, second) = (client.asked[0], client.asked[1]);
    let say = |client: &mut Client, key, length: usize, all| {
        client.session.say_data(key, vec![b'x'; length].into(), all).unwrap();
    };
    for key in [first, second] {
        client.session.say_head(key, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    }
    assert_eq!(client.room(first), Some(10));
    say(&mut client, first, 10, false);
    assert_eq!(client.room(first), None);
    client.sends(&window(1, 5)).unwrap();
    assert_eq!(client.room(first), Some(5));
    // Less than nothing.
    client.sends(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    assert_eq!(client.room(first), None);
    client.sends(&[window(1, 5), window(3, 70_000)].concat()).unwrap();
    assert_eq!(client.room(first), None, "it owes five");
    // No more than one frame.
    assert_eq!(client.room(second), Some(16 << 10));
    for length in [16_384, 16_384, 16_384, 16_373] {
        assert_eq!(client.room(second), Some(length));
        say(&mut client, second, length, false);
    }
    assert_eq!(client.room(second), None, "the connection's window is through");
    client.sends(&window(0, 1000)).unwrap();
    assert_eq!(client.room(second), Some(1000));
    client.sends(&window(1, 100)).unwrap();
    assert_eq!(client.room(first), Some(100));
    say(&mut client, first, 0, true);
    client.session.leave_unsaid(first);
    assert_eq!(client.resets(), [], "all was said");
}

#[test]
fn an_answer_waits_for_room_where_the_client_takes_nothing() {
    let mut client = Client::new(TERMS);
    client.sends(&get(1)).unwrap();
    let key = client.asked[0];
    client.session.say_head(key, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    let room = client.room(key).unwrap();
    assert!(room < TERMS.send_bytes_max);
    client.session.say_data(key, vec![b'x'; room].into(), false).unwrap();
    let woken = Arc::<Woken>::default();
    let waker = Arc::clone(&woken).into();
    assert!(client.session.poll_room(key, &Context::from_waker(&waker)).is_pending());
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    client.told();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(client.room(key), Some(TERMS.send_bytes_max));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_waits_is_woken_when_there_is_something_to_do_and_nobody_else() {
    let mut client = Client::held_to(Terms { send_bytes_max: 40_000, ..TERMS }, Conduct { streams_max: 10, ..CONDUCT });
    client.sends(&(1..12).step_by(2).flat_map(get).collect::<Vec<u8>>()).unwrap();
    client.sends(&frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])).unwrap();
    let keys = client.asked.clone();
    for key in &keys {
        client.session.say_head(*key, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    }
    // One uses all that there is, the others wait.
    for _ in 0..4 {
        client.told();
        let room = client.room(keys[0]).unwrap();
        client.session.say_data(keys[0], vec![b'x'; room].into(), false).unwrap();
    }
    client.told();
    let woken: Vec<Arc<Woken>> = keys.iter().map(|_| Arc::default()).collect();
    let wait = |client: &mut Client, place: usize| {
        let waker = Arc::clone(&woken[place]).into();
        client.session.poll_room(keys[place], &Context::from_waker(&waker)).is_pending()
    };
    assert!((1..6).all(|place| wait(&mut client, place)));
    let counts = || woken.iter().map(|woken| woken.0.swap(0, Ordering::Relaxed)).collect::<Vec<_>>();
    let window = |stream: u32, more: u32| frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    client.sends(&window(0, 1)).unwrap();
    assert_eq!(counts(), [0, 1, 0, 0, 0, 0], "one byte is one frame");
    assert_eq!(client.room(keys[1]), Some(1));
    client.session.say_data(keys[1], vec![b'x'; 1].into(), false).unwrap();
    assert!(wait(&mut client, 1), "from now on behind the others");
    client.sends(&window(0, 100_000)).unwrap();
    assert_eq!(counts(), [0, 0, 1, 1, 1, 0], "as many frames as there is room for");
    // The first of them is over, which lets the last one go on, too.
    client.session.reset(keys[2], Code::Cancel, StreamFault::Untaken);
    assert_eq!(counts(), [0, 0, 0, 0, 0, 1]);
    assert!(wait(&mut client, 4) && wait(&mut client, 5), "another one is before them");
    // That one has no window any more.
    client.sends(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    assert!(wait(&mut client, 3));
    assert_eq!(counts(), [0, 1, 0, 0, 1, 1], "its turn is passed on");
    assert!(wait(&mut client, 5));
    client.sends(&window(11, 5)).unwrap();
    assert_eq!(counts(), [0, 0, 0, 0, 0, 1]);
    assert!(wait(&mut client, 5), "another one is before it");
    assert!(wait(&mut client, 4), "which has nothing to say it with");
    assert_eq!(counts(), [0, 0, 0, 0, 0, 1]);
    assert!(wait(&mut client, 1), "nor has the one behind that");
    assert!(!wait(&mut client, 5));
}

#[test]
fn streams_that_wait_go_on_in_turns() {
    let mut client = Client::new(Terms { send_bytes_max: 10_000, ..TERMS });
    client.sends(&[get(1), get(3), get(5)].concat()).unwrap();
    let keys = client.asked.clone();
    for key in &keys {
        client.session.say_head(*key, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    }
    let mut said = Vec::new();
    for _ in 0..12 {
        // All want to go on, the first one most of all.
        for place in [0, 0, 1, 0, 2] {
            if let Some(room) = client.room(keys[place]) {
                client.session.say_data(keys[place], vec![b'x'; room].into(), false).unwrap();
                said.push(place);
            }
        }
        client.told();
        client.sends(&frame(WINDOW_UPDATE, 0, 0, &10_000_u32.to_be_bytes())).unwrap();
    }
    for place in 0..3 {
        assert!(said.iter().filter(|other| **other == place).count() >= said.len() / 4, "{said:?}");
    }
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked_when_it_is_wanted() {
    let mut client = Client::new(TERMS);
    let expects = field("expect", b"100-continue");
    client.sends(&[post(1, &expects), post(3, &expects), post(5, &expects)].concat()).unwrap();
    let keys = client.asked.clone();
    assert_eq!(client.told(), [], "nobody wants it yet");
    client.body(keys[0]);
    client.body(keys[0]);
    let told = client.told();
    assert_eq!((told.len(), told[0].0.stream, &told[0].1[..]), (1, 1, &b"\x08\x03100"[..]), "asked once");
    // It did not wait, or is answered.
    client.sends(&frame(DATA, 0, 3, b"x")).unwrap();
    client.body(keys[1]);
    assert_eq!(client.told(), []);
    client.session.say_head(keys[2], StatusCode::OK, &HeaderMap::new(), false).unwrap();
    client.told();
    client.body(keys[2]);
    assert_eq!(client.told(), []);
}

#[test]
fn a_client_to_whose_body_nobody_listens_is_told_so_where_it_would_need_more_window() {
    let mut client = Client::held_to(TERMS, Conduct { streams_max: 16, ..CONDUCT });
    let length = field("content-length", b"2000");
    client.sends(&(1..11).step_by(2).flat_map(|stream| post(stream, &length)).collect::<Vec<_>>()).unwrap();
    client.sends(&frame(DATA, 0, 1, &[b'x'; 100])).unwrap();
    let driver = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&driver));
    let keys = client.asked.clone();
    keys.iter().for_each(|key| client.answers(*key));
    client.session.begin_turn(&Context::from_waker(&waker));
    client.session.end_turn();
    for key in keys {
        client.session.leave_body(key);
        client.session.leave_unsaid(key);
    }
    assert_eq!(driver.0.load(Ordering::Relaxed), 6, "who may wait for the last of them");
    assert_eq!(client.resets(), [(9, Code::NoError as u32)], "one in four of those that it may have rests");
    // Nobody waits for them, but they count as what the client asked for at once.
    assert_eq!((client.session.counts().0, client.session.streams.open()), (0, 4));
    client.sends(&frame(DATA, 0, 1, &[b'x'; 399])).unwrap();
    assert_eq!(client.resets(), []);
    client.sends(&frame(DATA, 0, 1, b"x")).unwrap();
    assert_eq!(client.resets(), [(1, Code::NoError as u32)]);
    client.sends(&[frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM, 3, b"x")].concat()).unwrap();
    client.sends(&[frame(RESET, 0, 5, &[0; 4]), frame(HEADERS, END_HEADERS | END_STREAM, 7, &[])].concat()).unwrap();
    assert_eq!((client.resets(), client.session.kept()), (vec![], 0));
    assert_eq!((client.session.counts(), client.session.streams.open()), ((0, 5, 0), 0));
}

#[test]
fn interim_responses_come_before_the_answer_and_only_where_there_is_room() {
    let mut client = Client::new(TERMS);
    client.sends(&get(1)).unwrap();
    let key = client.asked[0];
    let hints = HeaderMap::from_iter([(http::header::LINK, HeaderValue::from_static("</a>"))]);
    let hint = |client: &mut Client| client.session.say_interim(key, StatusCode::from_u16(103).unwrap(), &hints);
    hint(&mut client);
    let told = client.told();
    assert_eq!((told[0].0.flags, &told[0].1[..5]), (END_HEADERS, &b"\x08\x03103"[..]));
    for _ in 0..1000 {
        hint(&mut client);
    }
    assert!(client.session.outbox().len() < 2 * TERMS.send_bytes_max);
    client.session.say_head(key, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    client.told();
    hint(&mut client);
    assert_eq!(client.told(), []);
}

#[test]
fn heads_that_are_larger_than_a_frame_go_on_in_others() {
    let mut client = Client::new(TERMS);
    client.sends(&get(1)).unwrap();
    let fields = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_str(&"x".repeat(40_000)).unwrap())]);
    client.session.say_head(client.asked[0], StatusCode::OK, &fields, true).unwrap();
    let told: Vec<_> = client.told().iter().map(|(head, _)| (head.kind, head.flags, head.length)).collect();
    assert_eq!(told[..2], [(HEADERS, END_STREAM, 16_384), (CONTINUATION, 0, 16_384)]);
    assert_eq!((told.len(), told[2].0, told[2].1), (3, CONTINUATION, END_HEADERS));
}

#[test]
fn a_head_that_is_too_large_is_told_from_one_that_is_not() {
    let field = |name: &str, length: usize| {
        let mut block = [&[0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &[127]].concat();
        let rest = length - 127;
        block.extend([u8::try_from(rest % 128).unwrap() | 128, u8::try_from(rest / 128).unwrap()]);
        block.extend(vec![b'v'; length]);
        block
    };
    // The four pseudo-fields count for 42, 43, 38 and 43 bytes, the other for 33 more than its value.
    let most = TERMS.head_bytes_max - 42 - 43 - 38 - 43 - 33;
    for (length, too_large) in [(most, false), (most + 1, true)] {
        let mut session = Client::new(TERMS).session;
        let head = frame(HEADERS, 0, 1, GET);
        let rest = frame(CONTINUATION, END_HEADERS, 1, &field("x", length));
        let (_, begun) = session.take(&[head, rest].concat()).unwrap();
        assert_eq!(begun.unwrap().asked.too_large, too_large, "{length}");
    }
}

#[test]
fn a_head_that_unfolds_to_many_times_more_than_may_be_ends_its_connection() {
    let field_bytes = 1 + 100 + 32;
    let fitting = (TERMS.head_bytes_max - 42 - 43 - 38 - 43) / field_bytes;
    let bomb = (16 * TERMS.head_bytes_max).div_ceil(field_bytes);
    for (beyond, code) in [(1, None), (bomb - 1, None), (bomb, Some(Code::EnhanceYourCalm))] {
        let mut session = Client::new(TERMS).session;
        // Once as it is, and then by its number.
        let indexed = [&[0x40, 1, b'x', 100][..], &[b'v'; 100], &vec![0xbe; fitting + beyond - 1]].concat();
        let block = [GET, &indexed].concat();
        let taken = session.take(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
        assert_eq!(taken.as_ref().err().copied(), code, "{beyond}");
        assert!(taken.map_or(true, |(_, begun)| begun.unwrap().asked.too_large));
    }
}

#[test]
fn a_table_that_the_client_made_smaller_is_said_to_be_before_anything_else() {
    let mut client = Client::new(TERMS);
    client
        .sends(&[frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]), post(1, &field("expect", b"100-continue"))].concat())
        .unwrap();
    client.told();
    client.body(client.asked[0]);
    assert_eq!(client.told()[0].1, b"\x20\x08\x03100");
}

#[test]
fn streams_that_stand_still_leave_the_others_the_window_of_the_connection() {
    let mut client = Client::held_to(TERMS, Conduct { streams_max: 100, ..CONDUCT });
    for stream in (1..80).step_by(2) {
        client.sends(&[post(stream, &[]), frame(DATA, 0, stream, &[0; 1000])].concat()).unwrap();
    }
    for stream in (81..1000).step_by(2) {
        client.sends(&[post(stream, &[]), frame(DATA, END_STREAM, stream, &[0; 900])].concat()).unwrap();
        let key = client.asked.pop().unwrap();
        client.body(key);
        client.answers(key);
    }
}

#[test]
fn an_answered_stream_is_over_with_its_last_data_and_with_its_trailers() {
    let mut client = Client::new(TERMS);
    client.sends(&[post(1, &[]), post(3, &[])].concat()).unwrap();
    for key in client.asked.clone() {
        client.answers(key);
    }
    client.sends(&frame(DATA, END_STREAM, 1, b"x")).unwrap();
    assert_eq!(client.session.counts().0, 1);
    client.sends(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &field("x", b"1"))).unwrap();
    assert_eq!(client.session.counts().0, 0);
}

#[test]
fn nothing_follows_the_end_of_an_answer() {
    let mut client = Client::new(TERMS);
    client.sends(&post(1, &[])).unwrap();
    let (key, fields) = (client.asked[0], HeaderMap::new());
    client.answers(key);
    assert!(client.session.say_head(key, StatusCode::OK, &fields, true).is_err());
    assert!(client.session.say_data(key, Bytes::new(), true).is_err());
    assert!(client.session.say_trailers(key, &fields).is_err());
    assert_eq!(client.told().len(), 1);
}

#[test]
fn trailers_are_held_to_less_than_heads() {
    let many = |count: usize| field("x", b"1").repeat(count);
    for (count, outcome) in [(11, "11 trailers"), (12, "11 trailers"), (39, "11 trailers"), (40, "broken")] {
        let mut client = Client::new(TERMS);
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &many(count));
        client.sends(&[post(1, &[]), trailers].concat()).unwrap();
        // One more than there may be, for whoever judges them.
        assert_eq!(client.body(client.asked[0])[0], outcome, "{count}");
    }
}
