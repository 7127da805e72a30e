//! Telemetry: every metric's name and labels, the cells that workers count into, and the exporter
//! that shows them to Prometheus.
//!
//! *Invariants*
//! - Names, help texts and labels stand in [`names`] alone. Label values come from configured names
//!   and fixed tables, never from what a client or an upstream sends.
//! - A cell has one writer, the worker it belongs to; counting takes no lock and shares no written
//!   cache line with another worker.
//! - A meter outlives the plans that use it: a reload neither resets nor loses a count.

mod cells;
mod exporter;
mod harvest;
mod meters;
pub mod names;
mod ofrep;
mod reloads;
mod toggles;
mod unknown;
mod wire;

pub use cells::{Count, Durations, Level};
pub use exporter::{Exporter, Scrape};
pub use meters::{
    CheckMeter, DivergenceMeter, EndpointCells, EndpointMeter, LaneCells, LaneMeter, Meters, ToggleCells, ToggleMeter,
    WorkerCells,
};
pub use names::{Attempt, HandshakeOutcome, RefusalCause, RetirementCause, Retried};
pub use ofrep::OfrepCells;
pub use reloads::{Change, OrderKind, OrderOutcome, ReloadGauges};
pub use toggles::ToggleGauges;
pub use unknown::UnknownToggles;
pub use wire::{MemberOutcome, OverrideOutcome, WireCells};
