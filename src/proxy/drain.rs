//! The drain, as the tasks of one worker wait for it. Every connection asks each time that it is woken; what all
//! workers are told by has a lock in it, which their requests would meet in.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

/// Whether a worker drains, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Drain {
    timeout: Cell<Option<Duration>>,
    waiting: RefCell<Slab<Waker>>,
}

/// Ready once the drain has begun, with the time that it leaves to what is in flight.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    drain: &'a Drain,
    place: Option<usize>,
}

impl Drain {
    /// Begins it.
    pub(super) fn begin(&self, timeout: Duration) {
        self.timeout.set(Some(timeout));
        self.waiting.borrow().iter().for_each(|(_, waker)| waker.wake_by_ref());
    }

    /// Whether it has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.timeout.get().is_some()
    }

    /// Waits for its begin.
    pub(super) fn begun(&self) -> Begun<'_> {
        Begun { drain: self, place: None }
    }
}

impl Future for Begun<'_> {
    type Output = Duration;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
        if let Some(timeout) = self.drain.timeout.get() {
            return Poll::Ready(timeout);
        }
        let mut waiting = self.drain.waiting.borrow_mut();
        match self.place {
            Some(place) => waiting[place].clone_from(cx.waker()),
            None => {
                let place = waiting.insert(cx.waker().clone());
                drop(waiting);
                self.place = Some(place);
            }
        }
        Poll::Pending
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.drain.waiting.borrow_mut().remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_told_and_who_comes_later_is_too() {
        let drain = Drain::default();
        {
            let mut given_up = drain.begun();
            let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut given_up).poll(cx)));
            assert!(polled.await.is_pending());
        }
        assert!(drain.waiting.borrow().is_empty(), "who waits no longer is forgotten");
        let timeout = Duration::from_secs(3);
        let ((), first, second) = tokio::join!(biased; async { drain.begin(timeout) }, drain.begun(), drain.begun());
        assert_eq!((first, second, drain.begun().await), (timeout, timeout, timeout));
        let drain = Drain::default();
        let told = tokio::join!(drain.begun(), drain.begun(), async { drain.begin(timeout) });
        assert_eq!(told, (timeout, timeout, ()));
    }
}
