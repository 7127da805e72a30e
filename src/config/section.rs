//! Sections and fields: TOML values that know where they stand, and that report what is wrong with
//! them instead of stopping at it.
//!
//! serde would end a table at its first mistake; here every key is read, so that one run of
//! `weir check` shows them all.

mod key;
mod values;

use std::{collections::BTreeSet, fmt, rc::Rc};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use self::key::{Key, Step};
use super::{
    attached::Attached,
    document::Text,
    names::unknown,
    report::{Problem, Problems, Severity},
};

/// Keys that most tables are asked for, at most.
const ASKED: usize = 16;
/// Bytes of most items' canonical texts, at most.
const CANONICAL_BYTES: usize = 256;

/// Which file a value came from, and where its problems go.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) text: &'a Text<'a>,
    pub(super) problems: &'a Problems,
    pub(super) attached: &'a Attached,
}

/// A value and its key.
#[derive(Clone)]
pub(super) struct Field<'a> {
    origin: Origin<'a>,
    key: Key<'a>,
    start: usize,
    value: &'a DeValue<'a>,
}

/// A table whose keys are taken one by one; what is left over in the end is unknown.
pub(super) struct Section<'a> {
    origin: Origin<'a>,
    /// `None` at the top of a file.
    key: Option<Rc<Key<'a>>>,
    start: usize,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The top level of a file.
    pub(super) fn top(origin: Origin<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        Section { origin, key: None, start: 0, table, asked: Vec::new() }
    }

    /// The value of a key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.asked.push(key);
        self.table.get(key).map(|value| self.field(key, value))
    }

    /// The value of a key that has to be there. A key that is only misspelt is reported as that, by
    /// [`finish`](Section::finish).
    pub(super) fn require(&mut self, key: &'static str, hint: &str) -> Option<Field<'a>> {
        let field = self.take(key);
        if field.is_none() && !self.unknown().any(|(name, _)| near(name.get_ref(), key).is_some()) {
            self.refuse(format!("{key} is missing"), hint);
        }
        field
    }

    /// Whether there is such a key, without taking it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether some key was not taken.
    pub(super) fn has_unknown(&self) -> bool {
        self.unknown().next().is_some()
    }

    fn unknown(&self) -> impl Iterator<Item = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().filter(|(name, _)| !self.asked.contains(&&**name.get_ref()))
    }

    /// All keys with their values in the order of the keys, for tables whose keys are names.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        by_name(self.table).into_iter().map(move |(name, value)| (name, self.field(name, value)))
    }

    /// Like [`entries`](Section::entries), without the keys that were taken.
    pub(super) fn rest(self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        let asked = self.asked.clone();
        self.entries().filter(move |(name, _)| !asked.contains(name))
    }

    /// Reports every key that nobody took.
    pub(super) fn finish(self) {
        for (key, value) in self.unknown() {
            let known: BTreeSet<&str> = self.asked.iter().copied().collect();
            let known: Vec<&str> = known.into_iter().collect();
            let name: &str = key.get_ref();
            let hint = did_you_mean(name, known.iter().copied())
                .unwrap_or_else(|| format!("known keys here: {}", known.join(", ")));
            let field = Field { start: key.span().start, ..self.field(name, value) };
            field.refuse(format!("unknown key {name:?}"), &hint);
        }
    }

    /// Reports a problem of the table as a whole.
    pub(super) fn refuse(&self, message: String, hint: &str) {
        self.whole().problem(Severity::Error, message, hint);
    }

    /// Reports something that its author should know.
    pub(super) fn warn(&self, message: String, hint: &str) {
        self.whole().problem(Severity::Warning, message, hint);
    }

    fn whole(&self) -> Place<'_> {
        Place { origin: self.origin, key: self.key.as_deref(), start: self.start }
    }

    fn field(&self, name: &'a str, value: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        let key = Key { within: self.key.clone(), step: Step::Name(name) };
        Field { origin: self.origin, key, start: value.span().start, value: value.get_ref() }
    }
}

impl<'a> Field<'a> {
    /// The key's whole path.
    pub(super) fn key(&self) -> impl fmt::Display {
        &self.key
    }

