//! flagd's JSON: one flag definition becomes one toggle. What flagd has no word for stands in `metadata`, as
//! `weir.owner` and its like, or comes from `[flagd]`.

mod definition;
mod flag;
mod governance;
mod place;

pub(super) use definition::read;
pub(super) use flag::toggle;
pub(super) use governance::Defaults;
pub(super) use place::File;
