//! Policies: what is done about an arm's endpoints that fail, and how much may be asked of it.

use std::time::Duration;

/// What one arm may cost, over all workers. Each is one key of the arm's `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArmLimits {
    /// Connections to its endpoints, in use or idle.
    pub connections_max: usize,
    /// Requests in flight.
    pub requests_max: usize,
    /// Requests that wait for a connection.
    pub pending_max: usize,
    /// Requests at once on one connection of HTTP/2.
    pub streams_max: usize,
}

/// When an endpoint that fails is left alone. Each is one key of the arm's `ejection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row: no connection, a broken exchange, no answer in time, or a 5xx.
    pub failures: u32,
    /// For how long the first time; it doubles with each further time, and varies by half.
    pub base: Duration,
    /// For how long at most.
    pub max: Duration,
    /// Percent of the arm's endpoints that may be left alone at once; of two or more always one, and
    /// never the last.
    pub share_max: u32,
}

/// How the load of an arm's endpoints is judged. Each is one key of the arm's `balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// In which the weight of an answer time that was seen falls to a third.
    pub decay: Duration,
    /// The answer time that a failure counts as, however soon it came.
    pub penalty: Duration,
}

/// What a route does about requests that fail. Each is one key of the route's `retries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often a request may be sent again.
    pub attempts: u32,
    /// After what.
    pub on: RetryOn,
    /// Whether requests are sent again whose method is not idempotent (RFC 9110 §9.2.2).
    pub any_method: bool,
    /// How long one try may take.
    pub per_try_timeout: Option<Duration>,
    /// How long the first retry waits at most; each further one twice as long.
    pub backoff_base: Duration,
    /// How long any retry waits at most.
    pub backoff_max: Duration,
    /// Bytes of a body that are kept for sending it again.
    pub body_bytes_max: usize,
}

/// How many retries the requests to one service may cause, for each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Percent of the requests.
    pub percent: u32,
    /// Retries a second besides, for services with few requests.
    pub per_second: u32,
    /// How long a request counts.
    pub window: Duration,
}

/// The failures after which a request is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection could be made.
    pub connect_failure: bool,
    /// The exchange broke before there was an answer.
    pub reset: bool,
    /// `per_try_timeout` was over.
    pub timeout: bool,
    /// Any 5xx.
    pub server_error: bool,
    /// 502, 503 or 504.
    pub gateway_error: bool,
}

/// Whether a service says by its status that it failed. Above 599 there are no statuses: one that answers so is taken to
/// have said 5xx (RFC 9110 §15).
#[must_use]
pub fn is_failure(status: http::StatusCode) -> bool {
    status.as_u16() >= 500
}

impl RetryOn {
    /// Whether an answer of this status is one of them.
    #[must_use]
    pub fn status(&self, status: http::StatusCode) -> bool {
        self.server_error && is_failure(status) || self.gateway_error && matches!(status.as_u16(), 502..=504)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn statuses_that_there_are_not_are_failures_but_of_no_gateway() {
        let both = RetryOn { server_error: true, gateway_error: true, ..RetryOn::default() };
        let gateway = RetryOn { server_error: false, ..both };
        for (code, failure, by_gateway) in
            [(499, false, false), (500, true, false), (503, true, true), (599, true, false), (600, true, false)]
        {
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(
                (is_failure(status), both.status(status), gateway.status(status)),
                (failure, failure, by_gateway)
            );
        }
    }
}
