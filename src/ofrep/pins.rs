//! What the request that the application is answering has decided already.

use axum::http::request::Parts;

use crate::{
    live::Serving,
    toggle::{Pin, Reason, ToggleId},
};

/// Decisions that hold for this question too, with the reasons that they were made for.
#[derive(Debug, Default)]
pub(super) struct Pins {
    pins: Vec<Pin>,
    /// Beside each pin.
    reasons: Vec<Reason>,
}

impl Pins {
    /// Those of the request that the call carries, by its signed baggage or its trace.
    pub(super) fn of(_serving: &Serving, _head: &Parts) -> Pins {
        Pins::default()
    }

    pub(super) fn as_slice(&self) -> &[Pin] {
        &self.pins
    }

    /// Why a pinned toggle's decision was made, where it is known.
    pub(super) fn reason(&self, toggle: ToggleId) -> Option<Reason> {
        let place = self.pins.iter().position(|pin| pin.toggle == toggle)?;
        Some(self.reasons[place])
    }
}
