//! `weir toggle`: what can be done with toggles beside serving them.

mod condition;
mod export;
mod import;
mod rules;
mod writing;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

/// Works on the toggles of a configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
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

pub(super) fn toggle(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.action {
        Action::Import(arguments) => import::import(arguments),
        Action::Export(arguments) => export::export(arguments),
    }
}

#[cfg(test)]
mod tests;
