//! `weir toggle show NAME`.

use std::process::ExitCode;

use super::{Format, Kept, table::escaped};
use crate::{
    catalogue::Entry,
    cli::{Config, print},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The toggle.
    name: String,
    #[command(flatten)]
    config: Config,
    /// After how many days a toggle is stale that gives everybody the same, or that nobody asks.
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u32,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn show(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let kept = Kept::read(&arguments.config)?;
    let entry = kept.entries(arguments.days).into_iter().find(|entry| entry.name == arguments.name);
    let entry = entry.ok_or_else(|| kept.unknown(&arguments.name))?;
    let lines = lines(&entry);
    let lines = lines.iter();
    print(&match arguments.format {
        Format::Json => serde_json::to_string_pretty(&entry)?,
        Format::Text => lines.map(|(label, text)| format!("{label:<12}{text}")).collect::<Vec<_>>().join("\n"),
        Format::Markdown => {
            lines.map(|(label, text)| format!("- **{label}**: {}", escaped(text))).collect::<Vec<_>>().join("\n")
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn lines(entry: &Entry) -> Vec<(&'static str, String)> {
    let none = || "-".to_owned();
    let days = |days: i64| format!(", {days} day(s) old");
    let since = entry.since.as_ref().map(|since| since.clone() + &entry.age_days.map_or_else(String::new, days));
    let then = entry.on_expiry.unwrap_or("warn");
    let expires = entry.expires.as_ref().map(|expires| format!("{expires}, then {then}"));
    let kill = entry.kill.as_ref().map_or_else(String::new, |kill| {
        let note = kill.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
        format!(", killed by {} at {}{note}", kill.by, kill.at())
    });
    let variants = entry.variants.iter().map(|(name, value)| format!("{name} = {value}"));
    let counts = entry.decisions.iter().map(|(name, count)| match &**name {
        "" => format!("{count} no variant"),
        name => format!("{count} {name}"),
    });
    let mut lines = vec![
        ("toggle", entry.name.clone()),
        ("category", entry.category.map_or_else(none, str::to_owned)),
        ("owner", if entry.owner.is_empty() { none() } else { entry.owner.clone() }),
        ("since", since.unwrap_or_else(none)),
        ("expires", expires.unwrap_or_else(none)),
        ("state", format!("{}{kill}", entry.state.as_str())),
        ("variants", if entry.variants.is_empty() { none() } else { variants.collect::<Vec<_>>().join(", ") }),
        ("serves", entry.serves.clone()),
        ("used by", if entry.used_by.is_empty() { none() } else { entry.used_by.join(", ") }),
        ("decisions", if entry.decisions.is_empty() { none() } else { counts.collect::<Vec<_>>().join(", ") }),
        ("last", entry.last_decision.clone().unwrap_or_else(none)),
        ("stale", if entry.stale.is_empty() { "no".to_owned() } else { entry.stale.join("; ") }),
    ];
    if let Some(description) = &entry.description {
        lines.insert(1, ("about", description.clone()));
    }
    lines
}
