//! The ledger: what was measured of every request. The load writes it, view and claims read it.
//!
//! *Invariants*
//! - Every request is entered exactly once: as an answer or as a failure.
//! - An answer stands under the generation that decided it, so nothing depends on the moment at which
//!   an edit came into force.

use std::{
    collections::BTreeSet,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    latency::Latencies,
    scene::{Arm, Script},
};

/// What was measured.
#[derive(Debug)]
pub(super) struct Ledger {
    opened: Instant,
    generations: Vec<Chapter>,
    latencies: [Latencies; 2],
    requests: AtomicU64,
    failures: AtomicU64,
    first_failure: OnceLock<String>,
    unexplained: AtomicU64,
    last_canary_us: AtomicU64,
}

/// One generation.
#[derive(Debug)]
struct Chapter {
    /// When its first answer came; `u64::MAX` until then.
    first_us: AtomicU64,
    /// By user, then by arm.
    answers: Vec<[AtomicU32; 2]>,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The user's place.
    pub(super) user: usize,
    /// Who answered.
    pub(super) arm: Arm,
    /// The generation that decided so.
    pub(super) generation: u64,
    /// From sending the request to the end of the answer.
    pub(super) latency: Duration,
    /// Whether the arithmetic gives the same arm.
    pub(super) explained: bool,
}

impl Ledger {
    pub(super) fn new(script: &Script) -> Ledger {
        let chapter = |_| Chapter {
            first_us: AtomicU64::new(u64::MAX),
            answers: script.users().iter().map(|_| Default::default()).collect(),
        };
        Ledger {
            opened: Instant::now(),
            generations: (0..script.generations()).map(chapter).collect(),
            latencies: Default::default(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            first_failure: OnceLock::new(),
            unexplained: AtomicU64::new(0),
            last_canary_us: AtomicU64::new(0),
        }
    }

    /// Enters an answer that has just come.
    pub(super) fn answered(&self, entry: Entry) {
        let now_us = self.now_us();
        self.requests.fetch_add(1, Relaxed);
        self.latencies[entry.arm.index()].record(entry.latency);
        if entry.arm == Arm::Canary {
            self.last_canary_us.fetch_max(now_us, Relaxed);
        }
        if !entry.explained {
            self.unexplained.fetch_add(1, Relaxed);
        }
        if let Some(chapter) = self.chapter(entry.generation) {
            chapter.first_us.fetch_min(now_us, Relaxed);
            chapter.answers[entry.user][entry.arm.index()].fetch_add(1, Relaxed);
        }
    }

    /// Enters a request that was not answered as it should.
    pub(super) fn failed(&self, why: String) {
        self.requests.fetch_add(1, Relaxed);
        self.failures.fetch_add(1, Relaxed);
        self.first_failure.get_or_init(|| why);
    }

    /// The time since the ledger was opened, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(super) fn first_failure(&self) -> Option<&str> {
        self.first_failure.get().map(String::as_str)
    }

    /// Answers by an arm that the arithmetic does not give.
    pub(super) fn unexplained(&self) -> u64 {
        self.unexplained.load(Relaxed)
    }

    pub(super) fn latencies(&self, arm: Arm) -> &Latencies {
        &self.latencies[arm.index()]
    }

    /// When the generation gave its first answer.
    pub(super) fn first_us(&self, generation: u64) -> Option<u64> {
        let first_us = self.chapter(generation)?.first_us.load(Relaxed);
        (first_us != u64::MAX).then_some(first_us)
    }

    /// When the canary gave its last answer so far; 0 when it gave none.
    pub(super) fn last_canary_us(&self) -> u64 {
        self.last_canary_us.load(Relaxed)
    }

    /// The users whom the arm answered under the generation.
    pub(super) fn users_on(&self, generation: u64, arm: Arm) -> BTreeSet<usize> {
        self.users(generation, |answers| answers[arm.index()].load(Relaxed) > 0)
    }

    /// The users who had any answer under the generation.
    pub(super) fn users_seen(&self, generation: u64) -> BTreeSet<usize> {
        self.users(generation, |answers| answers.iter().any(|count| count.load(Relaxed) > 0))
    }

    /// The canary's share of the answers under the generation.
    pub(super) fn canary_share(&self, generation: u64) -> f64 {
        let counts = |arm: Arm| -> u32 {
            let answers = self.chapter(generation).map_or(&[][..], |chapter| &chapter.answers);
            answers.iter().map(|answers| answers[arm.index()].load(Relaxed)).sum()
        };
        let [stable, canary] = Arm::ALL.map(counts);
        f64::from(canary) / f64::from((stable + canary).max(1))
    }

    fn users(&self, generation: u64, wanted: impl Fn(&[AtomicU32; 2]) -> bool) -> BTreeSet<usize> {
        let answers = self.chapter(generation).map_or(&[][..], |chapter| &chapter.answers);
        answers.iter().enumerate().filter(|(_, answers)| wanted(answers)).map(|(user, _)| user).collect()
    }

    fn chapter(&self, generation: u64) -> Option<&Chapter> {
        self.generations.get(usize::try_from(generation).ok()?.checked_sub(1)?)
    }
}