    /// The value as a table.
    pub(super) fn section(self) -> Option<Section<'a>> {
        match self.value {
            DeValue::Table(table) => {
                let key = Some(Rc::new(self.key));
                Some(Section { origin: self.origin, key, start: self.start, table, asked: Vec::with_capacity(ASKED) })
            }
            _ => self.refuse_type("a table", "write { key = value, … }, or a header of its own in brackets"),
        }
    }

    /// The value as a list.
    pub(super) fn list(self) -> Option<Vec<Field<'a>>> {
        match self.value {
            DeValue::Array(array) => Some(self.elements(array)),
            _ => self.refuse_type("an array", "write it in brackets: [ … ]"),
        }
    }

    /// The value as a list, where one value alone is the list of it.
    pub(super) fn one_or_more(self) -> Vec<Field<'a>> {
        match self.value {
            DeValue::Array(array) => self.elements(array),
            _ => vec![self],
        }
    }

    fn elements(&self, array: &'a DeArray<'a>) -> Vec<Field<'a>> {
        let within = Rc::new(self.key.clone());
        let elements = array.iter().enumerate().map(|(index, value)| Field {
            origin: self.origin,
            key: Key { within: Some(within.clone()), step: Step::Index(index) },
            start: value.span().start,
            value: value.get_ref(),
        });
        elements.collect()
    }

    /// The value as a text.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str().or_else(|| self.refuse_type("a text", "write it in quotes: \"…\""))
    }

    /// The value as a text that reads as something.
    pub(super) fn parse<T, E: fmt::Display>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let Some(text) = self.value.as_str() else {
            // What the text would have to say helps more than that it is to be one.
            let hint = match read(self.unquoted()) {
                Ok(_) => format!("put it in quotes: \"{}\"", self.unquoted()),
                Err(error) => error.to_string(),
            };
            return self.refuse_type("a text", &hint);
        };
        match read(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(format!("{text:?} is not valid here"), &error.to_string());
                None
            }
        }
    }

    /// A number or flag as it is written.
    fn unquoted(&self) -> &'a str {
        match self.value {
            DeValue::Integer(integer) => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            DeValue::Boolean(flag) => {
                if *flag {
                    "true"
                } else {
                    "false"
                }
            }
            _ => "",
        }
    }

    /// The value as one of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let word = words.iter().find(|(word, _)| *word == text);
        if word.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(format!("unknown word {text:?}"), &format!("one of: {}", known.join(", ")));
        }
        word.map(|(_, value)| *value)
    }

    /// The value as the name of something that is defined; gives its place among `names`. For many names there
    /// is [`Names`](super::names::Names).
    pub(super) fn reference(&self, kind: &str, names: &[&str]) -> Option<usize> {
        let name = self.text()?;
        let place = names.iter().position(|known| *known == name);
        if place.is_none() {
            unknown(self, kind, name, names.iter().copied());
        }
        place
    }

    /// The bytes of the file that the value names; its key has to be one of those in `attached`.
    pub(super) fn file(&self) -> Option<&'a [u8]> {
        let path = self.text()?;
        match self.origin.attached.bytes(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let hint =
                    "a relative path starts from the configuration's directory; weir's user has to be able to read it";
                self.refuse(format!("the file {path:?} cannot be read: {error}"), hint);
                None
            }
        }
    }

    /// Whether the value is this word.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.value.as_str() == Some(word)
    }

    /// A key of the value without taking it.
    pub(super) fn peek(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.value.as_table()?.get(key).map(Spanned::get_ref)
    }

    /// What the value says, without place and layout: equal texts mean the same.
    pub(super) fn canonical(&self) -> String {
        let mut text = String::with_capacity(CANONICAL_BYTES);
        write_canonical(&mut text, self.value);
        text
    }

    /// Whether the value is a table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// The place, for an error that is found later.
    pub(super) fn place(&self) -> Problem {
        self.whole().found(Severity::Error, String::new(), "")
    }

    /// Reports a problem of the value.
    pub(super) fn refuse(&self, message: String, hint: &str) {
        self.whole().problem(Severity::Error, message, hint);
    }

    /// Reports something that its author should know.
    pub(super) fn warn(&self, message: String, hint: &str) {
        self.whole().problem(Severity::Warning, message, hint);
    }

    /// A problem of the value that only time brings.
    pub(super) fn later(&self, message: String, hint: &str) -> Problem {
        self.whole().found(Severity::Error, message, hint)
    }

    /// The place, as other problems refer to it.
    pub(super) fn location(&self) -> String {
        self.whole().location()
    }

    fn refuse_type<T>(&self, wanted: &str, hint: &str) -> Option<T> {
        let written = self.type_name();
        self.refuse(format!("{written} is written where {wanted} belongs"), hint);
        None
    }

    /// What kind of value is written.
    pub(super) fn type_name(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    fn whole(&self) -> Place<'_> {
        Place { origin: self.origin, key: Some(&self.key), start: self.start }
    }
}

