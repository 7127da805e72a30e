//! Reading: JSON becomes an expression, or every flaw in it is told.

use serde_json::{Map, Value};

use super::{
    expression::{Expression, Fractional, Lookup, OPERATORS, Operator, Place},
    fractional::{WEIGHTS_MAX, whole_weight},
    version,
};

/// Nested operators and lists of one expression.
const DEPTH_MAX: usize = 64;

/// Operators, lists and values of one expression, shared evaluators included.
const NODES_MAX: usize = 10_000;

/// Flaws of one expression that are told.
const FLAWS_MAX: usize = 20;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where, as a JSON pointer (RFC 6901) from the expression, or from the shared evaluators when it
    /// starts with `/$evaluators`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Whether the expression cannot be used; else it is only not what its author thinks.
    pub fatal: bool,
}

/// One reading.
pub(super) struct Reader<'v> {
    evaluators: &'v Map<String, Value>,
    within_evaluator: bool,
    path: Vec<String>,
    depth: usize,
    nodes: usize,
    pub(super) flaws: Vec<Flaw>,
}

/// Where an expression stands.
#[derive(Clone, Copy)]
struct Scope {
    /// Within the body of a loop: paths start from the element.
    element: bool,
    /// Its value is hashed and never compared.
    hashed: bool,
}

impl Place {
    /// What a path names; `None` for a property of `$flagd` that there is not.
    pub(super) fn of(path: &str, element: bool) -> Option<Place> {
        match path {
            "$flagd.flagKey" => return Some(Place::FlagKey),
            "$flagd.timestamp" => return Some(Place::Timestamp),
            _ if path == "$flagd" || path.starts_with("$flagd.") => return None,
            _ => {}
        }
        let steps = || path.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect();
        Some(match (element, path) {
            (true, _) => Place::Element(steps()),
            (false, "targetingKey") => Place::TargetingKey,
            (false, path) => match path.parse() {
                Ok(attribute) => Place::Attribute(attribute, path.to_owned()),
                Err(_a_members_name) => Place::Member(steps()),
            },
        })
    }
}

impl<'v> Reader<'v> {
    pub(super) fn new(evaluators: &'v Map<String, Value>) -> Reader<'v> {
        Reader { evaluators, within_evaluator: false, path: Vec::new(), depth: 0, nodes: 0, flaws: Vec::new() }
    }

    /// Reads a whole expression.
    pub(super) fn whole(&mut self, json: &'v Value) -> Option<Expression> {
        self.read(json, Scope { element: false, hashed: false })
    }

    fn read(&mut self, json: &'v Value, scope: Scope) -> Option<Expression> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || self.depth >= DEPTH_MAX {
            let message = format!("the targeting is larger than {NODES_MAX} parts or {DEPTH_MAX} levels");
            return self.refuse(message, "divide it, or say it by rules");
        }
        self.depth += 1;
        let read = match json {
            Value::Array(items) => self.list(items, scope),
            Value::Object(members) => self.object(members, scope),
            plain => Some(Expression::Literal(plain.clone())),
        };
        self.depth -= 1;
        read
    }

