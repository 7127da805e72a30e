//! `max_churn` and `acknowledged_churn`, of toggles and of rollouts that imply one, and the default of
//! `max_churn` in `[weir]`.

use crate::{
    bucket::Weight,
    config::{
        document::Document,
        guard::{Guard, Guards, OwnGuard},
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

/// Reads every guard, and joins those that `flags` of other files say; `None` when a weight is wrong.
pub(super) fn guards<'f>(
    document: &Document<'_>,
    flags: impl Iterator<Item = &'f (String, OwnGuard)>,
) -> Option<Guards> {
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
        let own = OwnGuard { max: own, acknowledged, place };
        insert(&mut guards, name, own, default.flatten());
    }
    for (name, own) in flags {
        insert(&mut guards, name.clone(), own.clone(), default.flatten());
    }
    whole.then_some(guards)
}

fn insert(
    guards: &mut Guards,
    toggle: String,
    OwnGuard { max, acknowledged, place }: OwnGuard,
    default: Option<Weight>,
) {
    let max = max.or(default).unwrap_or(Weight::WHOLE);
    let acknowledged = acknowledged.filter(|acknowledged| *acknowledged > Weight::NONE);
    if max < Weight::WHOLE || acknowledged.is_some() {
        guards.insert(toggle, Guard { max, acknowledged, place });
    }
}

fn weight(section: &mut Section<'_>, key: &'static str) -> Option<Option<Weight>> {
    section.take(key).map_or(Some(None), |field| field.parse(str::parse::<Weight>).map(Some))
}
