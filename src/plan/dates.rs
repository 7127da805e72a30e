//! The moments at which a plan begins to decide otherwise.

use super::Plan;
use crate::toggle::{OnExpiry, Timestamp};

impl Plan {
    /// The last such moment that has come by now.
    #[must_use]
    pub fn date_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.dates().filter(|date| *date <= now).max()
    }

    /// The next one after now.
    #[must_use]
    pub fn date_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.dates().filter(|date| *date > now).min()
    }

    fn dates(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.toggles.iter().filter(|_| self.timed).flat_map(|planned| {
            let toggle = &planned.toggle;
            let schedules = toggle.rules.iter().map(|rule| rule.schedule).chain([toggle.schedule]);
            let bounds = schedules.flat_map(|schedule| [schedule.from, schedule.until]);
            bounds.chain([toggle.expires.filter(|_| toggle.on_expiry == OnExpiry::Default)]).flatten()
        })
    }
}
