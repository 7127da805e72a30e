//! Tenure: how long a client's connection is given requests, and how many. A fleet that balances by
//! connections is evened out by clients that come anew; they are asked to, between two requests, so that
//! none is cut. A connection that rests when its age is reached is closed.

use std::{cell::Cell, rc::Rc};

use tokio::time::Instant;

use super::worker::Worker;
use crate::telemetry::RetirementCause;

/// The part of `connection_age_max` by which a connection may end sooner: those that came together, as
/// after a restart, do not all come back at once.
const SOONER: f32 = 0.1;

/// What one connection has behind it. Its limits are those of the plan in force, so that a reload reaches
/// connections that stand.
#[derive(Debug)]
pub(super) struct Tenure {
    worker: Rc<Worker>,
    listener: usize,
    begun: Instant,
    /// The part of the greatest age that this one gets.
    part: f32,
    requests: Cell<u64>,
    over: Cell<bool>,
}

impl Tenure {
    /// Of a connection that stands since now.
    pub(super) fn begin(worker: &Rc<Worker>, listener: usize) -> Tenure {
        Tenure {
            worker: Rc::clone(worker),
            listener,
            begun: Instant::now(),
            part: 1.0 - SOONER * fastrand::f32(),
            requests: Cell::new(0),
            over: Cell::new(false),
        }
    }

    /// Counts a request; says whether it is to be the last one.
    pub(super) fn is_last(&self) -> bool {
        self.requests.set(self.requests.get() + 1);
        let (_, requests_max) = self.worker.tenure_max(self.listener);
        if requests_max.is_some_and(|max| self.requests.get() >= max) {
            return self.end(RetirementCause::Requests);
        }
        self.is_over()
    }

    /// Whether its age is reached; that is counted when it is first found.
    pub(super) fn is_over(&self) -> bool {
        self.ends_at().is_some_and(|end| end <= Instant::now() && self.end(RetirementCause::Age))
    }

    /// The end of its age, when that is before another moment.
    pub(super) fn at_most(&self, other: Instant) -> Instant {
        self.ends_at().map_or(other, |end| end.min(other))
    }

    fn ends_at(&self) -> Option<Instant> {
        let (age_max, _) = self.worker.tenure_max(self.listener);
        age_max.map(|max| self.begun + max.mul_f32(self.part))
    }

    /// Counted once, however often it is found.
    fn end(&self, cause: RetirementCause) -> bool {
        if !self.over.replace(true) {
            self.worker.cells().listeners[self.listener].retired(cause);
        }
        true
    }
}
