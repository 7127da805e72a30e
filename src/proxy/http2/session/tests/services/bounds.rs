//! What is known of a connection to a service, and what that may cost.

use super::*;

#[test]
fn it_is_known_what_was_sent_and_what_was_heard() {
    let mut service = Service::new();
    service.session.ask(&question(&Method::GET, &HeaderMap::new()), true).unwrap();
    let before = service.session.outbox().len();
    let key = service.asked(&Method::GET, true);
    assert!(!service.session.is_unsent(key), "it waits to be written");
    assert!(service.session.is_unheard(key));
    service.session.hear();
    assert!(!service.session.is_unheard(key));
    for (written, unsent) in [(before - 1, true), (before, true), (before + 1, false)] {
        let mut service = Service::new();
        service.session.ask(&question(&Method::GET, &HeaderMap::new()), true).unwrap();
        let key = service.asked(&Method::GET, true);
        service.session.written(written);
        service.session.lose(StreamFault::Closed);
        assert_eq!(service.session.is_unsent(key), unsent, "{written} of {before}");
    }
}

#[test]
fn how_much_a_service_takes_it_says_by_its_settings() {
    let mut service = Service::silent();
    assert_eq!(service.session.streams_max(), STREAMS_BEFORE);
    assert!(service.session.poll_takes_tunnels(&service.cx).is_pending());
    service.says(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 7])).unwrap();
    assert_eq!(service.session.streams_max(), 7);
    assert_eq!(service.session.poll_takes_tunnels(&service.cx), Poll::Ready(false));
    service.says(&frame(SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 1])).unwrap();
    assert_eq!(service.session.poll_takes_tunnels(&service.cx), Poll::Ready(true));
    assert_eq!(Service::new().session.streams_max(), usize::MAX);
    // A connection that is gone refuses nothing: why it is gone shows when something is sent.
    let mut gone = Service::silent();
    gone.session.lose(StreamFault::Closed);
    assert_eq!(gone.session.poll_takes_tunnels(&gone.cx), Poll::Ready(true));
}

#[test]
fn what_a_service_leaves_unread_keeps_nobody_from_reading_it() {
    let mut service = Service::new();
    let key = service.asked(&Method::POST, false);
    while let Poll::Ready(room) = service.session.poll_room(key, &service.cx) {
        service.session.say_data(key, vec![b'x'; room.unwrap()].into(), false).unwrap();
    }
    for _ in 0..2000 {
        service.asked(&Method::PATCH, true);
    }
    assert!(service.session.outbox().len() >= TERMS.send_bytes_max + OWED_BYTES_MAX && service.session.wants_more());
    // What it brings about itself does.
    let ping = frame(PING, 0, 0, &[0; 8]);
    let pings = std::iter::repeat_with(|| service.says(&ping).map(|()| service.session.wants_more()).unwrap());
    assert_eq!(pings.take_while(|more| *more).count() + 1, OWED_BYTES_MAX.div_ceil(ping.len()));
    service.told();
    assert!(service.session.wants_more());
}

#[test]
fn a_service_whose_pings_are_answered_is_read_on_however_much_waits_behind() {
    let mut service = Service::new();
    let window = |stream| frame(WINDOW_UPDATE, 0, stream, &[0, 0xff, 0xff, 0xff]);
    let key = service.asked(&Method::POST, false);
    service.says(&[window(0), window(1)].concat()).unwrap();
    for _ in 0..10_000 {
        service.says(&frame(PING, 0, 0, &[0; 8])).unwrap();
        service.session.say_data(key, vec![b'x'; 10].into(), false).unwrap();
        let waits = service.session.outbox().len();
        service.session.written(waits - 1);
        assert!(service.session.wants_more());
    }
}

#[test]
fn windows_of_which_a_service_reads_nothing_keep_it_from_being_read() {
    let mut service = Service::new();
    // Of 65 streams nobody takes anything, so that little is left of the connection's window; and one is over.
    for stream in (1..131).step_by(2) {
        service.asked(&Method::GET, true);
        service.says(&[answer(stream, 0, OK), frame(DATA, 0, stream, &[b'x'; 1000])].concat()).unwrap();
    }
    service.asked(&Method::GET, true);
    service.says(&frame(RESET, 0, 131, &[0; 4])).unwrap();
    service.told();
    while service.session.wants_more() {
        service.says(&frame(DATA, 0, 131, b"0123456")).unwrap();
        assert!(service.session.outbox().len() < 2 * OWED_BYTES_MAX);
    }
}

