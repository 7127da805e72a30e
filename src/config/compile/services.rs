//! `[services.NAME]` with its arms and endpoints.

use std::collections::HashMap;

use super::{arms, contracts::Shelf, own::Addresses, policies, propagation::TrustedHosts, rollouts::Moved};
use crate::{
    config::{
        document::Document,
        names::Names,
        section::{Field, Section, did_you_mean},
        units,
    },
    plan::{Arm, ArmId, Endpoint, EndpointId, RetryBudget, Service, ServiceId, Split, ToggleId},
};

/// Services, arms and endpoints; `None` stands where one was refused, so that references to it still
/// resolve.
pub(super) struct Backends<'a> {
    pub(super) services: Vec<Option<Service>>,
    pub(super) arms: Vec<Option<Arm>>,
    pub(super) endpoints: Vec<Endpoint>,
    endpoint_ids: HashMap<Endpoint, EndpointId>,
    names: Names<'a>,
    /// For each service the place of its first arm, and the names of its arms.
    arm_names: Vec<(ArmId, Vec<&'a str>)>,
}

impl Backends<'_> {
    /// The service that a field names.
    pub(super) fn reference(&self, field: &Field<'_>) -> Option<ServiceId> {
        self.names.reference(field).map(ServiceId)
    }

    pub(super) fn arm_names(&self, service: ServiceId) -> Vec<&str> {
        self.arm_names[service.0].1.clone()
    }

    pub(super) fn arm(&self, service: ServiceId, place: usize) -> ArmId {
        ArmId(self.arm_names[service.0].0.0 + place)
    }

    pub(super) fn endpoint(&mut self, endpoint: Endpoint) -> EndpointId {
        *self.endpoint_ids.entry(endpoint).or_insert_with_key(|endpoint| {
            self.endpoints.push(endpoint.clone());
            EndpointId(self.endpoints.len() - 1)
        })
    }
}

/// The place of the arm of that name.
pub(super) fn place_of_arm(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|other| *other == name)
}

/// Reads services and arms; who gets which arm is for [`splits`] to read, once toggles are known.
pub(super) fn backends<'a>(
    document: &Document<'a>,
    shelf: &mut Shelf<'_>,
    own: &Addresses,
    hosts: Option<&TrustedHosts>,
) -> Backends<'a> {
    let mut backends = Backends {
        services: Vec::new(),
        arms: Vec::new(),
        endpoints: Vec::new(),
        endpoint_ids: HashMap::new(),
        names: Names::new("service"),
        arm_names: Vec::new(),
    };
    for (name, field) in document.named("services") {
        let id = ServiceId(backends.services.len());
        let first_arm = ArmId(backends.arms.len());
        backends.names.push(name);
        backends.arm_names.push((first_arm, Vec::new()));
        let service = field.section().and_then(|section| {
            let (arms, retry_budget) = named_arms(name, section)?;
            backends.arm_names[id.0].1 = arms.iter().map(|(name, _)| *name).collect();
            for (name, field) in arms {
                let read = |section| arms::arm(name, section, id, &mut backends, shelf, own, hosts);
                let arm = field.section().and_then(read);
                backends.arms.push(arm);
            }
            let arm_count = backends.arms.len() - first_arm.0;
            Some(Service {
                name: name.to_owned(),
                first_arm,
                arm_count,
                split: Split::None(first_arm),
                retry_budget: retry_budget?,
            })
        });
        backends.services.push(service);
    }
    backends
}

/// The arms with their names, and the service's other keys.
#[expect(clippy::type_complexity, reason = "read once, in one place")]
fn named_arms<'a>(name: &str, mut section: Section<'a>) -> Option<(Vec<(&'a str, Field<'a>)>, Option<RetryBudget>)> {
    if let Err(hint) = units::name(name) {
        section.refuse(format!("{name:?} is not a valid name"), hint);
    }
    // Read by `splits`.
    section.take("split");
    let hint = "name at least one: arms.stable = { endpoints = [\"127.0.0.1:9001\"] }";
    let arms = section.require("arms", hint);
    let retry_budget = section.take("retry_budget").map_or(Some(policies::RETRY_BUDGET), policies::retry_budget);
    section.finish();
    let field = arms?;
    let place = field.clone();
    let arms: Vec<_> = field.section()?.entries().collect();
    if arms.is_empty() {
        place.refuse("the service has no arm".to_owned(), hint);
    }
    (!arms.is_empty()).then_some((arms, retry_budget))
}

