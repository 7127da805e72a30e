//! Uploads: what is still sent of a request whose answer has begun. By a task of its own, since an answer is read no
//! faster than its client reads it, and many a client reads nothing before all of its request is sent.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
};

use tokio::task::AbortHandle;

use super::super::wire::Carrier;
use crate::proxy::{
    body::Outbound,
    http1::{Outbox, Unsendable},
};

/// The rest of one request. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Upload {
    state: Rc<Cell<State>>,
    task: Option<AbortHandle>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    GoingOn,
    Done,
    /// Its client broke it off.
    Failed,
}

impl Upload {
    pub(super) fn begin(stream: Rc<RefCell<Carrier>>, mut outbox: Outbox, mut body: Outbound) -> Upload {
        let state = Rc::<Cell<State>>::default();
        let tells = Rc::clone(&state);
        let sending = async move {
            match poll_fn(|cx| outbox.poll(cx, &stream, &mut body)).await {
                Ok(()) => {
                    tells.set(State::Done);
                    // Its answer ended before.
                    if let Some(stream) = Rc::into_inner(stream) {
                        stream.into_inner().bid_farewell();
                    }
                }
                // The answer may be whole all the same.
                Err(Unsendable::Lost(error)) => tracing::debug!(%error, "a service took no more of a request"),
                Err(Unsendable::Body(_) | Unsendable::Length) => {
                    tells.set(State::Failed);
                    // What has no end may have no answer: whoever reads that finds the connection closed.
                    stream.borrow().shut();
                }
            }
        };
        Upload { state, task: Some(tokio::task::spawn_local(sending).abort_handle()) }
    }

    /// Whether its client broke it off.
    pub(super) fn has_failed(&self) -> bool {
        self.state.get() == State::Failed
    }

    /// Its answer has ended: whether it has, too. Else it goes on: half of a request would be answered by nobody, and
    /// the client's connection could not be used again.
    pub(super) fn end(mut self) -> bool {
        self.task = None;
        self.state.get() == State::Done
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.iter().for_each(AbortHandle::abort);
    }
}
