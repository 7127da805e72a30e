//! Where a value stands in a JSON text, so that its problems have a line.

use std::cell::Cell;

use crate::config::{
    report::{Problem, Problems, Severity},
    source::SourceFile,
};

/// Bytes that are searched for the lines of one file's problems; a long file of many has them for the first.
const SEARCHED_BYTES_MAX: usize = 32 << 20;

/// A JSON file that problems are told of, each by a JSON pointer (RFC 6901).
pub(in crate::config) struct File<'a> {
    name: String,
    bytes: &'a [u8],
    problems: &'a Problems,
    search_left: Cell<usize>,
}

impl<'a> File<'a> {
    pub(in crate::config) fn new(source: &'a SourceFile, problems: &'a Problems) -> File<'a> {
        File { name: source.name(), bytes: &source.bytes, problems, search_left: Cell::new(SEARCHED_BYTES_MAX) }
    }

    pub(in crate::config) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(in crate::config) fn refuse(&self, pointer: &str, message: String, hint: &str) {
        self.add(Severity::Error, pointer, message, hint);
    }

    pub(super) fn warn(&self, pointer: &str, message: String, hint: &str) {
        self.add(Severity::Warning, pointer, message, hint);
    }

    /// A problem with the text itself.
    pub(super) fn refuse_at(&self, line: usize, column: usize, message: String, hint: &str) {
        let known = |number: usize| Some(number).filter(|number| *number > 0);
        self.problems.add(self.problem(Severity::Error, (known(line), known(column)), "", message, hint));
    }

    /// A problem that only time brings. Its line is not looked for: most never come true.
    pub(in crate::config) fn later(&self, pointer: &str, message: String, hint: &str) -> Problem {
        self.problem(Severity::Error, (None, None), pointer, message, hint)
    }

    fn add(&self, severity: Severity, pointer: &str, message: String, hint: &str) {
        let place = self.search_left.get().checked_sub(self.bytes.len()).and_then(|left| {
            self.search_left.set(left);
            let before = self.bytes.get(..find(self.bytes, pointer)?)?;
            let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Some((line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1))
        });
        self.problems.add(self.problem(severity, place.unzip(), pointer, message, hint));
    }

    fn problem(
        &self,
        severity: Severity,
        (line, column): (Option<usize>, Option<usize>),
        pointer: &str,
        message: String,
        hint: &str,
    ) -> Problem {
        let (file, key, hint) = (self.name.clone(), pointer.to_owned(), Some(hint.to_owned()));
        Problem { severity, file, line, column, key, message, hint }
    }
}

/// The first byte of the value that a pointer names, or of the innermost one around it that is there. The
/// text has to be JSON.
fn find(json: &[u8], pointer: &str) -> Option<usize> {
    let mut cursor = Cursor { json, at: 0 };
    cursor.skip_space();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let here = cursor.at;
        let mut inner = Cursor { json, at: here };
        if !inner.enter(&step)? {
            return Some(here);
        }
        cursor = inner;
    }
    Some(cursor.at)
}

struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Goes to the member or element of that name; `false` when there is none.
    fn enter(&mut self, step: &str) -> Option<bool> {
        let opening = *self.json.get(self.at)?;
        if opening != b'{' && opening != b'[' {
            return Some(false);
        }
        self.at += 1;
        for place in 0_usize.. {
            self.skip_space();
            if matches!(self.json.get(self.at)?, b'}' | b']') {
                return Some(false);
            }
            let found = if opening == b'{' {
                let start = self.at;
                self.skip_value()?;
                let name = serde_json::from_slice::<String>(self.json.get(start..self.at)?).ok()?;
                self.skip_space();
                self.at += 1;
                self.skip_space();
                name == step
            } else {
                step.parse() == Ok(place)
            };
            if found {
                return Some(true);
            }
            self.skip_value()?;
            self.skip_space();
            if *self.json.get(self.at)? == b',' {
                self.at += 1;
            }
        }
        None
    }

    fn skip_space(&mut self) {
        while self.json.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.json.get(self.at)? {
                b'"' => self.skip_text()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ => {
                    let plain = |byte: &u8| !b"{}[],:\"".contains(byte);
                    let rest = self.json.get(self.at..)?;
                    self.at += rest.iter().take_while(|byte| plain(byte)).count().max(1);
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_text(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.json.get(self.at)? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pointers_find_their_values() {
        let json = r#" { "a~/b" : [ 1 , {"x":"}\"]"} ,true], "c": {"d": -1.5e3 } } "#;
        for (pointer, value) in [
            ("", "{ \"a~"),
            ("/a~0~1b", "[ 1"),
            ("/a~0~1b/0", "1 ,"),
            ("/a~0~1b/1/x", "\"}\\\""),
            ("/a~0~1b/2", "true]"),
            ("/a~0~1b/9", "[ 1"),
            ("/c/d", "-1.5e3"),
            ("/c/none/deeper", "{\"d\""),
        ] {
            let place = find(json.as_bytes(), pointer).unwrap();
            assert!(json[place..].starts_with(value), "{pointer}: {}", &json[place..]);
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_pointer_is_too_odd(json in r#"[\[\]{}",:a1 \\]{0,40}"#, pointer in "(/[a01]{0,2}){0,4}") {
            let place = find(json.as_bytes(), &pointer);
            prop_assert!(place.is_none_or(|place| place <= json.len() + 2));
        }
    }
}
