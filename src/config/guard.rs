//! Guards: how many users of a toggle one reload may move.

use std::{collections::BTreeMap, fmt::Write};

use super::report::{Problem, Problems, Report, Severity};
use crate::{
    bucket::Weight,
    toggle::{Churn, Portion},
};

/// What the configuration says about each toggle that has a limit, or acknowledges something. The limits of the
/// configuration that is to be put in force hold: what it allows, somebody wrote into it.
#[derive(Clone, Debug, Default)]
pub struct Guards(BTreeMap<String, Guard>);

/// One toggle's limit.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) max: Weight,
    pub(super) acknowledged: Option<Weight>,
    /// Where it stands; what is wrong is filled in.
    pub(super) place: Problem,
}

/// What a toggle itself says of its limit.
#[derive(Clone, Debug)]
pub(super) struct OwnGuard {
    pub(super) max: Option<Weight>,
    pub(super) acknowledged: Option<Weight>,
    /// Where it stands; what is wrong is filled in.
    pub(super) place: Problem,
}

impl OwnGuard {
    /// Whether it says anything.
    pub(super) fn is_some(&self) -> bool {
        self.max.is_some() || self.acknowledged.is_some()
    }
}

impl Guards {
    pub(super) fn insert(&mut self, toggle: String, guard: Guard) {
        self.0.insert(toggle, guard);
    }

    /// Whether each change keeps to its toggle's limit. What was acknowledged in `earlier`, which is in force,
    /// was for an earlier change and counts no more. Returns the acknowledgements that no change needed: the
    /// next one may pass by them.
    ///
    /// # Errors
    /// A report of every toggle that moves more of some population than its `max_churn`, and than its
    /// `acknowledged_churn`.
    pub fn judge(&self, earlier: &Guards, churns: &[Churn]) -> Result<Vec<Problem>, Report> {
        let problems = Problems::default();
        let mut idle: BTreeMap<&str, &Guard> = self.acknowledging().collect();
        for churn in churns {
            let Some(guard) = self.0.get(&churn.toggle) else { continue };
            let most = churn.most();
            if most <= Portion::from(guard.max) {
                continue;
            }
            idle.remove(&*churn.toggle);
            let spent = earlier.0.get(&churn.toggle).and_then(|earlier| earlier.acknowledged);
            let fresh = guard.acknowledged.filter(|acknowledged| Some(*acknowledged) != spent);
            if most > Portion::from(fresh.unwrap_or_default()) {
                problems.add(guard.exceeded(churn, most, fresh.is_none()));
            }
        }
        let report = problems.into_report();
        if report.errors() > 0 {
            return Err(report);
        }
        Ok(idle.into_iter().map(|(toggle, guard)| guard.idle(toggle)).collect())
    }

    /// Every acknowledgement, where nothing is changed: a start moves nobody.
    #[must_use]
    pub fn idle(&self) -> Vec<Problem> {
        self.acknowledging().map(|(toggle, guard)| guard.idle(toggle)).collect()
    }

    fn acknowledging(&self) -> impl Iterator<Item = (&str, &Guard)> {
        self.0.iter().filter(|(_, guard)| guard.acknowledged.is_some()).map(|(toggle, guard)| (&**toggle, guard))
    }
}

impl Guard {
    fn exceeded(&self, churn: &Churn, most: Portion, is_spent: bool) -> Problem {
        let needed = most.ceiling();
        let mut limit = format!("max_churn is {}", self.max);
        let mut hint =
            format!("move fewer users at a time, or say that it is meant: acknowledged_churn = \"{needed}\"");
        if let Some(acknowledged) = self.acknowledged {
            let earlier = if is_spent { " was for an earlier change" } else { "" };
            // Writing to a String cannot fail.
            write!(limit, " and acknowledged_churn {acknowledged}{earlier}").ok();
            if is_spent && acknowledged == needed {
                hint = "take acknowledged_churn out first: it holds for the reload that brings it, and the one in \
                        force says the same"
                    .to_owned();
            }
        }
        Problem { message: format!("{limit}, and this moves more: {churn}"), hint: Some(hint), ..self.place.clone() }
    }

    fn idle(&self, toggle: &str) -> Problem {
        let message = format!("acknowledged_churn of the toggle {toggle:?} acknowledges nothing here");
        let hint = "remove it: it holds for the reload that brings it, together with the change that needs it";
        Problem { severity: Severity::Warning, message, hint: Some(hint.to_owned()), ..self.place.clone() }
    }
}
