//! Texts to compare with, in the case they are written in or in any.
//!
//! Case is ignored by the lower case that Unicode gives each character. Nothing is allocated, and the time is
//! linear in the value, whatever it holds.

/// Texts that are faster compared one by one than searched.
const FEW: usize = 8;

/// A text that a value is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// In lower case when case is ignored.
    text: String,
    /// How to search for it when case is ignored.
    folded: Option<Search>,
}

/// Several texts, one of which a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrases {
    /// In order; in lower case when case is ignored.
    sorted: Vec<String>,
    ignore_case: bool,
}

/// Knuth, Morris and Pratt's search: where to go on in the text after each mismatch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Search {
    chars: Box<[char]>,
    /// For each length of a matched part, the longest shorter part that it ends with.
    borders: Box<[usize]>,
}

impl Phrase {
    /// A text.
    #[must_use]
    pub fn new(text: &str, ignore_case: bool) -> Phrase {
        if ignore_case {
            let text: String = folded(text).collect();
            Phrase { folded: Some(Search::new(text.chars().collect())), text }
        } else {
            Phrase { text: text.to_owned(), folded: None }
        }
    }

    /// The text, when it means only what is written like it; `None` when case is ignored.
    #[must_use]
    pub fn verbatim(&self) -> Option<&str> {
        self.folded.is_none().then_some(&*self.text)
    }

    pub(super) fn is(&self, value: &str) -> bool {
        match self.folded {
            None => value == self.text,
            // Of plain letters only plain ones are the lower case.
            Some(_) if value.is_ascii() => value.eq_ignore_ascii_case(&self.text),
            Some(_) => folded(value).eq(self.text.chars()),
        }
    }

    pub(super) fn starts(&self, value: &str) -> bool {
        match self.folded {
            None => value.starts_with(&self.text),
            Some(_) => begins(folded(value), self.text.chars()),
        }
    }

    pub(super) fn ends(&self, value: &str) -> bool {
        match self.folded {
            None => value.ends_with(&self.text),
            Some(_) => begins(folded(value).rev(), self.text.chars().rev()),
        }
    }

    pub(super) fn is_within(&self, value: &str) -> bool {
        match &self.folded {
            None => value.contains(&self.text),
            Some(search) => search.finds(folded(value)),
        }
    }
}

impl Phrases {
    /// Some texts.
    #[must_use]
    pub fn new(texts: Vec<String>, ignore_case: bool) -> Phrases {
        let mut sorted: Vec<String> =
            if ignore_case { texts.iter().map(|text| folded(text).collect()).collect() } else { texts };
        sorted.sort_unstable();
        Phrases { sorted, ignore_case }
    }

    /// The texts, when they mean only what is written like them; `None` when case is ignored.
    #[must_use]
    pub fn verbatim(&self) -> Option<&[String]> {
        (!self.ignore_case).then_some(&*self.sorted)
    }

    pub(super) fn hold(&self, value: &str) -> bool {
        if self.ignore_case {
            // The order of texts is that of their characters.
            self.sorted.binary_search_by(|text| text.chars().cmp(folded(value))).is_ok()
        } else if self.sorted.len() <= FEW {
            // Most differ in length already.
            self.sorted.iter().any(|text| text == value)
        } else {
            self.sorted.binary_search_by(|text| (**text).cmp(value)).is_ok()
        }
    }
}

impl Search {
    fn new(chars: Box<[char]>) -> Search {
        let mut borders = vec![0; chars.len()];
        let mut border = 0;
        for place in 1..chars.len() {
            while border > 0 && chars[place] != chars[border] {
                border = borders[border - 1];
            }
            border += usize::from(chars[place] == chars[border]);
            borders[place] = border;
        }
        Search { chars, borders: borders.into() }
    }

    fn finds(&self, value: impl Iterator<Item = char>) -> bool {
        let mut matched = 0;
        for next in value {
            if matched == self.chars.len() {
                return true;
            }
            while matched > 0 && next != self.chars[matched] {
                matched = self.borders[matched - 1];
            }
            matched += usize::from(next == self.chars[matched]);
        }
        matched == self.chars.len()
    }
}

fn folded(text: &str) -> impl DoubleEndedIterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

fn begins(mut value: impl Iterator<Item = char>, mut part: impl Iterator<Item = char>) -> bool {
    part.all(|expected| value.next() == Some(expected))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_is_ignored_only_when_told_to() {
        for (text, value, ignoring, respecting) in [
            ("Beta", "beta", true, false),
            ("beta", "BETA", true, false),
            ("beta", "beta", true, true),
            ("ÄÖ", "äö", true, false),
            ("beta", "bet", false, false),
        ] {
            assert_eq!(Phrase::new(text, true).is(value), ignoring, "{text} {value}");
            assert_eq!(Phrase::new(text, false).is(value), respecting, "{text} {value}");
            assert_eq!(Phrases::new(vec!["z".into(), text.into()], true).hold(value), ignoring);
            assert_eq!(Phrases::new(vec!["z".into(), text.into()], false).hold(value), respecting);
        }
    }

    proptest! {
        #[test]
        fn ignoring_case_is_comparing_in_lower_case(text in "[abAB]{0,5}", value in "[abAB]{0,30}") {
            let phrase = Phrase::new(&text, true);
            let (text, lower) = (text.to_lowercase(), value.to_lowercase());
            prop_assert_eq!(phrase.is(&value), lower == text);
            prop_assert_eq!(phrase.starts(&value), lower.starts_with(&text));
            prop_assert_eq!(phrase.ends(&value), lower.ends_with(&text));
            prop_assert_eq!(phrase.is_within(&value), lower.contains(&text));
        }
    }
}
