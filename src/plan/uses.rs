//! Uses: where each toggle has a say.

use super::{Plan, ServiceId, Split, ToggleId};
use crate::{route::RouteId, toggle::Prerequisite};

/// Where one toggle has a say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Services whose arm it picks.
    pub services: Vec<ServiceId>,
    /// Routes to those services.
    pub routes: Vec<RouteId>,
    /// Routes that serve only whom it grants a variant.
    pub gates: Vec<RouteId>,
    /// Toggles that require a variant of it, each once.
    pub required_by: Vec<ToggleId>,
    /// Whether a rollout moves it.
    pub rollout: bool,
}

impl Uses {
    /// Whether nothing in the proxy asks for it; applications may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.gates.is_empty() && self.required_by.is_empty()
    }
}

impl Plan {
    /// Where each toggle is used, by [`ToggleId`]: one walk through the plan for all of them.
    #[must_use]
    pub fn uses(&self) -> Vec<Uses> {
        let mut uses = vec![Uses::default(); self.toggles.len()];
        for (index, planned) in self.toggles.iter().enumerate() {
            uses[index].rollout = planned.rollout.is_some();
            for Prerequisite { toggle, .. } in &planned.toggle.requires {
                let required_by = &mut uses[toggle.0].required_by;
                if required_by.last() != Some(&ToggleId(index)) {
                    required_by.push(ToggleId(index));
                }
            }
        }
        for (index, service) in self.services.iter().enumerate() {
            if let Split::Toggle { toggle, .. } = service.split {
                uses[toggle.0].services.push(ServiceId(index));
            }
        }
        for (index, route) in self.routes.iter().enumerate() {
            if let Some(requirement) = &route.require {
                uses[requirement.toggle.0].gates.push(RouteId(index));
            }
            if let Split::Toggle { toggle, .. } = self.service(route.service).split {
                uses[toggle.0].routes.push(RouteId(index));
            }
        }
        uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::sample::Sample,
        toggle::sample::{OFF, ON},
    };

    #[test]
    fn every_use_is_found_and_each_once() {
        let needs = |variant| Prerequisite { toggle: ToggleId(0), variant };
        let mut plan = Sample::default()
            .toggle("base", |_| {})
            .rollout(ON, "10%")
            .toggle("top", |toggle| toggle.requires = vec![needs(ON), needs(OFF)])
            .toggle("idle", |_| {})
            .plan();
        let arm = plan.services[0].first_arm;
        plan.services[0].split = Split::Toggle { toggle: ToggleId(1), arms: vec![arm; 2], otherwise: arm };
        let [base, top, idle] = plan.uses().try_into().unwrap();
        assert_eq!(base, Uses { required_by: vec![ToggleId(1)], rollout: true, ..Uses::default() });
        assert_eq!(top, Uses { services: vec![ServiceId(0)], routes: vec![RouteId(0)], ..Uses::default() });
        assert!(idle.is_empty() && !base.is_empty() && !top.is_empty());
    }
}
