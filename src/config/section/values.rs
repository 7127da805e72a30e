//! What single values say: flags, numbers, dates and the values of variants.

use serde_json::{Map, Number, Value};
use toml::{
    de::DeValue,
    value::{Datetime, Offset},
};

use super::Field;
use crate::{identity, toggle::Timestamp};

/// The largest integer that every language's JSON keeps exact.
const INTEGER_MAX: i64 = (1 << 53) - 1;

impl Field<'_> {
    /// The value as a flag.
    pub(in crate::config) fn flag(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.refuse_type("true or false", "write it without quotes"))
    }

    /// The value as a date: the moment it begins, in UTC.
    pub(in crate::config) fn date(&self) -> Option<Timestamp> {
        let date = self.value.as_datetime().filter(|written| written.time.is_none()).and_then(moment_of);
        date.or_else(|| self.refuse_type("a date", "write it without quotes and time, as in 2027-01-15"))
    }

    /// The value as a moment: a date and a time that say their offset.
    pub(in crate::config) fn moment(&self) -> Option<Timestamp> {
        let written = self.value.as_datetime();
        if written.is_some_and(|written| written.offset.is_none()) {
            let hint = "say the offset too, as in 2027-01-15T08:00:00Z or 2027-01-15T08:00:00+01:00";
            self.refuse("a date or time without offset is another moment on every machine".to_owned(), hint);
            return None;
        }
        let moment = written.and_then(moment_of);
        moment.or_else(|| self.refuse_type("a moment", "write it without quotes, as in 2027-01-15T08:00:00Z"))
    }

    /// The value as a moment, or as a date, which is the moment it begins in UTC.
    pub(in crate::config) fn date_or_moment(&self) -> Option<Timestamp> {
        match self.value.as_datetime() {
            Some(written) if written.time.is_some() => self.moment(),
            Some(_) => self.date(),
            None => {
                let hint = "write it without quotes, as in 2027-01-15 or 2027-01-15T08:00:00Z";
                self.refuse_type("a date or a moment", hint)
            }
        }
    }

    /// The value as a finite number to compare with, whole or not.
    pub(in crate::config) fn number(&self) -> Option<identity::Number> {
        let hint = "write a number without quotes, as in 100 or 2.5";
        match self.value {
            DeValue::Integer(_) => self.whole_number().map(identity::Number::Whole).or_else(|| {
                self.refuse(
                    "the number has more than 64 bits".to_owned(),
                    "identities of any length are compared as texts: put it in quotes",
                );
                None
            }),
            DeValue::Float(_) => {
                let number = self.float().map(identity::Number::Float);
                number.or_else(|| self.refuse_type("a finite number", hint))
            }
            _ => self.refuse_type("a number", hint),
        }
    }

    /// A number as JSON holds it; `None` when another language would round it.
    fn written_number(&self) -> Option<Number> {
        let whole = self.whole_number().filter(|number| (-INTEGER_MAX..=INTEGER_MAX).contains(number));
        whole.map(Number::from).or_else(|| self.float().and_then(Number::from_f64))
    }

    fn whole_number(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
    }

    fn float(&self) -> Option<f64> {
        let DeValue::Float(float) = self.value else { return None };
        float.as_str().replace('_', "").parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The value as a whole number of at least `min`.
    pub(in crate::config) fn integer(&self, min: u64) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            return self.refuse_type("a whole number", "write it without quotes, as in 100");
        };
        let number = u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok();
        let number = number.filter(|number| *number >= min);
        if number.is_none() {
            self.refuse("the number is out of range".to_owned(), &format!("at least {min}"));
        }
        number
    }

    /// The value as a size in bytes: a number, or a text with a unit.
    pub(in crate::config) fn size(&self) -> Option<u64> {
        if self.value.is_integer() { self.integer(1) } else { self.parse(crate::config::units::size) }
    }

    /// The value of a toggle's variant: a flag, a text, a number or a table, in which lists may be.
    pub(in crate::config) fn variant_value(&self) -> Option<Value> {
        match self.value {
            DeValue::Array(_) => self.refuse_type(
                "true or false, a text, a number or a table",
                "put the list into a table: { list = [ … ] }",
            ),
            _ => self.json(),
        }
    }

    fn json(&self) -> Option<Value> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref().into()),
            DeValue::Boolean(flag) => Some((*flag).into()),
            DeValue::Integer(_) => self.written_number().map(Value::Number).or_else(|| {
                let hint = "write a smaller one, or a text: beyond 2^53 - 1 languages round it differently";
                self.refuse("the number is too large to be exact everywhere".to_owned(), hint);
                None
            }),
            DeValue::Float(_) => {
                let number = self.written_number().map(Value::Number);
                number.or_else(|| self.refuse_type("a finite number", "write a number"))
            }
            DeValue::Array(array) => {
                let values: Vec<Option<Value>> = self.elements(array).iter().map(Field::json).collect();
                values.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
            }
            DeValue::Table(_) => {
                let members: Vec<_> = self.clone().section()?.entries().collect();
                let read: Vec<_> =
                    members.iter().map(|(name, field)| Some(((*name).to_owned(), field.json()?))).collect();
                read.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            DeValue::Datetime(_) => self.refuse_type("true or false, a text, a number or a table", "put it in quotes"),
        }
    }
}

/// The moment that a date and a time say; without offset it is UTC, without time the day's begin.
fn moment_of(written: &Datetime) -> Option<Timestamp> {
    let (date, time) = (written.date?, written.time);
    let time = match time {
        Some(time) => jiff::civil::Time::new(
            time.hour.try_into().ok()?,
            time.minute.try_into().ok()?,
            time.second.unwrap_or(0).try_into().ok()?,
            0,
        )
        .ok()?,
        None => jiff::civil::Time::midnight(),
    };
    let date =
        jiff::civil::Date::new(date.year.try_into().ok()?, date.month.try_into().ok()?, date.day.try_into().ok()?)
            .ok()?;
    let minutes = match written.offset {
        Some(Offset::Custom { minutes }) => minutes,
        Some(Offset::Z) | None => 0,
    };
    let moment = jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(time)).ok()?;
    Some(Timestamp(moment.as_second() - 60 * i64::from(minutes)))
}
