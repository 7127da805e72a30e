use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn trace() -> TraceId {
    TraceId::parse(TRACE.as_bytes()).unwrap()
}

fn secret(id: &str, letter: u8) -> Secret {
    Secret::new(Some(id), &[letter; SECRET_BYTES_MIN]).unwrap()
}

fn keyring() -> Keyring {
    Keyring::new(secret("2026b", b'b'), vec![secret("2026a", b'a')])
}

fn entry<'a>(toggle: &'a str, variant: &'a str) -> Entry<'a> {
    Entry { toggle, variant, reason: "split" }
}

fn signed(keyring: &Keyring, entries: &[(&str, &str)]) -> String {
    let mut draft = Draft::new(keyring, NOW, MEMBER_BYTES_MAX);
    entries.iter().for_each(|(toggle, variant)| draft.add(entry(toggle, variant)));
    draft.sign(trace()).unwrap()
}

fn fields(baggage: &[&[u8]]) -> HeaderMap {
    let values = baggage.iter().map(|text| (BAGGAGE, HeaderValue::from_bytes(text).unwrap()));
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        headers.append(name, value);
    }
    headers
}

fn read_at(baggage: &[&[u8]], trace: Option<TraceId>, now: i64) -> Reading {
    read(&fields(baggage), &Terms { keyring: &keyring(), trace, now, max_age: 3600 })
}

fn reading(baggage: &str) -> Reading {
    read_at(&[baggage.as_bytes()], Some(trace()), NOW)
}

fn decisions(reading: &Reading) -> Vec<(String, String)> {
    let Reading::Valid(member) = reading else { panic!("{reading:?}") };
    member.entries().map(|entry| (entry.toggle.to_owned(), entry.variant.to_owned())).collect()
}

#[test]
fn a_member_reads_as_documented() {
    // The signature was computed by another implementation of HMAC-SHA256.
    let keyring = Keyring::new(secret("2026b", b'b'), Vec::new());
    let member = signed(&keyring, &[("checkout-v2", "on"), ("search.rank_2", "b")]);
    assert_eq!(
        member,
        "weir=1~2026b~1800000000~checkout-v2~on~split~search.rank_2~b~split~a9e35d2e6ac3897c7480976186455788"
    );
}

#[test]
fn what_one_weir_signs_another_one_reads() {
    let member = signed(&keyring(), &[("checkout-v2", "on"), ("search", "b")]);
    let expected = vec![("checkout-v2".to_owned(), "on".to_owned()), ("search".to_owned(), "b".to_owned())];
    let escaped = member.replace('~', "%7E").replace('-', "%2d");
    for (how, baggage) in [
        ("alone", vec![member.clone()]),
        ("among others", vec![format!("a=1;p=2,{member},b=%20")]),
        ("with spaces", vec![format!(" a=1 ,\t{} , ,b=2", member.replace("weir=", "weir = "))]),
        ("in a second field", vec!["a=1".to_owned(), member.clone()]),
        ("escaped by a library", vec![escaped]),
    ] {
        let baggage: Vec<&[u8]> = baggage.iter().map(String::as_bytes).collect();
        assert_eq!(decisions(&read_at(&baggage, Some(trace()), NOW)), expected, "{how}");
    }
}

#[test]
fn each_secret_verifies_and_the_first_one_signs() {
    let earlier = Keyring::new(secret("2026a", b'a'), Vec::new());
    assert!(matches!(reading(&signed(&earlier, &[("t", "on")])), Reading::Valid(_)));
    assert!(signed(&keyring(), &[("t", "on")]).starts_with("weir=1~2026b~"));
    let strange = Keyring::new(secret("2025", b'x'), Vec::new());
    assert_eq!(reading(&signed(&strange, &[("t", "on")])), Reading::Refused(Refusal::UnknownKey));
    let forged = Keyring::new(secret("2026b", b'x'), Vec::new());
    assert_eq!(reading(&signed(&forged, &[("t", "on")])), Reading::Refused(Refusal::BadSignature));
}

