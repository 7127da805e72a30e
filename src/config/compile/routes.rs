//! `[[routes]]`.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{policies, services::Backends, toggles::Toggles};
use crate::{
    config::{
        document::Document,
        report::Problems,
        section::{Field, Section},
        source::Sources,
        units,
    },
    plan::{Checking, LaneId, Requirement, Route},
    route::{HostPattern, PathPattern, Pattern, RouteTable},
    toggle::VariantId,
};

/// How long a route waits for a response's head when it does not say.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn routes(
    document: &Document<'_>,
    backends: &Backends<'_>,
    toggles: &Toggles<'_>,
    sources: &Sources,
    problems: &Problems,
) -> Vec<Option<(Pattern, Route)>> {
    let mut locations = Vec::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut routes = Vec::new();
    let fields: Vec<Field<'_>> = document.list("routes").collect();
    for field in &fields {
        locations.push(field.location());
        let route = field.clone().section().and_then(|section| route(section, backends, toggles));
        if let Some((_, route)) = &route
            && let Some(earlier) = names.insert(route.name.clone(), field.location())
        {
            let message = format!("two routes are named {:?}; the other one is at {earlier}", route.name);
            field.refuse(message, "give each its own name");
        }
        routes.push(route);
    }
    if fields.is_empty() && document.is_whole() {
        let hint = "add one: [[routes]] with name, match = { path_prefix = \"/\" } and service";
        problems.add_for_file(&sources.name(), "there is no route".to_owned(), hint);
    }
    report_ties(&fields, &locations, &routes);
    routes
}

fn report_ties(fields: &[Field<'_>], locations: &[String], routes: &[Option<(Pattern, Route)>]) {
    // Places of the routes that can be compared; those that were refused are left out.
    let sound: Vec<usize> = (0..routes.len()).filter(|place| routes[*place].is_some()).collect();
    let patterns = routes.iter().flatten().map(|(pattern, _)| pattern.clone()).collect();
    for tie in RouteTable::new(patterns).err().into_iter().flatten() {
        let (first, second) = (sound[tie.first.0], sound[tie.second.0]);
        let name = |place: usize| routes[place].as_ref().map_or("", |(_, route)| &route.name);
        let message = format!(
            "the routes {:?} ({}) and {:?} match the same requests equally well",
            name(first),
            locations[first],
            name(second)
        );
        fields[second].refuse(message, "make one of them more specific by host, path, method or a header");
    }
}

fn route(mut section: Section<'_>, backends: &Backends<'_>, toggles: &Toggles<'_>) -> Option<(Pattern, Route)> {
    let name = section.require("name", "name the route, for metrics and logs: name = \"checkout\"");
    let matched = section.require("match", "say what it matches: match = { path_prefix = \"/\" }");
    let service = section.require("service", "name where it sends: service = \"checkout\"");
    let timeout = section.take("timeout").map_or(Some(TIMEOUT), |field| field.parse(units::duration));
    let total_timeout =
        section.take("total_timeout").map_or(Some(None), |field| field.parse(units::duration).map(Some));
    let retries = section.take("retries").map_or(Some(None), |field| policies::retries(field).map(Some));
    let checking = section.take("contract").map_or(Some(Checking::Off), |field| checking(field.section()?));
    let upgrades = section.take("upgrades").map_or(Some(vec!["websocket".to_owned()]), upgrades);
    let require = section.take("require");
    let require = require.map_or(Some(None), |field| requirement(field.section()?, toggles).map(Some));
    section.finish();
    let name = name.and_then(|field| field.parse(units::name_of));
    let service = service.and_then(|field| backends.reference(&field));
    let pattern = matched.and_then(|field| pattern(field.section()?));
    let route = Route {
        name: name?,
        service: service?,
        timeout: timeout?,
        total_timeout: total_timeout?,
        retries: retries?,
        checking: checking?,
        require: require?,
        upgrades: upgrades?,
        first_lane: LaneId(0),
    };
    Some((pattern?, route))
}

fn requirement(mut section: Section<'_>, toggles: &Toggles<'_>) -> Option<Requirement> {
    let toggle = section.require("toggle", "name the toggle that has to grant it: toggle = \"beta-api\"");
    let variant = section.require("variant", "name the variant that it has to give: variant = \"on\"");
    let status = section.take("status").map_or(Some(StatusCode::FORBIDDEN), |field| {
        let status = field.integer(0)?;
        let known = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        let status = known.into_iter().find(|known| u64::from(known.as_u16()) == status);
        if status.is_none() {
            let hint = "write 403, or 404 where nobody is to know that there is something";
            field.refuse("a request is not refused with that".to_owned(), hint);
        }
        status
    });
    section.finish();
    let field = toggle?;
    let toggle = toggles.reference(&field)?;
    let required = &toggles.get(toggle)?.toggle;
    if let Some(claim) = required.claim() {
        let message =
            format!("{:?} decides on {claim}, and clients may say of themselves what they like", required.name);
        field.warn(
            message,
            "to keep strangers out, require a toggle of category permission: it looks at what is verified",
        );
    }
    let variants = &required.variants;
    let names: Vec<&str> = variants.iter().map(|variant| &*variant.name).collect();
    let variant = variant?.reference("variant", &names).map(VariantId)?;
    Some(Requirement { toggle, variant, status: status? })
}

fn upgrades(field: Field<'_>) -> Option<Vec<String>> {
    let protocols: Vec<_> = field.list()?.iter().map(|field| field.parse(upgrade)).collect();
    protocols.into_iter().collect()
}

/// `h2c` would hide requests from weir, and `TLS` everything.
fn upgrade(text: &str) -> Result<String, &'static str> {
    let never = ["h2c", "http", "tls"].iter().any(|name| {
        text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && matches!(text.as_bytes().get(name.len()), None | Some(b'/'))
    });
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    if text.is_empty() || never || !text.bytes().all(plain) {
        return Err("a protocol is a name such as \"websocket\"; h2c, HTTP and TLS are never tunnelled");
    }
    Ok(text.to_owned())
}

