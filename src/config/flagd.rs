//! flagd's JSON: one flag definition becomes one toggle. What flagd has no word for stands in `metadata`, as
//! `weir.owner` and its like, or comes from `[flagd]`.

mod definition;
mod flag;
mod governance;
mod place;

use std::path::Path;

use super::{
    report::{Problems, Report},
    source::SourceFile,
};
use crate::toggle::Toggle;

pub(super) use definition::read;
pub(super) use flag::{guard, toggle};
pub(super) use governance::Defaults;
pub(super) use place::File;

/// Reads a file of flags by itself, with the defaults of a configuration that says nothing about them: the
/// toggles in the order of the file, and what their author should know.
///
/// # Errors
/// A report of every problem, when at least one of them is an error.
pub fn import_flags(path: &Path) -> Result<(Vec<Toggle>, Report), Report> {
    let problems = Problems::default();
    let toggles = SourceFile::read(path.to_owned(), &problems).and_then(|source| {
        let file = File::new(&source, &problems);
        let definition = read(&file)?;
        let read = |flag| {
            if guard(&file, flag, &definition).is_some() {
                let hint = "write max_churn and acknowledged_churn into the toggle's table";
                file.warn(&flag.1, "its limit on churn is left out".to_owned(), hint);
            }
            toggle(&file, flag, &definition, &Defaults::default())
        };
        let flags = definition.flags.iter().map(read);
        flags.collect::<Vec<_>>().into_iter().collect()
    });
    let report = problems.into_report();
    match toggles {
        Some(toggles) if report.errors() == 0 => Ok((toggles, report)),
        _ => Err(report),
    }
}
