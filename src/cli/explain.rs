//! `weir explain`: prints the decision for one described request, by the functions of the data plane.

use std::{fs, net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use http::{HeaderName, HeaderValue, Method, Request, header, request};
use serde::Serialize;
use serde_json::Value;

use super::{Config, Format, print};
use crate::{
    app::StartError,
    bucket::{SLOTS, Slot},
    config::{Compiled, Sources, compile},
    contract::{Call, Verdict, Violation},
    identity::Caller,
    plan::{Checking, Decision, Listener, Plan, PlannedRollout, Standing},
    proxy::{Sticky, decide, read_asking, read_claims},
    store::kept_overlay,
    toggle::{Reason, Serve, Timestamp},
};

/// Explains, offline, what would be done with a request, under the kills that state_dir keeps.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: Method,
    /// The request's URL, as in http://shop.example.com/checkout.
    #[arg(long)]
    url: http::Uri,
    /// A header field, as in 'x-user-id: 42'; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = header_field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A file with the request's body.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The peer's address: whether its headers are believed depends on it.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    peer: IpAddr,
    /// What the client's certificate names it, where the listener asks for one.
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// The listener that the request comes by; the first one when not given.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How the explanation is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Default, Serialize)]
struct Explanation {
    client: Option<Client>,
    /// What came of the token that the listener looks at.
    token: Option<String>,
    route: Option<RouteMatch>,
    decision: Option<Decided>,
    /// The cookie that would be set to a new assignment key.
    cookie: Option<String>,
    contract: Option<Check>,
    /// The answer that weir itself would give.
    rejection: Option<Rejected>,
}

#[derive(Debug, Serialize)]
struct Client {
    ip: IpAddr,
    trusted: bool,
    client_trusted: bool,
    listener: String,
}

#[derive(Debug, Serialize)]
struct RouteMatch {
    name: String,
    why: String,
    service: String,
}

#[derive(Debug, Serialize)]
struct Decided {
    arm: String,
    endpoints: Vec<String>,
    toggle: Option<String>,
    variant: Option<String>,
    value: Option<Value>,
    reason: Reason,
    rule: Option<String>,
    slot: Option<u32>,
    /// The first slot of the band that decided, and the first one after it.
    band: Option<[u32; 2]>,
    weight: Option<String>,
    sticky: bool,
    why: String,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    mode: &'static str,
    operation: Option<String>,
    outcome: &'static str,
    violations: Vec<Violation>,
}

#[derive(Debug, Serialize)]
struct Rejected {
    status: u16,
    code: &'static str,
    detail: String,
}

pub(super) fn explain(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let sources = Sources::read(&arguments.config.config).map_err(StartError::Config)?;
    let Compiled { plan, .. } = compile(&sources).map_err(StartError::Config)?;
    let standing = kept_overlay(&plan.process.state_dir)?.unwrap_or_default().standing(&plan.toggles);
    let body = arguments.body.as_ref().map(|path| {
        fs::read(path).with_context(|| format!("the body {} cannot be read: name a file with --body", path.display()))
    });
    let body = body.transpose()?;
    let listener = listener(&plan, arguments.listener.as_deref())?;
    let head = head(arguments, body.as_deref())?;
    let explanation = explained(&plan, &standing, listener, arguments, &head, body.as_deref());
    print(&match arguments.format {
        Format::Json => serde_json::to_string_pretty(&explanation)?,
        Format::Text => explanation.text(),
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn listener<'a>(plan: &'a Plan, name: Option<&str>) -> anyhow::Result<&'a Listener> {
    let Some(name) = name else { return Ok(&plan.listeners[0]) };
    let Some(listener) = plan.listeners.iter().find(|listener| listener.name == name) else {
        let names: Vec<&str> = plan.listeners.iter().map(|listener| &*listener.name).collect();
        bail!("there is no listener {name:?}; there are: {}", names.join(", "));
    };
    Ok(listener)
}

/// The head as it would arrive: origin form, with a `Host`.
fn head(arguments: &Arguments, body: Option<&[u8]>) -> anyhow::Result<request::Parts> {
    let path = arguments.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::builder().method(arguments.method.clone()).uri(path).body(())?;
    if let Some(authority) = arguments.url.authority() {
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
    }
    request.headers_mut().extend(arguments.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
    if !request.headers().contains_key(header::HOST) {
        bail!("the request has no host: write --url http://HOST/PATH");
    }
    if body.is_some() && !request.headers().contains_key(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(request.into_parts().0)
}

fn explained(
    plan: &Plan,
    standing: &Standing,
    listener: &Listener,
    arguments: &Arguments,
    head: &request::Parts,
    body: Option<&[u8]>,
) -> Explanation {
    let mut explanation = Explanation::default();
    let now = Timestamp(jiff::Timestamp::now().as_second());
    let token = listener.issuer.and_then(|issuer| read_claims(plan, issuer, &head.headers, now));
    explanation.token =
        token.as_ref().map(|read| read.as_ref().map_or_else(ToString::to_string, |_claims| "verified".to_owned()));
    let claims = token.and_then(Result::ok);
    let mut with_key = head.clone();
    let mut asking = match read_asking(head, arguments.peer, arguments.consumer.as_deref(), listener, claims.as_ref()) {
        Ok(asking) => asking,
        Err(rejection) => {
            explanation.reject(&rejection);
            return explanation;
        }
    };
    let Caller { ip, trusted, client_trusted } = asking.caller;
    explanation.client = Some(Client { ip, trusted, client_trusted, listener: listener.name.clone() });
    let Some(matched) = plan.match_route(&asking) else {
        explanation.reject(&crate::proxy::Rejection::NoRoute);
        return explanation;
    };
    if let Some(sticky) = Sticky::mint(plan, matched, &asking) {
        sticky.join(&mut with_key.headers);
        asking.headers = &with_key.headers;
        explanation.cookie = plan.sticky.as_ref().map(|cookie| cookie.name.clone());
    }
    let all = decide(plan, standing, matched, &asking, now);
    let decision = all.decision();
    let route = plan.route(matched.route);
    explanation.route = Some(RouteMatch {
        name: route.name.clone(),
        why: plan.table.pattern(matched.route).to_string(),
        service: plan.service(route.service).name.clone(),
    });
    explanation.decision = Some(decided(plan, decision, now));
    if let Err(rejection) = all.granted(plan) {
        explanation.reject(&rejection);
        return explanation;
    }
    let call = Call {
        method: asking.method,
        path: asking.path,
        query: asking.query,
        headers: asking.headers,
        has_body: body.is_some_and(|body| !body.is_empty()),
    };
    explanation.contract = check(plan, decision, &call, body.unwrap_or_default(), &mut explanation.rejection);
    explanation
}

fn decided(plan: &Plan, decision: &Decision, now: Timestamp) -> Decided {
    let arm = plan.arm(decision.arm);
    let toggle = decision.toggle.map(|toggle| &plan.toggle(toggle).toggle);
    let variant = toggle.and_then(|toggle| Some(&toggle.variants[decision.choice.variant?.0]));
    let rule = match (toggle, decision.choice.reason) {
        (Some(toggle), Reason::Rule(index) | Reason::RuleSplit(index)) => Some(toggle.rules[index].name.clone()),
        _ => None,
    };
    let endpoints = arm.endpoints.iter().map(|(endpoint, _)| plan.endpoints[endpoint.0].authority.to_string());
    Decided {
        arm: arm.name.clone(),
        endpoints: endpoints.collect(),
        toggle: toggle.map(|toggle| toggle.name.clone()),
        variant: variant.map(|variant| variant.name.clone()),
        value: variant.map(|variant| variant.value.clone()),
        reason: decision.choice.reason,
        why: why(plan, decision, rule.as_deref(), now),
        band: band(plan, decision),
        rule,
        slot: decision.choice.slot.map(Slot::number),
        weight: decision.choice.weight.map(|weight| weight.to_string()),
        sticky: decision.choice.reason.is_sticky(),
    }
}

/// The slots that the decision's own slot lies among, when a share decided.
fn band(plan: &Plan, decision: &Decision) -> Option<[u32; 2]> {
    let planned = plan.toggle(decision.toggle?);
    let toggle = &planned.toggle;
    let slot = decision.choice.slot?;
    let split = match decision.choice.reason {
        Reason::RuleSplit(rule) => match &toggle.rules[rule].serve {
            Serve::Split(split) => Some(split),
            Serve::Variant(_) => None,
        },
        Reason::Split => toggle.split.as_ref(),
        _ => return None,
    };
    match split {
        Some(split) => split.band(slot).map(|(start, band)| [start, band.end]),
        None => {
            let weight = decision.choice.weight?;
            Some(if weight.owns(slot) { [0, weight.slots()] } else { [weight.slots(), SLOTS] })
        }
    }
}

fn why(plan: &Plan, decision: &Decision, rule: Option<&str>, now: Timestamp) -> String {
    let choice = &decision.choice;
    let slot = choice.slot.map_or(0, Slot::number);
    let planned = decision.toggle.map(|toggle| plan.toggle(toggle));
    let rule = rule.unwrap_or_default();
    let [start, end] = band(plan, decision).unwrap_or_default();
    let owner = plan.variant_name(decision).unwrap_or_default();
    match choice.reason {
        Reason::Unsplit => "the service has one arm for everybody".to_owned(),
        Reason::Disabled => "the toggle is switched off".to_owned(),
        Reason::Killed => "an operator killed the toggle".to_owned(),
        Reason::Expired => "the toggle expired".to_owned(),
        Reason::Pinned => "it was decided before on the request's way".to_owned(),
        Reason::Override => "a trusted peer asked for it".to_owned(),
        Reason::Unsatisfied => "a toggle that it requires gives another variant".to_owned(),
        Reason::Targeting => "the toggle's targeting expression gives it".to_owned(),
        Reason::Rule(_) => format!("the rule {rule:?} matches"),
        Reason::RuleSplit(_) => {
            format!("the rule {rule:?} matches, and slot {slot} lies in [{start}, {end}), which is {owner:?} there")
        }
        Reason::Split => match planned.and_then(|planned| planned.rollout.as_ref()) {
            Some(PlannedRollout { rollout, .. }) => {
                let weight = choice.weight.unwrap_or_default();
                let side = if end == weight.slots() { "inside" } else { "outside" };
                format!("slot {slot} of {SLOTS} is {side} the {weight} of the rollout {:?}", rollout.name)
            }
            None => format!("slot {slot} of {SLOTS} lies in [{start}, {end}), which is {owner:?}"),
        },
        Reason::Random => {
            format!("no assignment key: slot {slot} was drawn, and the next request is drawn anew")
        }
        Reason::Default if planned.is_some_and(|planned| !planned.toggle.schedule.holds(now)) => {
            "the toggle's schedule does not hold now".to_owned()
        }
        Reason::Default => "no rule matches".to_owned(),
        Reason::Static => "the toggle has neither rules nor a share".to_owned(),
        Reason::Failed => "the toggle's targeting expression gives no variant of it".to_owned(),
    }
}

fn check(
    plan: &Plan,
    decision: &Decision,
    call: &Call<'_>,
    body: &[u8],
    rejection: &mut Option<Rejected>,
) -> Option<Check> {
    let planned = plan.contract(plan.arm(decision.arm).contract?);
    let mode = plan.route(decision.route).checking;
    if mode == Checking::Off {
        return None;
    }
    let inspection = planned.contract.inspect(call);
    let operation = inspection.operation().map(|id| planned.contract.operation_name(id).to_owned());
    let name = planned.name.clone();
    let encoded = inspection.is_encoded();
    let (outcome, refused, violations) = match planned.contract.judge(inspection, body) {
        Verdict::Kept => ("kept", None, Vec::new()),
        Verdict::Unchecked if encoded => ("unchecked", Some(crate::proxy::Rejection::ContentCoding), Vec::new()),
        Verdict::Unchecked => ("unchecked", None, Vec::new()),
        Verdict::Broken(breach) => {
            let violations = breach.violations().to_vec();
            let (contract, operation) = (name.clone(), operation.clone());
            let outcome = breach.kind().as_str();
            (outcome, Some(crate::proxy::Rejection::Contract { contract, operation, breach }), violations)
        }
    };
    if mode == Checking::Enforce {
        *rejection = refused.as_ref().map(Rejected::new);
    }
    Some(Check { name, mode: mode.as_str(), operation, outcome, violations })
}

impl Rejected {
    fn new(rejection: &crate::proxy::Rejection) -> Rejected {
        let status = rejection.status().as_u16();
        Rejected { status, code: rejection.code(), detail: rejection.to_string() }
    }
}

impl Explanation {
    fn reject(&mut self, rejection: &crate::proxy::Rejection) {
        self.rejection = Some(Rejected::new(rejection));
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |label: &str, text: String| lines.push(format!("{label:<10}{text}"));
        if let Some(Client { ip, trusted, client_trusted, listener }) = &self.client {
            let trust = match (trusted, client_trusted) {
                (true, true) => "trusted",
                (true, false) => "forwarded by a trusted peer: its query and cookies do not count",
                (false, _) => "not trusted: its cohort headers, query and cookies do not count",
            };
            line("client", format!("{ip} by listener {listener}, {trust}"));
        }
        if let Some(token) = &self.token {
            line("token", token.clone());
        }
        if let Some(RouteMatch { name, why, service }) = &self.route {
            line("route", format!("{name} ({why}) -> service {service}"));
        }
        if let Some(decided) = &self.decision {
            if let Some(toggle) = &decided.toggle {
                let variant = decided.variant.as_deref().unwrap_or("none");
                let value = decided.value.as_ref().map_or(String::new(), |value| format!(" = {value}"));
                line("toggle", format!("{toggle}: {variant}{value}"));
            }
            line("reason", format!("{}: {}", decided.reason.code(), decided.why));
            if let Some(cookie) = &self.cookie {
                line(
                    "cookie",
                    format!(
                        "{cookie} is set to a new assignment key: this one decides, and the next requests bring it"
                    ),
                );
            }
            line("arm", format!("{} at {}", decided.arm, decided.endpoints.join(", ")));
        }
        if let Some(Check { name, mode, operation, outcome, violations }) = &self.contract {
            let operation = operation.as_deref().unwrap_or("no operation");
            line("contract", format!("{name}, {operation}: {outcome} ({mode})"));
            for Violation { pointer, detail, schema, .. } in violations {
                line("", format!("{pointer}: {detail} (see {schema})"));
            }
        }
        match &self.rejection {
            Some(Rejected { status, code, detail }) => line("answer", format!("{status} from weir, {code}: {detail}")),
            None => line("answer", "forwarded".to_owned()),
        }
        lines.join("\n")
    }
}

pub(super) fn header_field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write a field as 'name: value'")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}
