//! Connections of HTTP/2 to endpoints. Each has a task that reads and writes its socket; whoever asks for something on it
//! says so to its session, and waits for the answer there.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    broken::{Broken, Unprocessed, UpstreamFault},
    wire::{Carrier, Line},
};
use crate::{
    plan::{Limits, Timeouts},
    proxy::{
        body::{BodyFailed, Outbound},
        framing::{Bounds, judge_response},
        http2::{
            Driver, Inflow, Linger, Outflow, Protocol, Question, Session, Shared, StreamFault, Terms, Told, Unsaid,
            half,
        },
        interim::Interims,
        received::{BodyFault, Received},
        tunnel::Half,
    },
};

/// What a connection is held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) terms: Terms,
    pub(super) interims_max: usize,
    /// How long a service may take nothing of what is sent.
    pub(super) unread_for: Duration,
    /// How long it may be silent while requests are under way, and then take to give a sign of life.
    pub(super) ping: Duration,
    pub(super) pong: Duration,
    pub(super) linger: Linger,
}

/// A connection. Dropped, the service is told, and it is closed.
#[derive(Debug)]
pub(super) struct Http2 {
    session: Shared,
    line: Rc<Line>,
    unread_for: Duration,
    https: bool,
}

/// A request on its way. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Call {
    inflow: Inflow,
    /// What is left of the request.
    outflow: Option<Outflow>,
    /// It is a tunnel that is asked for: nothing is sent before its service agrees.
    tunnel: bool,
    /// The service was asked whether it wants the body. One that says nothing for so long is taken not to know what was
    /// asked (RFC 9110 §10.1.1).
    asks: Option<Pin<Box<Sleep>>>,
    /// Some of the body was taken.
    touched: bool,
}

/// What follows the head of an answer. Dropped before its end, the request is given up; one that was answered as a whole is
/// sent to its end all the same.
#[derive(Debug)]
pub(super) enum Answer {
    /// A body; and where the service did not ask for that of the request, what would have brought it.
    Body(Received, Option<Outflow>),
    /// The tunnel that was asked for.
    Tunnel(Inflow, Outflow),
}

/// Why there is no answer.
enum Failure {
    Request(BodyFailed),
    Answer(BodyFault),
}

impl Http2 {
    /// Begins one, in clear or in TLS.
    pub(super) fn begin(carrier: Carrier, line: Rc<Line>, rules: &Rules) -> Http2 {
        let Rules { terms, interims_max, unread_for, ping, pong, linger } = *rules;
        let https = matches!(carrier, Carrier::Tls(_));
        let session = Rc::new(RefCell::new(Session::with_service(terms, interims_max)));
        let driver = Driver::new(carrier, Rc::clone(&session), unread_for, linger);
        // It ends when the service closes, or soon after nobody asks for anything any more.
        tokio::task::spawn_local(drive(driver, Rc::clone(&session), ping, pong));
        Http2 { session, line, unread_for, https }
    }

    /// Whether it may carry another request: it was not told to go away, and is not closed, as far as the runtime has
    /// heard. To be `sure` the kernel is asked.
    pub(super) fn takes_requests(&self, sure: bool) -> bool {
        self.session.borrow().takes_requests() && (!sure || self.line.is_open())
    }

    /// How many requests it may carry at once.
    pub(super) fn streams_max(&self) -> usize {
        self.session.borrow().streams_max()
    }

    /// How often something came on it.
    pub(super) fn heard(&self) -> u64 {
        self.session.borrow().heard()
    }

    /// Sends the head of a request, whose service is named by its `authority` where its client, of HTTP/1.0, named none;
    /// what else there is of it stays until it is waited for. A service that is asked for the body first has `patience`
    /// to say so.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) async fn call(
        &self,
        request: &Request<Outbound>,
        authority: &str,
        patience: Duration,
    ) -> Result<Call, Broken> {
        let protocol = request.extensions().get::<Protocol>().cloned();
        if protocol.is_some() && !poll_fn(|cx| self.session.borrow_mut().poll_takes_tunnels(cx)).await {
            return Err(Broken::no_tunnels());
        }
        let all = protocol.is_none() && request.body().is_end_stream();
        let told = request.headers().contains_key(header::CONTENT_LENGTH);
        let question = Question {
            method: request.method(),
            scheme: if self.https { "https" } else { "http" },
            authority: request.headers().get(header::HOST).map_or(authority.as_bytes(), HeaderValue::as_bytes),
            path: request.uri().path_and_query().map_or("/", |path| path.as_str()),
            protocol: protocol.as_ref().map(Protocol::as_str),
            fields: request.headers(),
            length: request.body().size_hint().exact().filter(|_| !all && !told && protocol.is_none()),
        };
        let key = self.session.borrow_mut().ask(&question, all).map_err(Broken::unsent)?;
        let inflow = Inflow::new(&self.session, key);
        let outflow = (!all).then(|| Outflow::new(&self.session, key, self.unread_for));
        let asks = !all && protocol.is_none() && request.headers().contains_key(header::EXPECT);
        Ok(Call {
            inflow,
            outflow,
            tunnel: protocol.is_some(),
            asks: asks.then(|| Box::pin(tokio::time::sleep(patience))),
            touched: false,
        })
    }
}

