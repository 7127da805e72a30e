//! What one plan changes of another, toggle by toggle.

use std::collections::BTreeMap;

use super::{Plan, PlannedToggle, Standing};
use crate::toggle::{Churn, Note, Side, Timestamp, ToggleId, churn};

impl Plan {
    /// Every toggle that `next` adds, removes or moves users of, in the order of their names. Both
    /// sides are seen as operators left them and as things stand at `now`.
    #[must_use]
    pub fn churn_to(&self, standing: &Standing, next: &Plan, next_standing: &Standing, now: Timestamp) -> Vec<Churn> {
        let earlier = self.toggles.iter().enumerate().map(|(place, planned)| (&*planned.toggle.name, ToggleId(place)));
        let mut earlier: BTreeMap<&str, ToggleId> = earlier.collect();
        let mut churns = Vec::new();
        for (place, planned) in next.toggles.iter().enumerate() {
            let name = &planned.toggle.name;
            let Some(before) = earlier.remove(&**name) else {
                churns.push(Churn::noted(name, Note::Added));
                continue;
            };
            let left = side(self, standing, before);
            let mut churn = churn(left, side(next, next_standing, ToggleId(place)), now);
            if self.required(self.toggle(before)) != next.required(planned) {
                churn.notes.push(Note::Requires);
            }
            if !churn.is_empty() {
                churns.push(churn);
            }
        }
        churns.extend(earlier.into_keys().map(|name| Churn::noted(name, Note::Removed)));
        churns.sort_by(|left, right| left.toggle.cmp(&right.toggle));
        churns
    }

    /// What a toggle requires, by names: places differ from plan to plan.
    fn required<'a>(&'a self, planned: &'a PlannedToggle) -> Vec<(&'a str, &'a str)> {
        let name = |needed: &crate::toggle::Prerequisite| {
            let toggle = &self.toggle(needed.toggle).toggle;
            (&*toggle.name, &*toggle.variants[needed.variant.0].name)
        };
        planned.toggle.requires.iter().map(name).collect()
    }
}

fn side<'a>(plan: &'a Plan, standing: &Standing, id: ToggleId) -> Side<'a> {
    let planned = plan.toggle(id);
    Side { toggle: &planned.toggle, share: planned.share(), killed: standing.is_killed(id) }
}