    fn list(&mut self, items: &'v [Value], scope: Scope) -> Option<Expression> {
        let read = self.arguments(items, scope)?;
        let literals: Option<Vec<Value>> = read
            .iter()
            .map(|item| match item {
                Expression::Literal(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        Some(literals.map_or(Expression::List(read), |values| Expression::Literal(Value::Array(values))))
    }

    /// Reads all of them, so that each tells its flaws.
    fn arguments(&mut self, items: &'v [Value], scope: Scope) -> Option<Vec<Expression>> {
        let read: Vec<Option<Expression>> = items
            .iter()
            .enumerate()
            .map(|(place, item)| self.within(&place, |reader| reader.read(item, scope)))
            .collect();
        read.into_iter().collect()
    }

    fn within<T>(&mut self, step: &(impl ToString + ?Sized), read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.to_string());
        let read = read(self);
        self.path.pop();
        read
    }

    fn object(&mut self, members: &'v Map<String, Value>, scope: Scope) -> Option<Expression> {
        let mut entries = members.iter();
        let (Some((name, arguments)), None) = (entries.next(), entries.next()) else {
            return self.refuse(
                format!("an operator is an object of one member, and here are {}", members.len()),
                "write { \"operator\": [arguments] }",
            );
        };
        self.within(name, |reader| match name.as_str() {
            "$ref" => reader.shared(arguments, scope),
            "var" => reader.var(arguments, scope),
            "fractional" => reader.fractional(arguments, scope),
            _ => {
                let Some((_, operator)) = OPERATORS.iter().find(|(known, _)| known == name) else {
                    let known: Vec<&str> = OPERATORS.iter().map(|(known, _)| *known).collect();
                    let hint = format!("known: fractional, {}", known.join(", "));
                    return reader.refuse(format!("unknown operator {name:?}"), &hint);
                };
                reader.call(*operator, arguments, scope)
            }
        })
    }

    /// `{ "$ref": "name" }` of `$evaluators`.
    fn shared(&mut self, name: &'v Value, scope: Scope) -> Option<Expression> {
        let Some(name) = name.as_str() else {
            return self.refuse("a reference is a text".to_owned(), "name one of $evaluators: { \"$ref\": \"name\" }");
        };
        if self.within_evaluator {
            let hint = "write out what it refers to: shared evaluators do not nest";
            return self.refuse(format!("an evaluator refers to the evaluator {name:?}"), hint);
        }
        let Some(evaluator) = self.evaluators.get(name) else {
            let known: Vec<&str> = self.evaluators.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return self.refuse(format!("there is no evaluator {name:?}"), &format!("$evaluators has: {known}"));
        };
        let outside = std::mem::replace(&mut self.path, vec!["$evaluators".to_owned(), name.to_owned()]);
        self.within_evaluator = true;
        let read = self.read(evaluator, scope);
        self.within_evaluator = false;
        self.path = outside;
        read
    }

    fn var(&mut self, argument: &'v Value, scope: Scope) -> Option<Expression> {
        let (path, otherwise) = match argument {
            Value::Array(items) => (items.first().unwrap_or(&Value::Null), items.get(1)),
            path => (path, None),
        };
        let text = match path {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return self.call(Operator::Var, argument, Scope { hashed: false, ..scope }),
        };
        let otherwise = match otherwise {
            Some(otherwise) => Some(Box::new(self.within(&1, |reader| reader.read(otherwise, scope))?)),
            None => None,
        };
        let Some(place) = Place::of(&text, scope.element) else {
            return self.refuse(format!("there is no {text}"), "there are $flagd.flagKey and $flagd.timestamp");
        };
        Some(Expression::Lookup(Lookup { place, hashed: scope.hashed }, otherwise))
    }

    fn call(&mut self, operator: Operator, arguments: &'v Value, scope: Scope) -> Option<Expression> {
        // A value that is hashed may be put together of others; what is compared on the way may not.
        let scope = Scope { hashed: scope.hashed && operator == Operator::Cat, ..scope };
        let body = Scope { element: true, hashed: false };
        let Value::Array(items) = arguments else {
            // One argument may stand without brackets.
            return self.read(arguments, scope).map(|argument| Expression::Call(operator, vec![argument]));
        };
        let read: Vec<Option<Expression>> = items
            .iter()
            .enumerate()
            .map(|(place, item)| {
                let scope = if place == 1 && is_loop(operator) { body } else { scope };
                self.within(&place, |reader| reader.read(item, scope))
            })
            .collect();
        let read: Vec<Expression> = read.into_iter().collect::<Option<_>>()?;
        self.doubt(operator, &read);
        Some(Expression::Call(operator, read))
    }

    /// Warns of a custom operator that can only give null.
    fn doubt(&mut self, operator: Operator, arguments: &[Expression]) {
        let wanted = match operator {
            Operator::StartsWith | Operator::EndsWith => 2,
            Operator::SemVer => 3,
            _ => return,
        };
        if arguments.len() != wanted {
            let message =
                format!("the operator takes {wanted} arguments and has {}: it is always null", arguments.len());
            self.warn(message, "null gives the default variant");
        } else if let (Operator::SemVer, Expression::Literal(literal)) = (operator, &arguments[1])
            && !literal.as_str().is_some_and(version::is_operator)
        {
            let hint = "one of =, !=, <, <=, >, >=, ^ (same major) and ~ (same minor); null gives the default variant";
            self.warn(format!("{literal} compares no versions: sem_ver is always null"), hint);
        }
    }

    fn fractional(&mut self, arguments: &'v Value, scope: Scope) -> Option<Expression> {
        let hint = "write { \"fractional\": [[\"a\", 50], [\"b\", 50]] }, with what to hash before them if need be";
        let Value::Array(items) = arguments else {
            return self.refuse("fractional takes a list".to_owned(), hint);
        };
        let (key, first) = match items.first() {
            Some(Value::Array(_)) | None => (None, 0),
            Some(key) => {
                let scope = Scope { hashed: true, ..scope };
                (Some(self.within(&0, |reader| reader.read(key, scope))), 1)
            }
        };
        let buckets: Vec<_> = items
            .iter()
            .enumerate()
            .skip(first)
            .map(|(place, item)| self.within(&place, |reader| reader.bucket(item, Scope { hashed: false, ..scope })))
            .collect();
        let buckets: Vec<_> = buckets.into_iter().collect::<Option<_>>()?;
        let written = |(_, weight): &(Expression, Option<Expression>)| match weight {
            None => 1,
            Some(Expression::Literal(weight)) => weight.as_f64().and_then(whole_weight).unwrap_or_default(),
            Some(_) => 0,
        };
        let total: i64 = buckets.iter().map(written).sum();
        if buckets.is_empty() {
            return self.refuse("fractional has no variants".to_owned(), hint);
        }
        if total > WEIGHTS_MAX {
            let hint = format!("they come to at most {WEIGHTS_MAX}");
            return self.refuse(format!("the weights come to {total}"), &hint);
        }
        let place = if scope.element { Place::Element(vec!["targetingKey".to_owned()]) } else { Place::TargetingKey };
        let targeting_key = Lookup { place, hashed: true };
        let key = match key {
            Some(key) => Some(key?),
            None => None,
        };
        Some(Expression::Fractional(Box::new(Fractional { key, targeting_key, buckets })))
    }

    fn bucket(&mut self, json: &'v Value, scope: Scope) -> Option<(Expression, Option<Expression>)> {
        let hint = "write a variant and, if it is not 1, its weight: [\"a\", 50]";
        let (variant, weight) = match json.as_array().map(Vec::as_slice) {
            Some([variant]) => (variant, None),
            Some([variant, weight]) => (variant, Some(weight)),
            _ => return self.refuse("a share is a list of one or two".to_owned(), hint),
        };
        let variant = self.within(&0, |reader| reader.read(variant, scope));
        let weight = match weight {
            None => None,
            Some(json) => {
                let weight = self.within(&1, |reader| {
                    let weight = reader.read(json, scope)?;
                    let whole = match &weight {
                        Expression::Literal(Value::Null) => true,
                        Expression::Literal(literal) => literal.as_f64().and_then(whole_weight).is_some(),
                        _ => true,
                    };
                    if !whole {
                        return reader
                            .refuse(format!("{json} is not a weight"), "a weight is a whole number below 2^31");
                    }
                    Some(weight)
                });
                Some(weight?)
            }
        };
        Some((variant?, weight))
    }

    fn refuse<T>(&mut self, message: String, hint: &str) -> Option<T> {
        self.flaw(message, hint, true);
        None
    }

    fn warn(&mut self, message: String, hint: &str) {
        self.flaw(message, hint, false);
    }

    fn flaw(&mut self, message: String, hint: &str, fatal: bool) {
        if self.flaws.len() >= FLAWS_MAX {
            return;
        }
        let steps = self.path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")));
        self.flaws.push(Flaw { pointer: steps.collect(), message, hint: hint.to_owned(), fatal });
    }
}

fn is_loop(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Map | Operator::Filter | Operator::Reduce | Operator::All | Operator::Any | Operator::None
    )
}
