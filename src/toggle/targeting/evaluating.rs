//! Evaluation: total, bounded, and without copies where there is something to borrow.

use std::borrow::Cow;

use super::{
    datum::Datum,
    expression::{Expression, Lookup, Operator, Place},
    version,
};
use crate::{
    bucket::Bucketing,
    identity::{Attribute, Subject},
    toggle::{Timestamp, Toggle},
};

/// Steps of one evaluation: nested loops over lists that a client sent end here.
const STEPS_MAX: usize = 50_000;

/// Bytes of a text, or elements of a list, that are one step.
const STEP_SIZE: usize = 16;

/// The evaluation took more than [`STEPS_MAX`] steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// One evaluation.
pub(super) struct Run<'a> {
    pub(super) flag_key: &'a str,
    pub(super) salt: &'a str,
    pub(super) bucketing: Bucketing,
    bucket_by: &'a [Attribute],
    subject: Subject<'a>,
    now: Timestamp,
    steps_left: usize,
}

/// What paths start from.
#[derive(Clone, Copy)]
pub(super) enum Frame<'f, 'a> {
    /// The subject.
    Whole,
    /// An element of a list.
    Element(&'f Datum<'a>),
    /// A step of `reduce`.
    Fold { current: &'f Datum<'a>, accumulator: &'f Datum<'a> },
}

type Evaluated<'a> = Result<Datum<'a>, Exhausted>;

