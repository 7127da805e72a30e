//! Turns: a task that could go on lets everybody else on its worker go on first.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// The turn of all others: those that can go on do, and what came for them meanwhile is looked at.
pub(super) struct Turn(Pin<Box<dyn Future<Output = ()>>>);

impl Turn {
    pub(super) fn of_others() -> Turn {
        Turn(Box::pin(tokio::task::yield_now()))
    }

    /// Ready when they had it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}
