//! The data plane. Start at `handle`: it is the way of one request, from head to record.
//!
//! *Invariants*
//! - A request keeps the snapshot that it began with: a reload never mixes generations.
//! - A request never leaves its worker; nothing here takes a lock.
//! - No message means two things to weir and its neighbour: `framing` judges it before anything is made of it.
//! - Every wait on a peer has a deadline; every head, body and connection count has a limit.
//! - A body that was not admitted cannot be forwarded: only `admit` makes an `Admitted`.
//! - Each toggle is decided once for a request: its route, what travels on and what is answered about it
//!   agree.
//! - The toggle decides the arm; whether an endpoint can be reached only decides who stands in.

mod access_log;
mod admit;
mod arrived;
mod asking;
mod body;
mod bound;
mod client;
mod connection;
mod date;
mod decided;
mod drain;
mod exchange;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod half_closed;
mod handle;
mod headers;
mod http1;
mod http2;
mod idle;
mod in_flight;
mod interim;
mod listener;
#[doc(hidden)]
pub mod measured;
mod preamble;
mod received;
mod rejection;
mod reply;
#[cfg(any(test, fuzzing))]
mod sample;
mod shed;
mod sticky;
mod tenure;
mod tls;
mod tokens;
mod translate;
mod transport;
mod tunnel;
mod turn;
mod upgrade;
mod upstream;
mod worker;

pub use access_log::{AccessLog, Lines};
pub use asking::read as read_asking;
pub use body::BodyFailed;
pub use bound::{Bound, tcp as bind_tcp};
pub use decided::{Decided, decide};
pub use framing::Flaw;
pub use http2::{Reason, StreamFault};
pub use in_flight::{InFlight, InFlightDecisions, NamedPin, Questions};
pub use received::BodyFault;
pub use rejection::Rejection;
pub use sticky::Sticky;
pub use tokens::read as read_claims;
pub use upstream::{ConnectError, Limit, Lost, OwnAddresses, Resolver, Sights, Survey, UpstreamFault};
pub use worker::{Crew, Upstreamward, WorkerError};
