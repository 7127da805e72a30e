//! Shed: a tower layer that turns requests away at once when too many are in flight.
//!
//! tower's own `load_shed` over `concurrency_limit` ends a permit with the response's head; here it
//! lasts until the body has ended, since a request that streams is in flight.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::{Method, Request, Response};
use tower::{Layer, Service};

use super::{
    exchange::Exchange,
    rejection::{Manner, Rejection},
    reply::Reply,
    worker::Worker,
};

/// Wraps services that share a worker's count.
#[derive(Clone, Debug)]
pub(super) struct ShedLayer {
    worker: Rc<Worker>,
}

/// Counts requests in flight and turns away those above the limit.
#[derive(Clone, Debug)]
pub(super) struct Shed<S> {
    inner: S,
    worker: Rc<Worker>,
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct Permit(Rc<Worker>);

pin_project_lite::pin_project! {
    /// The answer to come.
    #[project = ShedAnswerProjection]
    pub(super) enum ShedAnswer<F> {
        /// It was turned away.
        Refused { response: Option<Box<Response<Reply>>> },
        /// It is being answered.
        Admitted { #[pin] answer: F, permit: Option<Permit> },
    }
}

impl ShedLayer {
    pub(super) fn new(worker: Rc<Worker>) -> ShedLayer {
        ShedLayer { worker }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, worker: Rc::clone(&self.worker) }
    }
}

impl Permit {
    fn take(worker: &Rc<Worker>) -> Option<Permit> {
        let in_flight: &Cell<usize> = worker.in_flight();
        if in_flight.get() >= worker.requests_max() {
            return None;
        }
        in_flight.set(in_flight.get() + 1);
        worker.cells().in_flight.rise();
        Some(Permit(Rc::clone(worker)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let in_flight = self.0.in_flight();
        in_flight.set(in_flight.get() - 1);
        self.0.cells().in_flight.fall();
    }
}

impl<S, B> Service<Request<B>> for Shed<S>
where
    S: Service<Request<B>, Response = Response<Reply>>,
{
    type Response = Response<Reply>;
    type Error = S::Error;
    type Future = ShedAnswer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> ShedAnswer<S::Future> {
        match Permit::take(&self.worker) {
            Some(permit) => ShedAnswer::Admitted { answer: self.inner.call(request), permit: Some(permit) },
            None => {
                let snapshot = self.worker.snapshot();
                let grpc = request.method() != Method::CONNECT && Manner::is_grpc(request.headers());
                let response = Rejection::Overloaded.into_response(snapshot.manner(grpc));
                Exchange::begin(snapshot).rejected(&Rejection::Overloaded);
                ShedAnswer::Refused { response: Some(Box::new(response)) }
            }
        }
    }
}

impl<F, E> Future for ShedAnswer<F>
where
    F: Future<Output = Result<Response<Reply>, E>>,
{
    type Output = Result<Response<Reply>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ShedAnswerProjection::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(*response)),
                None => Poll::Pending,
            },
            ShedAnswerProjection::Admitted { answer, permit } => {
                let response = ready!(answer.poll(cx))?;
                let permit = permit.take();
                Poll::Ready(Ok(response.map(|body| match permit {
                    Some(permit) => body.holding(permit),
                    None => body,
                })))
            }
        }
    }
}
