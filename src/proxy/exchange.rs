//! The record of one request: made when its head is read, counted when its response has ended.

use std::{net::IpAddr, rc::Rc};

use http::{Request, StatusCode};
use tokio::time::Instant;

use super::{
    access_log::Line, asking::Peer, decided::Decided, in_flight::Listed, rejection::Rejection, worker::Snapshot,
};
use crate::{
    plan::{LaneId, Plan},
    telemetry::LaneCells,
};

/// Counts a request when it is dropped, however it ended.
#[derive(Debug)]
pub(super) struct Exchange {
    snapshot: Rc<Snapshot>,
    started: Instant,
    lane: Option<LaneId>,
    status: StatusCode,
    /// What is logged of it, where that is wanted.
    line: Option<Box<Line>>,
    /// Where it is found while it lasts.
    listed: Option<Listed>,
}

impl Exchange {
    pub(super) fn begin(snapshot: Rc<Snapshot>) -> Exchange {
        // Dropped before there is an answer, it was the client who went: 499 is what others log.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Exchange { snapshot, started: Instant::now(), lane: None, status, line: None, listed: None }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The request gets a line in the access log, where that is wanted.
    pub(super) fn describe<B>(&mut self, peer: &Peer, request: &Request<B>) {
        self.line = Line::begin(&self.snapshot.serving, peer, request);
    }

    /// The client for whom a trusted peer asks.
    pub(super) fn asked_by(&mut self, client: IpAddr) {
        if let Some(line) = &mut self.line {
            line.sent_by(client);
        }
    }

    /// What it is held to.
    pub(super) fn plan(&self) -> &Plan {
        &self.snapshot.serving.plan
    }

    /// The request is counted with what was decided for it.
    pub(super) fn decided(&mut self, decided: &Decided) {
        self.lane = Some(decided.decision().lane);
        if let Some(line) = &mut self.line {
            line.decision = Some(*decided.decision());
        }
        self.snapshot.note_decision();
        for (toggle, choice) in decided.choices() {
            self.snapshot.toggle(toggle, choice.variant).decided(choice.reason);
        }
        self.snapshot.count_arrived(decided);
        self.listed = Snapshot::list(&self.snapshot, decided);
    }

    /// So many tries were made beyond the first one.
    pub(super) fn retried(&mut self, retries: u32) {
        if let Some(line) = &mut self.line {
            line.retries = retries;
        }
    }

    /// The head of a response came from the arm of this lane.
    pub(super) fn answered(&mut self, status: StatusCode, lane: LaneId, sent: Instant) {
        self.status = status;
        self.lane = Some(lane);
        let took = sent.elapsed();
        self.cells().upstream.record(took);
        if let Some(line) = &mut self.line {
            (line.lane, line.upstream) = (Some(lane), Some(took));
        }
    }

    /// The client gets this status: where a tunnel is made, not always that of the service.
    pub(super) fn told(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// The response breaks off before its end.
    pub(super) fn broken_off(&mut self) {
        self.cells().broken_off.add_one();
        if let Some(line) = &mut self.line {
            line.broken_off = true;
        }
    }

    /// weir answers itself.
    pub(super) fn rejected(&mut self, rejection: &Rejection) {
        self.status = rejection.status();
        self.cells().rejected(rejection.index());
        if let Some(line) = &mut self.line {
            line.rejection = Some(rejection.code());
        }
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
        let took = self.started.elapsed();
        let cells = self.cells();
        cells.answered(self.status);
        cells.request.record(took);
        if let Some(mut line) = self.line.take()
            && line.end(self.status, took)
        {
            self.snapshot.log(line);
        }
    }
}