#[test]
fn a_secret_verifies_whatever_another_weir_calls_it() {
    let nameless = Keyring::new(Secret::new(None, &[b'a'; SECRET_BYTES_MIN]).unwrap(), Vec::new());
    let renamed = Keyring::new(secret("old", b'b'), Vec::new());
    for keyring in [nameless, renamed] {
        assert!(matches!(reading(&signed(&keyring, &[("t", "on")])), Reading::Valid(_)), "{keyring:?}");
    }
}

#[test]
fn a_member_holds_for_its_trace_and_its_hour() {
    let member = signed(&keyring(), &[("t", "on")]);
    let at = |trace, now| match read_at(&[member.as_bytes()], trace, now) {
        Reading::Refused(refusal) => Some(refusal),
        _ => None,
    };
    let other = TraceId::new(7);
    for (trace, now, expected) in [
        (Some(trace()), NOW, None),
        (Some(trace()), NOW + 3600, None),
        (Some(trace()), NOW + 3601, Some(Refusal::Stale)),
        (Some(trace()), NOW - 60, None),
        (Some(trace()), NOW - 61, Some(Refusal::Stale)),
        (Some(trace()), i64::MAX, Some(Refusal::Stale)),
        (Some(trace()), i64::MIN, Some(Refusal::Stale)),
        (Some(other), NOW, Some(Refusal::BadSignature)),
        (None, NOW, Some(Refusal::Traceless)),
    ] {
        assert_eq!(at(trace, now), expected, "{trace:?} at {now}");
    }
}

#[test]
fn what_no_weir_wrote_is_told_apart() {
    let good = signed(&keyring(), &[("t", "on")]);
    let long = format!("weir=1~2026b~{NOW}~{}", "a~b~c~".repeat(200));
    for (baggage, expected) in [
        ("weir", Refusal::Malformed),
        ("weir;a=b", Refusal::Malformed),
        ("weir=", Refusal::Malformed),
        ("weir=2~2026b~1~t~on~split~00000000000000000000000000000000", Refusal::Malformed),
        ("weir=1~2026b~1~t~on~split~0000", Refusal::Malformed),
        ("weir=1~2026b~00000000000000000000000000000000", Refusal::Malformed),
        ("weir=%ff", Refusal::Malformed),
        ("weir=1~nobody~1~t~on~split~00000000000000000000000000000000", Refusal::UnknownKey),
        ("weir=1~2026b~1~t~on~split~00000000000000000000000000000000", Refusal::BadSignature),
        (&format!("{good},{good}"), Refusal::Malformed),
        (&format!("{good};property=1"), Refusal::Malformed),
        (&good.to_uppercase().replace("WEIR=", "weir="), Refusal::UnknownKey),
        (&long, Refusal::Oversized),
    ] {
        assert_eq!(reading(baggage), Reading::Refused(expected), "{baggage}");
    }
    for baggage in ["", "a=1", "Weir=1", "weird=1", "a=weir", "xweir=1", "=", ",,,"] {
        assert_eq!(reading(baggage), Reading::Absent, "{baggage}");
    }
}

#[test]
fn what_has_no_room_is_left_out_whole_and_counted() {
    let keyring = keyring();
    let names: Vec<String> = (0..100).map(|number| format!("toggle-{number:03}")).collect();
    for bytes_max in [0, 60, 120, 300, 1024, 5000] {
        let mut draft = Draft::new(&keyring, NOW, bytes_max);
        names.iter().for_each(|name| draft.add(entry(name, "on")));
        let left_out = draft.left_out();
        let Some(member) = draft.sign(trace()) else {
            assert_eq!(left_out, 100, "{bytes_max}");
            continue;
        };
        assert!(member.len() <= bytes_max.min(MEMBER_BYTES_MAX), "{bytes_max}: {}", member.len());
        let read = decisions(&reading(&member));
        let kept: Vec<&str> = read.iter().map(|(toggle, _)| &**toggle).collect();
        assert_eq!(kept, names.iter().take(100 - left_out).map(|name| &**name).collect::<Vec<_>>(), "{bytes_max}");
    }
    let mut draft = Draft::new(&keyring, NOW, 120);
    draft.add(entry(&"long".repeat(25), "on"));
    draft.add(entry("t", "on"));
    assert_eq!(draft.left_out(), 1, "a short one finds room behind a long one");
    assert_eq!(decisions(&reading(&draft.sign(trace()).unwrap())), [("t".to_owned(), "on".to_owned())]);
}

