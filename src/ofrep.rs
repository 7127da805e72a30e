//! OFREP 0.3: the flag API for the application beside the proxy.
//!
//! Start at `desk`: it is the way of one question, from head to answer.
//!
//! *Invariants*
//! - An answer is made from one snapshot, by the same `Plan::choose` that routes requests; the clock is
//!   read once.
//! - Nothing here depends on chance: where a share needs an assignment key and none came, the answer is
//!   `TARGETING_KEY_MISSING`, not a draw that the next question would contradict.
//! - A key opens the toggles of its list and no others, and its holder cannot tell whether others exist.
//! - What a context holds is bounded while it is read, and is never echoed.
//! - An answer that differs by one byte has another `ETag`.

mod access;
mod answer;
mod desk;
mod etag;
mod evaluate;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod pace;
mod pins;
mod question;
mod refusal;

pub use desk::{Desk, router};

use crate::{live::Live, serve::Bounds};

/// What peers of the listener may cost, as the configuration says at each moment.
pub fn bounds(live: Live) -> impl Fn() -> Bounds {
    move || {
        let serving = live.serving();
        let limits = serving.plan.ofrep.as_ref().map(|settings| settings.limits).unwrap_or_default();
        Bounds {
            connections_max: limits.connections_max,
            idle: limits.idle_timeout,
            unread: limits.request_timeout,
            // An event stream stays as long as it is read.
            whole: None,
        }
    }
}
