//! Meters: the cells of everything that has a name, for each worker its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use http::StatusCode;

use super::{
    cells::{Count, Durations, Level},
    names::{
        ATTEMPTS, Attempt, CAUSES, CHECK_OUTCOMES, CODES, HANDSHAKE_OUTCOMES, HandshakeOutcome, REFUSAL_CAUSES,
        RETIREMENT_CAUSES, RETRIED, RefusalCause, RetirementCause, Retried, code_place,
    },
    ofrep::OfrepCells,
    wire::WireCells,
};
use crate::{
    identity::TOKEN_OUTCOMES,
    plan::{ContractId, EndpointId, LaneId, Plan, ToggleId},
    toggle::{REASON_CODES, Reason, VariantId},
};

/// The cells of one named thing, for each worker its own.
#[derive(Debug)]
pub struct Meter<C> {
    labels: Vec<String>,
    /// Made at first use: ten thousand idle routes cost next to nothing.
    workers: Box<[OnceLock<Box<C>>]>,
}

/// Counts requests of one route and arm. Labels: route, service, arm.
pub type LaneMeter = Meter<LaneCells>;
/// Counts a toggle's decisions for one variant. Labels: toggle, variant; empty when it gave none.
pub type ToggleMeter = Meter<ToggleCells>;
/// Counts a toggle's pins that differ from its own decision. Label: toggle.
pub type DivergenceMeter = Meter<Count>;
/// Counts contract checks of one route. Labels: route, contract, mode.
pub type CheckMeter = Meter<CheckCells>;
/// Counts connections to one endpoint. Label: endpoint.
pub type EndpointMeter = Meter<EndpointCells>;

/// What one worker counts of one lane.
#[derive(Debug)]
pub struct LaneCells {
    pub(super) codes: [Count; CODES.len()],
    pub(super) rejections: [Count; CAUSES.len()],
    /// From a request's head to the end of its response.
    pub request: Durations,
    /// From forwarding to the head of the response.
    pub upstream: Durations,
    /// Requests that another arm served.
    pub failovers: Count,
    /// Responses that ended before they were whole.
    pub broken_off: Count,
    pub(super) first_attempts: [Count; ATTEMPTS.len()],
    pub(super) retries: [Count; RETRIED.len()],
}

/// What one worker counts of one toggle's variant: decisions by reason.
#[derive(Debug, Default)]
pub struct ToggleCells(pub(super) [Count; REASON_CODES.len()]);

/// What one worker counts of one route's contract.
#[derive(Debug, Default)]
pub struct CheckCells(pub(super) [Count; CHECK_OUTCOMES.len()]);

/// What one worker counts of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointCells {
    /// Connections that wait for a request.
    pub idle: Level,
    /// Connections that carry a request.
    pub active: Level,
    /// Connections made.
    pub connected: Count,
    /// Attempts that failed.
    pub failed: Count,
    /// Attempts that took too long.
    pub timed_out: Count,
    /// TLS handshakes that failed or took too long.
    pub tls_failed: Count,
    /// Attempts that would have led back to weir.
    pub loops: Count,
    /// Addresses that are left alone now since they failed.
    pub ejected: Level,
    /// How often one was.
    pub ejections: Count,
    /// Addresses, as the control thread knows them.
    pub hosts: Level,
    /// Those of them that health checks find well.
    pub healthy: Level,
    /// Health checks that passed.
    pub checks_passed: Count,
    /// Health checks that failed.
    pub checks_failed: Count,
    /// Look-ups of its name that gave addresses.
    pub resolved: Count,
    /// Look-ups that did not.
    pub unresolved: Count,
}

/// What one worker counts of itself.
#[derive(Debug, Default)]
pub struct WorkerCells {
    /// Requests being answered.
    pub in_flight: Level,
    /// Lines of the access log that found no place to wait.
    pub lines_dropped: Count,
    /// Connections switched to another protocol.
    pub tunnels: Level,
    /// Cohort headers removed.
    pub claims_dropped: Count,
    /// Decisions that travel.
    pub wire: WireCells,
    /// Tokens looked at, by outcome.
    pub tokens: [Count; TOKEN_OUTCOMES.len()],
    /// By the listeners' order at the start of the process.
    pub listeners: Box<[ListenerCells]>,
}