fn baggage(headers: &HeaderMap) -> Vec<&str> {
    headers.get_all(BAGGAGE).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn others_pass_on_byte_for_byte_and_weirs_own_is_replaced() {
    let mut headers = fields(&[b"a=1;p , weir=x,b = %20", b"weir,c=3"]);
    write(&mut headers, "weir=new");
    assert_eq!(baggage(&headers), ["weir=new,a=1;p,b = %20,c=3"]);
    assert!(strip(&mut headers));
    assert_eq!(baggage(&headers), ["a=1;p,b = %20,c=3"]);
    assert!(!strip(&mut headers));
    let mut headers = fields(&[b"weir=x"]);
    assert!(strip(&mut headers));
    assert!(!headers.contains_key(BAGGAGE));
}

#[test]
fn more_than_has_to_be_passed_on_is_dropped_whole_from_the_end() {
    let many: Vec<String> = (0..100).map(|number| format!("k{number}=v")).collect();
    let mut headers = fields(&[many.join(",").as_bytes()]);
    write(&mut headers, "weir=new");
    assert_eq!(baggage(&headers)[0].split(',').count(), 64);
    let large: Vec<String> = (0..10).map(|number| format!("k{number}={}", "v".repeat(1000))).collect();
    let mut headers = fields(&[large.join(",").as_bytes()]);
    write(&mut headers, "weir=new");
    let kept: Vec<&str> = baggage(&headers)[0].split(',').collect();
    assert_eq!(kept.len(), 9, "eight of a thousand bytes, and weir's own");
    assert!(kept.iter().skip(1).all(|member| member.len() == 1003), "none is cut");
}

#[test]
fn a_secret_is_long_and_its_name_follows_from_it() {
    assert_eq!(Secret::new(None, &[b'a'; 31]).err(), Some(SecretError::TooShort));
    assert_eq!(Secret::new(None, &[b' '; 64]).err(), Some(SecretError::TooShort));
    for id in ["", "a~b", "ä", &"a".repeat(33)] {
        assert_eq!(Secret::new(Some(id), &[b'a'; 32]).err(), Some(SecretError::Id), "{id}");
    }
    let named = |bytes: &[u8]| Secret::new(None, bytes).unwrap().id().to_owned();
    assert_eq!(named(&[b'a'; 32]), named(b"  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"));
    assert_ne!(named(&[b'a'; 32]), named(&[b'b'; 32]));
    let debug = format!("{:?}", Keyring::new(secret("one", b'q'), vec![secret("two", b'q')]));
    assert!(debug.contains("two") && !debug.contains("qq"), "{debug}");
}

#[test]
fn a_traceparent_is_read_as_the_specification_says() {
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (text, valid) in [
        (TRACE.to_owned(), true),
        (TRACE.replace("-01", "-00"), true),
        (TRACE.replace("-01", "-ff"), true),
        (TRACE.replace("00-4", "cc-4"), true),
        (format!("cc{}-more-to-come", &TRACE[2..]), true),
        (format!("cc{}.more", &TRACE[2..]), false),
        (format!("{TRACE}-more"), false),
        (format!("{TRACE}-"), false),
        (TRACE.replace("00-4", "ff-4"), false),
        (TRACE.to_uppercase(), false),
        (TRACE.replace(id, &"0".repeat(32)), false),
        (TRACE.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
        (TRACE.replace("-01", "-0"), false),
        (TRACE.replace("-01", "-0g"), false),
        (TRACE.replace('-', "_"), false),
        (TRACE.replace("00-4", "0x-4"), false),
        (format!(" {TRACE}"), false),
        (String::new(), false),
    ] {
        assert_eq!(TraceId::parse(text.as_bytes()).is_some(), valid, "{text}");
    }
    assert_eq!(trace().to_string(), id);
    let mut headers = HeaderMap::new();
    headers.append(TRACEPARENT, TRACE.parse().unwrap());
    assert_eq!(TraceId::of(&headers), Some(trace()));
    headers.append(TRACEPARENT, TRACE.parse().unwrap());
    assert_eq!(TraceId::of(&headers), None, "of two, neither is known to be right");
}

#[test]
fn a_minted_traceparent_is_valid_even_for_the_rarest_numbers() {
    for (random, span) in [(0, 0), (1, 1), (u128::MAX, u64::MAX), (0xabc, 0xdef)] {
        for sampled in [true, false] {
            let trace = TraceId::new(random);
            let text = traceparent(trace, span, sampled);
            assert_eq!(TraceId::parse(text.as_bytes()), Some(trace), "{text:?}");
            assert!(text.to_str().unwrap().ends_with(if sampled { "-01" } else { "-00" }));
        }
    }
}

proptest! {
    #[test]
    fn any_names_survive_the_way(
        entries in proptest::collection::vec(("[A-Za-z0-9._-]{1,20}", "[A-Za-z0-9._-]{1,8}"), 1..20),
    ) {
        let entries: Vec<(&str, &str)> = entries.iter().map(|(toggle, variant)| (&**toggle, &**variant)).collect();
        let read = decisions(&reading(&signed(&keyring(), &entries)));
        let read: Vec<(&str, &str)> = read.iter().map(|(toggle, variant)| (&**toggle, &**variant)).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn a_member_with_any_byte_changed_is_refused(
        place in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        entries in proptest::collection::vec(("[a-z.]{1,9}", "[a-z]{1,4}"), 1..5),
    ) {
        let entries: Vec<(&str, &str)> = entries.iter().map(|(toggle, variant)| (&**toggle, &**variant)).collect();
        let member = signed(&keyring(), &entries);
        let mut changed = member.clone().into_bytes();
        let place = 5 + place.index(changed.len() - 5);
        changed[place] = byte;
        prop_assume!(changed != member.as_bytes() && HeaderValue::from_bytes(&changed).is_ok());
        // White space around a value is not part of it; it is only cut from a member that is whole.
        let reading = read_at(&[&changed], Some(trace()), NOW);
        prop_assert!(matches!(reading, Reading::Refused(_)), "{:?}", reading);
    }

    #[test]
    fn a_member_cut_or_grown_anywhere_is_refused(place in any::<proptest::sample::Index>(), more in "[a-z0-9~]{1,9}") {
        let member = signed(&keyring(), &[("checkout-v2", "on"), ("search", "b")]);
        let place = 5 + place.index(member.len() - 5);
        let grown = format!("{}{more}{}", &member[..place], &member[place..]);
        for changed in [&member[..place], &grown] {
            prop_assert!(matches!(reading(changed), Reading::Refused(_)), "{}", changed);
        }
    }

    #[test]
    fn reading_and_rewriting_never_fail_on_any_bytes(
        baggage in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                "(weir=)?[ -~]{0,40}".prop_map(String::into_bytes),
                "weir=1~2026b~[0-9-]{0,22}(~[a-z.]{0,3}){0,9}".prop_map(String::into_bytes),
                "(weir)?[=;,~% \t]{0,20}".prop_map(String::into_bytes),
            ],
            0..6,
        ),
    ) {
        let sound: Vec<&[u8]> =
            baggage.iter().map(Vec::as_slice).filter(|text| HeaderValue::from_bytes(text).is_ok()).collect();
        let reading = read_at(&sound, Some(trace()), NOW);
        prop_assert!(!matches!(reading, Reading::Valid(_)));
        let mut headers = fields(&sound);
        let found = strip(&mut headers);
        prop_assert_eq!(found, reading != Reading::Absent);
        let left = read(&headers, &Terms { keyring: &keyring(), trace: None, now: NOW, max_age: 1 });
        prop_assert_eq!(left, Reading::Absent);
    }

    #[test]
    fn parsing_a_traceparent_never_fails_on_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert_eq!(TraceId::parse(&text), None);
    }

    #[test]
    fn a_traceparent_with_any_byte_changed_is_another_one_or_none(place in 0..55_usize, byte in any::<u8>()) {
        let mut text = TRACE.as_bytes().to_vec();
        text[place] = byte;
        let read = TraceId::parse(&text);
        prop_assert!(read.is_none() || read == Some(trace()) || (3..35).contains(&place));
    }
}
