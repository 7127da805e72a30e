//! What travelling costs a request: reading a member, writing one, beginning a trace.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use weir::propagation::{BAGGAGE, Draft, Entry, Keyring, MEMBER_BYTES_MAX, Secret, Terms, TraceId, read, traceparent};

const NOW: i64 = 1_800_000_000;
const TOGGLES: [&str; 5] = ["checkout-v2", "search-rank", "orders-v2", "banner", "recommendations"];

fn member(keyring: &Keyring, trace: TraceId, toggles: &[&str]) -> String {
    let mut draft = Draft::new(keyring, NOW, MEMBER_BYTES_MAX);
    toggles.iter().for_each(|toggle| draft.add(Entry { toggle, variant: "on", reason: "split" }));
    draft.sign(trace).unwrap()
}

fn travelling(criterion: &mut Criterion) {
    let keyring = Keyring::new(Secret::new(None, &[b'x'; 32]).unwrap(), Vec::new());
    let trace = TraceId::new(7);
    for count in [1, 5] {
        let toggles = &TOGGLES[..count];
        criterion.bench_function(&format!("write a member of {count}"), |bencher| {
            bencher.iter(|| member(&keyring, black_box(trace), black_box(toggles)));
        });
        let mut headers = HeaderMap::new();
        headers.insert(BAGGAGE, member(&keyring, trace, toggles).try_into().unwrap());
        let terms = Terms { keyring: &keyring, trace: Some(trace), now: NOW, max_age: 60 };
        criterion.bench_function(&format!("read a member of {count}"), |bencher| {
            bencher.iter(|| read(black_box(&headers), &terms));
        });
    }
    criterion.bench_function("begin a trace", |bencher| {
        bencher.iter(|| traceparent(TraceId::new(fastrand::u128(..)), fastrand::u64(..), true));
    });
}

criterion_group!(benches, travelling);
criterion_main!(benches);
