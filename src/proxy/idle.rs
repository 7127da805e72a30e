//! Deadlines between the pieces of what passes, and the least rate that a sender may have.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::body::Progress;
use crate::plan::Timeouts;

/// A deadline between two pieces. The timer is made when a piece is first waited for.
#[derive(Debug)]
pub(super) struct IdleTimer {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Since when a piece is waited for.
    since: Option<Instant>,
    /// Where a piece in either direction will do, and how many there were when the wait began.
    either: Option<(Progress, u64)>,
    rate: Option<Box<Rate>>,
}

/// What a body has to bring for the time that it is waited for: looked at each half of a period, over the last two, so
/// that no haste of the past pays for delay. The time that its receiver takes does not count.
#[derive(Debug)]
struct Rate {
    half: Duration,
    /// Bytes of a whole period.
    bytes_min: u64,
    /// Since when it is waited for.
    since: Option<Instant>,
    /// Waited in this half.
    waited: Duration,
    bytes: u64,
    /// Bytes of the half before.
    before: Option<u64>,
    /// It holds until the answer begins: what goes both ways from then on is a conversation.
    until_answered: Option<Progress>,
}

impl IdleTimer {
    pub(super) fn new(after: Duration) -> IdleTimer {
        IdleTimer { after, sleep: None, since: None, either: None, rate: None }
    }

    /// For a request's body: one of known length is held to `body_idle`, another to `stream_idle`, in which a piece in
    /// either direction will do; both to `rate_min` bytes a second, unless the other is a stream of gRPC, whose
    /// messages come when there is something to say.
    pub(super) fn of_request(
        known: bool,
        grpc: bool,
        timeouts: &Timeouts,
        rate_min: u64,
        progress: &Progress,
    ) -> IdleTimer {
        let until_answered = (!known).then(|| progress.clone());
        let rate = (known || !grpc).then(|| Rate::new(timeouts.body_idle, rate_min, until_answered)).flatten();
        IdleTimer { rate, ..IdleTimer::of_stream(known, timeouts, progress) }
    }

    /// For a response's body: likewise, but that one of unknown length has no rate: events come when they happen.
    pub(super) fn of_response(known: bool, timeouts: &Timeouts, rate_min: u64, progress: &Progress) -> IdleTimer {
        let rate = known.then(|| Rate::new(timeouts.body_idle, rate_min, None)).flatten();
        IdleTimer { rate, ..IdleTimer::of_stream(known, timeouts, progress) }
    }

    fn of_stream(known: bool, timeouts: &Timeouts, progress: &Progress) -> IdleTimer {
        if known {
            return IdleTimer::new(timeouts.body_idle);
        }
        IdleTimer { either: Some((progress.clone(), 0)), ..IdleTimer::new(timeouts.stream_idle) }
    }

    /// How long it waits.
    pub(super) fn after(&self) -> Duration {
        self.after
    }

    /// A piece came.
    pub(super) fn reset(&mut self) {
        self.came(0);
    }

    /// A piece of so many bytes came.
    pub(super) fn came(&mut self, length: usize) {
        self.since = None;
        if let Some((progress, _)) = &self.either {
            progress.stir();
        }
        if let Some(rate) = &mut self.rate {
            rate.came(length);
        }
    }

    /// Nothing is there yet: ready when nothing, or too little, came for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let now = Instant::now();
            self.wait_from(now);
            self.arm(now);
        }
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            let now = Instant::now();
            if self.rate.as_mut().is_some_and(|rate| rate.is_missed(now)) {
                return Poll::Ready(());
            }
            if self.since.is_some_and(|since| now >= since + self.after) {
                if self.either.as_ref().is_none_or(|(progress, pieces)| progress.pieces() == *pieces) {
                    return Poll::Ready(());
                }
                self.wait_from(now);
            }
            self.arm(now);
        }
    }

    fn wait_from(&mut self, now: Instant) {
        self.since = Some(now);
        if let Some((progress, pieces)) = &mut self.either {
            *pieces = progress.pieces();
        }
    }

    /// Sets the timer to what is looked at next.
    fn arm(&mut self, now: Instant) {
        let idle = self.since.unwrap_or(now) + self.after;
        let next = self.rate.as_mut().map_or(idle, |rate| rate.next(now).min(idle));
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(next),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(next))),
        }
    }
}

