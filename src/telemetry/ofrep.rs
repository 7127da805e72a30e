//! What the control thread counts of the flag API.

use std::time::Duration;

use http::StatusCode;

use super::{
    cells::{Count, Durations, Level},
    names::{CODES, OFREP_ENDPOINTS, code_place},
    unknown::UnknownToggles,
};

/// The flag API's cells. Their one writer is the control thread.
#[derive(Debug)]
pub struct OfrepCells {
    pub(super) endpoints: [EndpointCells; OFREP_ENDPOINTS.len()],
    /// Event streams that are open.
    pub streams: Level,
    /// Toggles that applications asked for and nobody configured.
    pub unknown: UnknownToggles,
}

/// What is counted of one endpoint.
#[derive(Debug)]
pub(super) struct EndpointCells {
    pub(super) codes: [Count; CODES.len()],
    pub(super) durations: Durations,
}

impl OfrepCells {
    /// Counts an answer, by the endpoint's place in [`OFREP_ENDPOINTS`].
    pub fn answered(&self, endpoint: usize, status: StatusCode, duration: Duration) {
        self.endpoints[endpoint].codes[code_place(status)].add_one();
        self.endpoints[endpoint].durations.record(duration);
    }
}

// Derived, it would ask for a default of long arrays.
impl Default for OfrepCells {
    fn default() -> OfrepCells {
        let endpoint =
            |_| EndpointCells { codes: std::array::from_fn(|_| Count::default()), durations: Durations::default() };
        OfrepCells {
            endpoints: std::array::from_fn(endpoint),
            streams: Level::default(),
            unknown: UnknownToggles::default(),
        }
    }
}
