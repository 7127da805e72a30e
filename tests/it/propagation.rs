//! One decision for a request, on every weir that it passes.

mod in_flight;

use std::{collections::BTreeMap, fs, net::SocketAddr};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tempfile::TempDir;
use tokio::sync::mpsc;
use weir::propagation::{Draft, Entry, Keyring, Secret, TraceId};

use crate::{
    plain_config, split_config,
    support::{Answer, Client, Proxy, Upstream},
    toggle_config,
};

pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER_TRACE: &str = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01";

/// Who listens to nobody.
const DISTRUSTING: &str = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n";

/// Files with secrets, by their first letters.
pub(crate) struct Secrets(TempDir);

impl Secrets {
    pub(crate) fn new() -> Secrets {
        let directory = TempDir::new().unwrap();
        for letter in ['a', 'b', 'c'] {
            fs::write(directory.path().join(letter.to_string()), letter.to_string().repeat(32) + "\n").unwrap();
        }
        Secrets(directory)
    }

    /// `[propagation]` with these secrets, the first of which signs, and with more keys.
    pub(crate) fn table(&self, letters: &str, more: &str) -> String {
        let secret = |letter: char| {
            format!("{{ id = \"{letter}\", secret_file = {:?} }}", self.0.path().join(letter.to_string()))
        };
        let secrets: Vec<String> = letters.chars().map(secret).collect();
        format!("[propagation]\nsecrets = [{}]\nheaders = true\n{more}\n", secrets.join(", "))
    }
}

/// Answers with the head that it saw, a field a line, after its name.
pub(crate) fn echo(name: &'static str) -> Upstream {
    Upstream::answering(move |seen| {
        let fields = seen.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
        Response::new(Full::<Bytes>::from(format!("{name}\n{}", fields.collect::<String>())))
    })
}

/// A field of an echoed head.
fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn arm(answer: &Answer) -> &str {
    answer.text().lines().next().unwrap()
}

/// The decisions of weir's member in an echoed head.
fn member(answer: &Answer) -> Option<BTreeMap<String, String>> {
    let own = field(answer, "baggage")?.split(',').find_map(|member| member.strip_prefix("weir="))?;
    let parts: Vec<&str> = own.split('~').collect();
    let entries = parts[3..parts.len() - 1].chunks(3);
    Some(entries.map(|entry| (entry[0].to_owned(), entry[1].to_owned())).collect())
}

fn decided(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(toggle, variant)| ((*toggle).to_owned(), (*variant).to_owned())).collect()
}

/// A toggle that propagates, beside the one that splits.
fn other(name: &str, weight: &str) -> String {
    format!(
        "[toggles.{name}]\ncategory = \"ops\"\nowner = \"team\"\nvariants = {{ on = true, off = false }}\n\
         default = \"off\"\npropagate = true\nbucket_by = \"header:x-user-id\"\n\
         [rollouts.{name}]\ntoggle = \"{name}\"\nvariant = \"on\"\nweight = \"{weight}\"\n"
    )
}

/// A weir in front of one address for each arm.
fn config(secrets: &str, arms: [SocketAddr; 2], more: &str, weight: &str) -> String {
    let toggle = toggle_config(&format!("propagate = true\n{more}"), weight);
    split_config(arms[0], arms[1], &format!("{toggle}\n{secrets}"))
}

fn users() -> u32 {
    std::env::var("WEIR_CHAIN_USERS").map_or(3_000, |users| users.parse().unwrap())
}

