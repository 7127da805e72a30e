//! The record of one request: made when its head is read, counted when its response has ended.

use std::rc::Rc;

use http::StatusCode;
use tokio::time::Instant;

use super::{rejection::Rejection, worker::Snapshot};
use crate::{
    plan::{Decision, LaneId},
    telemetry::LaneCells,
};

/// Counts a request when it is dropped, however it ended.
#[derive(Debug)]
pub(super) struct Exchange {
    snapshot: Rc<Snapshot>,
    started: Instant,
    lane: Option<LaneId>,
    status: StatusCode,
}

impl Exchange {
    pub(super) fn begin(snapshot: Rc<Snapshot>) -> Exchange {
        // Dropped before there is an answer, it was the client who went: 499 is what others log.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Exchange { snapshot, started: Instant::now(), lane: None, status }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The request is counted with what was decided for it.
    pub(super) fn decided(&mut self, decision: &Decision) {
        self.lane = Some(decision.lane);
        self.snapshot.note_decision();
        if let Some(toggle) = decision.toggle {
            self.snapshot.toggle(toggle, decision.choice.variant).decided(decision.choice.reason);
        }
    }

    /// The head of a response came from the arm of this lane.
    pub(super) fn answered(&mut self, status: StatusCode, lane: LaneId, sent: Instant) {
        self.status = status;
        self.lane = Some(lane);
        self.cells().upstream.record(sent.elapsed());
    }

    /// The response breaks off before its end.
    pub(super) fn broken_off(&self) {
        self.cells().broken_off.add_one();
    }

    /// weir answers itself.
    pub(super) fn rejected(&mut self, rejection: &Rejection) {
        self.status = rejection.status();
        self.cells().rejected(rejection.index());
    }

    fn cells(&self) -> &LaneCells {
        match self.lane {
            Some(lane) => self.snapshot.lane(lane),
            None => self.snapshot.outside(),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let cells = self.cells();
        cells.answered(self.status);
        cells.request.record(self.started.elapsed());
    }
}
