//! The architecture as a test: who may use whom, what pure modules may not touch, how long files get.

use std::{fs, path::Path};

use crate::command::package;

/// The rank of every top-level module; a module may use only lower ranks.
const RANKS: [(&str, u8); 23] = [
    ("bucket", 0),
    ("identity", 1),
    ("propagation", 1),
    ("route", 2),
    ("toggle", 2),
    ("rollout", 2),
    ("contract", 2),
    ("plan", 3),
    ("aside", 4),
    ("config", 4),
    ("telemetry", 4),
    ("live", 5),
    ("store", 5),
    ("proxy", 6),
    ("reload", 6),
    ("observe", 6),
    ("catalogue", 6),
    ("serve", 6),
    ("admin", 7),
    ("ofrep", 7),
    ("app", 8),
    ("cli", 9),
    ("fuzzing", 9),
];

/// The roots of the library and the binary: they name every module and are used by none.
const ROOTS: [&str; 2] = ["lib", "main"];

/// Modules without IO, clocks and runtimes: time and randomness are arguments.
const PURE: [&str; 7] = ["bucket", "identity", "propagation", "route", "toggle", "rollout", "contract"];

const IMPURE: [&str; 6] = ["tokio", "hyper", "tracing", "std::fs", "SystemTime", "Instant::now"];

/// Lines of a file before its tests.
const LINES_MAX: usize = 499;

/// A source file.
struct Source {
    /// Below `src`.
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    fn collect(directory: &Path, root: &Path, sources: &mut Vec<Source>) {
        for entry in fs::read_dir(directory).expect("src can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, root, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("below src").display().to_string();
                sources.push(Source { path: name, text: fs::read_to_string(&path).expect("a source file") });
            }
        }
    }
    let root = package("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    sources
}

impl Source {
    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Every use of a module that the file's own module may not use.
    fn breaches(&self) -> Vec<String> {
        let (path, module) = (&self.path, self.module());
        if ROOTS.contains(&module) {
            return Vec::new();
        }
        let Some(own) = rank(module) else { return vec![format!("{path}: {module} has no rank")] };
        let code = code(&self.text);
        let mut breaches = Vec::new();
        for (place, used) in named(&code).into_iter().filter(|(_, used)| used != module) {
            let line = line(&code, place);
            match rank(&used) {
                None => breaches.push(format!("{path}:{line}: {used} has no rank")),
                Some(other) if other >= own => {
                    breaches.push(format!("{path}:{line}: {module} (rank {own}) uses {used} (rank {other})"));
                }
                Some(_) => {}
            }
        }
        breaches
    }

    /// Every mention of a runtime, a file or a clock in a pure module.
    fn impurities(&self) -> Vec<String> {
        if !PURE.contains(&self.module()) {
            return Vec::new();
        }
        let code = code(&self.text);
        let alone = |place: usize, name: &str| {
            !code[..place].ends_with(is_word) && !code[place + name.len()..].starts_with(is_word)
        };
        let mentions = IMPURE.iter().flat_map(|name| code.match_indices(name)).filter(|(at, name)| alone(*at, name));
        mentions.map(|(at, name)| format!("{}:{}: {name}", self.path, line(&code, at))).collect()
    }

    /// What is wrong with the file's name or length.
    fn misshape(&self) -> Option<String> {
        let lines = self.text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]")).count();
        if Path::new(&self.path).file_name().is_some_and(|name| name == "mod.rs") {
            return Some(format!("{}: name it after its folder", self.path));
        }
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines before its tests", self.path))
    }
}

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