/// What one worker counts of one listener.
#[derive(Debug, Default)]
pub struct ListenerCells {
    /// Connections open now.
    pub open: Level,
    /// Those that have given their buffers back.
    pub resting: Level,
    /// Connections accepted.
    pub accepted: Count,
    /// Connections without the preamble that they had to begin with.
    pub preamble_failed: Count,
    pub(super) refused: [Count; REFUSAL_CAUSES.len()],
    pub(super) retired: [Count; RETIREMENT_CAUSES.len()],
    pub(super) handshakes: [Count; HANDSHAKE_OUTCOMES.len()],
}

/// All meters of one generation, and those that earlier generations made.
#[derive(Debug)]
pub struct Meters {
    /// Counts requests that found no lane.
    pub outside: Arc<LaneMeter>,
    /// What the flag API counts.
    pub ofrep: Arc<OfrepCells>,
    lanes: Vec<Arc<LaneMeter>>,
    checks: Vec<Option<Arc<CheckMeter>>>,
    /// For each toggle: for no variant, then for each variant.
    toggles: Vec<Vec<Arc<ToggleMeter>>>,
    divergences: Vec<Arc<DivergenceMeter>>,
    endpoints: Vec<Arc<EndpointMeter>>,
    pub(super) workers: Arc<[WorkerCells]>,
    pub(super) listener_names: Arc<[String]>,
    /// Lines of the access log that could not be written.
    pub lines_lost: Arc<Count>,
    pub(super) all_lanes: Register<LaneCells>,
    pub(super) all_checks: Register<CheckCells>,
    pub(super) all_toggles: Register<ToggleCells>,
    pub(super) all_divergences: Register<Count>,
    pub(super) all_endpoints: Register<EndpointCells>,
}

/// Every meter of a kind that was ever made, by its labels. Names that left the configuration stay:
/// requests of an older generation may still count there, and counters must not vanish.
#[derive(Debug)]
pub(super) struct Register<C> {
    /// Shared by the generations until one brings a new name.
    pub(super) meters: Arc<BTreeMap<Vec<String>, Arc<Meter<C>>>>,
    workers: usize,
}

impl Meters {
    /// The meters of a first plan.
    #[must_use]
    pub fn new(plan: &Plan, workers: usize) -> Meters {
        let listener_names: Arc<[String]> = plan.listeners.iter().map(|listener| listener.name.clone()).collect();
        let worker = || WorkerCells {
            listeners: listener_names.iter().map(|_| ListenerCells::default()).collect(),
            ..WorkerCells::default()
        };
        let workers: Arc<[WorkerCells]> = std::iter::repeat_with(worker).take(workers).collect();
        Meters::build(
            plan,
            &listener_names,
            &workers,
            &Arc::default(),
            &Arc::default(),
            Registers::empty(workers.len()),
        )
    }

    /// The meters of the next plan: those of the same labels go on counting.
    #[must_use]
    pub fn next(&self, plan: &Plan) -> Meters {
        let registers = Registers {
            lanes: self.all_lanes.clone(),
            checks: self.all_checks.clone(),
            toggles: self.all_toggles.clone(),
            divergences: self.all_divergences.clone(),
            endpoints: self.all_endpoints.clone(),
        };
        Meters::build(plan, &self.listener_names, &self.workers, &self.lines_lost, &self.ofrep, registers)
    }

