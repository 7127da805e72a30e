//! What a decision costs, in time and in allocations.
//!
//! ```text
//! cargo bench --bench decide
//! ```
//!
//! Before anything is measured, each kind of decision is made while allocations are counted: one that
//! allocates ends the run.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up has to say so")]

use std::{alloc::System, fmt::Write, fs, hint::black_box, net::Ipv4Addr, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir::{
    bucket::{Bucketing, Slot},
    config::{Compiled, Sources, compile},
    identity::{Asking, Caller, Context, Subject},
    plan::{LaneId, Plan, Standing, ToggleId},
    proxy::measured::{Framing, Rewriting},
    telemetry::Meters,
    toggle::{Choice, Moment, Reason, Timestamp, VariantId},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Toggles in the large configuration.
const TOGGLES: usize = 10_000;

const HEAD: &str = r#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
[services.shop]
arms.stable = { endpoints = ["127.0.0.1:9001"] }
[segments.staff]
when = { any = [{ attr = "header:x-mail", ends_with = "@example.com" }, { attr = "ip", in_network = "10.0.0.0/8" }] }
"#;

/// What never matches the request of this bench, of as many kinds as there are.
const CONDITIONS: [&str; 20] = [
    r#"{ attr = "header:x-cohort", equals = "beta" }"#,
    r#"{ attr = "header:x-cohort", equals = "gamma", ignore_case = true }"#,
    r#"{ attr = "header:x-cohort", in = ["a", "b", "c", "d", "e", "f"] }"#,
    r#"{ attr = "header:x-app", starts_with = "ios/" }"#,
    r#"{ attr = "header:x-app", ends_with = "-beta" }"#,
    r#"{ attr = "header:x-app", contains = "nightly" }"#,
    r#"{ attr = "header:x-app", matches = "^android/[0-9]+$" }"#,
    r#"{ attr = "header:x-version", semver = ">=3.0.0 <4" }"#,
    r#"{ attr = "header:x-age", above = 90 }"#,
    r#"{ attr = "header:x-since", after = 2026-06-01 }"#,
    r#"{ attr = "cookie:plan", in = ["gold", "silver"] }"#,
    r#"{ attr = "query:preview", exists = true }"#,
    r#"{ attr = "ip", in_network = ["10.0.0.0/8", "192.168.0.0/16"] }"#,
    r#"{ attr = "path", starts_with = "/admin/" }"#,
    r#"{ attr = "host", equals = "beta.example.com" }"#,
    r#"{ attr = "method", in = ["PUT", "DELETE"] }"#,
    r#"{ segment = "staff" }"#,
    r#"{ all = [{ attr = "method", equals = "GET" }, { attr = "header:x-none", exists = true }] }"#,
    r#"{ any = [{ attr = "header:x-a", exists = true }, { attr = "header:x-b", exists = true }] }"#,
    r#"{ not = { attr = "header:x-user-id", exists = true } }"#,
];

/// What a client sends for it.
const REQUEST: &[u8] = b"GET /r57/orders/1?page=2&size=20 HTTP/1.1\r\nHost: shop.example.com\r\n\
    Accept: application/json\r\nUser-Agent: bench/1.0\r\nCookie: sid=5c3d8535; plan=free; theme=dark\r\n\
    X-User-Id: user-1234567\r\nX-App: web/2.7\r\nX-Version: 2.7.1\r\n\r\n";

fn sources(text: &str) -> Sources {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("weir.toml"), text).expect("a file");
    Sources::read(directory.path()).unwrap_or_else(|report| panic!("{report}"))
}

fn compiled(text: &str) -> Compiled {
    compile(&sources(text)).unwrap_or_else(|report| panic!("{report}"))
}

fn toggle(name: &str, more: &str) -> String {
    format!(
        "[toggles.{name}]\ncategory = \"ops\"\nowner = \"team\"\nvariants = {{ on = true, off = false }}\n\
         default = \"off\"\nbucket_by = \"header:x-user-id\"\n{more}\n"
    )
}

fn rules(name: &str) -> String {
    let rule = |when: &&str| format!("[[toggles.{name}.rules]]\nwhen = {when}\nserve = \"on\"\n");
    CONDITIONS.iter().map(rule).collect()
}

fn plan() -> Plan {
    let mut text = HEAD.to_owned();
    for number in 0..100 {
        writeln!(
            text,
            "[[routes]]\nname = \"r{number}\"\nmatch = {{ path_prefix = \"/r{number}\" }}\nservice = \"shop\""
        )
        .expect("a String takes all");
    }
    text += &toggle("static", "");
    text += &toggle("rules", "");
    text += &rules("rules");
    text += &toggle("ramp", "");
    text += "[rollouts.ramp]\ntoggle = \"ramp\"\nvariant = \"on\"\nweight = \"10%\"\n";
    let split = "split = [{ serve = \"on\", weight = \"50%\" }, { serve = \"off\", weight = \"50%\" }]";
    text += &toggle("split", split);
    text += &toggle("split3", &format!("bucketing = \"flagd-v3\"\n{split}"));
    text += &toggle("needs", "requires = [{ toggle = \"split\", variant = \"on\" }]");
    compiled(&text).plan
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example.com"),
        ("accept", "application/json"),
        ("user-agent", "bench/1.0"),
        ("cookie", "sid=5c3d8535; plan=free; theme=dark"),
        ("x-user-id", "user-1234567"),
        ("x-cohort", "alpha"),
        ("x-app", "web/2.7"),
        ("x-version", "2.7.1"),
        ("x-age", "41"),
        ("x-since", "2026-01-15T08:00:00Z"),
        ("x-mail", "ann@example.org"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

fn asking(headers: &HeaderMap) -> Asking<'_> {
    Asking {
        method: &Method::GET,
        host: "shop.example.com".into(),
        path: "/r57/orders/1",
        query: Some("page=2&size=20"),
        headers,
        caller: Caller { ip: Ipv4Addr::new(203, 0, 113, 7).into(), trusted: true, client_trusted: true },
        claims: None,
        consumer: None,
    }
}

fn id(plan: &Plan, name: &str) -> ToggleId {
    ToggleId(plan.toggles.iter().position(|planned| planned.toggle.name == name).expect("it is configured"))
}

fn choose(plan: &Plan, toggle: ToggleId, subject: &Subject<'_>) -> Choice {
    let moment = Moment { now: Timestamp(1_800_000_000), pins: &[] };
    plan.choose(&Standing::default(), toggle, subject, &moment, &mut || 7)
}

fn decisions(bench: &mut Criterion) {
    let plan = plan();
    let (headers, bare) = (headers(), HeaderMap::new());
    let (full, empty) = (asking(&headers), asking(&bare));
    let subjects = [("", Subject::Request(&full)), (" without headers", Subject::Request(&empty))];
    for name in ["static", "rules", "ramp", "split", "split3", "needs"] {
        let toggle = id(&plan, name);
        for (with, subject) in &subjects {
            // Regular expressions take their scratch space at first use.
            choose(&plan, toggle, subject);
            let region = Region::new(ALLOCATOR);
            black_box(choose(&plan, toggle, subject));
            let change = region.change();
            assert_eq!((change.allocations, change.reallocations), (0, 0), "{name}{with} allocates");
            bench.bench_function(&format!("decide {name}{with}"), |bencher| {
                bencher.iter(|| choose(black_box(&plan), toggle, subject));
            });
        }
    }
    let members: Map<String, Value> =
        json!({"targetingKey": "user-1234567", "header:x-age": 41}).as_object().cloned().unwrap_or_default();
    let context = Context { targeting_key: Some("user-1234567"), members: &members, claims: None };
    let toggle = id(&plan, "rules");
    bench.bench_function("decide rules for a context", |bencher| {
        bencher.iter(|| choose(black_box(&plan), toggle, &Subject::Context(&context)));
    });
    bench.bench_function("match one of 100 routes", |bencher| bencher.iter(|| plan.match_route(black_box(&full))));
}

fn parts(bench: &mut Criterion) {
    for bucketing in Bucketing::ALL {
        bench.bench_function(&format!("bucket by {bucketing}"), |bencher| {
            bencher.iter(|| -> Slot { bucketing.slot(black_box("checkout-v2"), black_box("user-1234567")) });
        });
    }
    let plan = plan();
    let mut framing = Framing::new(&plan.limits);
    assert!(framing.passes(REQUEST), "it is sound");
    bench.bench_function("check the framing of a request", |bencher| {
        bencher.iter(|| framing.passes(black_box(REQUEST)));
    });
    let (rewriting, mut head) = (Rewriting::new(), Request::new(()).into_parts().0);
    head.headers = headers();
    bench.bench_function("rewrite the headers of a request", |bencher| {
        let rewritten = |mut head| {
            rewriting.rewrite(&mut head, &plan);
            head
        };
        bencher.iter_batched(|| head.clone(), rewritten, BatchSize::SmallInput);
    });
    let meters = Meters::new(&plan, 1);
    let lane = meters.lane(LaneId(0)).cells(0);
    bench.bench_function("count an answer", |bencher| {
        bencher.iter(|| {
            lane.answered(black_box(StatusCode::OK));
            lane.upstream.record(black_box(Duration::from_micros(700)));
            lane.request.record(black_box(Duration::from_micros(800)));
        });
    });
    let toggle = id(&plan, "split");
    bench.bench_function("count a decision", |bencher| {
        bencher.iter(|| meters.toggle(black_box(toggle), Some(VariantId(0))).cells(0).decided(Reason::Split));
    });
}

fn loading(bench: &mut Criterion) {
    let mut text = HEAD.to_owned() + "[[routes]]\nname = \"shop\"\nmatch = {}\nservice = \"shop\"\n";
    for number in 0..TOGGLES {
        let name = format!("toggle-{number}");
        let needed = if number % 10 == 9 {
            format!("requires = [{{ toggle = \"toggle-{}\", variant = \"on\" }}]", number - 1)
        } else {
            String::new()
        };
        text += &toggle(&name, &needed);
        write!(
            text,
            "[[toggles.{name}.rules]]\nwhen = {{ attr = \"header:x-cohort-{number}\", equals = \"beta\" }}\nserve = \"on\"\n\
             [rollouts.{name}]\ntoggle = \"{name}\"\nvariant = \"on\"\nweight = \"10%\"\n"
        )
        .expect("a String takes all");
    }
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("weir.toml"), &text).expect("a file");
    let mut group = bench.benchmark_group("10,000 toggles");
    group.sample_size(10);
    group.bench_function("read", |bencher| bencher.iter(|| Sources::read(black_box(directory.path()))));
    let sources = Sources::read(directory.path()).unwrap_or_else(|report| panic!("{report}"));
    group.bench_function("compile", |bencher| bencher.iter(|| compile(black_box(&sources))));
    group.finish();
}

criterion_group!(benches, decisions, parts, loading);
criterion_main!(benches);
