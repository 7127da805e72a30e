use super::*;
use crate::{
    identity::{Glance, sample::Visit},
    toggle::sample::equals,
};

/// Conditions that are true, false and unknown for an untrusted peer.
fn each(truth: Truth) -> Condition {
    match truth {
        Truth::True => equals("method", "GET"),
        Truth::False => equals("method", "PUT"),
        Truth::Unknown => equals("header:x-cohort", "beta"),
    }
}

const ALL: [Truth; 3] = [Truth::False, Truth::Unknown, Truth::True];

fn truth(condition: &Condition) -> Truth {
    Visit::with(&[("x-cohort", "beta")]).untrusted().see(|subject| condition.truth(&mut Glance::at(subject), false))
}

#[test]
fn what_is_unknown_stays_so_until_something_sure_decides() {
    for left in ALL {
        assert_eq!(truth(&each(left)), left);
        let not = truth(&Condition::Not(Box::new(each(left))));
        assert_eq!(not == Truth::True, left == Truth::False, "not {left:?}");
        assert_eq!(not == Truth::Unknown, left == Truth::Unknown, "not {left:?}");
        for right in ALL {
            assert_eq!(
                truth(&Condition::All(vec![each(left), each(right)])),
                left.min(right),
                "{left:?} and {right:?}"
            );
            assert_eq!(truth(&Condition::Any(vec![each(left), each(right)])), left.max(right), "{left:?} or {right:?}");
        }
    }
}

#[test]
fn leaving_a_claim_out_gains_an_untrusted_peer_nothing() {
    let not_beta = Condition::Not(Box::new(equals("header:x-cohort", "beta")));
    let absent = Condition::Attribute { attr: Arc::new("header:x-cohort".parse().unwrap()), test: Test::Exists(false) };
    for condition in [not_beta, absent] {
        for (visit, anyone, expected) in [
            (Visit::new(), false, true),
            (Visit::new().untrusted(), false, false),
            (Visit::new().untrusted(), true, true),
        ] {
            let holds = visit.see(|subject| condition.holds(&mut Glance::at(subject), anyone));
            assert_eq!(holds, expected, "{condition:?} {visit:?} anyone={anyone}");
        }
    }
}

#[test]
fn a_segment_is_the_condition_that_it_names() {
    for truth_of in ALL {
        let segment = Segment { name: "s".into(), when: each(truth_of) };
        assert_eq!(truth(&Condition::Segment(Arc::new(segment))), truth_of);
    }
}
