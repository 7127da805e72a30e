//! Requests in flight: what was decided for them, for whoever asks by their trace.
//!
//! Each worker keeps its own; the flag API asks all of them over channels, so that a request's way takes
//! no lock and writes nothing that another worker reads. A question waits until the worker has a moment.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    propagation::TraceId,
    toggle::{Choice, Reason, ToggleId},
};

use super::worker::Snapshot;

/// Questions that may wait for one worker; more find nothing there.
const QUESTIONS_WAITING_MAX: usize = 256;

/// How long all workers together are waited for.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

/// Requests of one trace that a worker keeps; a trace of more has better ways to tell what it decided.
const REQUESTS_OF_A_TRACE_MAX: usize = 16;

/// Finds what was decided for requests that are being answered now.
#[derive(Clone, Debug)]
pub struct InFlight(Vec<mpsc::Sender<Question>>);

/// Where one worker is asked.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

#[derive(Debug)]
struct Question {
    trace: TraceId,
    answer: oneshot::Sender<InFlightDecisions>,
}

/// What was decided for the requests of one trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InFlightDecisions {
    /// Each toggle once; one that several requests of the trace disagree about is left out.
    pub pins: Vec<NamedPin>,
}

/// A decision by its names, which outlive every plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPin {
    /// The toggle.
    pub toggle: String,
    /// The variant that it gave.
    pub variant: String,
    /// Why.
    pub reason: Reason,
}

/// One worker's requests, by their traces.
#[derive(Debug, Default)]
pub(super) struct Directory(RefCell<HashMap<TraceId, Vec<Rc<Kept>>>>);

/// What is kept of one request.
#[derive(Debug)]
struct Kept {
    snapshot: Rc<Snapshot>,
    choices: Vec<(ToggleId, Choice)>,
}

/// One request in the directory; it leaves with this.
#[derive(Debug)]
pub(super) struct Listed {
    directory: Rc<Directory>,
    trace: TraceId,
    kept: Rc<Kept>,
}

impl InFlight {
    /// A way to ask so many workers.
    #[must_use]
    pub fn new(workers: usize) -> (InFlight, Vec<Questions>) {
        let channels = std::iter::repeat_with(|| mpsc::channel(QUESTIONS_WAITING_MAX)).take(workers);
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        (InFlight(senders), receivers.into_iter().map(Questions).collect())
    }

    /// What was decided for the requests of that trace that are in flight; `None` when there are none, or
    /// when the workers are too busy to say.
    pub async fn find(&self, trace: TraceId) -> Option<InFlightDecisions> {
        let ask = |worker: &mpsc::Sender<Question>| {
            let (answer, answered) = oneshot::channel();
            worker.try_send(Question { trace, answer }).ok().map(|()| answered)
        };
        let asked: Vec<_> = self.0.iter().filter_map(ask).collect();
        let deadline = tokio::time::Instant::now() + ANSWER_WITHIN;
        let mut found = Vec::new();
        for answered in asked {
            // No answer is a worker that has nothing, has no time or has ended.
            if let Ok(Ok(decisions)) = tokio::time::timeout_at(deadline, answered).await {
                found.push(decisions.pins);
            }
        }
        (!found.is_empty()).then(|| InFlightDecisions { pins: agreed(found) })
    }
}

/// What nobody disagrees about.
fn agreed(requests: Vec<Vec<NamedPin>>) -> Vec<NamedPin> {
    let mut pins: HashMap<String, Option<NamedPin>> = HashMap::new();
    for pin in requests.into_iter().flatten() {
        match pins.entry(pin.toggle.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Some(pin));
            }
            Entry::Occupied(mut known) => {
                if known.get().as_ref().is_some_and(|known| known.variant != pin.variant) {
                    known.insert(None);
                }
            }
        }
    }
    let mut pins: Vec<NamedPin> = pins.into_values().flatten().collect();
    pins.sort_by(|left, right| left.toggle.cmp(&right.toggle));
    pins
}

impl Questions {
    /// Answers for a worker until nobody can ask any more.
    pub(super) async fn answer(mut self, directory: Rc<Directory>) {
        while let Some(Question { trace, answer }) = self.0.recv().await {
            if let Some(decisions) = directory.find(trace) {
                // Who asked may have given up.
                answer.send(decisions).ok();
            }
        }
    }
}

impl Directory {
    /// Keeps what was decided for a request.
    pub(super) fn list(
        self: &Rc<Directory>,
        trace: TraceId,
        snapshot: &Rc<Snapshot>,
        choices: Vec<(ToggleId, Choice)>,
    ) -> Option<Listed> {
        let mut requests = self.0.borrow_mut();
        let requests = requests.entry(trace).or_default();
        if requests.len() == REQUESTS_OF_A_TRACE_MAX {
            return None;
        }
        let kept = Rc::new(Kept { snapshot: Rc::clone(snapshot), choices });
        requests.push(Rc::clone(&kept));
        Some(Listed { directory: Rc::clone(self), trace, kept })
    }

    fn find(&self, trace: TraceId) -> Option<InFlightDecisions> {
        let requests = self.0.borrow();
        let requests = requests.get(&trace)?.iter().map(|kept| kept.named()).collect();
        Some(InFlightDecisions { pins: agreed(requests) })
    }
}

impl Kept {
    fn named(&self) -> Vec<NamedPin> {
        let plan = &self.snapshot.serving.plan;
        let named = |(id, choice): &(ToggleId, Choice)| {
            let toggle = &plan.toggle(*id).toggle;
            let variant = &toggle.variants[choice.variant?.0];
            Some(NamedPin { toggle: toggle.name.clone(), variant: variant.name.clone(), reason: choice.reason })
        };
        self.choices.iter().filter_map(named).collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let std::collections::hash_map::Entry::Occupied(mut requests) =
            self.directory.0.borrow_mut().entry(self.trace)
        {
            requests.get_mut().retain(|kept| !Rc::ptr_eq(kept, &self.kept));
            if requests.get().is_empty() {
                requests.remove();
            }
        }
    }
}
