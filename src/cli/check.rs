//! `weir check`: compiles a configuration and prints every problem.

use std::process::ExitCode;

use super::{Config, Format, print};
use crate::{
    config::{Compiled, Report, Sources, compile},
    toggle::Timestamp,
};

/// Exits with 0 when the configuration can be served, with 1 when not, or when a toggle
/// expired. Warnings do not fail.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn check(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let compiled = Sources::read(&arguments.config.config).and_then(|sources| compile(&sources));
    let compiled = compiled.and_then(unexpired);
    let report = match &compiled {
        Ok(compiled) => &compiled.warnings,
        Err(report) => report,
    };
    print(&match arguments.format {
        Format::Json => serde_json::to_string_pretty(&json(report))?,
        Format::Text if report.problems().is_empty() => compiled.as_ref().map_or_else(ToString::to_string, summary),
        Format::Text => report.to_string(),
    })?;
    Ok(if compiled.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What expired is an error here, where somebody can still do something about it; it keeps no proxy from
/// serving.
fn unexpired(compiled: Compiled) -> Result<Compiled, Report> {
    let now = Timestamp(jiff::Timestamp::now().as_second());
    let expired: Vec<_> = compiled.expired(now).cloned().collect();
    if expired.is_empty() { Ok(compiled) } else { Err(compiled.warnings.with(expired)) }
}

fn summary(Compiled { plan, .. }: &Compiled) -> String {
    format!(
        "ok: {} route(s), {} service(s), {} toggle(s), {} contract(s)",
        plan.routes.len(),
        plan.services.len(),
        plan.toggles.len(),
        plan.contracts.len()
    )
}

fn json(report: &Report) -> serde_json::Value {
    serde_json::json!({
        "ok": report.errors() == 0,
        "errors": report.errors(),
        "warnings": report.warnings(),
        "problems": report.problems(),
    })
}
