//! `weir toggle import`: another system's flags as TOML.

use std::{io, io::Write, path::PathBuf, process::ExitCode};

use super::{Foreign, writing};
use crate::{cli::print, config::import_flags};

/// Exits with 1 when the file cannot be used; every problem is printed to standard error then.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file's format.
    #[arg(long, value_enum, default_value_t = Foreign::Flagd)]
    format: Foreign,
    /// The file with the flags.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn import(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Foreign::Flagd = arguments.format;
    let (toggles, warnings) = match import_flags(&arguments.file) {
        Ok(imported) => imported,
        Err(report) => {
            writeln!(io::stderr(), "{report}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    for problem in warnings.problems() {
        writeln!(io::stderr(), "{problem}")?;
    }
    let mut text = String::new();
    for toggle in &toggles {
        match writing::toml(toggle) {
            Ok(table) => text.push_str(&table),
            Err(untold) => {
                writeln!(io::stderr(), "error: the flag {:?} cannot be said in TOML: {untold}", toggle.name)?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
