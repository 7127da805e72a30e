//! What a toggle says and nothing hears: its author expects something of it, so it is told.

use std::collections::HashMap;

use crate::{
    config::document::Document,
    identity::Attribute,
    plan::PlannedToggle,
    toggle::{Condition, Toggle},
};

/// Warns of toggles that look at tokens where none is verified, and of decisions that would travel where none does.
pub(super) fn warn(document: &Document<'_>, toggles: &[PlannedToggle], verifies: bool, travels: bool) {
    let reads_token = |toggle: &Toggle| !verifies && toggle.rules.iter().any(|rule| asks_token(&rule.when));
    let stays = |toggle: &Toggle| !travels && toggle.propagate;
    let made = toggles.iter().map(|planned| &planned.toggle).filter(|toggle| reads_token(toggle) || stays(toggle));
    let made: HashMap<&str, &Toggle> = made.map(|toggle| (&*toggle.name, toggle)).collect();
    if made.is_empty() {
        return;
    }
    for (name, field) in document.named("toggles") {
        let Some(toggle) = made.get(name) else { continue };
        if reads_token(toggle) {
            let hint = "add a [jwt.NAME] and name it as jwt of a listener or of [ofrep]";
            field.warn("it looks at jwt:, and no token is verified".to_owned(), hint);
        }
        if stays(toggle) {
            let hint = "add [propagation] with a secret, or headers = true, or [ofrep] for the application beside weir";
            field.warn("propagate = true does nothing here, since there is no [propagation]".to_owned(), hint);
        }
    }
}

fn asks_token(condition: &Condition) -> bool {
    let mut asks = false;
    condition.each_attribute(&mut |attr| asks |= matches!(attr, Attribute::Jwt(_)));
    asks
}
