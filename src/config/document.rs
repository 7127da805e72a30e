//! The document: all TOML files as one, each value with the place it came from.

use std::collections::{BTreeMap, btree_map::Entry};

use toml::de::{DeTable, DeValue};

use super::{
    attached::Attached,
    report::{Problem, Problems, Severity},
    section::{Field, Origin, Section},
    source::SourceFile,
};

/// Syntax errors of one file that are reported.
const SYNTAX_ERRORS_MAX: usize = 20;

/// Top-level tables with fixed keys.
const TABLES: [&str; 11] = [
    "weir",
    "admin",
    "telemetry",
    "ofrep",
    "access_log",
    "flagd",
    "limits",
    "timeouts",
    "forwarding",
    "propagation",
    "assignment",
];
/// Top-level tables of named tables.
const NAMED: [&str; 5] = ["jwt", "services", "segments", "toggles", "rollouts"];
/// Top-level arrays of tables, joined over all files.
const LISTS: [&str; 2] = ["listeners", "routes"];

/// A file's text and where its lines start.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) name: String,
    text: &'a str,
    /// The byte that each line starts with: problems are placed by the thousand.
    lines: Vec<usize>,
}

/// A parsed file.
pub(super) struct Parsed<'a> {
    text: Text<'a>,
    table: DeTable<'a>,
}

/// All files as one.
pub(super) struct Document<'a> {
    tables: BTreeMap<&'a str, Field<'a>>,
    named: BTreeMap<&'a str, BTreeMap<&'a str, Field<'a>>>,
    lists: BTreeMap<&'a str, Vec<Field<'a>>>,
    /// Whether every top-level key is known and of its type; what is absent is not surely absent otherwise.
    whole: bool,
}

impl<'a> Text<'a> {
    fn new(name: String, text: &'a str) -> Text<'a> {
        let lines =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|newline| newline + 1)).collect();
        Text { name, text, lines }
    }

    /// Line and column of a byte, both from 1.
    pub(super) fn place(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= byte);
        let before = &self.text.as_bytes()[self.lines[line - 1]..byte];
        // Continuation bytes of UTF-8 are no characters of their own.
        let column = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        (line, column)
    }
}

impl<'a> Parsed<'a> {
    /// Parses a file; `None` when its bytes are no text.
    pub(super) fn parse(file: &'a SourceFile, problems: &Problems) -> Option<Parsed<'a>> {
        let name = file.name();
        let text = match std::str::from_utf8(&file.bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = file.bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
                problems.add(Problem {
                    severity: Severity::Error,
                    file: name,
                    line: Some(line),
                    column: None,
                    key: String::new(),
                    message: "the file is not UTF-8 text".to_owned(),
                    hint: Some("save it as UTF-8; TOML allows no other encoding".to_owned()),
                });
                return None;
            }
        };
        let text = Text::new(name, text);
        let (table, errors) = DeTable::parse_recoverable(text.text);
        let places = errors.iter().map(|error| error.span().map(|span| text.place(span.start)));
        let mut last_line = None;
        for (error, place) in errors.iter().zip(places).take(SYNTAX_ERRORS_MAX) {
            // On the line of another error or on the next one it is mostly the echo of that.
            let line = place.map(|(line, _)| line);
            let echo = line.zip(last_line.replace(line.unwrap_or(0))).is_some_and(|(line, last)| line <= last + 1);
            if echo {
                continue;
            }
            let duplicate = error.message().contains("duplicate key");
            let hint = if duplicate {
                "keep one of the two: a key, and a table of one name, is written once"
            } else {
                "see https://toml.io for the syntax"
            };
            problems.add(Problem {
                severity: Severity::Error,
                file: text.name.clone(),
                line,
                column: place.map(|(_, column)| column),
                key: String::new(),
                message: format!("the file is not TOML here: {}", error.message().trim()),
                hint: Some(hint.to_owned()),
            });
        }
        // A table that was recovered from errors would only bring problems that are not its author's.
        errors.is_empty().then(|| Parsed { text, table: table.into_inner() })
    }
}

impl<'a> Document<'a> {
    /// Joins the files; what two of them define is a problem of the later one.
    pub(super) fn join(files: &'a [Parsed<'a>], attached: &'a Attached, problems: &'a Problems) -> Document<'a> {
        let mut document =
            Document { tables: BTreeMap::new(), named: BTreeMap::new(), lists: BTreeMap::new(), whole: true };
        for file in files {
            let origin = Origin { text: &file.text, problems, attached };
            let mut top = Section::top(origin, &file.table);
            for key in TABLES {
                if let Some(field) = top.take(key) {
                    define(&mut document.tables, key, field);
                }
            }
            for kind in NAMED {
                let Some(field) = top.take(kind) else { continue };
                let Some(section) = field.section() else {
                    document.whole = false;
                    continue;
                };
                match document.named.entry(kind) {
                    // In order already, and each of them once.
                    Entry::Vacant(first) => {
                        first.insert(section.entries().collect());
                    }
                    Entry::Occupied(mut named) => {
                        section.entries().for_each(|(name, field)| define(named.get_mut(), name, field));
                    }
                }
            }
            for kind in LISTS {
                let Some(field) = top.take(kind) else { continue };
                let Some(fields) = field.list() else {
                    document.whole = false;
                    continue;
                };
                document.lists.entry(kind).or_default().extend(fields);
            }
            document.whole &= !top.has_unknown();
            top.finish();
        }
        document
    }

    /// Whether what is absent is surely absent, and not misspelt.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// A table with fixed keys.
    pub(super) fn table(&self, key: &str) -> Option<Field<'a>> {
        self.tables.get(key).cloned()
    }

    /// The named tables of a kind, in the order of their names.
    pub(super) fn named(&self, kind: &str) -> impl Iterator<Item = (&'a str, Field<'a>)> + '_ {
        self.named.get(kind).into_iter().flatten().map(|(name, field)| (*name, field.clone()))
    }

    /// The tables of an array, file after file.
    pub(super) fn list(&self, kind: &str) -> impl Iterator<Item = Field<'a>> + '_ {
        self.lists.get(kind).into_iter().flatten().cloned()
    }

    /// Every item with a canonical text of what it says.
    pub(super) fn items(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let tables = self.tables.iter().map(|(key, field)| ((*key).to_owned(), field.canonical()));
        let named = self.named.iter().flat_map(|(kind, entries)| {
            entries.iter().map(move |(name, field)| (format!("{kind}.{name}"), field.canonical()))
        });
        let lists = self.lists.iter().flat_map(|(kind, fields)| {
            fields.iter().enumerate().map(move |(index, field)| {
                let name = field.peek("name").and_then(DeValue::as_str);
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                (format!("{kind}.{name}"), field.canonical())
            })
        });
        tables.chain(named).chain(lists)
    }
}

fn define<'a>(defined: &mut BTreeMap<&'a str, Field<'a>>, name: &'a str, field: Field<'a>) {
    match defined.get(name) {
        Some(earlier) => {
            let message = format!("{} is defined twice; the other one is at {}", field.key(), earlier.location());
            field.refuse(message, "keep one of them: a table stands in one file");
        }
        None => {
            defined.insert(name, field);
        }
    }
}
