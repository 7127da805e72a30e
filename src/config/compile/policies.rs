//! Retries of routes, and limits, ejection, balance and health checks of arms.

use std::{ops::RangeInclusive, time::Duration};

use http::uri::PathAndQuery;

use crate::{
    config::{
        section::{Field, Section},
        units,
    },
    plan::{ArmLimits, Balance, Ejection, HealthCheck, Probe, Retries, RetryBudget, RetryOn},
};

/// More than any budget would let through.
const ATTEMPTS_MAX: u64 = 10;

pub(super) const LIMITS: ArmLimits =
    ArmLimits { connections_max: 5000, requests_max: 5000, pending_max: 1000, streams_max: 100 };

pub(super) const EJECTION: Ejection =
    Ejection { failures: 5, base: Duration::from_secs(1), max: Duration::from_secs(60), share_max: 50 };

pub(super) const BALANCE: Balance = Balance { decay: Duration::from_secs(10), penalty: Duration::from_secs(5) };

pub(super) const RETRY_BUDGET: RetryBudget =
    RetryBudget { percent: 20, per_second: 10, window: Duration::from_secs(10) };

/// What tower's budget can count in.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// More than any service stands.
const RETRIES_PER_SECOND_MAX: u64 = 10_000;

pub(super) fn retry_budget(field: Field<'_>) -> Option<RetryBudget> {
    let mut section = field.section()?;
    let percent = section.take("percent").map_or(Some(RETRY_BUDGET.percent), |field| field.parse(units::percent));
    let per_second = section.take("per_second").map_or(Some(RETRY_BUDGET.per_second), |field| {
        let number = field.integer(0)?;
        if number > RETRIES_PER_SECOND_MAX {
            field.refuse("that is too many".to_owned(), &format!("at most {RETRIES_PER_SECOND_MAX}"));
            return None;
        }
        u32::try_from(number).ok()
    });
    let window = section.take("window").map_or(Some(RETRY_BUDGET.window), |field| {
        let window = field.parse(units::duration)?;
        if !WINDOW.contains(&window) {
            field.refuse("the window is too short or too long".to_owned(), "write 1s to 60s");
            return None;
        }
        Some(window)
    });
    section.finish();
    Some(RetryBudget { percent: percent?, per_second: per_second?, window: window? })
}

pub(super) fn limits(field: Field<'_>) -> Option<ArmLimits> {
    let mut section = field.section()?;
    let limits = [
        count(&mut section, "connections_max", LIMITS.connections_max),
        count(&mut section, "requests_max", LIMITS.requests_max),
        count(&mut section, "pending_max", LIMITS.pending_max),
        count(&mut section, "streams_max", LIMITS.streams_max),
    ];
    section.finish();
    let [connections_max, requests_max, pending_max, streams_max] = limits;
    Some(ArmLimits {
        connections_max: connections_max?,
        requests_max: requests_max?,
        pending_max: pending_max?,
        streams_max: streams_max?,
    })
}

pub(super) fn ejection(field: Field<'_>) -> Option<Option<Ejection>> {
    if field.is_word("off") {
        return Some(None);
    }
    let whole = field.clone();
    let mut section = field.section()?;
    let failures = number(&mut section, "failures", EJECTION.failures);
    let base = duration(&mut section, "base", EJECTION.base);
    let max = duration(&mut section, "max", EJECTION.max);
    let share_max = section.take("share_max").map_or(Some(EJECTION.share_max), |field| field.parse(units::percent));
    section.finish();
    let ejection = Ejection { failures: failures?, base: base?, max: max?, share_max: share_max? };
    if ejection.base > ejection.max {
        whole.refuse("base is longer than max".to_owned(), "an ejection lasts base at first, and max at most");
        return None;
    }
    Some(Some(ejection))
}

pub(super) fn balance(field: Field<'_>) -> Option<Balance> {
    let mut section = field.section()?;
    let decay = duration(&mut section, "decay", BALANCE.decay);
    let penalty = duration(&mut section, "penalty", BALANCE.penalty);
    section.finish();
    Some(Balance { decay: decay?, penalty: penalty? })
}

