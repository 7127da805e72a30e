//! The record of one request: made when its head is read, counted when its response has ended.

use std::rc::Rc;

use http::StatusCode;
use tokio::time::Instant;

use super::{decided::Decided, in_flight::Listed, rejection::Rejection, worker::Snapshot};
use crate::{plan::LaneId, telemetry::LaneCells};

/// Counts a request when it is dropped, however it ended.
#[derive(Debug)]
pub(super) struct Exchange {
    snapshot: Rc<Snapshot>,
    started: Instant,
    lane: Option<LaneId>,
    status: StatusCode,
    /// Where it is found while it lasts.
    listed: Option<Listed>,
}

impl Exchange {
    pub(super) fn begin(snapshot: Rc<Snapshot>) -> Exchange {
        // Dropped before there is an answer, it was the client who went: 499 is what others log.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Exchange { snapshot, started: Instant::now(), lane: None, status, listed: None }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The request is counted with what was decided for it.
    pub(super) fn decided(&mut self, decided: &Decided) {
        self.lane = Some(decided.decision().lane);
        for (toggle, choice) in decided.choices() {
            self.snapshot.toggle(toggle, choice.variant).decided(choice.reason);
        }
        self.snapshot.count_arrived(decided);
        self.listed = Snapshot::list(&self.snapshot, decided);
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
