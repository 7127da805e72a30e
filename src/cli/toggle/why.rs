//! `weir toggle why NAME`: the decision for one request or context, step by step through the precedence.

use std::{net::IpAddr, process::ExitCode};

use anyhow::Context as _;
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Format, Kept,
    table::{COLUMNS, Table},
};
use crate::{
    bucket::SLOTS,
    cli::{
        Config,
        explain::{header_field, listener},
        print,
    },
    identity::{Context, Subject},
    plan::{PlannedToggle, Standing},
    proxy::{read_asking, read_claims},
    toggle::{Category, Choice, Moment, Reason, Rule, Serve, Split, Toggle, ToggleId},
};

/// Columns of the steps' names; a longer one goes on in the next line.
const STEP_COLUMNS: usize = 30;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The toggle.
    name: String,
    #[command(flatten)]
    config: Config,
    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: Method,
    /// The request's URL.
    #[arg(long, default_value = "http://localhost/")]
    url: http::Uri,
    /// A header field, as in 'x-user-id: 42'; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = header_field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The peer's address: whether its headers are believed depends on it.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    peer: IpAddr,
    /// What the client's certificate names it.
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// The listener that the request comes by; the first one when not given.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// An evaluation context instead of a request, as in '{"targetingKey": "42"}'.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["url", "headers", "peer", "listener", "consumer"])]
    context: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A decision with every step to it.
#[derive(Debug, Serialize)]
struct Explanation {
    toggle: String,
    variant: Option<String>,
    value: Option<Value>,
    reason: Reason,
    slot: Option<u32>,
    /// What an application gets instead of a decision.
    error: Option<Refusal>,
    steps: Vec<Step>,
}

/// An application's question that the flag API refuses.
#[derive(Debug, Serialize)]
struct Refusal {
    code: &'static str,
    cause: &'static str,
    hint: String,
}

/// One step of the precedence.
#[derive(Debug, Serialize)]
struct Step {
    step: String,
    outcome: String,
    /// Whether it is the one that decided.
    decided: bool,
}

