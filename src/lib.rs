//! weir: an edge proxy that makes one toggle decision per request and uses it everywhere.
//!
//! # The way of a request
//!
//! A worker is a thread with a current-thread runtime, listeners, connection pools and counters of its
//! own; a request never leaves it. `proxy/handle.rs` is the whole way in one function:
//!
//! ```text
//! listener ─ shed ─ handle: snapshot            one generation, kept to the end
//!                           plan.match_route    → Matched    | Rejection::NoRoute
//!                           decide              → Decided    arm, variant, reason; what travels on | Rejection::NotGranted
//!                           admit               → Admitted   | Rejection::{Contract, BodyTooLarge, …}
//!                           forward             → Response   | Rejection::{Connect, UpstreamTimeout, …}
//!                           record              when the response has ended
//! ```
//!
//! # The way of a configuration
//!
//! Files → [`config::Sources`] → [`config::compile`](fn@config::compile) → [`plan::Plan`] →
//! [`live::Live`]. The reload task is the only one who publishes; file events, signals and calls are
//! commands to it. It and the data plane meet in [`live`] and nowhere else.
//!
//! # Modules, lowest rank first
//!
//! A module uses only lower ranks; a test reads the `use` lines and fails on a breach.
//!
//! | rank | modules |
//! |---|---|
//! | 0, 1, 2 | pure: [`bucket`]; [`identity`], [`propagation`]; [`route`], [`toggle`], [`rollout`], [`contract`] |
//! | 3 | [`plan`]: everything compiled, found by index |
//! | 4 | `aside`; [`config`], [`telemetry`] |
//! | 5 | [`live`], [`store`] |
//! | 6 | [`proxy`], [`reload`], [`observe`], [`catalogue`], [`serve`] |
//! | 7, 8, 9 | [`admin`], [`ofrep`]; [`app`]; [`cli`] |
//!
//! # Embedding
//!
//! ```no_run
//! # fn main() -> Result<(), weir::StartError> {
//! let app = weir::App::start("config".as_ref())?;
//! println!("listening on {:?}", app.addresses().listeners);
//! # Ok(())
//! # }
//! ```

pub mod bucket;

pub mod identity;
pub mod propagation;

pub mod contract;
pub mod rollout;
pub mod route;
pub mod toggle;

pub mod plan;

mod aside;

pub mod config;
pub mod telemetry;

pub mod live;
pub mod store;

pub mod catalogue;
pub mod observe;
pub mod proxy;
pub mod reload;
pub mod serve;

pub mod admin;
pub mod app;
pub mod cli;
pub mod ofrep;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use app::{Addresses, App, StartError};
pub use proxy::Resolver;
pub use reload::{Killed, OrderError, Outcome, Restored};
