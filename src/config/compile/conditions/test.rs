//! The tests of conditions, and the values that each takes.

use regex::{Regex, RegexBuilder};

use crate::{
    config::{
        section::{Field, Section},
        units,
    },
    toggle::{Literal, Literals, Phrase, Phrases, Test, VersionRange},
};

/// Bytes that a compiled regular expression may take, and its cache besides.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Every test's key, in the order that hints tell them.
const TESTS: [&str; 15] = [
    "equals",
    "in",
    "starts_with",
    "ends_with",
    "contains",
    "matches",
    "above",
    "at_least",
    "below",
    "at_most",
    "before",
    "after",
    "semver",
    "in_network",
    "exists",
];

/// Takes the keys, so that they are not reported as unknown besides.
pub(super) fn take(section: &mut Section<'_>) {
    TESTS.into_iter().chain(["ignore_case"]).for_each(|key| drop(section.take(key)));
}

/// Reads the one test of a condition.
pub(super) fn test(section: &mut Section<'_>) -> Option<Test> {
    let case = section.take("ignore_case");
    let ignore_case = case.as_ref().map_or(Some(false), Field::flag);
    let written: Vec<(&str, Field<'_>)> = TESTS.into_iter().filter_map(|key| Some((key, section.take(key)?))).collect();
    let mut read: Vec<Option<Test>> =
        written.iter().map(|(key, field)| of_key(key, field, ignore_case.unwrap_or_default())).collect();
    match read.len() {
        1 => {}
        // A test that is misspelt is reported as that.
        0 if section.has_unknown() => return None,
        count => {
            let hint = format!("write exactly one of {}", TESTS.join(", "));
            section.refuse(format!("the condition has {count} tests"), &hint);
            return None;
        }
    }
    let test = read.pop()??;
    if let Some(case) = case.filter(|_| !test.has_case()) {
        case.refuse(
            "this test knows no case".to_owned(),
            "leave ignore_case out: only texts have upper and lower case",
        );
        return None;
    }
    ignore_case.map(|_| test)
}

fn of_key(key: &str, field: &Field<'_>, ignore_case: bool) -> Option<Test> {
    let phrase = || filled(field).map(|text| Phrase::new(text, ignore_case));
    match key {
        "equals" => literal(field, ignore_case).map(Test::Equals),
        "in" => literals(field, ignore_case).map(Test::In),
        "starts_with" => phrase().map(Test::StartsWith),
        "ends_with" => phrase().map(Test::EndsWith),
        "contains" => phrase().map(Test::Contains),
        "matches" => field.parse(|text| regex(text, ignore_case)).map(Test::Matches),
        "above" => field.number().map(Test::Above),
        "at_least" => field.number().map(Test::AtLeast),
        "below" => field.number().map(Test::Below),
        "at_most" => field.number().map(Test::AtMost),
        "before" => field.date_or_moment().map(Test::Before),
        "after" => field.date_or_moment().map(Test::After),
        "semver" => field.parse(VersionRange::parse).map(Test::Version),
        "in_network" => each(field, |field| field.parse(units::network)).map(Test::InNetwork),
        _ => field.flag().map(Test::Exists),
    }
}

/// A text that is not empty: an empty value is no value, so it would never be compared.
fn filled<'a>(field: &Field<'a>) -> Option<&'a str> {
    let text = field.text()?;
    if text.is_empty() {
        field.refuse("an empty text says nothing".to_owned(), "to ask whether there is a value, write exists = true");
    }
    Some(text).filter(|text| !text.is_empty())
}

fn literal(field: &Field<'_>, ignore_case: bool) -> Option<Literal> {
    match field.type_name() {
        "true or false" => field.flag().map(Literal::Flag),
        "a whole number" | "a number" => field.number().map(Literal::Number),
        "a date or time" => {
            field.refuse("a date is compared by before and after".to_owned(), "write before = … or after = …");
            None
        }
        _ => filled(field).map(|text| Literal::Text(Phrase::new(text, ignore_case))),
    }
}

/// One or several texts, or one or several numbers.
fn literals(field: &Field<'_>, ignore_case: bool) -> Option<Literals> {
    let fields = field.clone().one_or_more();
    let Some(first) = fields.first() else {
        field.refuse("nothing is in an empty list".to_owned(), "write what it may be: in = [\"a\", \"b\"]");
        return None;
    };
    let of_numbers = |field: &Field<'_>| matches!(field.type_name(), "a whole number" | "a number");
    let numbers = of_numbers(first);
    if let Some(other) = fields.iter().find(|field| of_numbers(field) != numbers) {
        let message = format!("{} and {} stand in one list", first.type_name(), other.type_name());
        other.refuse(message, "compare with values of one type; for several write any = [ … ]");
        return None;
    }
    if numbers {
        return each(field, |field| field.number()).map(Literals::Numbers);
    }
    let texts = each(field, |field| filled(field).map(str::to_owned))?;
    Some(Literals::Texts(Phrases::new(texts, ignore_case)))
}

/// Reads one or several; all of them are read, so that each reports its problem.
fn each<T>(field: &Field<'_>, read: impl Fn(&Field<'_>) -> Option<T>) -> Option<Vec<T>> {
    let fields = field.clone().one_or_more();
    if fields.is_empty() {
        field.refuse("nothing is in an empty list".to_owned(), "write at least one value");
        return None;
    }
    let values: Vec<Option<T>> = fields.iter().map(read).collect();
    values.into_iter().collect()
}

fn regex(text: &str, ignore_case: bool) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    builder.case_insensitive(ignore_case).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX);
    builder.build().map_err(|error| regex_error(&error))
}

/// The library draws the pattern and a caret over several lines; the last one says what is wrong.
fn regex_error(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(bytes) = error {
        return format!("it takes more than {bytes} bytes when compiled: repeat less, or fewer classes of characters");
    }
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
