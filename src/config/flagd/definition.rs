//! The definition: a file's flags, shared evaluators and metadata.

use serde_json::{Map, Value};

use super::place::File;
use crate::contract::parse_json;

/// Nested arrays and objects of a definition.
const DEPTH_MAX: usize = 100;

/// What a file says.
#[derive(Debug, Default)]
pub(in crate::config) struct Definition {
    /// The flags by their keys, with their pointers.
    pub(in crate::config) flags: Vec<(String, String, Map<String, Value>)>,
    pub(super) evaluators: Map<String, Value>,
    /// What goes with every flag.
    pub(super) metadata: Map<String, Value>,
}

/// Reads a file; `None` when it cannot be used at all.
pub(in crate::config) fn read(file: &File<'_>) -> Option<Definition> {
    let json = match parse_json(file.bytes(), DEPTH_MAX) {
        Ok(json) => json,
        Err(malformed) => {
            let message = format!("the file is not a flag definition: {malformed}");
            let hint = "see https://flagd.dev/reference/flag-definitions for the format";
            file.refuse_at(malformed.line, malformed.column, message, hint);
            return None;
        }
    };
    let Value::Object(members) = json else {
        file.refuse("", "a flag definition is an object".to_owned(), "write { \"flags\": { … } }");
        return None;
    };
    let mut definition = Definition::default();
    let mut whole = members.contains_key("flags");
    if !whole {
        file.refuse("", "flags is missing".to_owned(), "write { \"flags\": { … } }");
    }
    for (name, value) in members {
        match (name.as_str(), value) {
            ("$schema", _) => {}
            ("flags", flags) => whole &= definition.take_flags(file, flags),
            ("$evaluators", Value::Object(evaluators)) => definition.evaluators = evaluators,
            ("metadata", Value::Object(metadata)) => definition.metadata = metadata,
            ("$evaluators" | "metadata", _) => {
                let message = format!("{name} is not an object");
                file.refuse(&format!("/{name}"), message, "write it in braces: { … }");
                whole = false;
            }
            _ => {
                let hint = "known: flags, $evaluators, metadata, $schema";
                file.warn(&format!("/{}", escaped(&name)), format!("{name:?} means nothing to flagd"), hint);
            }
        }
    }
    whole.then_some(definition)
}

impl Definition {
    /// Takes an object of flags, or an array of flags that bring their keys; `false` when one is no flag.
    fn take_flags(&mut self, file: &File<'_>, flags: Value) -> bool {
        let mut whole = true;
        let entries: Vec<(Option<String>, String, Value)> = match flags {
            Value::Object(flags) => flags
                .into_iter()
                .map(|(key, flag)| {
                    let pointer = format!("/flags/{}", escaped(&key));
                    (Some(key), pointer, flag)
                })
                .collect(),
            Value::Array(flags) => {
                let keyed = |(place, flag): (usize, Value)| {
                    let key = flag.get("key").and_then(Value::as_str).map(str::to_owned);
                    (key, format!("/flags/{place}"), flag)
                };
                flags.into_iter().enumerate().map(keyed).collect()
            }
            _ => {
                file.refuse("/flags", "flags is neither an object nor an array".to_owned(), "write { \"key\": { … } }");
                return false;
            }
        };
        for (key, pointer, flag) in entries {
            match (key, flag) {
                (Some(key), Value::Object(flag)) => self.flags.push((key, pointer, flag)),
                (None, Value::Object(_)) => {
                    file.refuse(
                        &pointer,
                        "key is missing".to_owned(),
                        "a flag in an array names itself: \"key\": \"…\"",
                    );
                    whole = false;
                }
                _ => {
                    let hint = "write { \"state\": \"ENABLED\", \"variants\": { … }, \"defaultVariant\": \"…\" }";
                    file.refuse(&pointer, "a flag is an object".to_owned(), hint);
                    whole = false;
                }
            }
        }
        whole
    }
}

/// A step of a JSON pointer.
pub(super) fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}
