//! The overlay: what operators changed while it runs, beside the declared configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Plan, PlannedToggle};
use crate::toggle::{Timestamp, ToggleId};

/// Kills without a toggle that one log line names.
const STRAYS_TOLD_MAX: usize = 20;

/// Live state. It belongs to names, not places, so that it outlives every plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// Toggles that an operator killed, by name; one that no plan has now is kept.
    pub kills: BTreeMap<String, Kill>,
}

/// Why a toggle is killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Who did it.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// What they said about it.
    pub note: Option<String>,
}

/// An overlay as one plan sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// By [`ToggleId`].
    killed: Box<[bool]>,
}

impl Overlay {
    /// What it says of each of a plan's toggles.
    #[must_use]
    pub fn standing(&self, toggles: &[PlannedToggle]) -> Standing {
        Standing { killed: toggles.iter().map(|planned| self.kills.contains_key(&planned.toggle.name)).collect() }
    }

    /// Kills of toggles that the plan does not have. One that comes back starts killed.
    pub fn strays<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (&'a str, &'a Kill)> {
        let strays = self.kills.iter().filter(|(name, _)| !plan.toggle_ids.contains_key(*name));
        strays.map(|(name, kill)| (&**name, kill))
    }

    /// What to know of them, as a log line says it; `None` when there is none.
    #[must_use]
    pub fn strays_told(&self, plan: &Plan) -> Option<String> {
        let told = |(name, kill): (&str, &Kill)| format!("{name:?} by {} at {}", kill.by, kill.at());
        let mut strays: Vec<String> = self.strays(plan).take(STRAYS_TOLD_MAX).map(told).collect();
        let more = self.strays(plan).count() - strays.len();
        if more > 0 {
            strays.push(format!("{more} more"));
        }
        (!strays.is_empty()).then(|| {
            format!(
                "killed, and not in the configuration: {}; take the kill back with App::restore, or a toggle that is \
                 added under such a name starts killed",
                strays.join(", ")
            )
        })
    }
}

impl Kill {
    /// When it was done.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp(self.at)
    }
}

impl Standing {
    /// Whether the toggle is killed.
    #[must_use]
    pub fn is_killed(&self, toggle: ToggleId) -> bool {
        self.killed.get(toggle.0).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample::Sample;

    #[test]
    fn kills_without_a_toggle_are_told_and_no_more_than_anybody_reads() {
        let plan = Sample::default().toggle("t", |_| {}).plan();
        let kill = || Kill { by: "ada".into(), at: 60, note: None };
        let told = |names: &mut dyn Iterator<Item = String>| {
            Overlay { kills: names.map(|name| (name, kill())).collect() }.strays_told(&plan)
        };
        assert_eq!(told(&mut ["t".to_owned()].into_iter()), None);
        let one = told(&mut ["gone".to_owned(), "t".to_owned()].into_iter()).unwrap();
        let start = "killed, and not in the configuration: \"gone\" by ada at 1970-01-01T00:01:00Z; take the kill back";
        assert!(one.starts_with(start), "{one}");
        let many = told(&mut (0..33).map(|number| format!("gone{number:02}"))).unwrap();
        assert!(many.contains("\"gone19\"") && !many.contains("gone20") && many.contains(", 13 more; "), "{many}");
    }
}
