//! Requests are held to the contract of the arm that serves them.

use http::{Method, StatusCode};

use crate::support::{Proxy, Upstream, request};

const ORDERS: &str = r##"
openapi: 3.1.0
info: { title: Orders, version: "1" }
paths:
  /orders:
    post:
      operationId: create
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: "#/components/schemas/Order" } } }
      responses: {}
components:
  schemas:
    Order: { type: object, required: [item], properties: { item: { type: string, maxLength: 5 } } }
"##;
const JSON: (&str, &str) = ("content-type", "application/json");

fn proxy(upstream: &Upstream, mode: &str, rest: &str) -> Proxy {
    let config = format!(
        r#"
[services.o]
arms.stable = {{ endpoints = ["{}"], contract = "orders@1" }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
contract = {{ request = "{mode}" }}
{rest}
"#,
        upstream.address
    );
    Proxy::start_with(&config, &[("orders@1.yaml", ORDERS)])
}

fn series(mode: &str, outcome: &str) -> String {
    format!("weir_contract_checks_total{{route=\"o\",contract=\"orders@1\",mode=\"{mode}\",outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn what_breaks_the_contract_is_refused_before_the_service_sees_it() {
    let mut upstream = Upstream::named("v1");
    let proxy = proxy(&upstream, "enforce", "");
    let mut client = proxy.client().await;
    assert_eq!(client.post("/orders", &[JSON], r#"{"item":"book"}"#).await.text(), "v1");
    assert_eq!(upstream.seen().await.body, r#"{"item":"book"}"#);
    for (method, path, fields, body, status, outcome) in [
        (Method::POST, "/orders", &[JSON][..], r#"{"item":"hunter2-secret"}"#, 400, "schema"),
        (Method::POST, "/orders", &[JSON], r#"{"item":"#, 400, "malformed_body"),
        (Method::POST, "/orders", &[JSON], "", 400, "missing_body"),
        (Method::POST, "/orders", &[("content-type", "text/plain")], "x", 415, "unsupported_media_type"),
        (Method::GET, "/orders", &[], "", 405, "undeclared_method"),
        (Method::GET, "/other", &[], "", 404, "undeclared_path"),
    ] {
        let answer = client.send(request(method, path, fields, body)).await.unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.problem()), (status, "contract"), "{outcome}");
        assert_eq!(proxy.metric(&series("enforce", outcome)).await, 1.0, "{outcome}");
        assert!(!answer.text().contains("hunter2"), "a value was echoed: {}", answer.text());
    }
    let answer = client.post("/orders", &[JSON], r#"{"item":"hunter2-secret"}"#).await;
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(document["operation"], "create");
    assert_eq!(document["errors"][0]["pointer"], "#/item");
    assert_eq!(document["errors"][0]["schema"], "#/components/schemas/Order/properties/item/maxLength");
    assert!(upstream.saw_nothing(), "a refused request reached the service");
    assert_eq!(proxy.metric(&series("enforce", "kept")).await, 1.0);
}

#[tokio::test]
async fn report_lets_everything_pass_and_counts() {
    let mut upstream = Upstream::named("v1");
    let proxy = proxy(&upstream, "report", "");
    let mut client = proxy.client().await;
    for (body, outcome) in [(r#"{"item":"book"}"#, "kept"), (r#"{"item":"too long"}"#, "schema")] {
        assert_eq!(client.post("/orders", &[JSON], body).await.text(), "v1");
        assert_eq!(upstream.seen().await.body, body);
        assert_eq!(proxy.metric(&series("report", outcome)).await, 1.0, "{outcome}");
    }
    assert_eq!(client.get("/other", &[]).await.text(), "v1");
    assert_eq!(proxy.metric(&series("report", "undeclared_path")).await, 1.0);
}

#[tokio::test]
async fn off_looks_at_nothing() {
    let upstream = Upstream::named("v1");
    let proxy = proxy(&upstream, "off", "");
    assert_eq!(proxy.client().await.get("/other", &[]).await.text(), "v1");
    assert!(!proxy.metrics().await.contains("weir_contract_checks_total{"));
}

#[tokio::test]
async fn encoding_a_body_is_no_way_around_the_contract() {
    let mut upstream = Upstream::named("v1");
    let fields = [JSON, ("content-encoding", "gzip")];
    let enforcing = proxy(&upstream, "enforce", "");
    let answer = enforcing.client().await.post("/orders", &fields, "compressed").await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_coding"));
    assert_eq!(answer.header("accept-encoding"), Some("identity"));
    assert!(upstream.saw_nothing());
    let reporting = proxy(&upstream, "report", "");
    assert_eq!(reporting.client().await.post("/orders", &fields, "compressed").await.text(), "v1");
    assert_eq!(reporting.metric(&series("report", "unchecked")).await, 1.0);
}

#[tokio::test]
async fn a_body_too_large_to_read_is_refused_where_enforced_and_counted_where_reported() {
    let limits = "[limits]\ncontract_body_bytes_max = \"1KiB\"\n";
    let body = format!(r#"{{"item":"{}"}}"#, "x".repeat(2000));
    let mut upstream = Upstream::named("v1");
    let enforcing = proxy(&upstream, "enforce", limits);
    let answer = enforcing.client().await.post("/orders", &[JSON], body.clone()).await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    assert_eq!(enforcing.metric(&series("enforce", "too_large")).await, 1.0);
    assert!(upstream.saw_nothing());
    let reporting = proxy(&upstream, "report", limits);
    assert_eq!(reporting.client().await.post("/orders", &[JSON], body.clone()).await.text(), "v1");
    assert_eq!(upstream.seen().await.body, body);
    assert_eq!(reporting.metric(&series("report", "too_large")).await, 1.0);
}

#[tokio::test]
async fn each_arm_is_held_to_its_own_contract() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let config = format!(
        r#"
[services.o]
split = {{ toggle = "t", on = "canary", off = "stable" }}
arms.stable = {{ endpoints = ["{}"], contract = "orders@1" }}
arms.canary = {{ endpoints = ["{}"], contract = "note@2" }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
contract = {{ request = "enforce" }}
[toggles.t]
category = "ops"
owner = "team"
variants = {{ on = true, off = false }}
default = "off"
[[toggles.t.rules]]
when = {{ attr = "header:x-cohort", equals = "beta" }}
serve = "on"
"#,
        stable.address, canary.address
    );
    let schema = r#"{"type": "object", "required": ["note"]}"#;
    let proxy = Proxy::start_with(&config, &[("orders@1.yaml", ORDERS), ("note@2.json", schema)]);
    let mut client = proxy.client().await;
    let beta = [JSON, ("x-cohort", "beta")];
    assert_eq!(client.post("/orders", &[JSON], r#"{"item":"book"}"#).await.text(), "stable");
    assert_eq!(client.post("/orders", &beta, r#"{"note":"hi"}"#).await.text(), "canary");
    assert_eq!(client.post("/orders", &beta, r#"{"item":"book"}"#).await.problem(), "contract");
}

#[tokio::test]
async fn who_stands_in_keeps_its_own_contract_too() {
    let mut stable = Upstream::named("stable");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = stable.address;
    let config = |canary_contract: &str| {
        format!(
            r#"
[services.o]
split = {{ toggle = "t", on = "canary", off = "stable" }}
arms.stable = {{ endpoints = ["{}"], contract = "orders@1" }}
arms.canary = {{ endpoints = ["{dead}"]{canary_contract} }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
contract = {{ request = "enforce" }}
[toggles.t]
category = "ops"
owner = "team"
variants = {{ on = true, off = false }}
default = "on"
"#,
            address
        )
    };
    let any = ("any@2.json", "{}");
    let same = Proxy::start_with(&config(", contract = \"any@2\""), &[("orders@1.yaml", ORDERS), any]);
    let mut client = same.client().await;
    assert_eq!(client.post("/orders", &[JSON], r#"{"item":"book"}"#).await.text(), "stable");
    stable.seen().await;
    assert_eq!(client.post("/orders", &[JSON], r#"{"item":"too long"}"#).await.problem(), "contract");
    // Nothing held this body back for the canary, so that nothing can judge it for stable.
    let streamed = Proxy::start_with(&config(""), &[("orders@1.yaml", ORDERS)]);
    let answer = streamed.client().await.post("/orders", &[JSON], r#"{"item":"too long"}"#).await;
    assert_eq!(answer.problem(), "connect_failed");
    assert!(stable.saw_nothing(), "a body that breaks stable's contract reached it");
}

#[tokio::test]
async fn what_connection_names_is_gone_before_it_is_checked() {
    let contract = r#"
openapi: 3.1.0
info: { title: T, version: "1" }
paths:
  /orders:
    get:
      parameters: [{ name: x-tenant, in: header, required: true, schema: { type: string } }]
      responses: {}
"#;
    let mut upstream = Upstream::named("v1");
    let config = crate::plain_config(upstream.address, "contract = { request = \"enforce\" }", "");
    let config = config.replace("\"] }", "\"], contract = \"t@1\" }");
    let proxy = Proxy::start_with(&config, &[("t@1.yaml", contract)]);
    let mut client = proxy.client().await;
    assert_eq!(client.get("/orders", &[("x-tenant", "a")]).await.text(), "v1");
    upstream.seen().await;
    let answer = client.get("/orders", &[("x-tenant", "a"), ("connection", "x-tenant")]).await;
    assert_eq!(answer.problem(), "contract");
    assert!(upstream.saw_nothing());
}
