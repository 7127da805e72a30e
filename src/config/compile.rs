//! Compile: sources → a plan. Each part reads its own tables and reports its own problems; only when
//! none of them did is there a plan.

mod access_log;
mod arms;
mod assignment;
mod conditions;
mod contracts;
mod flags;
mod guards;
mod idle;
mod issuers;
mod listeners;
mod ofrep;
mod own;
mod policies;
mod process;
mod propagation;
mod requires;
mod rollouts;
mod routes;
mod rules;
mod segments;
mod services;
mod shares;
mod targeting;
mod tls;
mod toggles;
mod upstream_tls;

pub(super) use toggles::{CATEGORIES, KEY_SOURCES, bucket_by};

use super::{
    change::Inventory,
    document::{Document, Parsed},
    expiry::Expiry,
    guard::Guards,
    report::{Problem, Problems, Report},
    source::Sources,
};
use crate::{
    plan::{Lane, LaneId, Plan, PlannedToggle, Route, ToggleId},
    route::{RouteId, RouteTable},
    toggle::Timestamp,
};

/// A configuration that can be served.
#[derive(Debug)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// What its author should know.
    pub warnings: Report,
    /// What will be wrong when its date has come.
    pub expiries: Vec<Expiry>,
    /// What it says, item by item.
    pub inventory: Inventory,
    /// How many users it lets a reload move.
    pub guards: Guards,
}

/// Compiles sources.
///
/// # Errors
/// A report of every problem, when at least one of them is an error.
pub fn compile(sources: &Sources) -> Result<Compiled, Report> {
    let problems = Problems::default();
    let parsed: Vec<Parsed<'_>> = sources.settings().iter().filter_map(|file| Parsed::parse(file, &problems)).collect();
    let built = build(sources, &parsed, &problems);
    let report = problems.into_report();
    match built {
        Some(Built { plan, expiries, inventory, guards }) if report.errors() == 0 => {
            Ok(Compiled { plan, warnings: report, expiries, inventory, guards })
        }
        _ => Err(report),
    }
}

impl Compiled {
    /// What is wrong by now, though it was not when it was written.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = &Problem> {
        self.expiries.iter().filter(move |expiry| expiry.at <= now).map(|expiry| &expiry.problem)
    }

    /// What keeps nothing from being served, but should be told: warnings, and what expired.
    pub fn notices(&self, now: Timestamp) -> impl Iterator<Item = &Problem> {
        self.warnings.problems().iter().chain(self.expired(now))
    }
}

/// A plan with what came out beside it.
struct Built {
    plan: Plan,
    expiries: Vec<Expiry>,
    inventory: Inventory,
    guards: Guards,
}

/// `None` when something was missing; the problems then say what.
fn build(sources: &Sources, parsed: &[Parsed<'_>], problems: &Problems) -> Option<Built> {
    // What a file defines that did not parse would be missed everywhere else: say only what is sure.
    if parsed.len() < sources.settings().len() {
        return None;
    }
    let document = Document::join(parsed, sources.attached(), problems);
    let process = process::process(&document);
    let limits = process::limits(&document);
    let access_log = access_log::access_log(&document);
    let timeouts = process::timeouts(&document);
    let forwarding = process::forwarding(&document);
    let issuers = issuers::issuers(&document);
    let listeners = listeners::listeners(&document, &issuers, sources, problems);
    let own = own::Addresses::new(process.as_ref(), listeners.as_deref());
    let mut shelf = contracts::Shelf::new(sources, problems);
    let propagated = propagation::propagation(&document);
    let sticky = assignment::cookie(&document);
    let hosts = propagated.as_ref().map(|propagated| &propagated.hosts);
    let mut backends = services::backends(&document, &mut shelf, &own, hosts);
    propagation::settle(&mut backends.arms);
    let segments = segments::segments(&document);
    let (mut toggles, waiting) = toggles::toggles(&document, &segments);
    let flags = flags::flags(&document, sources, problems, &mut toggles);
    // Flags of flagd's files may be required, too.
    requires::attach(&mut toggles, waiting.requires);
    let rollouts = rollouts::rollouts(&document, &toggles, &backends);
    let mut toggles = rollouts::attach(toggles, rollouts).with_groups(&waiting.groups);
    let splits = services::splits(&document, &backends, &mut toggles);
    let ofrep = ofrep::ofrep(&document, &issuers, toggles.toggles());
    let routes = routes::routes(&document, &backends, toggles.toggles(), sources, problems);
    let guards = guards::guards(&document, flags.iter().flat_map(|flags| &flags.guards));
    let cohort_headers = rules::cohort_headers(&toggles.made(), &routes);

    let flags = flags?;
    let services = services::join(backends.services, splits?)?;
    let (patterns, routes): (Vec<_>, Vec<_>) = routes.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
    segments.finish()?;
    let (toggles, expiries) = toggles.finish()?;
    // Only the flag API asks for them.
    let (propagation, in_flight) = (propagated?.propagation, document.table("ofrep").is_some());
    let carried = propagation::carried(&document, &toggles, propagation.as_ref(), in_flight);
    let sticky = assignment::attach(sticky?, &toggles, &carried, &routes, &services);
    let issuers = issuers.finish()?;
    idle::warn(&document, &toggles, listeners.as_deref()?, propagation.is_some() || in_flight);
    let mut plan = Plan {
        process: process?,
        limits: limits?,
        timeouts: timeouts?,
        access_log: access_log?,
        forwarding: forwarding?,
        ofrep: ofrep?,
        listeners: listeners?,
        table: RouteTable::new(patterns).ok()?,
        routes,
        services,
        arms: backends.arms.into_iter().collect::<Option<_>>()?,
        endpoints: backends.endpoints,
        timed: !issuers.is_empty() || toggles.iter().any(|planned| planned.toggle.is_timed()),
        issuers,
        toggles_by_name: by_name(&toggles),
        toggle_ids: toggles.iter().map(|planned| planned.toggle.name.clone()).zip((0..).map(ToggleId)).collect(),
        toggles,
        propagation,
        carried,
        in_flight,
        sticky,
        contracts: shelf.finish()?,
        cohort_headers,
        lanes: Vec::new(),
    };
    lay_lanes(&mut plan);
    let inventory = Inventory::new(
        document.items().chain(flags.items).chain(contracts(sources)).chain(sources.attached().digests()),
    );
    Some(Built { plan, expiries, inventory, guards: guards? })
}

/// Each contract's file with its text, for telling changes.
fn contracts(sources: &Sources) -> impl Iterator<Item = (String, String)> + '_ {
    sources.contracts().iter().map(|file| {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        (format!("contracts.{name}"), String::from_utf8_lossy(&file.bytes).into_owned())
    })
}

fn by_name(toggles: &[PlannedToggle]) -> Vec<ToggleId> {
    let mut ids: Vec<ToggleId> = (0..toggles.len()).map(ToggleId).collect();
    ids.sort_by(|left, right| toggles[left.0].toggle.name.cmp(&toggles[right.0].toggle.name));
    ids
}

/// Numbers every route with every arm of its service.
fn lay_lanes(plan: &mut Plan) {
    let mut lanes = Vec::new();
    for (index, route) in plan.routes.iter_mut().enumerate() {
        let Route { service, first_lane, .. } = route;
        *first_lane = LaneId(lanes.len());
        let service = &plan.services[service.0];
        let arms = service.first_arm.0..service.first_arm.0 + service.arm_count;
        lanes.extend(arms.map(|arm| Lane { route: RouteId(index), arm: crate::plan::ArmId(arm) }));
    }
    plan.lanes = lanes;
}
