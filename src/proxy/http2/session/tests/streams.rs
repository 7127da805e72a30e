//! Bodies, and answers.

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
    assert_eq!(opened(&mut client), [(1, 618)]);
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
fn the_length_of_a_body_is_known_when_it_is_told_or_all_of_it_is_there() {
    let mut client = Client::new(TERMS);
    client.sends(&[post(1, &field("content-length", b"5")), post(3, &[])].concat()).unwrap();
    let (told, untold) = (client.asked[0], client.asked[1]);
    assert_eq!((client.session.left(told), client.session.left(untold)), (Some(5), None));
    client.sends(&[frame(DATA, 0, 1, b"xx"), frame(DATA, END_STREAM, 3, b"xx")].concat()).unwrap();
    assert_eq!((client.session.left(told), client.session.left(untold)), (Some(5), Some(2)));
    client.body(told);
    assert_eq!(client.session.left(told), Some(3));
}

#[test]
fn what_nobody_takes_is_given_back_to_the_connection() {
    let mut client = Client::new(Terms { resets_max: 1000, ..TERMS });
    let mut sent = 0;
    // Taken by nobody, broken off, and too late.
    for stream in (1..600).step_by(6) {
        let [left, broken, late] = [stream, stream + 2, stream + 4];
        let data = |stream| frame(DATA, 0, stream, &[0; 900]);
        client.sends(&[post(left, &[]), post(broken, &[]), post(late, &[])].concat()).unwrap();
        for key in std::mem::take(&mut client.asked).into_iter().take(1) {
            client.session.leave_body(key);
        }
        client.sends(&[data(left), data(broken), frame(RESET, 0, broken, &[0; 4])].concat()).unwrap();
        client.sends(&[frame(RESET, 0, left, &[0; 4]), frame(RESET, 0, late, &[0; 4]), data(late)].concat()).unwrap();
        sent += 3 * 900;
        client.told();
    }
    assert!(sent > 4 * TERMS.connection_window_bytes);
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
    client.session.leave_answer(first, Code::Internal);
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
    assert_eq!(client.room(key), None);
    client.told();
    assert_eq!(client.room(key), Some(TERMS.send_bytes_max));
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
    client.session.say_head(keys[2], StatusCode::OK, &HeaderMap::new(), false).unwrap();
    client.told();
    client.body(keys[2]);
    assert_eq!(client.told(), []);
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