struct Place<'a> {
    origin: Origin<'a>,
    key: Option<&'a Key<'a>>,
    start: usize,
}

impl Place<'_> {
    fn problem(&self, severity: Severity, message: String, hint: &str) {
        self.origin.problems.add(self.found(severity, message, hint));
    }

    fn found(&self, severity: Severity, message: String, hint: &str) -> Problem {
        let (line, column) = self.origin.text.place(self.start);
        Problem {
            severity,
            file: self.origin.text.name.clone(),
            line: Some(line),
            column: Some(column),
            key: self.key.map(Key::to_string).unwrap_or_default(),
            message,
            hint: Some(hint.to_owned()),
        }
    }

    fn location(&self) -> String {
        let (line, _) = self.origin.text.place(self.start);
        format!("{}:{line}", self.origin.text.name)
    }
}

/// A hint when a known name is but a slip away.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let (_, nearest) = known.filter_map(|known| near(name, known).map(|distance| (distance, known))).min()?;
    Some(format!("did you mean {nearest:?}?"))
}

/// How many slips a name is away from a known one, when it is not too many.
fn near(name: &str, known: &str) -> Option<usize> {
    // The distance takes time and memory by the product of both lengths.
    const NAME_BYTES_MAX: usize = 100;
    if name.len() > NAME_BYTES_MAX || known.len() > NAME_BYTES_MAX {
        return None;
    }
    // Each slip changes the length by one at most.
    if name.chars().count().abs_diff(known.chars().count()) > 1 + name.len() / 4 {
        return None;
    }
    let distance = strsim::damerau_levenshtein(name, known);
    // A name that shares no letter is no slip.
    (distance <= 1 + name.len() / 4 && distance < name.chars().count()).then_some(distance)
}

/// What a table holds, in the order of its keys: toml keeps the file's, which means nothing.
fn by_name<'a>(table: &'a DeTable<'a>) -> Vec<(&'a str, &'a Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.iter().map(|(name, value)| (&**name.get_ref(), value)).collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    entries
}

/// What a value says. That nothing reads as anything else is all that matters.
fn write_canonical(text: &mut String, value: &DeValue<'_>) {
    match value {
        DeValue::String(string) => write_text(text, string),
        DeValue::Integer(integer) => text.push_str(&integer.to_string()),
        DeValue::Float(float) => text.push_str(float.as_str()),
        DeValue::Boolean(flag) => text.push_str(if *flag { "true" } else { "false" }),
        DeValue::Datetime(datetime) => text.push_str(&datetime.to_string()),
        DeValue::Array(array) => {
            text.push('[');
            for element in array {
                write_canonical(text, element.get_ref());
                text.push(',');
            }
            text.push(']');
        }
        DeValue::Table(table) => {
            text.push('{');
            for (name, value) in by_name(table) {
                write_text(text, name);
                text.push('=');
                write_canonical(text, value.get_ref());
                text.push(',');
            }
            text.push('}');
        }
    }
}

/// In quotes; those that are part of it have a backslash behind them, which the last one never has.
fn write_text(text: &mut String, written: &str) {
    text.push('"');
    // Hardly any has some.
    if written.bytes().any(|byte| byte == b'"') {
        text.push_str(&written.replace('"', "\"\\"));
    } else {
        text.push_str(written);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use toml::de::DeString;

    use super::*;

    /// All texts up to a length of what quotes could be mistaken by.
    fn texts(length: usize) -> Vec<String> {
        let Some(shorter) = length.checked_sub(1).map(texts) else { return vec![String::new()] };
        let longer = shorter.iter().flat_map(|text| ["\"", "\\", ","].map(|end| format!("{text}{end}")));
        std::iter::once(String::new()).chain(longer).collect()
    }

    #[test]
    fn no_list_of_texts_reads_as_another() {
        let texts = texts(3);
        let alone = texts.iter().map(|text| vec![text]);
        let pairs = texts.iter().flat_map(|left| texts.iter().map(move |right| vec![left, right]));
        let lists: Vec<_> = alone.chain(pairs).collect();
        let canonical = |list: &Vec<&String>| {
            let texts = list.iter().map(|text| DeValue::String(DeString::from(text.as_str())));
            let mut written = String::new();
            write_canonical(&mut written, &DeValue::Array(texts.map(|text| Spanned::new(0..0, text)).collect()));
            written
        };
        let distinct: HashSet<String> = lists.iter().map(canonical).collect();
        assert_eq!(distinct.len(), lists.len());
    }
}
