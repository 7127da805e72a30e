//! Reports: every problem with its place and what to do about it.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::Serialize;

/// Problems that are printed; a file of garbage has more than anybody reads.
const PROBLEMS_SHOWN_MAX: usize = 100;

/// Errors that are kept; a file of garbage has more than memory should hold.
const ERRORS_KEPT_MAX: usize = 1000;

/// Characters of a text that are kept: a message quotes what its author wrote, which may be megabytes.
const TEXT_CHARS_MAX: usize = 500;

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
    /// Errors beyond those that are kept.
    errors_dropped: usize,
}

impl Report {
    /// The problems, errors first, each in the order of files and lines. Of very many errors only some.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(Severity::Error) + self.errors_dropped
    }

    /// How many warnings there are.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// The same with more problems.
    #[must_use]
    pub fn with(self, more: impl IntoIterator<Item = Problem>) -> Report {
        let Report { mut problems, errors_dropped } = self;
        problems.extend(more);
        sort(&mut problems);
        Report { problems, errors_dropped }
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }
}

impl Problem {
    /// The problem as one line, for a log.
    #[must_use]
    pub fn line(&self) -> String {
        let place = [&self.file, ":", &self.line.map_or_else(String::new, |line| line.to_string())].concat();
        let hint = self.hint.as_deref().map_or_else(String::new, |hint| format!(" ({hint})"));
        format!("{} {}: {}{hint}", place.trim_end_matches(':'), self.key, self.message).replace('\n', " ")
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
        if let Some(more) =
            (self.problems.len() + self.errors_dropped).checked_sub(PROBLEMS_SHOWN_MAX).filter(|more| *more > 0)
        {
            writeln!(f, "and {more} more\n")?;
        }
        write!(f, "{} error(s), {} warning(s)", self.errors(), self.warnings())
    }
}

/// Where the steps of one compilation put what they find.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: RefCell<Vec<Problem>>,
    errors: Cell<usize>,
}

impl Problems {
    /// Adds a problem, shortened. Of more errors than anybody reads, only the first are kept.
    pub(super) fn add(&self, mut problem: Problem) {
        if problem.severity == Severity::Error {
            self.errors.set(self.errors.get() + 1);
            if self.errors.get() > ERRORS_KEPT_MAX {
                return;
            }
        }
        [&mut problem.key, &mut problem.message].into_iter().chain(&mut problem.hint).for_each(shorten);
        self.kept.borrow_mut().push(problem);
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
        let mut problems = self.kept.into_inner();
        sort(&mut problems);
        let errors_dropped = self.errors.get().saturating_sub(ERRORS_KEPT_MAX);
        Report { problems, errors_dropped }
    }
}

/// Errors first, each in the order of files and lines.
fn sort(problems: &mut [Problem]) {
    problems.sort_by(|left, right| {
        let place = |problem: &Problem| (problem.line, problem.column);
        let group = |severity: Severity| severity == Severity::Warning;
        let groups = group(left.severity).cmp(&group(right.severity)).then_with(|| left.file.cmp(&right.file));
        groups.then_with(|| place(left).cmp(&place(right)))
    });
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
}