fn checking(mut section: Section<'_>) -> Option<Checking> {
    let words = [Checking::Off, Checking::Report, Checking::Enforce].map(|checking| (checking.as_str(), checking));
    let request = section.take("request").map_or(Some(Checking::Off), |field| field.word(&words));
    section.finish();
    request
}

fn pattern(mut section: Section<'_>) -> Option<Pattern> {
    let host = section.take("host").map_or(Some(HostPattern::Any), |field| field.parse(str::parse::<HostPattern>));
    let path = match (section.take("path"), section.take("path_prefix")) {
        (Some(field), None) => field.parse(PathPattern::exact),
        (None, Some(field)) => field.parse(PathPattern::prefix),
        (None, None) => Some(PathPattern::Prefix(String::new())),
        (Some(_), Some(_)) => {
            section.refuse("a route matches either a path or a path prefix".to_owned(), "keep one of them");
            None
        }
    };
    let methods = section.take("method").map_or(Some(Vec::new()), |field| {
        let methods: Vec<_> = field.one_or_more().iter().map(method).collect();
        methods.into_iter().collect()
    });
    let headers = section.take("headers").map_or(Some(Vec::new()), |field| headers(field.section()?));
    section.finish();
    Some(Pattern { host: host?, path: path?, methods: methods?, headers: headers? })
}

fn method(field: &Field<'_>) -> Option<Method> {
    field.parse(|text| {
        let method = Method::from_bytes(text.as_bytes()).ok().filter(|method| method != Method::CONNECT);
        method.ok_or("a method is a word such as \"GET\"; CONNECT is not forwarded")
    })
}

fn headers(section: Section<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let read = |(name, field): (&str, Field<'_>)| {
        let value =
            field.parse(|text| HeaderValue::from_str(text).map_err(|_invalid| "a header value has no line breaks"));
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            field.refuse(format!("{name:?} is not a header name"), "use letters, digits and dashes");
            return None;
        };
        Some((name, value?))
    };
    let mut headers = section.entries().map(read).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    headers.sort_by(|left, right| left.0.as_str().cmp(right.0.as_str()));
    Some(headers)
}
