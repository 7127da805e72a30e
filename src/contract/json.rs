//! A JSON reader that refuses what two parsers may read differently.
//!
//! *Invariants*
//! - No object has the same key twice: a proxy that keeps the first value and an upstream that
//!   keeps the last would disagree about what was validated (RFC 8259 section 4).
//! - Nesting is bounded, so later recursion over the value is too.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why bytes are not a JSON text that weir accepts. It never holds a piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) flaw: Flaw,
    /// From 1; 0 where serde_json does not know.
    pub(crate) line: usize,
    /// From 1; 0 where serde_json does not know.
    pub(crate) column: usize,
}

/// The kinds of malformed JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Syntax,
    DuplicateKey,
    TooDeep { depth_max: usize },
}

/// Reads one JSON text of at most `depth_max` nested arrays and objects, without trailing data.
pub(crate) fn parse(bytes: &[u8], depth_max: usize) -> Result<Value, Malformed> {
    let flaw = Cell::new(Flaw::Syntax);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Strict { depth_left: depth_max, depth_max, flaw: &flaw };
    seed.deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Malformed { flaw: flaw.get(), line: error.line(), column: error.column() })
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flaw {
            Flaw::Syntax => f.write_str("not valid JSON")?,
            Flaw::DuplicateKey => f.write_str("an object has the same key twice")?,
            Flaw::TooDeep { depth_max } => write!(f, "nested deeper than {depth_max} levels")?,
        }
        write!(f, " at line {} column {}", self.line, self.column)
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    depth_max: usize,
    flaw: &'a Cell<Flaw>,
}

impl Strict<'_> {
    fn descend<E: serde::de::Error>(self) -> Result<Self, E> {
        let Some(depth_left) = self.depth_left.checked_sub(1) else {
            return Err(self.refuse(Flaw::TooDeep { depth_max: self.depth_max }));
        };
        Ok(Self { depth_left, ..self })
    }

    fn refuse<E: serde::de::Error>(self, flaw: Flaw) -> E {
        self.flaw.set(flaw);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.descend()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.descend()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(self.refuse(Flaw::DuplicateKey));
            }
            let member = map.next_value_seed(inner)?;
            members.insert(key, member);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], expected: &Result<Value, Flaw>) {
        assert_eq!(parse(text, 3).map_err(|malformed| malformed.flaw), *expected);
    }

    #[test]
    fn sound_json_is_read_whole() {
        check(b"{\"a\":[1,-2,0.5,\"x\",true,null]}", &Ok(serde_json::json!({"a": [1, -2, 0.5, "x", true, null]})));
    }

    #[test]
    fn a_duplicate_key_is_malformed_at_any_level() {
        check(b"{\"a\":1,\"a\":1}", &Err(Flaw::DuplicateKey));
        check(b"[{\"a\":{\"b\":1,\"\\u0062\":2}}]", &Err(Flaw::DuplicateKey));
    }

    #[test]
    fn nesting_beyond_the_limit_is_malformed() {
        check(b"[[[]]]", &Ok(serde_json::json!([[[]]])));
        check(b"[[[[]]]]", &Err(Flaw::TooDeep { depth_max: 3 }));
        check(b"[[[{}]]]", &Err(Flaw::TooDeep { depth_max: 3 }));
    }

    #[test]
    fn trailing_data_bad_utf8_and_an_empty_text_are_malformed() {
        for text in [&b"{} {}"[..], b"", b" ", b"\"\xff\"", b"\xef\xbb\xbf{}", b"{'a':1}", b"NaN", b"1e999"] {
            check(text, &Err(Flaw::Syntax));
        }
    }
}
