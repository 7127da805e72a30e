//! Usage: how much of an arm's limits one worker uses. What is above a limit is refused at once.

use std::{cell::Cell, rc::Rc};

use tokio::{sync::Notify, time::Instant};

/// What requests to one arm use on one worker; it outlives the generations.
#[derive(Debug, Default)]
pub(super) struct Usage {
    requests: Cell<usize>,
    pending: Cell<usize>,
    freed: Notify,
}

/// The limit that refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The arm's `requests_max`.
    Requests,
    /// The arm's `pending_max`.
    Pending,
    /// The arm's `connections_max` or the process's `upstream_connections_max`, for as long as a request
    /// could wait.
    Connections,
}

/// One request to the arm.
#[derive(Debug)]
pub(super) struct Permit(Rc<Usage>);

/// One request that waits for a connection.
#[derive(Debug)]
pub(super) struct Pending<'a>(&'a Usage);

impl Usage {
    /// One more request, unless there are too many.
    pub(super) fn permit(self: &Rc<Self>, requests_max: usize) -> Result<Permit, Limit> {
        if self.requests.get() >= requests_max {
            return Err(Limit::Requests);
        }
        self.requests.set(self.requests.get() + 1);
        Ok(Permit(Rc::clone(self)))
    }

    /// One more request that waits, unless there are too many.
    pub(super) fn pending(&self, pending_max: usize) -> Result<Pending<'_>, Limit> {
        if self.pending.get() >= pending_max {
            return Err(Limit::Pending);
        }
        self.pending.set(self.pending.get() + 1);
        Ok(Pending(self))
    }

    /// Waits until a request to the arm ends, at most so long.
    pub(super) async fn freed(&self, until: Instant) {
        // Whoever waits looks again in any case.
        tokio::time::timeout_at(until, self.freed.notified()).await.ok();
    }

    /// A connection may be free: whoever waits looks for it.
    pub(super) fn free(&self) {
        if self.pending.get() > 0 {
            self.freed.notify_one();
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.set(self.0.pending.get() - 1);
    }
}

impl Permit {
    pub(super) fn usage(&self) -> &Usage {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
    }
}