impl Call {
    /// Sends what is left of the request and gives the head of its answer, and what follows; the heads of interim ones go
    /// to the client meanwhile. What is still sent then keeps the request's `seat` on its connection, which was `reused`
    /// if it had carried a request before.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) async fn answer<P: Clone + fmt::Debug + 'static>(
        mut self,
        request: &mut Request<Outbound>,
        interims: Option<&Interims>,
        bounds: &Bounds,
        (seat, reused): (&P, bool),
    ) -> Result<(Response<()>, Answer), Broken> {
        let told = poll_fn(|cx| self.poll_answer(cx, request.body_mut(), interims, bounds)).await;
        let Told { status, fields } = told.map_err(|failure| self.broken(failure, reused))?;
        judge_response(&fields, bounds).map_err(Broken::malformed)?;
        let mut response = Response::new(());
        (*response.status_mut(), *response.version_mut()) = (status, Version::HTTP_2);
        *response.headers_mut() = fields;
        let Call { inflow, outflow, tunnel, asks, .. } = self;
        let answer = match outflow {
            Some(outflow) if tunnel && status == StatusCode::OK => Answer::Tunnel(inflow, outflow),
            Some(unwanted) if asks.is_some() => Answer::Body(Received::of_http2(inflow, bounds), Some(unwanted)),
            rest => {
                if let Some(outflow) = rest {
                    outflow.go_on(std::mem::take(request.body_mut()), seat.clone());
                }
                Answer::Body(Received::of_http2(inflow, bounds), None)
            }
        };
        Ok((response, answer))
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Outbound,
        interims: Option<&Interims>,
        bounds: &Bounds,
    ) -> Poll<Result<Told, Failure>> {
        loop {
            self.poll_send(cx, body).map_err(Failure::Request)?;
            let told = ready!(self.inflow.poll_told(cx)).map_err(Failure::Answer)?;
            if told.status == StatusCode::CONTINUE && self.asks.take().is_some() {
                continue;
            }
            if !told.status.is_informational() {
                if told.status.is_success() && self.asks.take().is_some() {
                    // It goes on to read. Once its answer is passed on, the client cannot be asked any more.
                    self.poll_send(cx, body).map_err(Failure::Request)?;
                }
                return Poll::Ready(Ok(told));
            }
            judge_response(&told.fields, bounds).map_err(|flaw| Failure::Answer(BodyFault::Flawed(flaw)))?;
            if let Some(client) = interims {
                client.say(told.status, told.fields);
            }
        }
    }

    /// Sends on. What the stream does not take any more is left: an answer may still come, and else it is told why.
    fn poll_send(&mut self, cx: &mut Context<'_>, body: &mut Outbound) -> Result<(), BodyFailed> {
        if self.asks.as_mut().is_some_and(|patience| patience.as_mut().poll(cx).is_pending()) {
            return Ok(());
        }
        self.asks = None;
        let Some(outflow) = self.outflow.as_mut().filter(|_| !self.tunnel) else { return Ok(()) };
        self.touched = true;
        match outflow.poll_body(cx, body) {
            Poll::Pending => {}
            Poll::Ready(Err(Unsaid::Body(failed))) => return Err(failed),
            Poll::Ready(_) => self.outflow = None,
        }
        Ok(())
    }

    fn broken(&self, failure: Failure, reused: bool) -> Broken {
        let unsent = reused && self.inflow.is_unsent();
        let fault = match failure {
            Failure::Request(failed) => return Broken::by(UpstreamFault::Request(failed)),
            Failure::Answer(BodyFault::Flawed(flaw)) => return Broken::malformed(flaw),
            Failure::Answer(BodyFault::Stream(fault)) => fault,
            // Those are of HTTP/1.
            Failure::Answer(BodyFault::Closed | BodyFault::Lost(_)) => StreamFault::Closed,
        };
        let unprocessed = match fault {
            _ if unsent || fault.is_unprocessed() => Unprocessed::Surely,
            // The service may have closed the connection before.
            _ if reused && fault.is_lost() && self.inflow.is_unheard() => Unprocessed::Perhaps,
            _ => Unprocessed::No,
        };
        Broken { unsent: unsent && !self.touched, unprocessed, ..Broken::by(UpstreamFault::Http2(fault)) }
    }
}

impl Answer {
    /// Whether the service has not said that it wants the body, and nobody waited long enough.
    pub(super) fn awaits_body(&self) -> bool {
        matches!(self, Answer::Body(_, Some(_unwanted)))
    }

