//! What one plan changes of another, toggle by toggle.

use std::collections::BTreeMap;

use super::{GivenToAll, Plan, PlannedToggle, Service, Span, Split, Standing};
use crate::toggle::{Churn, Needs, Note, Portion, Prerequisite, Side, Timestamp, Toggle, ToggleId, churn, lacking};

/// One plan as it stands.
struct Face<'a> {
    plan: &'a Plan,
    standing: &'a Standing,
    given: GivenToAll<'a>,
    now: Timestamp,
}

/// Two plans, and what is known of the way from one to the other.
struct Change<'a> {
    before: Face<'a>,
    after: Face<'a>,
    /// The toggles of before, by their names.
    earlier: BTreeMap<&'a str, ToggleId>,
    /// By the [`ToggleId`] of after. A toggle is compared after those that it requires.
    churns: Vec<Option<Churn>>,
}

impl Plan {
    /// Every toggle that `next` adds, removes or moves users of, in the order of their names. Both
    /// sides are seen as operators left them and as things stand at `now`.
    #[must_use]
    pub fn churn_to(&self, standing: &Standing, next: &Plan, next_standing: &Standing, now: Timestamp) -> Vec<Churn> {
        let earlier = self.toggles.iter().enumerate().map(|(place, planned)| (&*planned.toggle.name, ToggleId(place)));
        let mut change = Change {
            before: Face::of(self, standing, now),
            after: Face::of(next, next_standing, now),
            earlier: earlier.collect(),
            churns: vec![None; next.toggles.len()],
        };
        for place in 0..next.toggles.len() {
            change.compare(ToggleId(place));
        }
        change.note_services();
        let gone = change.earlier.keys().filter(|name| !next.toggle_ids.contains_key(**name));
        let gone = gone.map(|name| Churn::noted(name, Note::Removed));
        let mut churns: Vec<Churn> = change.churns.into_iter().flatten().chain(gone).collect();
        churns.retain(|churn| !churn.is_empty());
        churns.sort_by(|left, right| left.toggle.cmp(&right.toggle));
        churns
    }

    /// The toggle that picks a service's arms, and the arm of each variant, by names.
    fn steering(&self, service: &Service) -> Option<(ToggleId, &str, BTreeMap<&str, &str>)> {
        let Split::Toggle { toggle, arms, .. } = &service.split else { return None };
        let Toggle { name, variants, .. } = &self.toggle(*toggle).toggle;
        let arms = variants.iter().zip(arms).map(|(variant, arm)| (&*variant.name, &*self.arm(*arm).name));
        Some((*toggle, name, arms.collect()))
    }

    /// What a toggle requires, by names: places differ from plan to plan.
    fn required<'a>(&'a self, planned: &'a PlannedToggle) -> Vec<(&'a str, &'a str)> {
        let name = |needed: &Prerequisite| {
            let toggle = &self.toggle(needed.toggle).toggle;
            (&*toggle.name, &*toggle.variants[needed.variant.0].name)
        };
        planned.toggle.requires.iter().map(name).collect()
    }
}

impl Change<'_> {
    /// Compares a toggle, unless that was done.
    fn compare(&mut self, id: ToggleId) {
        if self.churns[id.0].is_some() {
            return;
        }
        let (old, new) = (self.before.plan, self.after.plan);
        let planned = new.toggle(id);
        for needed in &planned.toggle.requires {
            self.compare(needed.toggle);
        }
        let Some(&before) = self.earlier.get(&*planned.toggle.name) else {
            self.churns[id.0] = Some(Churn::noted(&planned.toggle.name, Note::Added));
            return;
        };
        let (left, right) = (self.before.side(before), self.after.side(id));
        let mut churn = churn(left, right, self.after.now);
        if old.required(old.toggle(before)) != new.required(planned) {
            churn.notes.push(Note::Requires);
        }
        let asked = self.before.asks(before) && self.after.asks(id);
        if asked && [left.needs, right.needs].contains(&Needs::Varying) {
            self.add_required(&mut churn, before, id);
        }
        self.churns[id.0] = Some(churn);
    }

    /// Reckons with those whom the toggles move that this one requires, when they are not the same for all.
    fn add_required(&mut self, churn: &mut Churn, before: ToggleId, after: ToggleId) {
        let (old, new) = (self.before.plan, self.after.plan);
        let (left, right) = (old.toggle(before), new.toggle(after));
        let (names_before, names_after) = (old.required(left), new.required(right));
        let mut most = Portion::default();
        for (needed, name) in right.toggle.requires.iter().zip(&names_after) {
            // A toggle that is new has been required by nobody.
            let compared = self.churns[needed.toggle.0].as_ref().filter(|_| names_before.contains(name));
            match compared {
                Some(compared) => most = most.beside(compared.most_of(name.1)),
                None => most = most.beside(self.after.lacking(needed)),
            }
        }
        for (needed, name) in left.toggle.requires.iter().zip(&names_before) {
            if !names_after.contains(name) {
                most = most.beside(self.before.lacking(needed));
            }
        }
        if most > Portion::default() {
            churn.notes.push(Note::Required(most));
        }
    }
}

impl Change<'_> {
    /// Notes the toggles that pick the arms of a service otherwise than it was done before.
    fn note_services(&mut self) {
        let (old, new) = (self.before.plan, self.after.plan);
        let earlier: BTreeMap<&str, &Service> = old.services.iter().map(|service| (&*service.name, service)).collect();
        for service in &new.services {
            let (Some(earlier), Some((id, name, arms))) = (earlier.get(&*service.name), new.steering(service)) else {
                continue;
            };
            let same = old.steering(earlier).is_some_and(|(_, before, steered)| before == name && steered == arms);
            if let (false, Some(churn)) = (same, &mut self.churns[id.0]) {
                churn.notes.push(Note::Steers(service.name.clone()));
            }
        }
    }
}

impl<'a> Face<'a> {
    fn of(plan: &'a Plan, standing: &'a Standing, now: Timestamp) -> Face<'a> {
        Face { plan, standing, given: plan.given_to_all(standing, now, Span::Now), now }
    }

    fn side(&mut self, id: ToggleId) -> Side<'a> {
        let planned = self.plan.toggle(id);
        let needs = self.given.needs(id);
        Side { toggle: &planned.toggle, share: planned.share(), killed: self.standing.is_killed(id), needs }
    }

    /// Whether a decision of the toggle asks what it requires.
    fn asks(&self, id: ToggleId) -> bool {
        self.plan.toggle(id).toggle.overruled(self.standing.is_killed(id), self.now).is_none()
    }

    /// The largest share of any population that does not get what is needed, or may not.
    fn lacking(&mut self, needed: &Prerequisite) -> Portion {
        if let Some(given) = self.given.by(needed.toggle) {
            return if given.choice.variant == Some(needed.variant) { Portion::default() } else { Portion::WHOLE };
        }
        let side = self.side(needed.toggle);
        let mut lacks = lacking(side, needed.variant, self.now);
        if side.toggle.off != Some(needed.variant) {
            for further in &side.toggle.requires {
                lacks = lacks.beside(self.lacking(further));
            }
        }
        lacks
    }
}

#[cfg(test)]
mod tests;
