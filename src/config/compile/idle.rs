//! What a toggle says and nothing hears: its author expects something of it, so it is told.

use std::collections::HashMap;

use crate::{
    config::document::Document,
    identity::Attribute,
    plan::{Listener, PlannedToggle},
    toggle::{Targeting, Toggle},
};

/// Warns of toggles that look at tokens where none is verified, or at who showed a certificate where nobody does, and
/// of decisions that would travel where none does.
pub(super) fn warn(document: &Document<'_>, toggles: &[PlannedToggle], listeners: &[Listener], decisions_travel: bool) {
    let tokens_verified = document.named("jwt").next().is_some();
    let certificates_shown = listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(|tls| tls.clients));
    let toggles: HashMap<&str, &Toggle> =
        toggles.iter().map(|planned| (&*planned.toggle.name, &planned.toggle)).collect();
    for (name, field) in document.named("toggles") {
        let Some(toggle) = toggles.get(name) else { continue };
        if !tokens_verified && asks(toggle, |attr| matches!(attr, Attribute::Jwt(_))) {
            let hint = "add a [jwt.NAME] and name it as jwt of a listener or of [ofrep]";
            field.warn("it looks at jwt:, and no token is verified".to_owned(), hint);
        }
        if !certificates_shown && asks(toggle, |attr| *attr == Attribute::Consumer) {
            let hint = "name the authorities of clients as client_ca in the tls of a listener";
            field.warn("it looks at consumer, and no client shows a certificate".to_owned(), hint);
        }
        if !decisions_travel && toggle.propagate {
            let hint = "add [propagation] with a secret, or headers = true, or [ofrep] for the application beside weir";
            field.warn("propagate = true does nothing here, since there is no [propagation]".to_owned(), hint);
        }
    }
}

fn asks(toggle: &Toggle, of_kind: impl Fn(&Attribute) -> bool) -> bool {
    let mut asks = toggle.targeting.iter().flat_map(Targeting::compared).any(&of_kind);
    for rule in &toggle.rules {
        rule.when.each_attribute(&mut |attr| asks |= of_kind(attr));
    }
    asks
}
