//! Seeds: what is tried again and again, each time otherwise.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

/// Seeds that are tried at once: most of their time is waiting.
const AT_ONCE: usize = 4;

/// A number that the environment sets.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value:?}")))
}

/// Tries so many seeds, or as many as `WEIR_SEEDS` says, or the one of `WEIR_SEED` alone, and tells all that
/// went wrong with each.
pub(crate) fn every_seed(many: u64, complaint: impl Fn(u64) -> Option<String> + Sync) {
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEIR_SEEDS").unwrap_or(many),
    };
    let (found, complaints) = mpsc::channel();
    thread::scope(|scope| {
        for place in 0..AT_ONCE {
            let (seeds, found, complaint) = (seeds.clone().skip(place).step_by(AT_ONCE), found.clone(), &complaint);
            scope.spawn(move || {
                for seed in seeds {
                    let tried = catch_unwind(AssertUnwindSafe(|| complaint(seed)));
                    let complaint = tried.unwrap_or_else(|_panic| Some("it panicked, as said above".to_owned()));
                    if let Some(complaint) = complaint {
                        found.send(format!("WEIR_SEED={seed}: {complaint}")).unwrap();
                    }
                }
            });
        }
    });
    drop(found);
    let complaints: Vec<String> = complaints.iter().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
