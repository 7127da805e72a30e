//! Interim responses (RFC 9110 §15.2) on their way from an upstream to a client.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::wire::{ClientWire, UpstreamWire};

pin_project_lite::pin_project! {
    /// Waits for a final response, and passes on what comes before it.
    pub(super) struct Passing<F: Future> {
        #[pin]
        response: F,
        last: Option<Box<F::Output>>,
        upstream: Rc<UpstreamWire>,
        client: Option<Rc<ClientWire>>,
    }
}

/// Passes interim responses on while the final one is waited for. `client` is where they go; a client of
/// HTTP/1.0 must not get any.
pub(super) fn passing<F: Future>(
    response: F,
    upstream: Rc<UpstreamWire>,
    client: Option<Rc<ClientWire>>,
) -> Passing<F> {
    Passing { response, last: None, upstream, client }
}

impl<F: Future> Future for Passing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(last) = this.last.take() {
            return Poll::Ready(*last);
        }
        let response = this.response.poll(cx);
        let Some(client) = this.client else { return response };
        if let Some(interims) = this.upstream.take_interims(cx) {
            client.send_interims(&interims);
        }
        match response {
            // They are written when hyper flushes, which it does before it asks again.
            Poll::Ready(last) if client.has_interims() => {
                *this.last = Some(Box::new(last));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            response => response,
        }
    }
}
