//! `[rollouts.NAME]`, and the toggles that rollouts of a service imply.

use std::collections::BTreeMap;

use super::{
    guards,
    services::Backends,
    shares,
    toggles::{BUCKET_BY, Group, Toggles, bucket_by},
};
use crate::{
    bucket::{Bucketing, Weight},
    config::{
        document::Document,
        expiry::Expiry,
        section::{Field, Section},
        units,
    },
    identity::Attribute,
    plan::{ArmId, PlannedRollout, PlannedToggle, ServiceId, ToggleId},
    rollout::{Course, Rollout, Stage},
    toggle::{Category, OnExpiry, Schedule, Toggle, Variant, VariantId},
};

/// A rollout and what it moves.
pub(super) struct Targeted {
    rollout: Rollout,
    target: Target,
}

enum Target {
    /// A toggle's variant.
    Toggle(ToggleId, VariantId),
    /// A service's arm, against the arm for everybody else, by an implied toggle.
    Service {
        service: ServiceId,
        arm: (ArmId, String),
        otherwise: (ArmId, String),
        bucket_by: Vec<Attribute>,
        propagate: bool,
    },
}

/// Toggles with the rollouts that move them.
pub(super) struct Moved<'a> {
    toggles: Toggles<'a>,
    /// The toggle that a rollout implies for a service, with the arms of its two variants.
    implied: BTreeMap<usize, (ToggleId, [ArmId; 2])>,
}

impl<'a> Moved<'a> {
    pub(super) fn toggles(&self) -> &Toggles<'a> {
        &self.toggles
    }

    /// The same, once it is known that no cohort group is called like a toggle outside of it, and that all of each
    /// hash alike.
    pub(super) fn with_groups(self, groups: &[(ToggleId, Group<'_>)]) -> Moved<'a> {
        self.toggles.refuse_strangers(groups);
        self.toggles.refuse_discord(groups);
        self
    }

    pub(super) fn implied(&self, service: ServiceId) -> Option<(ToggleId, [ArmId; 2])> {
        self.implied.get(&service.0).copied()
    }

    pub(super) fn made(&self) -> Vec<&PlannedToggle> {
        self.toggles.made()
    }

    pub(super) fn finish(self) -> Option<(Vec<PlannedToggle>, Vec<Expiry>)> {
        self.toggles.finish()
    }
}

pub(super) fn rollouts(
    document: &Document<'_>,
    toggles: &Toggles<'_>,
    backends: &Backends<'_>,
) -> Vec<Option<Targeted>> {
    let mut movers: BTreeMap<usize, String> = BTreeMap::new();
    let mut shifters: BTreeMap<usize, String> = BTreeMap::new();
    let mut rollouts = Vec::new();
    for (name, field) in document.named("rollouts") {
        let Some(section) = field.clone().section() else { continue };
        let rollout = targeted(name, section, toggles, backends);
        if let Some(Targeted { target, .. }) = &rollout {
            let earlier = match target {
                Target::Toggle(toggle, _) => movers.insert(toggle.0, name.to_owned()),
                Target::Service { service, .. } => shifters.insert(service.0, name.to_owned()),
            };
            if let Some(earlier) = earlier {
                let message = format!("the rollouts {earlier:?} and {name:?} move the same users");
                field.refuse(message, "keep one of them, or give each a toggle of its own");
            }
        }
        rollouts.push(rollout);
    }
    rollouts
}

/// Puts every rollout on its toggle.
pub(super) fn attach<'a>(mut toggles: Toggles<'a>, rollouts: Vec<Option<Targeted>>) -> Moved<'a> {
    let mut implied = BTreeMap::new();
    for Targeted { rollout, target } in rollouts.into_iter().flatten() {
        match target {
            Target::Toggle(id, variant) => {
                if toggles.get(id).is_some_and(|planned| planned.toggle.bucket_by.is_empty()) {
                    toggles.warn(id, "without bucket_by every request is drawn anew".to_owned(), BUCKET_BY);
                }
                if let Some(planned) = toggles.get_mut(id) {
                    planned.rollout = Some(PlannedRollout { rollout, variant });
                }
            }
            Target::Service { service, arm, otherwise, bucket_by, propagate } => {
                let variant = |(_, name): &(ArmId, String), on: bool| Variant { name: name.clone(), value: on.into() };
                let toggle = Toggle {
                    name: format!("rollout.{}", rollout.name),
                    category: Category::Release,
                    owner: String::new(),
                    description: None,
                    created: None,
                    expires: None,
                    on_expiry: OnExpiry::Warn,
                    enabled: true,
                    schedule: Schedule::default(),
                    requires: Vec::new(),
                    bucketing: Bucketing::default(),
                    salt: format!("rollout.{}", rollout.name),
                    targeting: None,
                    split: None,
                    propagate,
                    metadata: serde_json::Map::new(),
                    overridable: false,
                    variants: vec![variant(&arm, true), variant(&otherwise, false)],
                    default: Some(VariantId(1)),
                    off: Some(VariantId(1)),
                    bucket_by,
                    rules: Vec::new(),
                };
                let rollout = Some(PlannedRollout { rollout, variant: VariantId(0) });
                let id = toggles.push(PlannedToggle { toggle, rollout });
                implied.insert(service.0, (id, [arm.0, otherwise.0]));
            }
        }
    }
    Moved { toggles, implied }
}