pub(super) fn why(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let kept = Kept::read(&arguments.config)?;
    let place = kept.plan.toggles.iter().position(|planned| planned.toggle.name == arguments.name);
    let id = ToggleId(place.ok_or_else(|| kept.unknown(&arguments.name))?);
    let explanation = match &arguments.context {
        Some(text) => {
            let members: Map<String, Value> = serde_json::from_str(text)
                .context("--context is no JSON object: write it as in '{\"targetingKey\": \"42\"}'")?;
            let targeting_key = members.get("targetingKey").and_then(Value::as_str);
            let context = Context { targeting_key, members: &members, claims: None };
            explained(&kept, id, &Subject::Context(&context))
        }
        None => of_request(&kept, id, arguments)?,
    };
    print(&match arguments.format {
        Format::Json => serde_json::to_string_pretty(&explanation)?,
        Format::Text => explanation.text(|table| table.folded(STEP_COLUMNS, COLUMNS)),
        Format::Markdown => explanation.text(Table::markdown),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn of_request(kept: &Kept, id: ToggleId, arguments: &Arguments) -> anyhow::Result<Explanation> {
    let listener = listener(&kept.plan, arguments.listener.as_deref())?;
    let path = arguments.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::builder().method(arguments.method.clone()).uri(path).body(())?;
    let authority = arguments.url.authority().map_or("localhost", http::uri::Authority::as_str);
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority)?);
    request.headers_mut().extend(arguments.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
    let (head, ()) = request.into_parts();
    let token = listener.issuer.and_then(|issuer| read_claims(&kept.plan, issuer, &head.headers, kept.now));
    let claims = token.and_then(Result::ok);
    let asking = read_asking(&head, arguments.peer, arguments.consumer.as_deref(), listener, claims.as_ref());
    let asking = asking.map_err(|rejection| anyhow::anyhow!("weir would refuse this request: {rejection}"))?;
    Ok(explained(kept, id, &Subject::Request(&asking)))
}

/// The decision itself is that of the data plane; the steps only tell what lay on its way.
fn explained(kept: &Kept, id: ToggleId, subject: &Subject<'_>) -> Explanation {
    let standing = kept.overlay.standing(&kept.plan.toggles);
    let moment = Moment { now: kept.now, pins: &[] };
    let mut drawn = false;
    let mut draw = || {
        drawn = true;
        fastrand::u32(..)
    };
    let choice = kept.plan.choose(&standing, id, subject, &moment, &mut draw);
    let planned = kept.plan.toggle(id);
    let toggle = &planned.toggle;
    let error = if matches!(subject, Subject::Context(_)) { Refusal::of(toggle, &choice, drawn) } else { None };
    let rule = toggle.rules.iter().position(|rule| rule.matches(subject, kept.now));
    let decisive = decisive(toggle, &choice, rule, kept);
    let mut steps = Vec::new();
    let mut add = |rank: usize, step: &str, outcome: String| {
        let outcome = if rank > decisive { "not reached".to_owned() } else { outcome };
        steps.push(Step { step: step.to_owned(), outcome, decided: rank == decisive });
    };
    add(0, "enabled", if toggle.enabled { "yes" } else { "no: everybody gets `off`" }.to_owned());
    let kill = kept.overlay.kills.get(&toggle.name);
    add(1, "killed", kill.map_or_else(|| "no".to_owned(), |kill| format!("by {} at {}", kill.by, kill.at())));
    add(2, "expired", expiry(toggle, kept));
    add(3, "pins", "none is described here".to_owned());
    add(4, "requires", requires(kept, &standing, toggle, subject));
    let inside = toggle.schedule.holds(kept.now);
    add(5, "schedule", if inside { "it is its time" } else { "it is not its time" }.to_owned());
    for (place, rule) in toggle.rules.iter().enumerate() {
        let rank = RULES + place;
        add(rank, &format!("rule {}", rule.name), of_rule(toggle, rule, subject, &choice, kept));
    }
    let last = RULES + toggle.rules.len();
    if toggle.targeting.is_some() {
        let outcome = match (choice.reason, choice.variant) {
            (Reason::Targeting, Some(variant)) => format!("gives {}", toggle.variants[variant.0].name),
            (Reason::Failed, _) => "gives no variant of the toggle".to_owned(),
            _ => "gives nothing".to_owned(),
        };
        add(last, "targeting", outcome);
    }
    let share = share(planned, &choice).unwrap_or_else(|| "there is none".to_owned());
    add(last + 1, if planned.rollout.is_some() { "rollout" } else { "split" }, share);
    add(last + 2, "default", default(toggle).to_owned());
    let variant = choice.variant.filter(|_| error.is_none()).map(|variant| &toggle.variants[variant.0]);
    Explanation {
        toggle: toggle.name.clone(),
        variant: variant.map(|variant| variant.name.clone()),
        value: variant.map(|variant| variant.value.clone()),
        reason: choice.reason,
        slot: choice.slot.filter(|_| error.is_none()).map(crate::bucket::Slot::number),
        error,
        steps,
    }
}

/// The rank of the first rule's step.
const RULES: usize = 6;

fn decisive(toggle: &Toggle, choice: &Choice, rule: Option<usize>, kept: &Kept) -> usize {
    let last = RULES + toggle.rules.len();
    match choice.reason {
        Reason::Disabled => 0,
        Reason::Killed => 1,
        Reason::Expired => 2,
        Reason::Pinned | Reason::Override => 3,
        Reason::Unsatisfied => 4,
        Reason::Default if !toggle.schedule.holds(kept.now) => 5,
        Reason::Rule(place) | Reason::RuleSplit(place) => RULES + place,
        // Of a rule's split too.
        Reason::Random => rule.map_or(last + 1, |place| RULES + place),
        Reason::Targeting | Reason::Failed => last,
        Reason::Split => last + 1,
        Reason::Default | Reason::Static | Reason::Unsplit => last + 2,
    }
}

fn expiry(toggle: &Toggle, kept: &Kept) -> String {
    match toggle.expires {
        None => "never".to_owned(),
        Some(expires) if toggle.is_expired(kept.now) => format!("since {expires}"),
        Some(expires) => format!("not before {expires}"),
    }
}

fn requires(kept: &Kept, standing: &Standing, toggle: &Toggle, subject: &Subject<'_>) -> String {
    let moment = Moment { now: kept.now, pins: &[] };
    let needed = toggle.requires.iter().map(|needed| {
        let choice = kept.plan.choose(standing, needed.toggle, subject, &moment, &mut || fastrand::u32(..));
        let other = &kept.plan.toggle(needed.toggle).toggle;
        let given = choice.variant.map_or("no variant", |variant| &other.variants[variant.0].name);
        let wanted = &other.variants[needed.variant.0].name;
        format!("{} gives {given} ({}), {wanted} is required", other.name, choice.reason.code())
    });
    let needed: Vec<String> = needed.collect();
    if needed.is_empty() { "nothing".to_owned() } else { needed.join("; ") }
}

fn of_rule(toggle: &Toggle, rule: &Rule, subject: &Subject<'_>, choice: &Choice, kept: &Kept) -> String {
    if !rule.schedule.holds(kept.now) {
        return "it is not its time".to_owned();
    }
    if !rule.matches(subject, kept.now) {
        let mut unheard = false;
        rule.when.each_attribute(&mut |attr| unheard |= !rule.from_anyone && !subject.believes(attr));
        let heard = if unheard { "; what this client claims does not count" } else { "" };
        return format!("does not match{heard}");
    }
    match &rule.serve {
        Serve::Variant(variant) => format!("matches: {}", toggle.variants[variant.0].name),
        Serve::Split(split) => format!("matches: {}", of_split(toggle, split, choice)),
    }
}

fn share(planned: &PlannedToggle, choice: &Choice) -> Option<String> {
    let toggle = &planned.toggle;
    if let Some(split) = &toggle.split {
        return Some(of_split(toggle, split, choice));
    }
    let share = planned.share()?;
    let name = |variant: crate::toggle::VariantId| &toggle.variants[variant.0].name;
    let end = share.weight.slots();
    let bands = format!("[0, {end}) {}, [{end}, {SLOTS}) {}", name(share.variant), default(toggle));
    Some(format!("{}{bands}", slot(choice)))
}

/// What everybody gets whom nothing else decides.
fn default(toggle: &Toggle) -> &str {
    toggle.default.map_or("the application's own", |variant| &toggle.variants[variant.0].name)
}

fn of_split(toggle: &Toggle, split: &Split, choice: &Choice) -> String {
    let starts = [0].into_iter().chain(split.bands.iter().map(|band| band.end));
    let bands = split.bands.iter().zip(starts);
    let bands = bands.map(|(band, start)| format!("[{start}, {}) {}", band.end, toggle.variants[band.variant.0].name));
    format!("{}{}", slot(choice), bands.collect::<Vec<_>>().join(", "))
}

fn slot(choice: &Choice) -> String {
    let drawn = if choice.reason == Reason::Random { "no assignment key, this time drawn: " } else { "" };
    choice.slot.map_or_else(String::new, |slot| format!("{drawn}slot {} of {SLOTS}; ", slot.number()))
}

impl Refusal {
    fn of(toggle: &Toggle, choice: &Choice, drawn: bool) -> Option<Refusal> {
        if drawn {
            let hint = if toggle.category == Category::Permission {
                let sources: Vec<String> = toggle.bucket_by.iter().map(ToString::to_string).collect();
                format!("a permission takes its key from what is verified alone: {}", sources.join(", "))
            } else {
                "pass who it is about: --context '{\"targetingKey\": \"42\"}'".to_owned()
            };
            return Some(Refusal { code: "TARGETING_KEY_MISSING", cause: "only a draw decides", hint });
        }
        (choice.reason == Reason::Failed).then(|| Refusal {
            code: "GENERAL",
            cause: "targeting gives no variant of the toggle",
            hint: "let it end in a variant's name or, for the default, in null, and see that nothing in it fails"
                .to_owned(),
        })
    }
}

impl Explanation {
    fn text(&self, table: impl Fn(&Table) -> String) -> String {
        let rows = self.steps.iter().map(|step| {
            let mark = if step.decided { "decides: " } else { "" };
            vec![step.step.clone(), format!("{mark}{}", step.outcome)]
        });
        let steps = Table { heads: vec!["step", "outcome"], rows: rows.collect() };
        if let Some(Refusal { code, cause, hint }) = &self.error {
            let toggle = &self.toggle;
            return format!("{}\n\n{toggle}: an application gets {code}, since {cause}; {hint}", table(&steps));
        }
        let value = self.value.as_ref().map_or_else(String::new, |value| format!(" = {value}"));
        let variant = self.variant.as_deref().unwrap_or("no variant");
        format!("{}\n\n{}: {variant}{value} ({})", table(&steps), self.toggle, self.reason.code())
    }
}