    fn build(
        plan: &Plan,
        listener_names: &Arc<[String]>,
        workers: &Arc<[WorkerCells]>,
        lines_lost: &Arc<Count>,
        ofrep: &Arc<OfrepCells>,
        mut all: Registers,
    ) -> Meters {
        let outside = all.lanes.meter(vec![String::new(); 3]);
        let mut lanes = Vec::with_capacity(plan.lanes.len());
        let mut checks = Vec::with_capacity(plan.lanes.len());
        for lane in &plan.lanes {
            let (route, arm) = (plan.route(lane.route), plan.arm(lane.arm));
            let service = &plan.service(arm.service).name;
            lanes.push(all.lanes.meter(vec![route.name.clone(), service.clone(), arm.name.clone()]));
            let check = |contract: ContractId| {
                let contract = plan.contract(contract).name.clone();
                all.checks.meter(vec![route.name.clone(), contract, route.checking.to_string()])
            };
            checks.push(arm.contract.map(check));
        }
        let toggles = plan.toggles.iter().map(|planned| {
            let variants = planned.toggle.variants.iter().map(|variant| &*variant.name);
            let labels = |variant: &str| vec![planned.toggle.name.clone(), variant.to_owned()];
            [""].into_iter().chain(variants).map(|variant| all.toggles.meter(labels(variant))).collect()
        });
        let toggles = toggles.collect();
        let names = plan.toggles.iter().map(|planned| vec![planned.toggle.name.clone()]);
        let divergences = names.map(|labels| all.divergences.meter(labels)).collect();
        let authorities = plan.endpoints.iter().map(|endpoint| vec![endpoint.authority.to_string()]);
        let endpoints = authorities.map(|labels| all.endpoints.meter(labels)).collect();
        Meters {
            outside,
            ofrep: Arc::clone(ofrep),
            lanes,
            checks,
            toggles,
            divergences,
            endpoints,
            workers: Arc::clone(workers),
            listener_names: Arc::clone(listener_names),
            lines_lost: Arc::clone(lines_lost),
            all_lanes: all.lanes,
            all_checks: all.checks,
            all_toggles: all.toggles,
            all_divergences: all.divergences,
            all_endpoints: all.endpoints,
        }
    }

    /// The meter of a lane.
    #[must_use]
    pub fn lane(&self, lane: LaneId) -> &Arc<LaneMeter> {
        &self.lanes[lane.0]
    }

    /// The meter of the contract checks of a lane whose arm has a contract.
    #[must_use]
    pub fn check(&self, lane: LaneId) -> Option<&Arc<CheckMeter>> {
        self.checks[lane.0].as_ref()
    }

    /// The meter of a toggle's variant, or of none.
    #[must_use]
    pub fn toggle(&self, toggle: ToggleId, variant: Option<VariantId>) -> &ToggleMeter {
        &self.toggles[toggle.0][variant.map_or(0, |variant| variant.0 + 1)]
    }

    /// How often a toggle gave a variant, or none, for whatever reason.
    #[must_use]
    pub fn decisions(&self, toggle: ToggleId, variant: Option<VariantId>) -> u64 {
        self.toggle(toggle, variant).used().map(ToggleCells::total).sum()
    }

    /// The meter of a toggle's divergences.
    #[must_use]
    pub fn divergence(&self, toggle: ToggleId) -> &DivergenceMeter {
        &self.divergences[toggle.0]
    }

    /// The meter of an endpoint.
    #[must_use]
    pub fn endpoint(&self, endpoint: EndpointId) -> &Arc<EndpointMeter> {
        &self.endpoints[endpoint.0]
    }

    /// The meter of an endpoint, when these meters are of the plan that has it there.
    #[must_use]
    pub fn endpoint_named(&self, endpoint: EndpointId, authority: &str) -> Option<&Arc<EndpointMeter>> {
        self.endpoints.get(endpoint.0).filter(|meter| meter.labels == [authority])
    }

    /// The place of the control thread's cells in an endpoint's meter, behind those of the workers.
    #[must_use]
    pub fn control(&self) -> usize {
        self.workers.len()
    }

    /// The cells of one worker.
    #[must_use]
    pub fn worker(&self, worker: usize) -> &WorkerCells {
        &self.workers[worker]
    }
}

impl LaneCells {
    /// Counts an answer.
    pub fn answered(&self, status: StatusCode) {
        self.codes[code_place(status)].add_one();
    }

    /// Counts how the first attempt of a request ended.
    pub fn first_attempt(&self, attempt: Attempt) {
        self.first_attempts[attempt as usize].add_one();
    }

    /// Counts what became of a retry.
    pub fn retried(&self, retried: Retried) {
        self.retries[retried as usize].add_one();
    }

    /// Counts an answer of weir's own, by the place of its cause in [`CAUSES`].
    pub fn rejected(&self, cause: usize) {
        self.rejections[cause].add_one();
    }
}

