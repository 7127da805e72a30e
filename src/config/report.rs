//! Reports: every problem with its place and what to do about it.

use std::{cell::RefCell, fmt};

use serde::Serialize;

/// Problems that are printed; a file of garbage has more than anybody reads.
const PROBLEMS_SHOWN_MAX: usize = 100;

/// Whether a problem keeps the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used, but may not do what its author thinks.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The key's path, such as `services.checkout.split.toggle`; empty for a whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// All problems of one configuration, errors first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// The problems, errors first, each in the order of files and lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings there are.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}\n  --> {}", self.message, self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, "  {}", self.key)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(PROBLEMS_SHOWN_MAX) {
            writeln!(f, "{problem}")?;
        }
        if let Some(more) = self.problems.len().checked_sub(PROBLEMS_SHOWN_MAX).filter(|more| *more > 0) {
            writeln!(f, "and {more} more\n")?;
        }
        write!(f, "{} error(s), {} warning(s)", self.errors(), self.warnings())
    }
}

/// Where the steps of one compilation put what they find.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// A problem with a file as a whole.
    pub(super) fn add_for_file(&self, file: &str, message: String, hint: &str) {
        self.add(Problem {
            severity: Severity::Error,
            file: file.to_owned(),
            line: None,
            column: None,
            key: String::new(),
            message,
            hint: Some(hint.to_owned()),
        });
    }

    pub(super) fn into_report(self) -> Report {
        let mut problems = self.0.into_inner();
        problems.sort_by(|left, right| {
            let place = |problem: &Problem| (problem.severity == Severity::Warning, problem.file.clone(), problem.line);
            place(left).cmp(&place(right))
        });
        Report { problems }
    }
}
