//! The plan: all configuration, compiled and immutable. What a request needs is found by index.
//!
//! *Invariants*
//! - Every id in a plan points into that plan; `config::compile` is the only one who builds it.
//! - A plan never changes. A reload builds the next one.
//! - [`Plan::match_route`], [`Plan::decide`] and [`Plan::choose`] are all there is to a decision: the data
//!   plane, the flag API and `weir explain` call the same.

mod address;
mod choosing;
mod churn;
mod dates;
mod endpoint;
mod given;
mod log;
mod ofrep;
mod overlay;
mod policy;
mod propagation;
#[cfg(test)]
pub(crate) mod sample;
mod settings;
mod tls;
mod uses;

use std::{collections::HashMap, fmt, time::Duration};

use crate::{
    contract::Contract,
    identity::{Asking, Subject},
    rollout::Rollout,
    route::{RouteId, RouteTable},
    toggle::{Choice, Moment, Reason, Share, Toggle, VariantId},
};

pub use crate::toggle::ToggleId;
pub use address::Address;
pub use endpoint::{Endpoint, HealthCheck, Place, Probe, Protocol, UpstreamTls};
pub use given::{Given, GivenToAll, Span};
pub use log::{AccessLog, LogFormat, LogLines, LogTarget};
pub use ofrep::{AppKey, Ofrep, OfrepLimits, SecretDigest};
pub use overlay::{Kill, Overlay, Standing};
pub use policy::{ArmLimits, Balance, Ejection, Retries, RetryBudget, RetryOn, is_failure};
pub use propagation::{Propagation, Requirement, StickyCookie, UnknownPin};
pub use settings::{Forwarding, Issuer, IssuerId, Limits, Listener, Process, Timeouts, Via};
pub(crate) use tls::Keyring;
pub use tls::{Certificate, Tls};
pub use uses::Uses;

/// A service's place in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId(pub usize);

/// An arm's place in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArmId(pub usize);

/// An endpoint's place in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId(pub usize);

/// A contract's place in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContractId(pub usize);

/// A lane's place in its plan: one route with one arm of its service, the grain of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneId(pub usize);

/// All configuration, compiled.
#[derive(Debug)]
pub struct Plan {
    /// Settings of the process; most take effect at its start.
    pub process: Process,
    /// Limits on what peers may cost.
    pub limits: Limits,
    /// Deadlines on peers.
    pub timeouts: Timeouts,
    /// Which requests are logged; none without.
    pub access_log: Option<AccessLog>,
    /// What weir tells of itself and its clients.
    pub forwarding: Forwarding,
    /// The flag API for the application beside the proxy.
    pub ofrep: Option<Ofrep>,
    /// Where clients connect; never empty.
    pub listeners: Vec<Listener>,
    /// By [`IssuerId`].
    pub issuers: Vec<Issuer>,
    /// Finds the route of a request.
    pub table: RouteTable,
    /// By [`RouteId`]; never empty.
    pub routes: Vec<Route>,
    /// By [`ServiceId`].
    pub services: Vec<Service>,
    /// By [`ArmId`]; the arms of one service stand together.
    pub arms: Vec<Arm>,
    /// By [`EndpointId`]; each once.
    pub endpoints: Vec<Endpoint>,
    /// By [`ToggleId`].
    pub toggles: Vec<PlannedToggle>,
    /// All toggles in the order of their names.
    pub toggles_by_name: Vec<ToggleId>,
    /// Every toggle by its name.
    pub toggle_ids: HashMap<String, ToggleId>,
    /// How decisions travel; `None` leaves traces alone, and the baggage of trusted peers.
    pub propagation: Option<Propagation>,
    /// Toggles that are decided for every request since their decision travels or is asked for, ascending.
    pub carried: Vec<ToggleId>,
    /// Whether decisions of requests in flight are kept for whoever asks.
    pub in_flight: bool,
    /// The cookie that keeps anonymous users where they are.
    pub sticky: Option<StickyCookie>,
    /// By [`ContractId`].
    pub contracts: Vec<PlannedContract>,
    /// Whether some decision depends on the time.
    pub timed: bool,
    /// Header names that only trusted peers may send, since a rule would believe them.
    pub cohort_headers: Vec<http::HeaderName>,
    /// By [`LaneId`].
    pub lanes: Vec<Lane>,
}

/// Sends what it matches to a service.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Where it sends.
    pub service: ServiceId,
    /// From the request's end to the response's head, and from its head until a connection stands.
    pub timeout: Duration,
    /// From the request's head to the end of its response.
    pub total_timeout: Option<Duration>,
    /// What is sent again.
    pub retries: Option<Retries>,
    /// What happens to requests that break the arm's contract.
    pub checking: Checking,
    /// The protocols that clients may switch to.
    pub upgrades: Vec<String>,
    /// What has to be decided for a request to be let through.
    pub require: Option<Requirement>,
    /// The lane of the service's first arm.
    pub first_lane: LaneId,
}

/// What is done about contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checking {
    /// Nothing is looked at.
    Off,
    /// Breaches are counted and let through; nothing is delayed.
    Report,
    /// Breaches are refused; bodies wait for the verdict.
    Enforce,
}

/// A logical backend.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its first arm; the others follow.
    pub first_arm: ArmId,
    /// How many arms it has; at least one.
    pub arm_count: usize,
    /// Which arm serves whom.
    pub split: Split,
    /// How many retries its requests may cause.
    pub retry_budget: RetryBudget,
}

/// How a service picks the arm.
#[derive(Debug)]
pub enum Split {
    /// One arm serves everybody.
    None(ArmId),
    /// A toggle's variant picks.
    Toggle {
        /// The toggle.
        toggle: ToggleId,
        /// The arm of each variant, by [`VariantId`].
        arms: Vec<ArmId>,
        /// The arm when the toggle is killed and names no `off` variant.
        otherwise: ArmId,
    },
}

