//! `weir check`: compiles a configuration and prints every problem, and what it changes of another.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow};

use super::{Config, Format, print};
use crate::{
    config::{Changes, Compiled, Problem, Report, Sources, compile},
    plan::Standing,
    toggle::{Churn, Timestamp},
};

/// Exits with 0 when the configuration can be served, with 1 when not, or when a toggle
/// expired. Warnings do not fail.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    /// Tell what the configuration changes of this one, and whom it moves; more than max_churn fails.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What differs from an earlier configuration, as files alone say it: nothing is killed in either.
struct Difference {
    changes: Changes,
    churn: Vec<Churn>,
    /// Toggles that move more users than they may; else the acknowledgements that none of them needs.
    judged: Result<Vec<Problem>, Report>,
}

pub(super) fn check(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let earlier = arguments.against.as_ref().map(|path| {
        let compiled = Sources::read(path).and_then(|sources| compile(&sources));
        let compiled = compiled.map_err(|report| anyhow!("{report}"));
        compiled.with_context(|| format!("--against {} is no configuration to compare with", path.display()))
    });
    let earlier = earlier.transpose()?;
    let compiled = Sources::read(&arguments.config.config).and_then(|sources| compile(&sources));
    let difference = earlier.as_ref().zip(compiled.as_ref().ok()).map(|(earlier, next)| Difference::of(earlier, next));
    let report = match &compiled {
        Ok(compiled) => {
            let judged = difference.as_ref().map(Difference::problems).unwrap_or_default();
            compiled.warnings.clone().with(expired(compiled)).with(judged)
        }
        Err(report) => report.clone(),
    };
    print(&match arguments.format {
        Format::Json => serde_json::to_string_pretty(&json(&report, difference.as_ref()))?,
        Format::Text => {
            let summary = match &compiled {
                Ok(compiled) if report.problems().is_empty() => summary(compiled),
                _ => report.to_string(),
            };
            difference.as_ref().map_or_else(String::new, Difference::text) + &summary
        }
    })?;
    Ok(if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What expired is an error here, where somebody can still do something about it; it keeps no proxy from
/// serving.
fn expired(compiled: &Compiled) -> Vec<Problem> {
    compiled.expired(Timestamp(jiff::Timestamp::now().as_second())).cloned().collect()
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

fn json(report: &Report, difference: Option<&Difference>) -> serde_json::Value {
    let mut json = serde_json::json!({
        "ok": report.errors() == 0,
        "errors": report.errors(),
        "warnings": report.warnings(),
        "problems": report.problems(),
    });
    if let Some(Difference { changes, churn, .. }) = difference {
        json["changes"] = changes.iter().map(ToString::to_string).collect();
        json["churn"] = serde_json::json!(churn);
    }
    json
}

impl Difference {
    fn of(earlier: &Compiled, next: &Compiled) -> Difference {
        let now = Timestamp(jiff::Timestamp::now().as_second());
        let standing = Standing::default();
        let churn = earlier.plan.churn_to(&standing, &next.plan, &standing, now);
        let judged = next.guards.judge(&earlier.guards, &churn);
        Difference { changes: earlier.inventory.changes_to(&next.inventory), churn, judged }
    }

    fn problems(&self) -> Vec<Problem> {
        self.judged.clone().unwrap_or_else(|exceeded| exceeded.problems().to_vec())
    }

    fn text(&self) -> String {
        let Difference { changes, churn, .. } = self;
        let changes = changes.iter().map(|change| format!("{change}\n"));
        let churn = churn.iter().map(|churn| format!("{churn}\n"));
        let text: String = changes.chain(churn).collect();
        if text.is_empty() { "nothing differs\n\n".to_owned() } else { text + "\n" }
    }
}