/// Sends users through a chain; each has one decision on all three weirs, whatever their weights are.
async fn travel(address: SocketAddr, users: std::ops::Range<u32>, seen: mpsc::UnboundedSender<bool>) {
    let mut client = Client::connect(address).await;
    for user in users {
        let user = format!("user-{user}");
        let answer = client.get("/", &[("x-user-id", &user), ("x-weir-explain", "1")]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let first = answer.header("x-weir-decision").unwrap();
        let variant = if first.contains("variant=\"on\"") { "on" } else { "off" };
        let last = (arm(&answer) == "canary", field(&answer, "x-weir-toggle-t"), field(&answer, "x-weir-toggle-u"));
        let travelled = member(&answer).unwrap();
        assert_eq!(last.0, variant == "on", "{user}: {first}\n{}", answer.text());
        assert_eq!(last.1, Some(variant), "{user}: {first}\n{}", answer.text());
        assert_eq!(travelled["t"], variant, "{user}: {first}\n{}", answer.text());
        assert_eq!(last.2, Some(&*travelled["u"]), "{user}\n{}", answer.text());
        seen.send(variant == "on").unwrap();
    }
}

#[test]
fn a_chain_of_three_gives_each_user_one_decision_through_reloads() {
    const CLIENTS: u32 = 4;
    let (stable, canary, secrets) = (echo("stable"), echo("canary"), Secrets::new());
    let table = secrets.table("a", "");
    // Alone, the second and third would give everybody the opposite of each other.
    let weights = |t: &str, u: &str, arms| config(&(other("u", u) + &table), arms, "", t);
    let third = Proxy::start(&weights("0%", "100%", [stable.address, canary.address]));
    let second = Proxy::start(&weights("100%", "0%", [third.address(); 2]));
    let first = Proxy::start(&weights("10%", "30%", [second.address(); 2]));
    let users = users();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (seen, mut results) = mpsc::unbounded_channel();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (address, seen) = (first.address(), seen.clone());
            let part = client * users / CLIENTS..(client + 1) * users / CLIENTS;
            scope.spawn(move || runtime().block_on(travel(address, part, seen)));
        }
        drop(seen);
        runtime().block_on(async {
            let (mut on, mut count) = (0, 0);
            while let Some(variant) = results.recv().await {
                (on, count) = (on + u32::from(variant), count + 1);
                if count % (users / 10) != 0 {
                    continue;
                }
                let step = count * 10 / users;
                let (raised, lowered) = (format!("{}%", step * 9), format!("{}%", 100 - step * 9));
                first.reload(&weights(&raised, &lowered, [second.address(); 2])).await;
                second.reload(&weights(&lowered, &raised, [third.address(); 2])).await;
                third.reload(&weights(&raised, "50%", [stable.address, canary.address])).await;
            }
            assert_eq!(count, users);
            assert!(on > users / 10 && on < users, "both variants travelled: {on}");
            for proxy in [&second, &third] {
                let pinned =
                    "weir_toggle_decisions_total{toggle=\"t\",variant=\"on\",reason=\"pinned\",surface=\"pin\"}";
                assert_eq!(proxy.metric(pinned).await, f64::from(on), "each weir decided as the first did");
                let honoured = "weir_propagation_members_total{outcome=\"honoured\"}";
                assert_eq!(proxy.metric(honoured).await, f64::from(users));
                assert!(proxy.metric("weir_propagation_divergences_total{toggle=\"t\"}").await > 0.0);
            }
        });
    });
}

#[tokio::test]
async fn the_decision_of_a_service_s_rollout_travels_and_pins_the_arm_of_the_next_weir() {
    let (stable, canary, secrets) = (echo("stable"), echo("canary"), Secrets::new());
    let weir = |arms: [SocketAddr; 2], rest: &str| {
        let split = split_config(arms[0], arms[1], &secrets.table("a", ""));
        let service = split.replace("split = { toggle = \"t\", on = \"canary\", off = \"stable\" }\n", "");
        assert_ne!(service, split);
        let rollout = "[rollouts.r]\nservice = \"o\"\narm = \"canary\"\nbucket_by = \"header:x-user-id\"\n";
        Proxy::start(&format!("{service}{rollout}{rest}"))
    };
    for (first_weight, next_weight, propagate, expected, variant) in [
        ("100%", "0%", true, "canary", "canary"),
        ("0%", "100%", true, "stable", "stable"),
        // What does not say that it travels is decided by each weir for itself.
        ("100%", "0%", false, "stable", "stable"),
    ] {
        let rest = |weight: &str| format!("weight = \"{weight}\"\npropagate = {propagate}\n");
        let next = weir([stable.address, canary.address], &rest(next_weight));
        let first = weir([next.address(); 2], &rest(first_weight));
        let answer = first.client().await.get("/", &[("x-user-id", "1")]).await;
        assert_eq!(arm(&answer), expected, "{}", answer.text());
        let told = propagate.then_some(variant);
        assert_eq!(field(&answer, "x-weir-toggle-rollout-r"), told, "{}", answer.text());
        assert_eq!(member(&answer), propagate.then(|| decided(&[("rollout.r", variant)])), "{}", answer.text());
        let pinned = format!(
            "weir_toggle_decisions_total{{toggle=\"rollout.r\",variant=\"{variant}\",reason=\"pinned\",surface=\"pin\"}}"
        );
        assert_eq!(next.metric(&pinned).await, f64::from(u8::from(propagate)));
    }
}

