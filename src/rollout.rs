//! Rollouts: how far one variant of one toggle has come.
//!
//! *Invariants*
//! - A rollout serves a weight at every moment: it has a fixed one or at least one stage.
//! - At most one rollout moves a toggle.

use std::time::Duration;

use crate::bucket::Weight;

/// Moves one variant's share of a toggle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The name that configuration and metrics use.
    pub name: String,
    /// How the share is set.
    pub course: Course,
}

/// How a rollout's share is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// The weight stays where it is put.
    Fixed(Weight),
    /// The weight goes from stage to stage.
    Staged {
        /// Where it starts.
        first: Stage,
        /// Where it goes from there.
        rest: Vec<Stage>,
    },
}

/// One stop of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The share while this stage is held.
    pub weight: Weight,
    /// How long it is held at least.
    pub hold: Option<Duration>,
    /// Whether a person has to let it go on.
    pub manual_gate: bool,
}

impl Rollout {
    /// The share in force: the fixed weight, or that of the first stage.
    #[must_use]
    pub fn weight(&self) -> Weight {
        match &self.course {
            Course::Fixed(weight) => *weight,
            Course::Staged { first, .. } => first.weight,
        }
    }
}