    /// The body, when it is there as a whole.
    pub(super) fn whole(&mut self) -> Option<Bytes> {
        if let Answer::Body(body, _) = self { body.whole() } else { None }
    }

    /// The next piece of the body; `None` at its end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Answer::Body(body, _) = self { body.poll_piece(cx) } else { Poll::Ready(None) }
    }

    /// Whether it has ended.
    pub(super) fn is_end(&self) -> bool {
        if let Answer::Body(body, _) = self { body.is_end_stream() } else { true }
    }

    /// How long the rest of the body is, when that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        if let Answer::Body(body, _) = self { body.size_hint() } else { SizeHint::with_exact(0) }
    }

    /// The stream, once its service agreed to a tunnel.
    pub(super) fn into_half(self) -> Option<Half> {
        if let Answer::Tunnel(inflow, outflow) = self { Some(half(inflow, outflow)) } else { None }
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.session.borrow_mut().leave();
    }
}

impl Rules {
    /// Those of the configuration.
    pub(super) fn of(limits: &Limits, timeouts: &Timeouts) -> Rules {
        let terms = Terms {
            head_bytes_max: limits.head_bytes_max,
            trailer_bytes_max: limits.trailer_bytes_max,
            fields_max: limits.header_count_max,
            frame_bytes_max: limits.http2_frame_bytes_max,
            stream_window_bytes: limits.upstream_http2_stream_window_bytes,
            connection_window_bytes: limits.upstream_http2_connection_window_bytes,
            // What a client that stops to read makes weir hold of its answer is what the configuration says.
            growth_bytes_max: 0,
            send_bytes_max: limits.upstream_http2_send_bytes_max,
        };
        Rules {
            terms,
            interims_max: limits.interim_responses_max,
            unread_for: timeouts.body_idle,
            ping: timeouts.http2_ping,
            pong: timeouts.http2_pong,
            linger: Linger { bytes_max: limits.linger_bytes_max, longest: timeouts.linger },
        }
    }
}

/// Reads and writes until the connection ends. Only while requests are under way a service has to give signs of life:
/// else a path that went dead unseen would take request after request.
async fn drive(mut driver: Driver<Carrier>, session: Shared, ping: Duration, pong: Duration) {
    let mut silent = pin!(sleep_until(Instant::now() + ping));
    let ended = loop {
        let later = tokio::select! {
            biased;
            ended = poll_fn(|cx| driver.poll(cx, &mut |_begun| ())) => break ended,
            () = silent.as_mut() => driver.silent_until(ping, pong),
        };
        match later {
            Some(later) => silent.as_mut().reset(later),
            None => break Err(io::ErrorKind::TimedOut.into()),
        }
    };
    let fault = ended.map_or_else(|error| StreamFault::Broke(error.kind()), |()| StreamFault::Closed);
    session.borrow_mut().lose(fault);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample::Sample;

    /// A request with a body, as it begins on a connection that nothing was written to.
    fn begun() -> (Shared, Call) {
        let plan = Sample::default().plan();
        let rules = Rules::of(&plan.limits, &plan.timeouts);
        let session = Rc::new(RefCell::new(Session::with_service(rules.terms, rules.interims_max)));
        let question = Question {
            method: &http::Method::POST,
            scheme: "http",
            authority: b"a",
            path: "/",
            protocol: None,
            fields: &http::HeaderMap::new(),
            length: Some(4),
        };
        let key = session.borrow_mut().ask(&question, false).unwrap();
        let inflow = Inflow::new(&session, key);
        let outflow = Some(Outflow::new(&session, key, rules.unread_for));
        (session, Call { inflow, outflow, tunnel: false, asks: None, touched: false })
    }

    #[tokio::test]
    async fn a_request_that_was_not_written_goes_elsewhere_and_as_it_is_where_nothing_was_taken_of_it() {
        for (reused, sends, fault, unsent, unprocessed) in [
            (true, false, StreamFault::Closed, true, Unprocessed::Surely),
            (true, true, StreamFault::Closed, false, Unprocessed::Surely),
            (false, false, StreamFault::Closed, false, Unprocessed::No),
            (true, true, StreamFault::Untaken, false, Unprocessed::Surely),
            (false, true, StreamFault::Untaken, false, Unprocessed::No),
        ] {
            let (session, mut call) = begun();
            if sends {
                let mut body = Outbound::Whole(Bytes::from_static(b"body"));
                poll_fn(|cx| Poll::Ready(call.poll_send(cx, &mut body))).await.unwrap();
            }
            session.borrow_mut().lose(fault);
            let broken = call.broken(Failure::Answer(BodyFault::Stream(fault)), reused);
            let told = (broken.unsent, broken.unprocessed);
            assert_eq!(told, (unsent, unprocessed), "reused {reused}, sends {sends}, {fault}");
        }
    }
}