impl ListenerCells {
    /// Counts a connection that is closed at once.
    pub fn refused(&self, cause: RefusalCause) {
        self.refused[cause as usize].add_one();
    }

    /// Counts a connection that is asked to end.
    pub fn retired(&self, cause: RetirementCause) {
        self.retired[cause as usize].add_one();
    }

    /// Counts a TLS handshake.
    pub fn shaken(&self, outcome: HandshakeOutcome) {
        self.handshakes[outcome as usize].add_one();
    }
}

impl ToggleCells {
    /// Counts a decision.
    pub fn decided(&self, reason: Reason) {
        self.0[reason.index()].add_one();
    }
}

impl ToggleCells {
    fn total(&self) -> u64 {
        self.0.iter().map(Count::read).sum()
    }
}

impl CheckCells {
    /// Counts a check, by the code of its outcome in [`CHECK_OUTCOMES`].
    pub fn checked(&self, outcome: &str) {
        let place = CHECK_OUTCOMES.iter().position(|code| *code == outcome);
        debug_assert!(place.is_some(), "{outcome} is not in CHECK_OUTCOMES");
        if let Some(place) = place {
            self.0[place].add_one();
        }
    }
}

impl ToggleMeter {
    /// The cells of the flag API, which only the control thread may write.
    #[must_use]
    pub fn ofrep(&self) -> &ToggleCells {
        self.cells(self.workers.len() - 1)
    }

    /// The cells that were used so far, for each surface in the order of [`SURFACES`](super::names::SURFACES).
    pub(super) fn surfaces(&self) -> [&[OnceLock<Box<ToggleCells>>]; 2] {
        let (routes, ofrep) = self.workers.split_at(self.workers.len() - 1);
        [routes, ofrep]
    }
}

impl<C: Default> Meter<C> {
    /// The cells of one worker.
    #[must_use]
    pub fn cells(&self, worker: usize) -> &C {
        self.workers[worker].get_or_init(Box::default)
    }
}

impl<C> Meter<C> {
    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The cells that were used so far.
    pub(super) fn used(&self) -> impl Iterator<Item = &C> + Clone {
        self.workers.iter().filter_map(|cells| cells.get().map(|cells| &**cells))
    }
}

// Derived, it would ask for a default of long arrays.
impl Default for LaneCells {
    fn default() -> LaneCells {
        LaneCells {
            codes: std::array::from_fn(|_| Count::default()),
            rejections: std::array::from_fn(|_| Count::default()),
            request: Durations::default(),
            upstream: Durations::default(),
            failovers: Count::default(),
            broken_off: Count::default(),
            first_attempts: std::array::from_fn(|_| Count::default()),
            retries: std::array::from_fn(|_| Count::default()),
        }
    }
}

struct Registers {
    lanes: Register<LaneCells>,
    checks: Register<CheckCells>,
    toggles: Register<ToggleCells>,
    divergences: Register<Count>,
    endpoints: Register<EndpointCells>,
}

impl Registers {
    fn empty(workers: usize) -> Registers {
        Registers {
            lanes: Register::empty(workers),
            checks: Register::empty(workers),
            // The control thread counts what the flag API asks, in the last place.
            toggles: Register::empty(workers + 1),
            // And what it sees of endpoints.
            endpoints: Register::empty(workers + 1),
            divergences: Register::empty(workers),
        }
    }
}

impl<C> Register<C> {
    fn empty(workers: usize) -> Register<C> {
        Register { meters: Arc::default(), workers }
    }

    fn meter(&mut self, labels: Vec<String>) -> Arc<Meter<C>> {
        if let Some(meter) = self.meters.get(&labels) {
            return Arc::clone(meter);
        }
        let workers = std::iter::repeat_with(OnceLock::new).take(self.workers).collect();
        let meter = Arc::new(Meter { labels: labels.clone(), workers });
        Arc::make_mut(&mut self.meters).insert(labels, Arc::clone(&meter));
        meter
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Register<C> {
    fn clone(&self) -> Register<C> {
        Register { meters: Arc::clone(&self.meters), workers: self.workers }
    }
}
