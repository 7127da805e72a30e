//! Expressions: JSONLogic as it is evaluated, with every name resolved.

use serde_json::Value;

use crate::identity::Attribute;

/// A piece of targeting.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// What it says.
    Literal(Value),
    /// Each element evaluated.
    List(Vec<Expression>),
    /// `var` of a path that is written out, and what stands where nothing is.
    Lookup(Lookup, Option<Box<Expression>>),
    /// `fractional`.
    Fractional(Box<Fractional>),
    /// Any other operator.
    Call(Operator, Vec<Expression>),
}

/// Where `var` looks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lookup {
    pub(super) place: Place,
    /// Whether a claim of an untrusted peer counts: only where the value is hashed.
    pub(super) hashed: bool,
}

/// What `var` names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// `$flagd.flagKey`.
    FlagKey,
    /// `$flagd.timestamp`, in seconds.
    Timestamp,
    /// `targetingKey`: the assignment key.
    TargetingKey,
    /// What configuration calls an attribute, such as `header:x-cohort`; and the same as a member's name.
    Attribute(Attribute, String),
    /// A path into the evaluation context; empty for all of it.
    Member(Vec<String>),
    /// A path into the element at hand, within `map`, `filter`, `all`, `none`, `some` and `reduce`.
    Element(Vec<String>),
}

/// Shares by the hash of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fractional {
    /// What is hashed, when it is written; else the flag's key and the targeting key.
    pub(super) key: Option<Expression>,
    /// The targeting key.
    pub(super) targeting_key: Lookup,
    /// Variants and weights.
    pub(super) buckets: Vec<(Expression, Option<Expression>)>,
}

/// The operators that take evaluated arguments, or some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `var` of a path that is computed.
    Var,
    If,
    And,
    Or,
    Not,
    Truthy,
    Equal,
    NotEqual,
    Same,
    NotSame,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Cat,
    Substr,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Least,
    Greatest,
    Map,
    Filter,
    Reduce,
    All,
    Any,
    None,
    Merge,
    Missing,
    MissingSome,
    StartsWith,
    EndsWith,
    SemVer,
}

/// Every operator but `fractional`, by its name.
pub(super) const OPERATORS: [(&str, Operator); 37] = [
    ("var", Operator::Var),
    ("if", Operator::If),
    ("?:", Operator::If),
    ("and", Operator::And),
    ("or", Operator::Or),
    ("!", Operator::Not),
    ("!!", Operator::Truthy),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("===", Operator::Same),
    ("!==", Operator::NotSame),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
    ("in", Operator::In),
    ("cat", Operator::Cat),
    ("substr", Operator::Substr),
    ("+", Operator::Add),
    ("-", Operator::Subtract),
    ("*", Operator::Multiply),
    ("/", Operator::Divide),
    ("%", Operator::Remainder),
    ("min", Operator::Least),
    ("max", Operator::Greatest),
    ("map", Operator::Map),
    ("filter", Operator::Filter),
    ("reduce", Operator::Reduce),
    ("all", Operator::All),
    ("some", Operator::Any),
    ("none", Operator::None),
    ("merge", Operator::Merge),
    ("missing", Operator::Missing),
    ("missing_some", Operator::MissingSome),
    ("starts_with", Operator::StartsWith),
    ("ends_with", Operator::EndsWith),
    ("sem_ver", Operator::SemVer),
];

impl Expression {
    /// Every lookup in it.
    pub(super) fn lookups<'a>(&'a self, see: &mut dyn FnMut(&'a Lookup)) {
        match self {
            Expression::Literal(_) => {}
            Expression::List(items) | Expression::Call(_, items) => items.iter().for_each(|item| item.lookups(see)),
            Expression::Lookup(lookup, otherwise) => {
                see(lookup);
                otherwise.iter().for_each(|otherwise| otherwise.lookups(see));
            }
            Expression::Fractional(fractional) => {
                see(&fractional.targeting_key);
                fractional.key.iter().for_each(|key| key.lookups(see));
                for (variant, weight) in &fractional.buckets {
                    variant.lookups(see);
                    weight.iter().for_each(|weight| weight.lookups(see));
                }
            }
        }
    }

    /// Every result that is written out.
    pub(super) fn results<'a>(&'a self, see: &mut dyn FnMut(&'a Value)) {
        match self {
            Expression::Literal(value) => see(value),
            Expression::Lookup(_, otherwise) => otherwise.iter().for_each(|otherwise| otherwise.results(see)),
            Expression::Fractional(fractional) => {
                fractional.buckets.iter().for_each(|(variant, _)| variant.results(see));
            }
            // Conditions and results take turns; a condition is the result only where it is the last.
            Expression::Call(Operator::If, items) => {
                let last = items.len().saturating_sub(1);
                let results = items.iter().enumerate().filter(|(place, _)| place % 2 == 1 || *place == last);
                results.for_each(|(_, result)| result.results(see));
            }
            Expression::Call(Operator::And | Operator::Or, items) => items.iter().for_each(|item| item.results(see)),
            Expression::List(_) | Expression::Call(..) => {}
        }
    }

    /// Whether there is a `fractional` in it.
    pub(super) fn draws(&self) -> bool {
        match self {
            Expression::Fractional(_) => true,
            Expression::Literal(_) | Expression::Lookup(_, None) => false,
            Expression::Lookup(_, Some(otherwise)) => otherwise.draws(),
            Expression::List(items) | Expression::Call(_, items) => items.iter().any(Expression::draws),
        }
    }

    /// Whether a path is computed while it is evaluated, so that any attribute may be read.
    pub(super) fn looks_anywhere(&self) -> bool {
        let any = |items: &[Expression]| items.iter().any(Expression::looks_anywhere);
        match self {
            Expression::Literal(_) => false,
            Expression::Call(Operator::Var | Operator::Missing | Operator::MissingSome, _) => true,
            Expression::List(items) | Expression::Call(_, items) => any(items),
            Expression::Lookup(_, otherwise) => otherwise.as_ref().is_some_and(|otherwise| otherwise.looks_anywhere()),
            Expression::Fractional(fractional) => {
                let bucket = |(variant, weight): &(Expression, Option<Expression>)| {
                    variant.looks_anywhere() || weight.as_ref().is_some_and(Expression::looks_anywhere)
                };
                fractional.key.as_ref().is_some_and(Expression::looks_anywhere) || fractional.buckets.iter().any(bucket)
            }
        }
    }
}