fn targeted(name: &str, mut section: Section<'_>, toggles: &Toggles<'_>, backends: &Backends<'_>) -> Option<Targeted> {
    let named = units::name(name);
    if let Err(hint) = named {
        section.refuse(format!("{name:?} is not a valid name"), hint);
    }
    let course = course(&mut section);
    let target = match (section.take("toggle"), section.take("service")) {
        (Some(toggle), None) => {
            let variant = section.require("variant", "name the variant that grows: variant = \"on\"");
            toggle_target(&toggle, variant, toggles)
        }
        (None, Some(service)) => service_target(&mut section, &service, backends),
        (None, None) | (Some(_), Some(_)) => {
            let hint = "write toggle = \"…\" with variant = \"…\", or service = \"…\"";
            section.refuse("a rollout moves either a toggle or a service".to_owned(), hint);
            // Taken, so that they are not reported as unknown besides.
            for key in ["variant", "arm", "bucket_by", "propagate", "max_churn", "acknowledged_churn"] {
                section.take(key);
            }
            None
        }
    };
    section.finish();
    named.ok()?;
    Some(Targeted { rollout: Rollout { name: name.to_owned(), course: course? }, target: target? })
}

fn toggle_target(toggle: &Field<'_>, variant: Option<Field<'_>>, toggles: &Toggles<'_>) -> Option<Target> {
    let id = toggles.reference(toggle)?;
    let moved = &toggles.get(id)?.toggle;
    let variant = shares::variant(&variant?, &moved.variants);
    if moved.split.is_some() {
        let hint = "keep one of them: a split is a share that no rollout moves";
        toggle.refuse(format!("the toggle {:?} has a split for everybody already", moved.name), hint);
        return None;
    }
    Some(Target::Toggle(id, variant?))
}

fn service_target(section: &mut Section<'_>, service: &Field<'_>, backends: &Backends<'_>) -> Option<Target> {
    let arm = section.take("arm");
    guards::take(section);
    let keys = section.take("bucket_by");
    if keys.is_none() {
        section.warn("without bucket_by every request is drawn anew".to_owned(), BUCKET_BY);
    }
    let bucket_by = keys.map_or(Some(Vec::new()), |field| bucket_by(field, None));
    let propagate = section.take("propagate").map_or(Some(false), |field| field.flag());
    let service = backends.reference(service)?;
    let names = backends.arm_names(service);
    // Against no arms at all, every name would be unknown: that was reported already.
    if names.is_empty() {
        return None;
    }
    let place = match &arm {
        Some(field) => field.reference("arm", &names)?,
        None => names.iter().position(|name| *name == "canary").or_else(|| {
            section.refuse("it is not said which arm grows".to_owned(), "name it: arm = \"canary\"");
            None
        })?,
    };
    let others = || (0..names.len()).filter(|other| *other != place);
    let stable = others().find(|other| names[*other] == "stable");
    let Some(otherwise) = stable.or_else(|| others().next().filter(|_| names.len() == 2)) else {
        let hint = "name one of the service's other arms \"stable\"";
        section.refuse("it is not clear which arm serves everybody else".to_owned(), hint);
        return None;
    };
    let named = |place: usize| (backends.arm(service, place), names[place].to_owned());
    let (arm, otherwise) = (named(place), named(otherwise));
    Some(Target::Service { service, arm, otherwise, bucket_by: bucket_by?, propagate: propagate? })
}

fn course(section: &mut Section<'_>) -> Option<Course> {
    match (section.take("weight"), section.take("stages")) {
        (Some(field), None) => weight(&field).map(Course::Fixed),
        (None, Some(field)) => {
            let fields = field.clone().list()?;
            let stages: Vec<_> = fields.into_iter().map(|field| stage(field.section()?)).collect();
            let mut stages = stages.into_iter().collect::<Option<Vec<_>>>()?.into_iter();
            let Some(first) = stages.next() else {
                field.refuse("there is no stage".to_owned(), "write at least one: stages = [{ weight = \"1%\" }]");
                return None;
            };
            let rest: Vec<Stage> = stages.collect();
            if !rest.is_empty() {
                let hint = "raise it by hand: put the next stage's weight first, or write weight = \"…\"";
                section.warn(format!("the rollout stays at its first stage, {}", first.weight), hint);
            }
            Some(Course::Staged { first, rest })
        }
        _ => {
            section.refuse("a rollout has either a weight or stages".to_owned(), "write weight = \"5%\"");
            None
        }
    }
}

fn stage(mut section: Section<'_>) -> Option<Stage> {
    let share = section.require("weight", "write the share: weight = \"1%\"").and_then(|field| weight(&field));
    let hold = section.take("hold").map_or(Some(None), |field| field.parse(units::duration).map(Some));
    let gate = section.take("gate").map_or(Some(false), |field| field.word(&[("manual", true), ("auto", false)]));
    section.finish();
    Some(Stage { weight: share?, hold: hold?, manual_gate: gate? })
}

fn weight(field: &Field<'_>) -> Option<Weight> {
    field.parse(str::parse::<Weight>)
}
