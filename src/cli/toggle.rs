//! `weir toggle`: the catalogue of toggles, from the configuration and from what `state_dir` keeps.

mod condition;
mod export;
mod import;
mod list;
mod rules;
mod show;
mod table;
mod why;
mod writing;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Subcommand, ValueEnum};

use super::Config;
use crate::{
    app::StartError,
    catalogue::{Entry, catalogue},
    config::{Compiled, Sources, compile, did_you_mean},
    plan::{Overlay, Plan},
    store::{Observed, kept_observed, kept_overlay},
    toggle::Timestamp,
};

/// Works offline: it reads the configuration, and the kills and observations that its state_dir keeps.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List every toggle.
    List(list::Arguments),
    /// List the toggles that should go, with the reason.
    Stale(list::Arguments),
    /// Show all there is to know about one toggle.
    Show(show::Arguments),
    /// Explain, step by step, what a toggle gives a request or a context.
    Why(Box<why::Arguments>),
    /// Print the flags of another system's file as weir's toggles, in TOML.
    Import(import::Arguments),
    /// Print a configuration's toggles as another system's flags.
    Export(export::Arguments),
}

/// Whose format it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Foreign {
    /// flagd's JSON definition.
    Flagd,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people at a terminal.
    Text,
    /// For programs.
    Json,
    /// For pages and tickets.
    Markdown,
}

pub(super) fn toggle(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.verb {
        Verb::List(arguments) => list::list(arguments),
        Verb::Stale(arguments) => list::stale(arguments),
        Verb::Show(arguments) => show::show(arguments),
        Verb::Why(arguments) => why::why(arguments),
        Verb::Import(arguments) => import::import(arguments),
        Verb::Export(arguments) => export::export(arguments),
    }
}

/// A configuration with what is kept beside it.
struct Kept {
    plan: Plan,
    overlay: Overlay,
    observed: Observed,
    now: Timestamp,
}

impl Kept {
    fn read(config: &Config) -> anyhow::Result<Kept> {
        let sources = Sources::read(&config.config).map_err(StartError::Config)?;
        let Compiled { plan, .. } = compile(&sources).map_err(StartError::Config)?;
        let state_dir = &plan.process.state_dir;
        let overlay = kept_overlay(state_dir)?.unwrap_or_default();
        let observed = kept_observed(state_dir);
        let observed = observed.with_context(|| format!("what was seen of toggles, in {}", state_dir.display()))?;
        Ok(Kept { plan, overlay, observed, now: Timestamp(jiff::Timestamp::now().as_second()) })
    }

    fn entries(&self, stale_after_days: u32) -> Vec<Entry> {
        catalogue(&self.plan, &self.overlay, &self.observed, self.now, i64::from(stale_after_days))
    }

    fn unknown(&self, name: &str) -> anyhow::Error {
        if let Some(kill) = self.overlay.kills.get(name) {
            let (by, at) = (&kill.by, kill.at());
            return anyhow!("the toggle {name:?} is not in the configuration; it is still killed, by {by} at {at}");
        }
        let names = self.plan.toggles.iter().map(|planned| &*planned.toggle.name);
        let hint = did_you_mean(name, names).unwrap_or_else(|| "`weir toggle list` prints all of them".to_owned());
        anyhow!("unknown toggle {name:?}; {hint}")
    }
}

#[cfg(test)]
mod tests;
