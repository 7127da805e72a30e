//! What the log says of reloads. It is bounded: what is wrong or moves may be as long as the configuration.

use crate::{
    config::{Problem, Report},
    plan::Overlay,
    toggle::Churn,
};

/// Problems of one rejection that its log line holds.
const PROBLEMS_LOGGED_MAX: usize = 5;

/// Toggles of one reload whose churn is logged, a line each.
const CHURN_LOGGED_MAX: usize = 20;

/// Kills and restorations of another process that one log line names.
const OVERLAY_CHANGES_LOGGED_MAX: usize = 20;

/// Why a configuration is not in force.
pub(super) fn rejected(generation: u64, report: &Report) {
    let problems: Vec<String> = report.problems().iter().take(PROBLEMS_LOGGED_MAX).map(Problem::line).collect();
    tracing::error!(
        generation,
        errors = report.errors(),
        problems = %problems.join(" | "),
        "configuration rejected, the last good one serves on; `weir check` prints all of its problems"
    );
}

/// What is killed and restored from one overlay to the next, as a log line says it.
pub(super) fn changes(before: &Overlay, next: &Overlay) -> String {
    let killed = next.kills.iter().filter(|(name, kill)| before.kills.get(*name) != Some(*kill));
    let killed = killed.map(|(name, kill)| format!("kill {name} by {}", kill.by));
    let restored = before.kills.keys().filter(|name| !next.kills.contains_key(*name));
    let restored = restored.map(|name| format!("restore {name}"));
    let mut changes: Vec<String> = killed.chain(restored).collect();
    if let Some(more) = changes.len().checked_sub(OVERLAY_CHANGES_LOGGED_MAX).filter(|more| *more > 0) {
        changes.truncate(OVERLAY_CHANGES_LOGGED_MAX);
        changes.push(format!("{more} more"));
    }
    changes.join(", ")
}

/// Whom a reload moves.
pub(super) fn churn(generation: u64, churn: &[Churn]) {
    for churn in churn.iter().take(CHURN_LOGGED_MAX) {
        tracing::info!(generation, "{churn}");
    }
    if let Some(more) = churn.len().checked_sub(CHURN_LOGGED_MAX).filter(|more| *more > 0) {
        tracing::info!(generation, "and {more} more toggles");
    }
}
