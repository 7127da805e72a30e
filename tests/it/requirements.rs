//! Routes that serve only whom a toggle grants a variant.

use weir::propagation::Entry;

use crate::{
    plain_config,
    propagation::{Secrets, TRACE, echo, now, signed_so},
    support::Proxy,
    toggle_config,
};

#[tokio::test]
async fn a_route_lets_through_whom_its_toggle_grants() {
    let upstream = echo("echo");
    let beta = "[toggles.beta]\ncategory = \"permission\"\nowner = \"team\"\nvariants = { on = true, off = false }\n\
                default = \"off\"\n[[toggles.beta.rules]]\nwhen = { attr = \"path\", starts_with = \"/open\" }\nserve = \"on\"\n";
    let behind = "[[routes]]\nname = \"behind\"\nmatch = { path_prefix = \"/behind\" }\nservice = \"o\"\n\
                  require = { toggle = \"gate\", variant = \"on\" }\n\
                  [toggles.gate]\ncategory = \"ops\"\nowner = \"team\"\nvariants = { on = true, off = false }\n\
                  default = \"on\"\nrequires = [{ toggle = \"t\", variant = \"on\" }]\n";
    let config = |status: &str, weight: &str| {
        let require = format!("require = {{ toggle = \"beta\", variant = \"on\"{status} }}");
        let drawn = "require = { toggle = \"t\", variant = \"on\" }";
        format!(
            "{}[[routes]]\nname = \"drawn\"\nmatch = {{ path_prefix = \"/drawn\" }}\nservice = \"o\"\n{drawn}\n{behind}{beta}{}",
            plain_config(upstream.address, &require, ""),
            toggle_config("", weight)
        )
    };
    let proxy = Proxy::start(&config("", "100%"));
    let mut client = proxy.client().await;
    assert_eq!(client.get("/open", &[]).await.status, 200);
    let answer = client.get("/closed", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (403, "not_granted".to_owned()));
    assert_eq!(client.get("/drawn", &[("x-user-id", "1")]).await.status, 200);
    assert_eq!(client.get("/drawn", &[]).await.status, 403, "a draw tells nobody from others");
    assert_eq!(client.get("/behind", &[("x-user-id", "1")]).await.status, 200);
    assert_eq!(client.get("/behind", &[]).await.status, 403, "nor does the draw of what the toggle requires");
    proxy
        .reload(
            &config(", status = 404", "100%")
                .replace("category = \"permission\"", "enabled = true\ncategory = \"permission\""),
        )
        .await;
    let hidden = client.get("/closed", &[]).await;
    assert_eq!((hidden.status.as_u16(), hidden.problem()), (404, "no_route".to_owned()));
    let refused = "weir_rejections_total{route=\"o\",service=\"o\",arm=\"stable\",cause=\"not_granted\",error=\"http_request_denied\"}";
    assert_eq!(proxy.metric(refused).await, 2.0);
    proxy
        .reload(&config("", "100%").replace("category = \"permission\"", "enabled = false\ncategory = \"permission\""))
        .await;
    assert_eq!(client.get("/open", &[]).await.status, 403, "a kill takes the grant");
}

#[tokio::test]
async fn a_draw_that_was_made_on_the_way_grants_nothing() {
    let (upstream, secrets) = (echo("echo"), Secrets::new());
    let require = "require = { toggle = \"t\", variant = \"on\" }";
    let rest = toggle_config("propagate = true", "0%") + &secrets.table("a", "");
    let proxy = Proxy::start(&plain_config(upstream.address, require, &rest));
    let mut client = proxy.client().await;
    for (reason, status) in [("split", 200), ("random", 403)] {
        let entry = Entry { toggle: "t", variant: "on", reason };
        let baggage = signed_so('a', TRACE, now(), &[entry]);
        let answer = client.get("/", &[("baggage", &*baggage), ("traceparent", TRACE)]).await;
        assert_eq!(answer.status, status, "{reason}");
    }
}
