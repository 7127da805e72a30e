//! `weir toggle list` and `weir toggle stale`.

use std::process::ExitCode;

use super::{
    Format, Kept,
    table::{COLUMNS, Table, wrapped},
};
use crate::{
    catalogue::Entry,
    cli::{Config, print},
};

/// Widths that leave room for the last column in 80, as long as names are short: those are never cut, since
/// they are there to be copied.
const WIDTHS: [usize; 7] = [usize::MAX, 10, 12, 5, 10, 16, 4];

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    /// After how many days a toggle is stale that gives everybody the same, or that nobody asks.
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u32,
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Prints every toggle.
pub(super) fn list(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let entries = Kept::read(&arguments.config)?.entries(arguments.days);
    printed(arguments, &entries, "there is no toggle", |entries| table(entries, short).text(&WIDTHS))
}

/// Prints the toggles that should go.
pub(super) fn stale(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut entries = Kept::read(&arguments.config)?.entries(arguments.days);
    let total = entries.len();
    entries.retain(|entry| !entry.stale.is_empty());
    printed(arguments, &entries, &format!("none of {total} toggle(s) is stale"), reasons)
}

fn printed(
    arguments: &Arguments,
    entries: &[Entry],
    none: &str,
    text: impl Fn(&[Entry]) -> String,
) -> anyhow::Result<ExitCode> {
    print(&match arguments.format {
        Format::Json => serde_json::to_string_pretty(entries)?,
        Format::Text | Format::Markdown if entries.is_empty() => none.to_owned(),
        Format::Text => text(entries),
        Format::Markdown => table(entries, long).markdown(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Each name with its owner, and below it every reason in full.
fn reasons(entries: &[Entry]) -> String {
    let mut lines = Vec::new();
    for entry in entries {
        lines.push(match (&*entry.owner, entry.configured) {
            ("", true) => format!("{}  owned by nobody", entry.name),
            ("", false) => format!("{}  not configured", entry.name),
            (owner, _) => format!("{}  owned by {owner}", entry.name),
        });
        for reason in &entry.stale {
            lines.extend(wrapped(reason, COLUMNS, "    "));
        }
    }
    lines.join("\n")
}

fn table(entries: &[Entry], columns: fn(&Entry) -> Vec<(&'static str, String)>) -> Table {
    let rows: Vec<Vec<(&str, String)>> = entries.iter().map(columns).collect();
    let heads = rows.first().map(|row| row.iter().map(|(head, _)| *head).collect()).unwrap_or_default();
    let rows = rows.into_iter().map(|row| row.into_iter().map(|(_, cell)| cell).collect()).collect();
    Table { heads, rows }
}

fn short(entry: &Entry) -> Vec<(&'static str, String)> {
    let stale = if entry.stale.is_empty() { "" } else { ", stale" };
    let mut columns = common(entry, stale);
    columns.push(("uses", entry.used_by.len().to_string()));
    columns.push(("decided", decided(entry)));
    columns
}

fn long(entry: &Entry) -> Vec<(&'static str, String)> {
    let kill = entry.kill.as_ref().map_or(String::new(), |kill| format!(" by {}", kill.by));
    let mut columns = common(entry, &kill);
    columns.extend([
        ("serves", entry.serves.clone()),
        ("used by", entry.used_by.join(", ")),
        ("decisions", decided(entry)),
        ("last decision", entry.last_decision.clone().unwrap_or_else(|| "-".to_owned())),
        ("stale", entry.stale.join("; ")),
    ]);
    columns
}

fn common(entry: &Entry, more: &str) -> Vec<(&'static str, String)> {
    vec![
        ("name", entry.name.clone()),
        ("category", entry.category.unwrap_or("-").to_owned()),
        ("owner", if entry.owner.is_empty() { "-".to_owned() } else { entry.owner.clone() }),
        ("age", entry.age_days.map_or_else(|| "-".to_owned(), |days| format!("{days}d"))),
        ("expires", entry.expires.clone().unwrap_or_else(|| "-".to_owned())),
        ("state", format!("{}{more}", entry.state.as_str())),
    ]
}

fn decided(entry: &Entry) -> String {
    entry.decisions.values().sum::<u64>().to_string()
}
