//! Tries: how often one request is sent, why again, and how that is counted.

use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::Instant;
use tower::retry::budget::{Budget, TpsBudget};

use super::{connect::ConnectError, spare::Spare};
use crate::{
    plan::{Retries, RetryBudget},
    proxy::body::Outbound,
    telemetry::{Attempt, LaneCells, Retried},
};

/// The tries of one request. Its first one is counted apart from those that follow, so that no retry hides
/// how an arm does.
pub(super) struct Tries<'a> {
    cells: &'a LaneCells,
    retries: Option<&'a Retries>,
    budget: &'a TpsBudget,
    first: bool,
    done: u32,
    replayed: bool,
    by_stand_in: bool,
}

/// A service's retries that are left.
pub(super) fn budget(budget: RetryBudget) -> TpsBudget {
    #[expect(clippy::cast_precision_loss, reason = "a percentage is at most 100")]
    let share = budget.percent as f32 / 100.0;
    TpsBudget::new(budget.window, budget.per_second, share)
}

impl<'a> Tries<'a> {
    /// A request whose method lets it be retried, where `retries` are configured.
    pub(super) fn begin(cells: &'a LaneCells, retries: Option<&'a Retries>, budget: &'a TpsBudget) -> Tries<'a> {
        if retries.is_some() {
            budget.deposit();
        }
        Tries { cells, retries, budget, first: true, done: 0, replayed: false, by_stand_in: false }
    }

    pub(super) fn retries(&self) -> Option<&'a Retries> {
        self.retries
    }

    /// How long one try may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.retries?.per_try_timeout
    }

    /// A try ended so.
    pub(super) fn ended(&mut self, attempt: Attempt) {
        if std::mem::take(&mut self.first) {
            self.cells.first_attempt(attempt);
        } else if !self.by_stand_in {
            self.cells.retried(if attempt == Attempt::Answered { Retried::Answered } else { Retried::Failed });
        }
    }

    /// Whether a request that was not processed may be sent once more, which no configuration has to allow.
    pub(super) fn may_replay(&mut self) -> bool {
        let may = !std::mem::replace(&mut self.replayed, true);
        if may {
            self.cells.retried(Retried::Replayed);
        }
        may
    }

    /// Whether the configuration wants another try after this.
    pub(super) fn wants(&self, attempt: Attempt, status: Option<StatusCode>) -> bool {
        let Some(Retries { attempts, on, .. }) = self.retries else { return false };
        let wanted = match (attempt, status) {
            (_, Some(status)) => on.status(status),
            (Attempt::ConnectFailed | Attempt::ConnectTimeout | Attempt::TlsFailed | Attempt::Unhealthy, _) => {
                on.connect_failure
            }
            (Attempt::Broken, _) => on.reset,
            (Attempt::TimedOut, _) => on.timeout,
            (Attempt::Answered | Attempt::ServerError | Attempt::Limited, _) => false,
        };
        wanted && self.done < *attempts
    }

    /// Makes the request ready for another try and waits for its turn; `false` when too little is left of it, or no
    /// turn comes.
    pub(super) async fn again(&mut self, request: &mut Request<Outbound>, spare: &Spare, deadline: Instant) -> bool {
        // Not before its turn comes: what is still sent of it, and may be answered after all, would end there.
        if spare.is_whole() && !self.wait(deadline).await {
            return false;
        }
        let whole = spare.restore(request);
        if !whole {
            self.cells.retried(Retried::NotReplayable);
        }
        whole
    }

    /// Another arm stands in: how this one did is all that is counted.
    pub(super) fn stood_in(&mut self, attempt: Attempt) {
        if std::mem::take(&mut self.first) {
            self.cells.first_attempt(attempt);
        }
        self.by_stand_in = true;
    }

    /// Whether the next connection has to be a new one: the last one was stale.
    pub(super) fn needs_fresh(&self) -> bool {
        self.replayed
    }

    /// Takes a retry from the budget and waits for its turn; `false` when none is left, or no time.
    pub(super) async fn wait(&mut self, deadline: Instant) -> bool {
        if !self.budget.withdraw() {
            self.cells.retried(Retried::BudgetExhausted);
            return false;
        }
        let longest = self.retries.map_or(Duration::ZERO, |retries| longest_wait(retries, self.done));
        self.done += 1;
        let turn = Instant::now() + longest.mul_f64(fastrand::f64());
        if turn >= deadline {
            return false;
        }
        tokio::time::sleep_until(turn).await;
        true
    }
}

/// How long the retry after so many others waits at most.
fn longest_wait(retries: &Retries, done: u32) -> Duration {
    // Attempts are few, so that this is far from overflowing.
    retries.backoff_base.saturating_mul(1 << done.min(16)).min(retries.backoff_max)
}

/// How a try without a connection ended.
pub(super) fn unconnected(error: &ConnectError) -> Attempt {
    match error {
        ConnectError::Failed(_) | ConnectError::Loop(_) => Attempt::ConnectFailed,
        ConnectError::TimedOut => Attempt::ConnectTimeout,
        ConnectError::Tls(_) | ConnectError::TlsTimedOut => Attempt::TlsFailed,
        ConnectError::NoneHealthy => Attempt::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RetryOn;

    #[test]
    fn each_retry_waits_up_to_twice_as_long_until_the_longest() {
        let retries = Retries {
            attempts: 10,
            on: RetryOn::default(),
            any_method: false,
            per_try_timeout: None,
            backoff_base: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            body_bytes_max: 0,
        };
        for (done, millis) in [(0, 25), (1, 50), (2, 100), (3, 200), (4, 250), (9, 250), (u32::MAX, 250)] {
            assert_eq!(longest_wait(&retries, done), Duration::from_millis(millis), "after {done}");
        }
    }
}
