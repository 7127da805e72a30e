//! Guards: how many users of a toggle one reload may move.

use std::{collections::BTreeMap, fmt::Write};

use super::report::{Problem, Problems, Report};
use crate::{
    bucket::Weight,
    toggle::{Churn, Portion},
};

/// What the configuration says about each toggle that has a limit. Only the configuration that is to be put
/// in force is asked: what it allows, somebody wrote into it.
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

    /// Whether each change keeps to its toggle's limit.
    ///
    /// # Errors
    /// A report of every toggle that moves more of some population than its `max_churn`, and than its
    /// `acknowledged_churn`.
    pub fn judge(&self, churns: &[Churn]) -> Result<(), Report> {
        let problems = Problems::default();
        for churn in churns {
            let Some(guard) = self.0.get(&churn.toggle) else { continue };
            let most = churn.most();
            let allowed = guard.acknowledged.unwrap_or_default().max(guard.max);
            if most > Portion::from(allowed) {
                problems.add(guard.exceeded(churn, most));
            }
        }
        let report = problems.into_report();
        if report.errors() == 0 { Ok(()) } else { Err(report) }
    }
}

impl Guard {
    fn exceeded(&self, churn: &Churn, most: Portion) -> Problem {
        let mut limit = format!("max_churn is {}", self.max);
        if let Some(acknowledged) = self.acknowledged {
            // Writing to a String cannot fail.
            write!(limit, " and acknowledged_churn {acknowledged}").ok();
        }
        let hint =
            format!("move fewer users at a time, or say that it is meant: acknowledged_churn = \"{}\"", most.ceiling());
        Problem { message: format!("{limit}, and this moves more: {churn}"), hint: Some(hint), ..self.place.clone() }
    }
}
