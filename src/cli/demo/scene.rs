//! Users and scenes: who asks, what each generation of the configuration says, and so which version
//! has to answer whom.

use crate::bucket::{Slot, Weight, WeightError};

/// The toggle that every scene is about.
const TOGGLE: &str = "orders-v2";

/// Users who take part.
const USERS: usize = 400;

/// Every so manieth user says of itself that it is a beta tester.
const BETA_EVERY: usize = 10;

/// The scenes by the generation that puts them in force: each is one edit after the one before.
pub(super) mod generation {
    pub(in crate::cli::demo) const TENTH: u64 = 1;
    pub(in crate::cli::demo) const THIRTY: u64 = 2;
    pub(in crate::cli::demo) const SIXTY: u64 = 3;
    pub(in crate::cli::demo) const BETA: u64 = 4;
    pub(in crate::cli::demo) const KILLED: u64 = 5;
    pub(in crate::cli::demo) const RESTORED: u64 = 6;
}

/// A version of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    /// v1.
    Stable,
    /// v2.
    Canary,
}

/// Somebody who sends requests.
#[derive(Debug)]
pub(super) struct User {
    /// What `x-user-id` says.
    pub(super) id: String,
    /// Whether `x-cohort: beta` is sent along, in every scene.
    pub(super) beta: bool,
    slot: Slot,
}

/// What the configuration says of the toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scene {
    /// The canary's share.
    pub(super) weight: Weight,
    /// Whether a rule gives beta testers the canary.
    pub(super) beta_rule: bool,
    /// Whether the toggle is alive.
    pub(super) enabled: bool,
}

/// All users and all scenes.
#[derive(Debug)]
pub(super) struct Script {
    users: Vec<User>,
    scenes: Vec<Scene>,
}

impl Arm {
    /// Both.
    pub(super) const ALL: [Arm; 2] = [Arm::Stable, Arm::Canary];

    /// The place in [`Arm::ALL`].
    pub(super) fn index(self) -> usize {
        match self {
            Arm::Stable => 0,
            Arm::Canary => 1,
        }
    }

    /// What the service calls itself.
    pub(super) fn version(self) -> &'static str {
        match self {
            Arm::Stable => "v1",
            Arm::Canary => "v2",
        }
    }

    /// What the configuration calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Arm::Stable => "stable",
            Arm::Canary => "canary",
        }
    }
}

impl User {
    fn new(number: usize) -> User {
        let id = number.to_string();
        User { slot: Slot::of(TOGGLE, &id), beta: number.is_multiple_of(BETA_EVERY), id }
    }
}

impl Scene {
    /// The version that has to answer the user: the kill switch first, then the rule, then the share.
    fn arm(&self, user: &User) -> Arm {
        let canary = self.enabled && ((self.beta_rule && user.beta) || self.weight.owns(user.slot));
        if canary { Arm::Canary } else { Arm::Stable }
    }
}

impl Script {
    pub(super) fn new() -> Result<Script, WeightError> {
        let raised = |weight: &str| -> Result<Scene, WeightError> {
            Ok(Scene { weight: weight.parse()?, beta_rule: false, enabled: true })
        };
        let sixty = raised("60%")?;
        let beta = Scene { beta_rule: true, ..sixty };
        let scenes = vec![raised("10%")?, raised("30%")?, sixty, beta, Scene { enabled: false, ..beta }, beta];
        Ok(Script { users: (1..=USERS).map(User::new).collect(), scenes })
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    pub(super) fn generations(&self) -> usize {
        self.scenes.len()
    }

    /// What the configuration of that generation says; `None` when no act leads to it.
    pub(super) fn scene(&self, generation: u64) -> Option<&Scene> {
        let index = usize::try_from(generation).ok()?.checked_sub(1)?;
        self.scenes.get(index)
    }

    /// The version that has to answer the user at that place, by nothing but the arithmetic of slots.
    pub(super) fn arm(&self, generation: u64, user: usize) -> Option<Arm> {
        Some(self.scene(generation)?.arm(self.users.get(user)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_is_told_apart_by_what_it_decides() {
        let script = Script::new().unwrap();
        let on_canary = |generation| {
            (0..USERS).filter(|&user| script.arm(generation, user) == Some(Arm::Canary)).collect::<Vec<_>>()
        };
        let counts = [generation::TENTH, generation::THIRTY, generation::SIXTY, generation::BETA].map(on_canary);
        assert!(counts.windows(2).all(|pair| pair[0].len() < pair[1].len()));
        assert!(counts.windows(2).all(|pair| pair[0].iter().all(|user| pair[1].contains(user))));
        assert!(on_canary(generation::KILLED).is_empty());
        assert_eq!(on_canary(generation::RESTORED), counts[3]);
        assert_eq!((script.arm(0, 0), script.arm(7, 0)), (None, None));
    }
}