impl Rate {
    fn new(period: Duration, rate_min: u64, until_answered: Option<Progress>) -> Option<Box<Rate>> {
        let bytes_min = u64::try_from(u128::from(rate_min) * period.as_millis() / 1000).unwrap_or(u64::MAX);
        (rate_min > 0).then(|| {
            Box::new(Rate {
                half: period / 2,
                bytes_min,
                since: None,
                waited: Duration::ZERO,
                bytes: 0,
                before: None,
                until_answered,
            })
        })
    }

    fn came(&mut self, length: usize) {
        self.bytes += length as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// When a half ends that is waited through from now on.
    fn next(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        since + self.half.saturating_sub(self.waited)
    }

    /// Whether a half has ended, and too little came in it and the one before.
    fn is_missed(&mut self, now: Instant) -> bool {
        let waited = self.waited + self.since.map_or(Duration::ZERO, |since| now - since);
        if waited < self.half {
            return false;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let before = self.before.replace(bytes);
        (self.since, self.waited) = (Some(now), Duration::ZERO);
        let holds = self.until_answered.as_ref().is_none_or(|progress| !progress.is_answered());
        holds && before.is_some_and(|before| before + bytes < self.bytes_min)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timeouts() -> Timeouts {
        Timeouts { body_idle: 60 * SECOND, stream_idle: 300 * SECOND, ..crate::plan::sample::timeouts() }
    }

    /// Seconds until a body is given up of which `piece` bytes come every `every` seconds; at most an hour.
    async fn given_up(timer: &mut IdleTimer, every: u64, piece: usize) -> u64 {
        let begun = Instant::now();
        while begun.elapsed() < 3600 * SECOND {
            let next = tokio::time::timeout(Duration::from_secs(every), poll_fn(|cx| timer.poll(cx)));
            if next.await.is_ok() {
                break;
            }
            timer.came(piece);
        }
        begun.elapsed().as_secs().min(3600)
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_is_held_to_its_rate_whether_its_length_is_known_or_not() {
        for (known, grpc, every, piece, seconds) in [
            // 64 bytes a second are 3,840 in a period, which five of its pieces may have to bring.
            (true, false, 10, 768, 3600),
            (true, false, 10, 639, 60),
            (false, false, 10, 768, 3600),
            (false, false, 10, 639, 60),
            (false, false, 1, 1, 60),
            // All at once, and then nothing.
            (true, false, 59, 64 * 60, 3600),
            (true, false, 61, 1 << 20, 60),
            (false, false, 61, 1 << 20, 60),
            // A conversation.
            (false, true, 10, 1, 3600),
            (false, true, 301, 1 << 20, 300),
            (true, true, 10, 1, 60),
        ] {
            let mut timer = IdleTimer::of_request(known, grpc, &timeouts(), 64, &Progress::default());
            let given_up = given_up(&mut timer, every, piece).await;
            assert_eq!(given_up, seconds, "known: {known}, grpc: {grpc}, {piece} every {every}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn haste_of_the_past_pays_for_no_delay() {
        let mut timer = IdleTimer::of_request(true, false, &timeouts(), 64, &Progress::default());
        timer.came(1 << 30);
        assert_eq!(given_up(&mut timer, 1, 1).await, 90, "a half of it, and then two of too little");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_receiver_takes_does_not_count() {
        let mut timer = IdleTimer::of_request(false, false, &timeouts(), 64, &Progress::default());
        for _ in 0..100 {
            // Nothing is asked of the sender meanwhile.
            tokio::time::advance(100 * SECOND).await;
            timer.came(1);
        }
        assert_eq!(given_up(&mut timer, 1, 1).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_go_on_and_requests_that_are_answered_have_no_rate() {
        let progress = Progress::default();
        let mut events = IdleTimer::of_response(false, &timeouts(), 64, &progress);
        assert_eq!(given_up(&mut events, 100, 1).await, 3600);
        let mut download = IdleTimer::of_response(true, &timeouts(), 64, &progress);
        assert_eq!(given_up(&mut download, 10, 1).await, 60);
        progress.answer();
        let mut upload = IdleTimer::of_request(false, false, &timeouts(), 64, &progress);
        assert_eq!(given_up(&mut upload, 100, 1).await, 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_none() {
        let mut timer = IdleTimer::of_request(false, false, &timeouts(), 0, &Progress::default());
        assert_eq!(given_up(&mut timer, 100, 1).await, 3600);
    }
}
