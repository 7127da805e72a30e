//! The whole precedence of a decision.

use super::{Plan, PlannedToggle, Standing};
use crate::{
    identity::Subject,
    toggle::{self, Category, Choice, Moment, Reason, ToggleId},
};

impl Plan {
    /// Decides a toggle: switched off or killed, expired, pinned or overridden, unmet prerequisite, and
    /// then the toggle's own rules, shares and default. A kill beats a pin.
    ///
    /// `draw` gives a uniformly random number; it is asked only when there is no assignment key.
    /// Prerequisites cannot form a cycle: the configuration is refused then.
    pub fn choose(
        &self,
        standing: &Standing,
        id: ToggleId,
        subject: &Subject<'_>,
        moment: &Moment<'_>,
        draw: &mut dyn FnMut() -> u32,
    ) -> Choice {
        let planned: &PlannedToggle = self.toggle(id);
        let toggle = &planned.toggle;
        let (bare, verified);
        let subject = match subject {
            // Who may do something is not for whoever asks to say.
            Subject::Context(context) if toggle.category == Category::Permission => {
                bare = context.verified();
                verified = Subject::Context(&bare);
                &verified
            }
            subject => subject,
        };
        if let Some(choice) = toggle.overruled(standing.is_killed(id), moment.now) {
            return choice;
        }
        if let Some(pin) = moment.pin(id) {
            return Choice::plain(Some(pin.variant), pin.reason);
        }
        let met = |needed: &toggle::Prerequisite, draw: &mut dyn FnMut() -> u32| {
            self.choose(standing, needed.toggle, subject, moment, draw).variant == Some(needed.variant)
        };
        if !toggle.requires.iter().all(|needed| met(needed, draw)) {
            return Choice::plain(toggle.off, Reason::Unsatisfied);
        }
        toggle::decide(toggle, planned.share(), subject, moment.now, draw)
    }
}

#[cfg(test)]
mod tests;
