//! The upstreams of one generation, as one worker uses them; what stays of the generation before is
//! taken over.

use std::{collections::HashMap, fmt, rc::Rc, sync::Arc};

use tokio::time::Instant;
use tower::retry::budget::TpsBudget;

use super::{
    host::{Endpoint, Shared},
    roster::Roster,
    survey::Sights,
    tries::budget,
    usage::Usage,
};
use crate::{
    live::Serving,
    plan::{ArmId, EndpointId, Plan, RetryBudget, ServiceId},
};

/// Everything that is configured below `[services]`.
pub(in crate::proxy) struct Upstreams {
    endpoints: Vec<Rc<Endpoint>>,
    rosters: Vec<Roster>,
    budgets: Vec<Rc<Budget>>,
}

struct Budget {
    settings: RetryBudget,
    left: TpsBudget,
}

impl Upstreams {
    pub(in crate::proxy) fn new(
        serving: &Serving,
        shared: &Rc<Shared>,
        sights: &Sights,
        earlier: Option<(&Plan, &Upstreams)>,
    ) -> Upstreams {
        let plan = &serving.plan;
        let endpoints = endpoints(serving, shared, sights, earlier.map(|(_, upstreams)| upstreams));
        let (usages, budgets) = earlier.map_or_else(Default::default, |(plan, upstreams)| upstreams.named(plan));
        let rosters = plan.arms.iter().map(|arm| {
            let names = (&*plan.service(arm.service).name, &*arm.name);
            let usage = usages.get(&names).map_or_else(Rc::default, |usage| Rc::clone(usage));
            let hosts = arm.endpoints.iter().map(|(id, weight)| (Rc::clone(&endpoints[id.0]), *weight));
            Roster::new(arm, hosts.collect(), usage, Rc::clone(shared))
        });
        let rosters = rosters.collect();
        let budgets = plan.services.iter().map(|service| {
            let kept = budgets.get(&*service.name).filter(|budget| budget.settings == service.retry_budget);
            kept.map_or_else(|| Rc::new(Budget::new(service.retry_budget)), |budget| Rc::clone(budget))
        });
        let budgets = budgets.collect();
        Upstreams { endpoints, rosters, budgets }
    }

    /// What a plan's names stand for here.
    #[expect(clippy::type_complexity, reason = "read once, in one place")]
    fn named<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> (HashMap<(&'a str, &'a str), &'a Rc<Usage>>, HashMap<&'a str, &'a Rc<Budget>>) {
        let arms = plan.arms.iter().zip(&self.rosters);
        let usages = arms.map(|(arm, roster)| ((&*plan.service(arm.service).name, &*arm.name), &roster.usage));
        let budgets = plan.services.iter().zip(&self.budgets).map(|(service, budget)| (&*service.name, budget));
        (usages.collect(), budgets.collect())
    }

    /// Takes over what the control thread sees now.
    pub(in crate::proxy) fn see(&self, sights: &Sights, plan: &Plan) {
        for endpoint in &self.endpoints {
            if let Some(sight) = sights.of(endpoint.settings()) {
                endpoint.see(sight, &plan.limits, &plan.timeouts);
            }
        }
        self.rosters.iter().for_each(Roster::resettle);
    }

    pub(super) fn roster(&self, arm: ArmId) -> &Roster {
        &self.rosters[arm.0]
    }

    pub(super) fn budget(&self, service: ServiceId) -> &TpsBudget {
        &self.budgets[service.0].left
    }

    /// Closes connections that were idle for too long.
    pub(in crate::proxy) fn sweep(&self, now: Instant) {
        for host in self.endpoints.iter().flat_map(|endpoint| endpoint.hosts()) {
            host.pool.sweep(host.cells(), now);
        }
    }
}

/// Takes over the endpoints that stay; those of others close with their last request.
fn endpoints(
    serving: &Serving,
    shared: &Rc<Shared>,
    sights: &Sights,
    earlier: Option<&Upstreams>,
) -> Vec<Rc<Endpoint>> {
    let plan = &serving.plan;
    let since = earlier.is_some().then(Instant::now);
    let earlier = earlier.into_iter().flat_map(|earlier| &earlier.endpoints);
    let earlier: HashMap<_, _> = earlier.map(|endpoint| (endpoint.settings(), endpoint)).collect();
    let endpoints = plan.endpoints.iter().enumerate().map(|(place, settings)| {
        if let Some(endpoint) = earlier.get(settings) {
            endpoint.adjust(&plan.limits, &plan.timeouts);
            return Rc::clone(endpoint);
        }
        let meter = Arc::clone(serving.meters.endpoint(EndpointId(place)));
        let endpoint = Endpoint::new(settings.clone(), meter, Rc::clone(shared), since);
        endpoint.adjust(&plan.limits, &plan.timeouts);
        if let Some(sight) = sights.of(settings) {
            endpoint.see(sight, &plan.limits, &plan.timeouts);
        }
        endpoint
    });
    endpoints.collect()
}

impl Budget {
    fn new(settings: RetryBudget) -> Budget {
        Budget { settings, left: budget(settings) }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("rosters", &self.rosters).finish_non_exhaustive()
    }
}