impl<'a> Run<'a> {
    pub(super) fn new(toggle: &'a Toggle, subject: Subject<'a>, now: Timestamp) -> Run<'a> {
        Run {
            flag_key: &toggle.name,
            salt: &toggle.salt,
            bucketing: toggle.bucketing,
            bucket_by: &toggle.bucket_by,
            subject,
            now,
            steps_left: STEPS_MAX,
        }
    }

    pub(super) fn evaluate(&mut self, expression: &'a Expression, frame: Frame<'_, 'a>) -> Evaluated<'a> {
        self.pay(1)?;
        match expression {
            Expression::Literal(value) => Ok(Datum::from(value)),
            Expression::List(items) => self.each(items, frame).map(Datum::List),
            Expression::Lookup(lookup, otherwise) => match (self.look(lookup, frame)?, otherwise) {
                (Datum::Null, Some(otherwise)) => self.evaluate(otherwise, frame),
                (found, _) => Ok(found),
            },
            Expression::Fractional(fractional) => self.fractional(fractional, frame),
            Expression::Call(operator, arguments) => self.call(*operator, arguments, frame),
        }
    }

    fn call(&mut self, operator: Operator, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        match operator {
            Operator::If | Operator::And | Operator::Or => self.branch(operator, arguments, frame),
            Operator::Map | Operator::Filter | Operator::All | Operator::Any | Operator::None => {
                self.iterate(operator, arguments, frame)
            }
            Operator::Reduce => self.reduce(arguments, frame),
            Operator::Not => Ok(Datum::Flag(!self.argument(arguments, 0, frame)?.is_true())),
            Operator::Truthy => Ok(Datum::Flag(self.argument(arguments, 0, frame)?.is_true())),
            Operator::Equal | Operator::NotEqual | Operator::Same | Operator::NotSame => {
                let (left, right) = (self.argument(arguments, 0, frame)?, self.argument(arguments, 1, frame)?);
                Ok(Datum::Flag(match operator {
                    Operator::Equal => left.equals(&right),
                    Operator::NotEqual => !left.equals(&right),
                    Operator::Same => left.is_same(&right),
                    _ => !left.is_same(&right),
                }))
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                self.ordered(operator, arguments, frame)
            }
            Operator::In => self.contains(arguments, frame),
            Operator::StartsWith | Operator::EndsWith => self.affix(operator, arguments, frame),
            Operator::SemVer => self.sem_ver(arguments, frame),
            Operator::Cat => self.cat(arguments, frame),
            Operator::Substr => self.substr(arguments, frame),
            Operator::Merge => self.merge(arguments, frame),
            Operator::Var => self.computed_lookup(arguments, frame),
            Operator::Missing | Operator::MissingSome => self.missing(operator, arguments, frame),
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder
            | Operator::Least
            | Operator::Greatest => self.arithmetic(operator, arguments, frame),
        }
    }

    fn pay(&mut self, steps: usize) -> Result<(), Exhausted> {
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }

    /// Pays for what was copied.
    fn paid(&mut self, datum: Datum<'a>) -> Evaluated<'a> {
        self.pay(datum.owned_size() / STEP_SIZE)?;
        Ok(datum)
    }

    fn argument(&mut self, arguments: &'a [Expression], place: usize, frame: Frame<'_, 'a>) -> Evaluated<'a> {
        arguments.get(place).map_or(Ok(Datum::Null), |argument| self.evaluate(argument, frame))
    }

    fn each(&mut self, items: &'a [Expression], frame: Frame<'_, 'a>) -> Result<Vec<Datum<'a>>, Exhausted> {
        items.iter().map(|item| self.evaluate(item, frame)).collect()
    }

    pub(super) fn look(&mut self, lookup: &'a Lookup, frame: Frame<'_, 'a>) -> Evaluated<'a> {
        self.find(&lookup.place, lookup.hashed, frame)
    }

    fn find(&mut self, place: &Place, hashed: bool, frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let found = match place {
            Place::FlagKey => Datum::Text(Cow::Borrowed(self.flag_key)),
            // Seconds stay below 2^53 for longer than there are calendars.
            #[expect(clippy::cast_precision_loss, reason = "a date is far below 2^53 seconds")]
            Place::Timestamp => Datum::Number(self.now.0 as f64),
            Place::TargetingKey => self.targeting_key(hashed),
            Place::Attribute(attribute, name) => self.attribute(attribute, name, hashed),
            Place::Member(path) => match self.subject {
                Subject::Request(_) => Datum::Null,
                Subject::Context(context) => Datum::Object(context.members).at(path),
            },
            Place::Element(path) => match (frame, path.split_first()) {
                (Frame::Whole, _) => Datum::Null,
                (Frame::Element(element), _) => element.at(path),
                (Frame::Fold { current, .. }, Some((first, rest))) if first == "current" => current.at(rest),
                (Frame::Fold { accumulator, .. }, Some((first, rest))) if first == "accumulator" => {
                    accumulator.at(rest)
                }
                (Frame::Fold { .. }, _) => Datum::Null,
            },
        };
        self.paid(found)
    }

    /// The assignment key. An untrusted peer's own word for it is hashed and never compared: so it cannot
    /// choose its answer.
    fn targeting_key(&self, hashed: bool) -> Datum<'a> {
        if !hashed {
            let source = self.bucket_by.iter().find(|source| self.subject.read(source).is_some());
            if source.is_some_and(|source| !self.subject.believes(source)) {
                return Datum::Null;
            }
        }
        match (self.subject.assignment_key(self.bucket_by), self.subject) {
            (Some(key), _) => Datum::Text(key),
            (None, Subject::Context(context)) => context.members.get("targetingKey").map_or(Datum::Null, Datum::from),
            (None, Subject::Request(_)) => Datum::Null,
        }
    }

    fn attribute(&self, attribute: &Attribute, name: &str, hashed: bool) -> Datum<'a> {
        let member = |name: &str| match self.subject {
            Subject::Context(context) => context.members.get(name).map_or(Datum::Null, Datum::from),
            Subject::Request(_) => Datum::Null,
        };
        match (self.subject, attribute) {
            (Subject::Context(_), Attribute::Context(name)) => member(name),
            (Subject::Context(_), Attribute::Method | Attribute::Path | Attribute::Host | Attribute::Ip) => {
                member(name)
            }
            (Subject::Context(_), claim) if claim.is_claim() => member(name),
            _ if !hashed && !self.subject.believes(attribute) => Datum::Null,
            _ => self.subject.read(attribute).map_or(Datum::Null, Datum::from),
        }
    }

    /// `var` of a path that is known only now.
    fn computed_lookup(&mut self, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let path = self.argument(arguments, 0, frame)?;
        let (path, otherwise) = match path.len() {
            Some(_) => (path.element(0).unwrap_or(Datum::Null), path.element(1)),
            None => (path, None),
        };
        let found = self.named(&path, frame)?;
        match (found, otherwise) {
            (Datum::Null, Some(otherwise)) => Ok(otherwise),
            (Datum::Null, None) => self.argument(arguments, 1, frame),
            (found, _) => Ok(found),
        }
    }

    fn named(&mut self, path: &Datum<'a>, frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let within = !matches!(frame, Frame::Whole);
        match Place::of(&path.to_text(), within) {
            Some(place) => self.find(&place, false, frame),
            None => Ok(Datum::Null),
        }
    }

    fn branch(&mut self, operator: Operator, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        if operator == Operator::If {
            let (pairs, otherwise) = arguments.as_chunks::<2>();
            for [condition, then] in pairs {
                if self.evaluate(condition, frame)?.is_true() {
                    return self.evaluate(then, frame);
                }
            }
            return self.argument(otherwise, 0, frame);
        }
        let mut last = Datum::Null;
        for argument in arguments {
            last = self.evaluate(argument, frame)?;
            if last.is_true() == (operator == Operator::Or) {
                break;
            }
        }
        Ok(last)
    }

    fn ordered(&mut self, operator: Operator, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let holds = |left: &Datum<'_>, right: &Datum<'_>| {
            let order = left.compare(right);
            match operator {
                Operator::Less => order.is_some_and(|order| order.is_lt()),
                Operator::LessOrEqual => order.is_some_and(|order| order.is_lt()) || left.equals(right),
                Operator::Greater => order.is_some_and(|order| order.is_gt()),
                _ => order.is_some_and(|order| order.is_gt()) || left.equals(right),
            }
        };
        if arguments.len() < 2 {
            return Ok(Datum::Flag(false));
        }
        let (first, second) = (self.argument(arguments, 0, frame)?, self.argument(arguments, 1, frame)?);
        let mut all = holds(&first, &second);
        if arguments.len() == 3 {
            let third = self.argument(arguments, 2, frame)?;
            all = all && holds(&second, &third);
        }
        Ok(Datum::Flag(all))
    }

    fn contains(&mut self, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let (needle, whole) = (self.argument(arguments, 0, frame)?, self.argument(arguments, 1, frame)?);
        if let (Datum::Text(whole), Datum::Text(needle)) = (&whole, &needle) {
            self.pay(whole.len() / STEP_SIZE)?;
            return Ok(Datum::Flag(whole.contains(&**needle)));
        }
        self.pay(whole.len().unwrap_or_default() / STEP_SIZE)?;
        let found = whole.elements().any(|element| match (&needle, &element) {
            (Datum::Number(number), Datum::Text(text)) => text.parse() == Ok(*number),
            _ => element.is_same(&needle),
        });
        Ok(Datum::Flag(found))
    }

    /// `starts_with` and `ends_with`: null where one of the two is no text.
    fn affix(&mut self, operator: Operator, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let [text, affix] = arguments else { return Ok(Datum::Null) };
        Ok(match (self.evaluate(text, frame)?, self.evaluate(affix, frame)?) {
            (Datum::Text(text), Datum::Text(affix)) if operator == Operator::StartsWith => {
                Datum::Flag(text.starts_with(&*affix))
            }
            (Datum::Text(text), Datum::Text(affix)) => Datum::Flag(text.ends_with(&*affix)),
            _ => Datum::Null,
        })
    }

    /// `sem_ver`: null where there is no version or no operator.
    fn sem_ver(&mut self, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let [left, operator, right] = arguments else { return Ok(Datum::Null) };
        let left = self.evaluate(left, frame)?;
        let Datum::Text(operator) = self.evaluate(operator, frame)? else { return Ok(Datum::Null) };
        let right = self.evaluate(right, frame)?;
        Ok(version::compare(&left.to_text(), &operator, &right.to_text()).map_or(Datum::Null, Datum::Flag))
    }

    /// Joins texts; of several, white space around the whole is dropped, as flagd drops it.
    fn cat(&mut self, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        if let [argument] = arguments {
            return self.evaluate(argument, frame).map(|only| Datum::Text(only.to_text()));
        }
        let mut text = String::new();
        for argument in arguments {
            let piece = self.evaluate(argument, frame)?;
            self.pay(piece.size() / STEP_SIZE)?;
            piece.write(&mut text);
        }
        let trimmed = text.trim();
        if trimmed.len() == text.len() { Ok(Datum::text(text)) } else { Ok(Datum::text(trimmed)) }
    }

    fn substr(&mut self, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let text = self.argument(arguments, 0, frame)?.to_text();
        self.pay(text.len() / STEP_SIZE)?;
        let count = signed(text.chars().count());
        let from = whole(&self.argument(arguments, 1, frame)?);
        let from = if from < 0 { from.saturating_add(count) } else { from };
        if !(0..=count).contains(&from) {
            return Ok(Datum::Text(text));
        }
        let to = match arguments.get(2) {
            None => count,
            Some(length) => match whole(&self.evaluate(length, frame)?) {
                length if length < 0 => count.saturating_add(length),
                length => from.saturating_add(length).min(count),
            },
        };
        let (skipped, taken) = (usize::try_from(from).unwrap_or(0), usize::try_from(to - from).unwrap_or(0));
        Ok(Datum::text(text.chars().skip(skipped).take(taken).collect::<String>()))
    }

    fn merge(&mut self, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let mut merged = Vec::new();
        for argument in arguments {
            let piece = self.evaluate(argument, frame)?;
            self.pay(piece.len().unwrap_or_default() / STEP_SIZE)?;
            match piece.len() {
                Some(_) => merged.extend(piece.elements()),
                None => merged.push(piece),
            }
        }
        self.paid(Datum::List(merged))
    }

    fn missing(&mut self, operator: Operator, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let mut names = self.each(arguments, frame)?;
        let mut needed = None;
        if operator == Operator::MissingSome {
            needed = names.first().map(Datum::number);
            names = names.get(1).map(|names| names.elements().collect()).unwrap_or_default();
        } else if let Some(Some(_)) = names.first().map(Datum::len) {
            names = names[0].elements().collect();
        }
        let count = names.len();
        let mut missing = Vec::new();
        for name in names {
            self.pay(1)?;
            if self.named(&name, frame)?.is_null() {
                missing.push(name);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a list is far below 2^53 elements")]
        let found = (count - missing.len()) as f64;
        if needed.is_some_and(|needed| found >= needed) {
            missing.clear();
        }
        Ok(Datum::List(missing))
    }

    fn arithmetic(&mut self, operator: Operator, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let Some((first, rest)) = arguments.split_first() else {
            return Ok(match operator {
                Operator::Least | Operator::Greatest => Datum::Null,
                Operator::Multiply => Datum::Number(1.0),
                _ => Datum::Number(0.0),
            });
        };
        let mut total = self.evaluate(first, frame)?.number();
        if rest.is_empty() && operator == Operator::Subtract {
            total = -total;
        }
        for argument in rest {
            let number = self.evaluate(argument, frame)?.number();
            total = match operator {
                Operator::Add => total + number,
                Operator::Subtract => total - number,
                Operator::Multiply => total * number,
                Operator::Divide => total / number,
                Operator::Remainder => total % number,
                Operator::Least if number < total => number,
                Operator::Greatest if number > total => number,
                _ => total,
            };
        }
        Ok(Datum::Number(total))
    }

    fn iterate(&mut self, operator: Operator, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let list = self.argument(arguments, 0, frame)?;
        let Some(body) = arguments.get(1) else { return Ok(Datum::List(Vec::new())) };
        let mut kept = Vec::new();
        for element in list.elements() {
            let result = self.evaluate(body, Frame::Element(&element))?;
            match operator {
                Operator::Map => kept.push(result),
                Operator::Filter if result.is_true() => kept.push(element),
                Operator::All if !result.is_true() => return Ok(Datum::Flag(false)),
                Operator::Any if result.is_true() => return Ok(Datum::Flag(true)),
                Operator::None if result.is_true() => return Ok(Datum::Flag(false)),
                _ => {}
            }
        }
        match operator {
            Operator::Map | Operator::Filter => self.paid(Datum::List(kept)),
            Operator::All => Ok(Datum::Flag(list.len().is_some_and(|len| len > 0))),
            Operator::Any => Ok(Datum::Flag(false)),
            _ => Ok(Datum::Flag(true)),
        }
    }

    fn reduce(&mut self, arguments: &'a [Expression], frame: Frame<'_, 'a>) -> Evaluated<'a> {
        let list = self.argument(arguments, 0, frame)?;
        let mut accumulator = self.argument(arguments, 2, frame)?;
        let Some(body) = arguments.get(1) else { return Ok(accumulator) };
        for element in list.elements() {
            accumulator = self.evaluate(body, Frame::Fold { current: &element, accumulator: &accumulator })?;
        }
        Ok(accumulator)
    }
}

/// A number without its fraction; what is none is 0.
fn whole(datum: &Datum<'_>) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "what is too large for 64 bits ends at their bounds")]
    let whole = datum.number() as i64;
    whole
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