/// One version of a service that runs now.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Its name within the service.
    pub name: String,
    /// The service it is of.
    pub service: ServiceId,
    /// Its endpoints, each once with its weight; never empty.
    pub endpoints: Vec<(EndpointId, u32)>,
    /// The contract it implements.
    pub contract: Option<ContractId>,
    /// The arm that serves when no connection to this one can be had.
    pub on_unavailable: Option<ArmId>,
    /// What it may cost.
    pub limits: ArmLimits,
    /// When its endpoints are left alone; `None` never.
    pub ejection: Option<Ejection>,
    /// How their load is judged.
    pub balance: Balance,
    /// How long an endpoint that is new or came back takes to its full share.
    pub slow_start: Option<Duration>,
    /// Whether decisions travel to it: its hosts, and those of the arm that stands in for it, are trusted.
    pub propagates: bool,
}

/// A toggle and what moves it.
#[derive(Debug)]
pub struct PlannedToggle {
    /// The toggle.
    pub toggle: Toggle,
    /// The rollout that moves it.
    pub rollout: Option<PlannedRollout>,
}

/// A rollout and the variant it moves.
#[derive(Debug)]
pub struct PlannedRollout {
    /// The rollout.
    pub rollout: Rollout,
    /// The variant whose share grows.
    pub variant: VariantId,
}

/// A contract and its name.
#[derive(Debug)]
pub struct PlannedContract {
    /// `name@version`.
    pub name: String,
    /// What it says.
    pub contract: Contract,
}

/// One route with one arm.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// The route.
    pub route: RouteId,
    /// The arm.
    pub arm: ArmId,
}

/// Which route a request matched; the step that a decision demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The route.
    pub route: RouteId,
}

/// What one request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The route it came by.
    pub route: RouteId,
    /// The arm that is to serve it.
    pub arm: ArmId,
    /// Where it is counted.
    pub lane: LaneId,
    /// The toggle that decided.
    pub toggle: Option<ToggleId>,
    /// What the toggle answered, and why.
    pub choice: Choice,
}

impl Plan {
    /// The most specific route that the request matches.
    #[must_use]
    pub fn match_route(&self, asking: &Asking<'_>) -> Option<Matched> {
        self.table.find(asking).map(|route| Matched { route })
    }

    /// Decides which arm serves a matched request.
    pub fn decide(
        &self,
        standing: &Standing,
        matched: Matched,
        asking: &Asking<'_>,
        moment: &Moment<'_>,
        draw: &mut dyn FnMut() -> u32,
    ) -> Decision {
        self.direct(matched, &mut |toggle| self.choose(standing, toggle, &Subject::Request(asking), moment, draw))
    }

    /// The arm that serves a matched request; `choose` is asked for the choice of the split's toggle.
    pub fn direct(&self, matched: Matched, choose: &mut dyn FnMut(ToggleId) -> Choice) -> Decision {
        let service = self.service(self.route(matched.route).service);
        let (arm, toggle, choice) = match &service.split {
            Split::None(arm) => (*arm, None, UNSPLIT),
            Split::Toggle { toggle, arms, otherwise } => {
                let choice = choose(*toggle);
                let arm = choice.variant.map_or(*otherwise, |variant| arms[variant.0]);
                (arm, Some(*toggle), choice)
            }
        };
        Decision { route: matched.route, arm, lane: self.lane(matched.route, arm), toggle, choice }
    }

    /// The lane of a route and an arm of its service.
    #[must_use]
    pub fn lane(&self, route: RouteId, arm: ArmId) -> LaneId {
        let route = self.route(route);
        LaneId(route.first_lane.0 + arm.0 - self.service(route.service).first_arm.0)
    }

    /// The route at that place.
    #[must_use]
    pub fn route(&self, id: RouteId) -> &Route {
        &self.routes[id.0]
    }

    /// The service at that place.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id.0]
    }

    /// The arm at that place.
    #[must_use]
    pub fn arm(&self, id: ArmId) -> &Arm {
        &self.arms[id.0]
    }

    /// The toggle at that place.
    #[must_use]
    pub fn toggle(&self, id: ToggleId) -> &PlannedToggle {
        &self.toggles[id.0]
    }

    /// The contract at that place.
    #[must_use]
    pub fn contract(&self, id: ContractId) -> &PlannedContract {
        &self.contracts[id.0]
    }

    /// The issuer at that place.
    #[must_use]
    pub fn issuer(&self, id: IssuerId) -> &Issuer {
        &self.issuers[id.0]
    }

    /// The name of the variant that a decision chose.
    #[must_use]
    pub fn variant_name(&self, decision: &Decision) -> Option<&str> {
        let toggle = &self.toggle(decision.toggle?).toggle;
        Some(&toggle.variants[decision.choice.variant?.0].name)
    }
}

const UNSPLIT: Choice = Choice { variant: None, reason: Reason::Unsplit, slot: None, weight: None };

impl Route {
    /// What is sent again of requests with this method.
    #[must_use]
    pub fn retries_of(&self, method: &http::Method) -> Option<&Retries> {
        self.retries.as_ref().filter(|retries| retries.any_method || method.is_idempotent())
    }
}

impl PlannedToggle {
    /// The share that is in force now.
    #[must_use]
    pub fn share(&self) -> Option<Share> {
        let planned = self.rollout.as_ref()?;
        Some(Share { variant: planned.variant, weight: planned.rollout.weight() })
    }
}

impl Checking {
    /// The word that configuration uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Checking::Off => "off",
            Checking::Report => "report",
            Checking::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Checking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
