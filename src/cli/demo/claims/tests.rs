use super::*;
use crate::cli::demo::ledger::Entry;

/// Plays every scene with each user asking once; `answer` may lie about who answered.
fn played(answer: impl Fn(u64, usize, Arm) -> Arm) -> (Ledger, Script) {
    let script = Script::new().unwrap();
    let ledger = Ledger::new(&script);
    for generation in generation::TENTH..=generation::RESTORED {
        for user in 0..script.users().len() {
            let owed = script.arm(generation, user).unwrap();
            let arm = answer(generation, user, owed);
            ledger.answered(Entry { user, arm, generation, latency: Duration::from_millis(1), explained: arm == owed });
        }
    }
    (ledger, script)
}

fn sound(ledger: &Ledger) -> Findings {
    Findings {
        edits: 5,
        refusals: Refusals { sent: 20, refused: 20, echoed: 0, pointers: Vec::new() },
        broken_file: Some(BrokenFile { rejected: true, generation: generation::BETA, requests: 10, failures: 0 }),
        kill: Some(Duration::from_millis(90)),
        last_generation: 6,
        requests_seen: ledger.requests(),
        broken_seen: 0,
        took: Duration::from_secs(20),
    }
}

fn broken(ledger: &Ledger, script: &Script, findings: &Findings) -> Vec<String> {
    let claims = Claims::of(ledger, script, findings);
    let broken: Vec<String> =
        claims.claims.iter().filter(|claim| !claim.holds).map(|claim| claim.about.clone()).collect();
    assert_eq!(claims.hold(), broken.is_empty());
    broken
}

#[test]
fn what_went_as_configured_holds_and_fits_into_80_columns() {
    let (ledger, script) = played(|_, _, owed| owed);
    let findings = sound(&ledger);
    assert_eq!(broken(&ledger, &script, &findings), [""; 0]);
    let text = Claims::of(&ledger, &script, &findings).to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn nothing_measured_proves_nothing() {
    let script = Script::new().unwrap();
    let ledger = Ledger::new(&script);
    let held = |claims: &Claims<'_>| claims.claims.iter().filter(|claim| claim.holds).count();
    // That as many requests arrived as were sent, and that there were as many generations as edits.
    let findings = Findings { last_generation: 1, ..Findings::default() };
    assert_eq!(held(&Claims::of(&ledger, &script, &findings)), 2);
}

#[test]
fn a_single_wrong_answer_breaks_the_claims_it_touches() {
    let script = Script::new().unwrap();
    let on_canary_from_thirty =
        (0..script.users().len()).find(|&user| script.arm(generation::THIRTY, user) == Some(Arm::Canary)).unwrap();
    for (wrong, arm, expected) in [
        (
            generation::SIXTY,
            Arm::Stable,
            &["decisions against the arithmetic", "users on v2 at 60%", "users moved back by a raise"][..],
        ),
        (generation::KILLED, Arm::Canary, &["decisions against the arithmetic", "kill switch"]),
        (generation::RESTORED, Arm::Stable, &["decisions against the arithmetic", "same users on v2 after restoring"]),
    ] {
        let (ledger, script) = played(
            |generation, user, owed| {
                if (generation, user) == (wrong, on_canary_from_thirty) { arm } else { owed }
            },
        );
        assert_eq!(broken(&ledger, &script, &sound(&ledger)), expected);
    }
}

#[test]
fn every_finding_can_break_its_claim() {
    let (ledger, script) = played(|_, _, owed| owed);
    let sound = sound(&ledger);
    let file = BrokenFile { rejected: true, generation: generation::BETA, requests: 10, failures: 0 };
    let refusals = sound.refusals.clone();
    for (findings, expected) in [
        (Findings { last_generation: 7, ..sound.clone() }, "generations of the configuration"),
        (Findings { kill: Some(Duration::from_secs(3)), ..sound.clone() }, "kill switch"),
        (Findings { kill: None, ..sound.clone() }, "kill switch"),
        (Findings { broken_seen: 1, ..sound.clone() }, "broken payloads that got through"),
        (Findings { requests_seen: 1, ..sound.clone() }, "reached a service, once each"),
        (Findings { broken_file: None, ..sound.clone() }, "broken file"),
        (Findings { broken_file: Some(BrokenFile { rejected: false, ..file }), ..sound.clone() }, "broken file"),
        (Findings { broken_file: Some(BrokenFile { generation: 5, ..file }), ..sound.clone() }, "broken file"),
        (Findings { broken_file: Some(BrokenFile { failures: 1, ..file }), ..sound.clone() }, "broken file"),
        (Findings { refusals: Refusals { echoed: 1, ..refusals.clone() }, ..sound.clone() }, "broken payloads refused"),
        (Findings { refusals: Refusals { refused: 19, ..refusals }, ..sound.clone() }, "broken payloads refused"),
    ] {
        assert_eq!(broken(&ledger, &script, &findings), [expected]);
    }
    ledger.failed("502".to_owned());
    let findings = Findings { requests_seen: ledger.requests(), ..sound };
    assert_eq!(broken(&ledger, &script, &findings), ["failed requests"]);
}