#[test]
fn what_is_worth_guessing_at_is_never_said_by_a_number() {
    for name in ["authorization", "proxy-authorization", "cookie"] {
        let mut service = Service::new();
        let fields = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("secret"))]);
        let lengths = [(); 4].map(|()| {
            service.session.ask(&question(&Method::GET, &fields), true).unwrap();
            service.told().remove(0).0.length
        });
        // The authority stands in the table from the second time on.
        assert_eq!((lengths[1], lengths[2] + 2), (lengths[0], lengths[1]), "{name}");
        assert_eq!(lengths[3], lengths[2], "{name}");
    }
}

#[test]
fn a_whole_body_is_given_back_to_the_connection_and_none_that_has_trailers_is_one() {
    let mut service = Service::new();
    let length = [OK, &field("content-length", b"900")].concat();
    for stream in (1..1000).step_by(2) {
        let key = service.asked(&Method::GET, true);
        service.says(&[answer(stream, 0, &length), frame(DATA, END_STREAM, stream, &[0; 900])].concat()).unwrap();
        assert_eq!(service.session.whole(key).unwrap().len(), 900);
        service.session.leave_body(key);
    }
    let key = service.asked(&Method::GET, true);
    let trailers = answer(1001, END_STREAM, &field("x", b"1"));
    service.says(&[answer(1001, 0, &length), frame(DATA, 0, 1001, &[0; 900]), trailers].concat()).unwrap();
    assert_eq!(service.session.whole(key), None);
}

#[test]
fn a_tunnel_has_no_length_whatever_its_head_tells() {
    let mut service = Service::new();
    let none = HeaderMap::new();
    let connect = Question { protocol: Some("websocket"), ..question(&Method::GET, &none) };
    let key = service.session.ask(&connect, false).unwrap();
    let head = answer(1, 0, &[OK, &field("content-length", b"1")].concat());
    service.says(&[head, frame(DATA, 0, 1, b"more")].concat()).unwrap();
    assert_eq!((service.head(key), service.body(key)), (Some(Ok(200)), vec!["more".into(), "...".into()]));
}

#[test]
fn a_connection_whose_numbers_are_used_up_takes_no_requests() {
    let mut service = Service::new();
    service.session.last = frame::STREAM_MAX - 2;
    service.asked(&Method::GET, true);
    assert!(!service.session.takes_requests());
}

#[tokio::test]
async fn whoever_sends_a_request_ends_with_its_stream() {
    type Act = fn(&mut Service, Key);
    let acts: [(&str, Act); 3] = [
        ("reset", |service, _| service.says(&frame(RESET, 0, 1, &[0; 4])).unwrap()),
        ("left", |service, key| service.session.leave_body(key)),
        ("lost", |service, _| service.session.lose(StreamFault::Closed)),
    ];
    for (what, act) in acts {
        let mut service = Service::new();
        let key = service.asked(&Method::POST, false);
        let task = tokio::spawn(std::future::pending::<()>());
        service.session.works_on(key, task.abort_handle());
        while service.session.poll_room(key, &service.cx).is_ready() {
            service.session.say_data(key, vec![b'x'; 100].into(), false).unwrap();
        }
        let woken = std::sync::Arc::new(Woken::default());
        let waker = Waker::from(std::sync::Arc::clone(&woken));
        assert!(service.session.poll_room(key, &Context::from_waker(&waker)).is_pending());
        act(&mut service, key);
        assert!(task.await.unwrap_err().is_cancelled(), "{what}");
        assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst), "{what}");
    }
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn who_leaves_a_service_tells_it_once() {
    let mut service = Service::new();
    let key = service.asked(&Method::GET, true);
    service.session.leave();
    service.session.leave();
    assert_eq!(service.head(key), Some(Err(StreamFault::GivenUp.to_string())));
    let told = service.told();
    assert_eq!(told.iter().map(|(head, _)| head.kind).collect::<Vec<_>>(), [HEADERS, GOAWAY]);
    assert!(service.session.is_done());
}