pub(super) fn health(field: Field<'_>) -> Option<HealthCheck> {
    let mut section = field.section()?;
    let probe = match (section.take("http"), section.take("grpc"), section.take("connect")) {
        (Some(field), None, None) => field.parse(path).map(Probe::Http),
        (None, Some(field), None) => field.text().map(|service| Probe::Grpc(service.into())),
        (None, None, Some(field)) => field.flag().map(|_asked| Probe::Connect),
        _ => {
            let hint = "write one of http = \"/healthz\", grpc = \"\" (a service, or none for all) and connect = true";
            section.refuse("a health check asks one thing".to_owned(), hint);
            None
        }
    };
    let interval = duration(&mut section, "interval", Duration::from_secs(5));
    let timeout = duration(&mut section, "timeout", Duration::from_secs(1));
    let (rise, fall) = (number(&mut section, "rise", 2), number(&mut section, "fall", 3));
    section.finish();
    Some(HealthCheck { probe: probe?, interval: interval?, timeout: timeout?, rise: rise?, fall: fall? })
}

fn path(text: &str) -> Result<PathAndQuery, &'static str> {
    const SYNTAX: &str = "a path starts with a slash, as in \"/healthz\"";
    let path = PathAndQuery::try_from(text).map_err(|_invalid| SYNTAX)?;
    if text.starts_with('/') { Ok(path) } else { Err(SYNTAX) }
}

pub(super) fn retries(field: Field<'_>) -> Option<Retries> {
    let mut section = field.section()?;
    let attempts = section.take("attempts").map_or(Some(1), |field| {
        let attempts = field.integer(1)?;
        if attempts > ATTEMPTS_MAX {
            field.refuse("that is too often".to_owned(), &format!("at most {ATTEMPTS_MAX} times"));
            return None;
        }
        u32::try_from(attempts).ok()
    });
    let hint = "say after what: on = [\"connect-failure\", \"reset\", \"timeout\", \"gateway-error\", \"5xx\"]";
    let on = section.require("on", hint).and_then(|field| retry_on(&field, hint));
    let any_method =
        section.take("methods").map_or(Some(false), |field| field.word(&[("idempotent", false), ("any", true)]));
    let timeout = section.take("per_try_timeout");
    let per_try_timeout = timeout.map_or(Some(None), |field| field.parse(units::duration).map(Some));
    let base = duration(&mut section, "backoff_base", Duration::from_millis(25));
    // Unless it is said, ten times the base, as is usual.
    let max = duration(&mut section, "backoff_max", base.unwrap_or_default() * 10);
    if base > max && max.is_some() {
        section.refuse("backoff_base is longer than backoff_max".to_owned(), "a retry waits backoff_max at most");
    }
    let body = section.take("body_bytes_max");
    let body_bytes_max = body.map_or(Some(64 << 10), |field| usize::try_from(field.size()?).ok());
    let lacks_timeout = on.is_some_and(|on| on.timeout) && per_try_timeout == Some(None);
    if lacks_timeout {
        section.refuse("per_try_timeout is missing".to_owned(), "\"timeout\" retries what took longer than that");
    }
    section.finish();
    let retries = Retries {
        attempts: attempts?,
        on: on?,
        any_method: any_method?,
        per_try_timeout: per_try_timeout?,
        backoff_base: base?,
        backoff_max: max?,
        body_bytes_max: body_bytes_max?,
    };
    (!lacks_timeout).then_some(retries)
}

fn retry_on(field: &Field<'_>, hint: &str) -> Option<RetryOn> {
    type Put = fn(&mut RetryOn);
    const WORDS: [(&str, Put); 5] = [
        ("connect-failure", |on| on.connect_failure = true),
        ("reset", |on| on.reset = true),
        ("timeout", |on| on.timeout = true),
        ("gateway-error", |on| on.gateway_error = true),
        ("5xx", |on| on.server_error = true),
    ];
    let fields = field.clone().list()?;
    if fields.is_empty() {
        field.refuse("the list is empty".to_owned(), hint);
        return None;
    }
    let words: Vec<Option<Put>> = fields.iter().map(|field| field.word(&WORDS)).collect();
    let mut on = RetryOn::default();
    for put in words {
        put?(&mut on);
    }
    Some(on)
}

fn count(section: &mut Section<'_>, key: &'static str, default: usize) -> Option<usize> {
    section.take(key).map_or(Some(default), |field| usize::try_from(field.integer(1)?).ok())
}

fn number(section: &mut Section<'_>, key: &'static str, default: u32) -> Option<u32> {
    section.take(key).map_or(Some(default), |field| {
        let number = u32::try_from(field.integer(1)?).ok();
        if number.is_none() {
            field.refuse("the number is out of range".to_owned(), "write a smaller one");
        }
        number
    })
}

fn duration(section: &mut Section<'_>, key: &'static str, default: Duration) -> Option<Duration> {
    section.take(key).map_or(Some(default), |field| field.parse(units::duration))
}
