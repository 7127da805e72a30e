//! `max_churn` and `acknowledged_churn`, of toggles and of rollouts that imply one, and the default of
//! `max_churn` in `[weir]`.

use crate::{
    bucket::Weight,
    config::{
        document::Document,
        guard::{Guard, Guards},
        section::{Field, Section},
    },
};

/// Takes the keys of a guarded table; [`guards`] reads them.
pub(super) fn take(section: &mut Section<'_>) {
    section.take("max_churn");
    section.take("acknowledged_churn");
}

/// Takes the key of `[weir]`; [`guards`] reads it.
pub(super) fn take_default(section: &mut Section<'_>) {
    section.take("max_churn");
}

/// Reads every guard; `None` when a weight is wrong.
pub(super) fn guards(document: &Document<'_>) -> Option<Guards> {
    let weir = document.table("weir").filter(|field| field.peek("max_churn").is_some());
    let default = match weir.and_then(Field::section) {
        Some(mut section) => weight(&mut section, "max_churn"),
        None => Some(None),
    };
    let mut whole = default.is_some();
    let mut guards = Guards::default();
    let toggles = document.named("toggles").map(|(name, field)| (name.to_owned(), field));
    let implied = document.named("rollouts").filter(|(_, field)| field.peek("service").is_some());
    let implied = implied.map(|(name, field)| (format!("rollout.{name}"), field));
    for (name, field) in toggles.chain(implied) {
        let place = field.place();
        // What is no table is reported by whoever reads the rest of it.
        let Some(mut section) = Some(field).filter(Field::is_table).and_then(Field::section) else { continue };
        let own = weight(&mut section, "max_churn");
        let acknowledged = weight(&mut section, "acknowledged_churn");
        let (Some(own), Some(acknowledged)) = (own, acknowledged) else {
            whole = false;
            continue;
        };
        if let Some(max) = own.or(default.flatten()).filter(|max| *max < Weight::WHOLE) {
            guards.insert(name, Guard { max, acknowledged, place });
        }
    }
    whole.then_some(guards)
}

fn weight(section: &mut Section<'_>, key: &'static str) -> Option<Option<Weight>> {
    section.take(key).map_or(Some(None), |field| field.parse(str::parse::<Weight>).map(Some))
}