/// One echo behind one weir, and what a request with these fields brings it.
struct Single {
    upstream: Upstream,
    secrets: Secrets,
    proxy: Proxy,
}

impl Single {
    fn new(head: &str, letters: &str, weight: &str) -> Single {
        let (upstream, secrets) = (echo("echo"), Secrets::new());
        let table = secrets.table(letters, "");
        let proxy = Proxy::start(&(head.to_owned() + &config(&table, [upstream.address; 2], "", weight)));
        Single { upstream, secrets, proxy }
    }

    async fn get(&self, fields: &[(&str, &str)]) -> Answer {
        self.proxy.client().await.get("/", fields).await
    }

    async fn members(&self, outcome: &str) -> f64 {
        self.proxy.metric(&format!("weir_propagation_members_total{{outcome=\"{outcome}\"}}")).await
    }
}

/// In seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A member as another weir would sign it, with the secret of that letter.
fn signed(letter: char, trace: &str, issued: i64, entries: &[(&str, &str)]) -> String {
    let entries: Vec<_> = entries.iter().map(|(toggle, variant)| Entry { toggle, variant, reason: "split" }).collect();
    signed_so(letter, trace, issued, &entries)
}

/// The same with the reasons that the decisions were made for.
pub(crate) fn signed_so(letter: char, trace: &str, issued: i64, entries: &[Entry<'_>]) -> String {
    let secret = Secret::new(Some(&letter.to_string()), letter.to_string().repeat(32).as_bytes()).unwrap();
    let keyring = Keyring::new(secret, Vec::new());
    let mut draft = Draft::new(&keyring, issued, 1024);
    entries.iter().for_each(|entry| draft.add(*entry));
    draft.sign(TraceId::parse(trace.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_member_that_is_not_believed_changes_nothing_is_counted_and_goes_no_further() {
    let single = Single::new("", "ab", "0%");
    let on = [("t", "on")];
    let good = signed('a', TRACE, now(), &on);
    let tampered = good.replace("~on~", "~off~");
    let long = format!("weir={}", "a".repeat(1100));
    for (outcome, member, trace) in [
        ("bad_signature", &good, Some(OTHER_TRACE)),
        ("bad_signature", &tampered, Some(TRACE)),
        ("traceless", &good, None),
        ("unknown_key", &signed('c', TRACE, now(), &on), Some(TRACE)),
        ("stale", &signed('a', TRACE, now() - 3700, &on), Some(TRACE)),
        ("stale", &signed('a', TRACE, now() + 600, &on), Some(TRACE)),
        ("oversized", &long, Some(TRACE)),
        ("malformed", &"weir".to_owned(), Some(TRACE)),
        ("malformed", &format!("{good},{good}"), Some(TRACE)),
    ] {
        let before = single.members(outcome).await;
        let baggage = format!("a=1,{member},b=2;p");
        let mut fields = vec![("baggage", &*baggage), ("x-user-id", "1")];
        fields.extend(trace.map(|trace| ("traceparent", trace)));
        let answer = single.get(&fields).await;
        assert_eq!(single.members(outcome).await, before + 1.0, "{outcome}: {member}");
        assert_eq!(self::member(&answer), Some(decided(&[("t", "off")])), "{outcome}: {member}");
        let baggage = field(&answer, "baggage").unwrap();
        assert!(baggage.split(',').all(|other| other != *member) && baggage.ends_with(",a=1,b=2;p"), "{baggage}");
    }
    let answer = single.get(&[("baggage", &good), ("traceparent", TRACE), ("x-user-id", "1")]).await;
    assert_eq!(member(&answer), Some(decided(&[("t", "on")])), "the good one is");
    assert_eq!(single.members("honoured").await, 1.0);
}

#[tokio::test]
async fn an_untrusted_client_brings_no_decision_even_if_it_is_signed() {
    let single = Single::new(DISTRUSTING, "a", "0%");
    let good = signed('a', TRACE, now(), &[("t", "on")]);
    let fields = [
        ("baggage", &*format!("a=1,{good}")),
        ("traceparent", TRACE),
        ("x-user-id", "1"),
        ("x-weir-toggle-t", "on"),
        ("x_weir_toggle_t", "on"),
        ("x-weir-toggle-forged", "on"),
        ("x-weir-override", "t=on"),
        ("x_weir_override", "t=on"),
    ];
    let answer = single.get(&fields).await;
    assert_eq!(member(&answer), Some(decided(&[("t", "off")])));
    assert_eq!(field(&answer, "traceparent"), Some(TRACE), "a trace is no claim");
    let own: Vec<&str> = answer.text().lines().filter(|line| line.contains("weir") && line.starts_with('x')).collect();
    assert_eq!(own, ["x-weir-toggle-t: off"]);
    assert!(!field(&answer, "baggage").unwrap().contains("a=1"), "others' members are claims as well");
    assert_eq!(single.members("untrusted").await, 1.0);
    assert_eq!(single.proxy.metric("weir_overrides_total{outcome=\"untrusted\"}").await, 1.0);
    assert_eq!(single.proxy.metric("weir_untrusted_claims_dropped_total").await, 5.0);
}

#[tokio::test]
async fn a_pin_diverges_from_a_draw_only_where_no_draw_gives_it() {
    for (weight, diverged) in [("0%", 1.0), ("50%", 0.0), ("100%", 0.0)] {
        let single = Single::new("", "a", weight);
        let pinned = signed('a', TRACE, now(), &[("t", "on")]);
        assert_eq!(single.get(&[("baggage", &pinned), ("traceparent", TRACE)]).await.status, 200);
        assert_eq!(single.members("honoured").await, 1.0);
        let counted = single.proxy.metric("weir_propagation_divergences_total{toggle=\"t\"}").await;
        assert_eq!(counted, diverged, "{weight}");
    }
}

#[tokio::test]
async fn a_trace_is_passed_through_or_begun() {
    let single = Single::new("", "a", "0%");
    let state = ("tracestate", "vendor=1");
    let answer = single.get(&[("traceparent", TRACE), state]).await;
    assert_eq!((field(&answer, "traceparent"), field(&answer, "tracestate")), (Some(TRACE), Some("vendor=1")));
    for fields in
        [&[state][..], &[("traceparent", "00-junk"), state], &[("traceparent", TRACE), ("traceparent", TRACE)]]
    {
        let answer = single.get(fields).await;
        let begun = field(&answer, "traceparent").unwrap();
        assert!(TraceId::parse(begun.as_bytes()).is_some() && begun != TRACE && begun.ends_with("-01"), "{begun}");
        assert_eq!(field(&answer, "tracestate"), None, "it belonged to no trace");
        assert!(member(&answer).is_some());
    }
    let table = single.secrets.table("a", "traces_sampled = \"0%\"");
    single.proxy.reload(&config(&table, [single.upstream.address; 2], "", "0%")).await;
    assert!(field(&single.get(&[]).await, "traceparent").unwrap().ends_with("-00"));
}

#[tokio::test]
async fn without_propagation_nothing_is_added_and_trusted_baggage_passes() {
    let upstream = echo("echo");
    let proxy = Proxy::start(&plain_config(upstream.address, "", &other("u", "50%")));
    let answer = proxy.client().await.get("/", &[("baggage", "weir=1~x, a=1"), ("x-weir-toggle-u", "on")]).await;
    assert_eq!(field(&answer, "baggage"), Some("weir=1~x, a=1"), "a chain goes through a weir without a secret");
    assert_eq!(field(&answer, "traceparent"), None);
    assert_eq!(field(&answer, "x-weir-toggle-u"), None, "only weir may set it");
}

#[tokio::test]
async fn nothing_goes_to_hosts_that_are_not_trusted() {
    let single = Single::new("", "a", "100%");
    let arms = [single.upstream.address; 2];
    let good = signed('a', TRACE, now(), &[("t", "on"), ("elsewhere", "b")]);
    let fields = [("baggage", &*format!("a=1,{good}")), ("traceparent", TRACE)];
    let table = |hosts: &str| single.secrets.table("a", hosts);
    let stands_in = "propagate = false, on_unavailable = \"stable\"";
    for (why, config, travels) in [
        ("this machine", config(&table(""), arms, "", "100%"), true),
        ("not listed", config(&table("trusted_hosts = [\"10.0.0.0/8\"]"), arms, "", "100%"), false),
        ("listed", config(&table("trusted_hosts = [\"127.0.0.1\"]"), arms, "", "100%"), true),
        ("the arm says no", with_arm(&config(&table(""), arms, "", "100%"), "canary", "propagate = false"), false),
        (
            "the arm says yes",
            with_arm(
                &config(&table("trusted_hosts = []"), arms, "", "100%"),
                "canary",
                "propagate = true, on_unavailable = \"fail\"",
            ),
            true,
        ),
        (
            "its stand-in is not trusted",
            with_arm(&config(&table(""), arms, "", "100%"), "stable", &stands_in.replace("stable", "fail")),
            false,
        ),
    ] {
        single.proxy.reload(&config).await;
        let answer = single.get(&fields).await;
        assert_eq!(member(&answer).is_some(), travels, "{why}: {}", answer.text());
        assert_eq!(field(&answer, "x-weir-toggle-t").is_some(), travels, "{why}");
        assert!(field(&answer, "baggage").unwrap().ends_with("a=1"), "{why}: others pass on");
        assert_eq!(field(&answer, "baggage").unwrap().contains("weir"), travels, "{why}");
    }
}

/// More keys on an arm of [`split_config`].
fn with_arm(config: &str, arm: &str, more: &str) -> String {
    let lines = config.lines().map(|line| match line.strip_prefix(&format!("arms.{arm} = {{ ")) {
        Some(rest) => format!("arms.{arm} = {{ {more}, {rest}\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[tokio::test]
async fn a_kill_beats_a_pin_and_travels_on() {
    let single = Single::new("", "a", "100%");
    let arms = [single.upstream.address; 2];
    let good = signed('a', TRACE, now(), &[("t", "on")]);
    let fields = [("baggage", &*good), ("traceparent", TRACE), ("x-weir-explain", "1")];
    let killed = config(&single.secrets.table("a", ""), arms, "enabled = false\noff = \"off\"", "100%");
    single.proxy.reload(&killed).await;
    let answer = single.get(&fields).await;
    assert!(answer.header("x-weir-decision").unwrap().contains("reason=disabled"), "{answer:?}");
    assert_eq!(member(&answer), Some(decided(&[("t", "off")])));
    assert_eq!(field(&answer, "x-weir-toggle-t"), Some("off"));
    // A kill goes before a variant that is unknown here, too.
    let strange = signed('a', TRACE, now(), &[("t", "unheard-of")]);
    let answer = single.get(&[("baggage", &strange), ("traceparent", TRACE)]).await;
    assert_eq!(member(&answer), Some(decided(&[("t", "off")])));
    // Without an `off` variant there is nothing to say.
    single.proxy.reload(&killed.replace("off = \"off\"", "")).await;
    let answer = single.get(&fields).await;
    assert_eq!((member(&answer), field(&answer, "x-weir-toggle-t")), (None, None), "{}", answer.text());
}

#[tokio::test]
async fn what_a_weir_does_not_know_passes_on_and_a_pin_keeps_its_first_reason() {
    let single = Single::new("", "a", "0%");
    let good = signed('a', TRACE, now() - 7, &[("zzz", "b"), ("t", "unheard-of"), ("aaa", "c")]);
    let answer = single.get(&[("baggage", &good), ("traceparent", TRACE), ("x-weir-explain", "1")]).await;
    assert_eq!(member(&answer), Some(decided(&[("zzz", "b"), ("t", "unheard-of"), ("aaa", "c")])));
    assert!(answer.header("x-weir-decision").unwrap().contains("variant=\"off\""), "it decides itself: {answer:?}");
    let lost = async |outcome| {
        single.proxy.metric(&format!("weir_propagation_decisions_lost_total{{outcome=\"{outcome}\"}}")).await
    };
    assert_eq!((lost("unknown_toggle").await, lost("unknown_variant").await), (2.0, 1.0));
    let good = signed('a', TRACE, now() - 7, &[("t", "on")]);
    let answer = single.get(&[("baggage", &good), ("traceparent", TRACE), ("x-weir-explain", "1")]).await;
    assert!(answer.header("x-weir-decision").unwrap().contains("reason=pinned"), "{answer:?}");
    assert_eq!(field(&answer, "baggage"), Some(&*good), "the same text, as old as it was");
}

#[tokio::test]
async fn secrets_are_rotated_without_losing_a_decision() {
    let single = Single::new("", "a", "0%");
    let arms = [single.upstream.address; 2];
    // Everywhere known first, then used, then the old one forgotten.
    for (letters, signs) in [("a", 'a'), ("ab", 'a'), ("ba", 'b'), ("b", 'b')] {
        single.proxy.reload(&config(&single.secrets.table(letters, ""), arms, "", "0%")).await;
        for letter in letters.chars() {
            let good = signed(letter, TRACE, now(), &[("t", "on")]);
            let answer = single.get(&[("baggage", &good), ("traceparent", TRACE)]).await;
            assert_eq!(member(&answer), Some(decided(&[("t", "on")])), "{letters}: {letter}");
            assert!(field(&answer, "baggage").unwrap().starts_with(&format!("weir=1~{signs}~")), "{letters}");
        }
    }
    let before = single.proxy.app().generation();
    fs::write(single.secrets.0.path().join("b"), "c".repeat(32)).unwrap();
    single.proxy.app().reload().await;
    assert_eq!(single.proxy.app().generation(), before + 1, "a changed secret is a reload");
    let old = signed('b', TRACE, now(), &[("t", "on")]);
    single.get(&[("baggage", &old), ("traceparent", TRACE)]).await;
    assert_eq!(single.members("bad_signature").await, 1.0);
}

#[tokio::test]
async fn a_member_never_grows_over_its_limit() {
    let single = Single::new("", "a", "0%");
    let many: String = (0..40).map(|number| other(&format!("toggle-{number:02}"), "0%")).collect();
    let table = single.secrets.table("a", "max_bytes = 300");
    single.proxy.reload(&(many + &config(&table, [single.upstream.address; 2], "", "0%"))).await;
    let answer = single.get(&[("x-user-id", "1")]).await;
    let own = field(&answer, "baggage").unwrap();
    assert!(own.len() <= 300 && own.len() > 270, "{own}");
    let count = member(&answer).unwrap().len();
    let names: Vec<String> = (0..count - 1).map(|number| format!("toggle-{number:02}")).collect();
    // "t" is short enough to find room behind those that have none.
    assert!(names.iter().all(|name| own.contains(&**name)) && own.contains("~t~off"), "{own}");
    let left_out = single.proxy.metric("weir_propagation_decisions_lost_total{outcome=\"left_out\"}").await;
    assert_eq!(left_out, f64::from(41 - u32::try_from(count).unwrap()));
}

#[tokio::test]
async fn a_trusted_peer_overrides_only_what_allows_it_and_a_pin_stands_above() {
    let single = Single::new("", "a", "0%");
    let config = config(
        &(other("u", "0%") + &single.secrets.table("a", "")),
        [single.upstream.address; 2],
        "override = true",
        "0%",
    );
    single.proxy.reload(&config).await;
    let wishes = ("x-weir-override", "t=on, u=on, nobody=on, t=nothing, broken");
    let answer = single.get(&[wishes, ("x-weir-explain", "1")]).await;
    assert!(answer.header("x-weir-decision").unwrap().contains("reason=override"), "{answer:?}");
    assert_eq!(member(&answer), Some(decided(&[("t", "on"), ("u", "off")])));
    assert_eq!(field(&answer, "x-weir-override"), None, "it is spent");
    for (outcome, expected) in [("honoured", 1.0), ("not_allowed", 1.0), ("unknown", 2.0), ("malformed", 1.0)] {
        let series = format!("weir_overrides_total{{outcome=\"{outcome}\"}}");
        assert_eq!(single.proxy.metric(&series).await, expected, "{outcome}");
    }
    let good = signed('a', TRACE, now(), &[("t", "off")]);
    let fields = [("baggage", &*good), ("traceparent", TRACE), ("x-weir-override", "t=on")];
    assert_eq!(member(&single.get(&fields).await), Some(decided(&[("t", "off"), ("u", "off")])));
}