/// Reads which arm serves whom, for each service.
pub(super) fn splits(document: &Document<'_>, backends: &Backends<'_>, moved: &mut Moved<'_>) -> Option<Vec<Split>> {
    let services = document.named("services").enumerate();
    let splits = services.map(|(index, (_, field))| split(field, ServiceId(index), backends, moved));
    splits.collect::<Vec<_>>().into_iter().collect()
}

fn split(field: Field<'_>, id: ServiceId, backends: &Backends<'_>, moved: &Moved<'_>) -> Option<Split> {
    let mut section = field.section()?;
    let split = section.take("split");
    let names = backends.arm_names(id);
    // Against no arms at all, every name would be unknown: that was reported already.
    if names.is_empty() {
        return None;
    }
    let stable = place_of_arm(&names, "stable").or((names.len() == 1).then_some(0));
    match (split, moved.implied(id)) {
        (Some(field), None) => toggle_split(field.section()?, id, backends, moved, stable),
        (None, Some((toggle, arms))) => Some(Split::Toggle { toggle, arms: arms.to_vec(), otherwise: arms[1] }),
        (Some(field), Some(_)) => {
            let hint = "let the rollout name the split's toggle: toggle = \"…\" instead of service = \"…\"";
            field.refuse("a split and a rollout both pick this service's arm".to_owned(), hint);
            None
        }
        (None, None) => match stable {
            Some(place) => Some(Split::None(backends.arm(id, place))),
            None => {
                let hint = "add a split, or name the arm that serves everybody \"stable\"";
                section.refuse("nothing says which arm serves whom".to_owned(), hint);
                None
            }
        },
    }
}

fn toggle_split(
    mut section: Section<'_>,
    id: ServiceId,
    backends: &Backends<'_>,
    moved: &Moved<'_>,
    stable: Option<usize>,
) -> Option<Split> {
    let names = backends.arm_names(id);
    let arm = |field: &Field<'_>| field.reference("arm", &names).map(|place| backends.arm(id, place));
    let toggle = section.take("toggle");
    if toggle.is_none() {
        section.refuse("toggle is missing".to_owned(), "name the toggle whose variant picks the arm");
    }
    let otherwise = match (section.take("else"), stable) {
        (Some(field), _) => arm(&field),
        (None, Some(place)) => Some(backends.arm(id, place)),
        (None, None) => {
            section.refuse("nothing says which arm serves everybody else".to_owned(), "name it: else = \"…\"");
            None
        }
    };
    let id: ToggleId = moved.toggles().reference(&toggle?)?;
    let toggle = &moved.toggles().get(id)?.toggle;
    let otherwise = otherwise?;
    let mut arms = vec![otherwise; toggle.variants.len()];
    let variants: Vec<&str> = toggle.variants.iter().map(|variant| &*variant.name).collect();
    let mut whole = true;
    for (name, field) in section.rest() {
        match variants.iter().position(|variant| *variant == name) {
            Some(variant) => match arm(&field) {
                Some(arm) => arms[variant] = arm,
                None => whole = false,
            },
            None => {
                let hint = did_you_mean(name, variants.iter().copied())
                    .unwrap_or_else(|| format!("its variants are: {}", variants.join(", ")));
                field.refuse(format!("the toggle {:?} has no variant {name:?}", toggle.name), &hint);
                whole = false;
            }
        }
    }
    whole.then_some(Split::Toggle { toggle: id, arms, otherwise })
}

/// Puts every split on its service.
pub(super) fn join(services: Vec<Option<Service>>, splits: Vec<Split>) -> Option<Vec<Service>> {
    let joined = services.into_iter().zip(splits).map(|(service, split)| Some(Service { split, ..service? }));
    joined.collect()
}
