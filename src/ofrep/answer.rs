//! Answers, as OFREP writes them.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::{
    plan::Plan,
    toggle::{Category, Choice, Reason, ToggleId},
};

/// What a toggle gave, or why it gave nothing.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer<'a> {
    Given(Given<'a>),
    Failed(Failed<'a>),
}

/// A toggle's answer. Without a value the application's own default counts.
#[derive(Debug, Serialize)]
pub(super) struct Given<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    metadata: Metadata<'a>,
}

/// A toggle that could not be decided, among others that could.
#[derive(Debug, Serialize)]
pub(super) struct Failed<'a> {
    key: &'a str,
    #[serde(rename = "errorCode")]
    error_code: &'static str,
    #[serde(rename = "errorDetails")]
    error_details: String,
}

/// What else is told of an answer. All of it is there only when it says something.
#[derive(Debug, Serialize)]
struct Metadata<'a> {
    /// What the toggle's author wrote for the application, without what is told here by the same name.
    #[serde(flatten, serialize_with = "author_s")]
    free: &'a Map<String, Value>,
    #[serde(rename = "weir.owner")]
    owner: &'a str,
    #[serde(rename = "weir.category")]
    category: &'static str,
    /// The cohort that the subject is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    /// `false` when the next request of the same user may get another answer.
    #[serde(skip_serializing_if = "is_true")]
    sticky: bool,
    #[serde(skip_serializing_if = "is_false")]
    pinned: bool,
    #[serde(skip_serializing_if = "is_false")]
    overridden: bool,
    #[serde(skip_serializing_if = "is_false")]
    killed: bool,
    #[serde(skip_serializing_if = "is_false")]
    expired: bool,
    /// The toggle that gave another variant than this one requires.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsatisfied: Option<&'a str>,
    /// Of the snapshot; only where one toggle was asked for, so that a change of other toggles leaves the
    /// answer about all of them as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
}

/// What surrounds a choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    /// Why a pinned decision was made.
    pub(super) pinned_for: Option<Reason>,
    pub(super) unsatisfied: Option<&'a str>,
    pub(super) expired: bool,
    pub(super) generation: Option<u64>,
}

/// All answers to one question.
#[derive(Debug, Serialize)]
pub(super) struct Answers<'a> {
    pub(super) flags: Vec<Answer<'a>>,
    pub(super) metadata: SetMetadata,
    #[serde(rename = "eventStreams")]
    pub(super) event_streams: [EventStream; 1],
}

/// What is told of all toggles together.
#[derive(Debug, Serialize)]
pub(super) struct SetMetadata {
    #[serde(rename = "weir.version")]
    pub(super) version: &'static str,
}

/// Where changes are told.
#[derive(Debug, Serialize)]
pub(super) struct EventStream {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) endpoint: Endpoint,
    #[serde(rename = "inactivityDelaySec")]
    pub(super) inactivity_seconds: u32,
}

/// An address on the listener that was asked, by whatever name it was asked.
#[derive(Debug, Serialize)]
pub(super) struct Endpoint {
    #[serde(rename = "requestUri")]
    pub(super) request_uri: String,
}

impl<'a> Given<'a> {
    pub(super) fn new(plan: &'a Plan, id: ToggleId, choice: &Choice, circumstances: Circumstances<'a>) -> Given<'a> {
        let toggle = &plan.toggle(id).toggle;
        let variant = choice.variant.map(|variant| &toggle.variants[variant.0]);
        // A pin is how a decision came here, not why it was made.
        let pinned = choice.reason == Reason::Pinned;
        let reason = circumstances.pinned_for.filter(|_| pinned).unwrap_or(choice.reason);
        let rule = match reason {
            // Where it was decided the rules may have been others.
            Reason::Rule(index) | Reason::RuleSplit(index) if !pinned => {
                toggle.rules.get(index).map(|rule| &*rule.name)
            }
            _ => None,
        };
        Given {
            key: &toggle.name,
            value: variant.map(|variant| &variant.value),
            reason: reason.openfeature(),
            variant: variant.map(|variant| &*variant.name),
            metadata: Metadata {
                free: &toggle.metadata,
                owner: &toggle.owner,
                category: Category::as_str(toggle.category),
                rule,
                sticky: reason.is_sticky(),
                pinned,
                overridden: reason == Reason::Override,
                killed: reason == Reason::Killed,
                expired: circumstances.expired,
                unsatisfied: circumstances.unsatisfied,
                generation: circumstances.generation,
            },
        }
    }
}

impl<'a> Failed<'a> {
    pub(super) fn new(key: &'a str, refusal: &Refusal) -> Failed<'a> {
        Failed { key, error_code: refusal.code(), error_details: refusal.to_string() }
    }
}

/// Names that are weir's own, whether they are told of this answer or not.
const OWN: [&str; 10] = [
    "weir.owner",
    "weir.category",
    "rule",
    "sticky",
    "pinned",
    "overridden",
    "killed",
    "expired",
    "unsatisfied",
    "generation",
];

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn author_s<S: Serializer>(free: &&Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(free.iter().filter(|(name, _)| !OWN.contains(&name.as_str())))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(flag: &bool) -> bool {
    *flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
