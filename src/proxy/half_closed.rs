//! Clients that send no more: they may wait for their answers (RFC 9112 §9.6), or be gone. TCP shows both alike, until
//! something is written to who is gone.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// A client that sends no more and waits for answers.
#[derive(Debug)]
pub(super) struct HalfClosed {
    within: Duration,
    over: Pin<Box<Sleep>>,
    /// It took something since it was last looked at.
    took: bool,
    /// It does not take what is to be written: who is gone would have refused it.
    blocked: bool,
}

impl HalfClosed {
    /// It is waited for as long as it takes something, or nothing came to be written for `within`.
    pub(super) fn begin(within: Duration) -> HalfClosed {
        HalfClosed { within, over: Box::pin(tokio::time::sleep(within)), took: false, blocked: false }
    }

    /// Something was written to it, or is to be.
    pub(super) fn wrote<T>(&mut self, written: &Poll<T>) {
        self.blocked = written.is_pending();
        self.took |= written.is_ready();
    }

    /// Ready when it is taken to be gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.over.as_mut().poll(cx));
            if !std::mem::take(&mut self.took) && !self.blocked {
                return Poll::Ready(());
            }
            self.over.as_mut().reset(Instant::now() + self.within);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_what_is_written_is_waited_for_longer() {
        let within = Duration::from_secs(5);
        for (written, seconds) in [(None, 5), (Some(Poll::Ready(())), 10)] {
            let begun = Instant::now();
            let mut client = HalfClosed::begin(within);
            if let Some(written) = written {
                client.wrote(&written);
            }
            poll_fn(|cx| client.poll_gone(cx)).await;
            assert_eq!(begun.elapsed().as_secs(), seconds, "{written:?}");
        }
        let mut client = HalfClosed::begin(within);
        client.wrote(&Poll::<()>::Pending);
        let gone = tokio::time::timeout(Duration::from_secs(60), poll_fn(|cx| client.poll_gone(cx)));
        assert!(gone.await.is_err(), "it reads slowly, which `body_idle` judges");
    }
}