/// Every top-level module that the code names after `crate::`, with its place in bytes. A group
/// `crate::{a::…, b}` names each of its members.
fn named(code: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (start, path) in code.match_indices("crate::") {
        // The end of a longer word is something else.
        if code[..start].ends_with(is_word) {
            continue;
        }
        let start = start + path.len();
        if !code[start..].starts_with('{') {
            named.push((start, word(&code[start..])));
            continue;
        }
        let (mut depth, mut fresh) = (0, true);
        for (offset, c) in code[start..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                c if fresh && is_word(c) => {
                    named.push((start + offset, word(&code[start + offset..])));
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

fn line(code: &str, place: usize) -> usize {
    code[..place].matches('\n').count() + 1
}

/// Blanks comments and texts, so that what they say is not taken for code. Line breaks stay.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let blank = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if rest.starts_with("'\"'") {
            3
        } else if next == '"' {
            quoted(rest)
        } else {
            0
        };
        code.extend(rest[..blank].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        if blank == 0 {
            code.push(next);
        }
        rest = &rest[blank.max(next.len_utf8())..];
    }
    code
}

/// How long the text is that this starts with, quotes included.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return place + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

const NOTHING: [String; 0] = [];

#[test]
fn a_module_uses_only_lower_ranks() {
    assert_eq!(sources().iter().flat_map(Source::breaches).collect::<Vec<_>>(), NOTHING);
}

#[test]
fn pure_modules_know_no_runtime_no_files_and_no_clock() {
    assert_eq!(sources().iter().flat_map(Source::impurities).collect::<Vec<_>>(), NOTHING);
}

#[test]
fn files_are_short_and_named_after_their_module() {
    assert_eq!(sources().iter().filter_map(Source::misshape).collect::<Vec<_>>(), NOTHING);
}

/// The three above look at something: every module of the table is among the files.
#[test]
fn every_ranked_module_exists() {
    let sources = sources();
    for name in RANKS.iter().map(|(name, _)| *name).chain(ROOTS) {
        assert!(sources.iter().any(|source| source.module() == name), "{name} is gone");
    }
}

#[test]
fn a_breach_is_found_with_file_and_line() {
    for (path, text, expected) in [
        ("plan.rs", "use crate::toggle::Toggle;", ""),
        ("plan.rs", "use std::fmt;\n\nuse crate::config;", "plan.rs:3: plan (rank 3) uses config (rank 4)"),
        ("route/table.rs", "use crate::toggle::A;", "route/table.rs:1: route (rank 2) uses toggle (rank 2)"),
        ("route/table.rs", "use crate::route::Pattern;", ""),
        (
            "proxy/pool.rs",
            "use crate::{\n    live::Live,\n    reload,\n};",
            "proxy/pool.rs:3: proxy (rank 6) uses reload (rank 6)",
        ),
        (
            "live.rs",
            "use crate::{plan::{Plan, app}, proxy::{self, A}};",
            "live.rs:1: live (rank 5) uses proxy (rank 6)",
        ),
        ("bucket.rs", "fn f() { crate::identity::g() }", "bucket.rs:1: bucket (rank 0) uses identity (rank 1)"),
        ("bucket.rs", "//! [`crate::cli`]\nconst A: &str = \"crate::app\\\"crate::app\"; // crate::app", ""),
        ("bucket.rs", "const A: char = '\"';\nuse crate::app;", "bucket.rs:2: bucket (rank 0) uses app (rank 8)"),
        ("bucket.rs", "const A: &str = r#\"\"crate::app\"#;\nuse std::fmt;", ""),
        ("pilot/step.rs", "", "pilot/step.rs: pilot has no rank"),
        ("cli.rs", "use crate::helpers;", "cli.rs:1: helpers has no rank"),
        ("lib.rs", "pub use crate::cli;", ""),
    ] {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(source.breaches().join("\n"), expected, "{path}\n{text}");
    }
}

#[test]
fn an_impurity_is_found_with_file_and_line() {
    let text = "use std::fs;\nfn f() { Instant::now(); retokio(); tokios(); }\n// tokio\nuse tokio::time;\n".to_owned();
    let pure = Source { path: "toggle/reason.rs".to_owned(), text: text.clone() };
    assert_eq!(
        pure.impurities(),
        ["toggle/reason.rs:4: tokio", "toggle/reason.rs:1: std::fs", "toggle/reason.rs:2: Instant::now",]
    );
    assert_eq!(Source { path: "app.rs".to_owned(), text }.impurities(), NOTHING);
}

#[test]
fn a_long_file_and_a_mod_rs_are_found() {
    let misshape = |path: &str, text: String| Source { path: path.to_owned(), text }.misshape();
    assert_eq!(misshape("a.rs", "x\n".repeat(499) + "#[cfg(test)]\n" + &"x\n".repeat(900)), None);
    assert_eq!(misshape("a.rs", "x\n".repeat(500)), Some("a.rs: 500 lines before its tests".to_owned()));
    assert_eq!(misshape("a/mod.rs", String::new()), Some("a/mod.rs: name it after its folder".to_owned()));
}

/// A field's place in the variant whose text this is, when it is a source.
fn source_place(variant: &str) -> Option<usize> {
    let before = variant.split_once("#[source]").or_else(|| variant.split_once("#[from]"))?.0;
    Some(before.matches(',').count())
}

#[test]
fn an_error_tells_its_cause_or_has_it_as_source_and_never_both() {
    for Source { path, text } in sources() {
        for piece in text.split("#[error(").skip(1) {
            let Some((message, rest)) = piece.split_once(")]") else { continue };
            let variant = rest.split("#[error(").next().unwrap_or_default();
            let variant: Vec<&str> = variant.lines().take_while(|line| !line.contains("///")).collect();
            let variant = variant.join(" ");
            let twice = source_place(&variant).is_some_and(|place| message.contains(&format!("{{{place}}}")))
                || (message.contains("{source") && rest.contains(" source: "));
            assert!(!twice, "{path}: {message} holds its source{variant}");
        }
    }
}
