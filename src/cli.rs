//! The command line, a verb a file.
//!
//! Exit codes: 0 is success; 1 is a `check` that found errors or a `demo` whose claims did not hold; 2 is
//! a command line or a start that cannot be used.

mod check;
mod demo;
mod explain;
mod run;
mod toggle;

use std::{io, io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

/// The exit code of what cannot be used.
const UNUSABLE: u8 = 2;

/// The edge proxy sidecar that makes one toggle decision per request and uses it everywhere.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve traffic.
    Run(run::Arguments),
    /// Watch weir shift traffic between two embedded services, in half a minute.
    Demo(demo::Arguments),
    /// Compile a configuration and print every problem.
    Check(check::Arguments),
    /// Print the decision for one described request.
    Explain(Box<explain::Arguments>),
    /// Print the catalogue of toggles, what is stale in it, why a toggle gives what it gives; import and export.
    Toggle(Box<toggle::Arguments>),
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct Config {
    /// A TOML file, or a directory whose *.toml files are merged.
    #[arg(long, value_name = "PATH", default_value = "config")]
    config: PathBuf,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Parses the arguments and carries out the verb.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Demo(arguments) => demo::demo(&arguments),
        Verb::Check(arguments) => check::check(&arguments),
        Verb::Explain(arguments) => explain::explain(&arguments),
        Verb::Toggle(arguments) => toggle::toggle(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        // Whoever reads standard error may be gone; the exit code still tells.
        writeln!(io::stderr(), "error: {error:#}").ok();
        ExitCode::from(UNUSABLE)
    })
}

/// Prints to standard output. A reader that went away, as `head` does, is no error.
fn print(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _written => Ok(()),
    }
}
