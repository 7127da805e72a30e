//! Every metric's name, help text and labels.

use http::StatusCode;

/// One metric, as Prometheus knows it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name, with the base unit and `_total` where Prometheus asks for them.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric = Metric { name: $name, help: $help };)*
        /// All of them.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    REQUESTS = "weir_requests_total", "Requests answered, by route, service, arm and status code.";
    REQUEST_SECONDS = "weir_request_duration_seconds", "Time from a request's head to the end of its response.";
    UPSTREAM_SECONDS = "weir_upstream_duration_seconds", "Time from forwarding a request to the head of its response.";
    REJECTIONS = "weir_rejections_total", "Requests that weir itself answered with an error, by route and cause.";
    DECISIONS = "weir_toggle_decisions_total", "Decisions, by toggle, variant, reason and the surface that asked.";
    CHECKS = "weir_contract_checks_total", "Requests held to a contract, by route, contract, mode and outcome.";
    FAILOVERS = "weir_failovers_total", "Requests that another arm served since the chosen one was unavailable.";
    BROKEN_OFF = "weir_responses_broken_off_total", "Responses of a service that ended before they were whole.";
    TUNNELS = "weir_tunnels", "Connections switched to another protocol that are open now.";
    IN_FLIGHT = "weir_requests_in_flight", "Requests that are being answered now.";
    CONNECTIONS = "weir_connections", "Client connections that are open now, by listener.";
    CONNECTIONS_RESTING = "weir_connections_resting", "Client connections of HTTP/1.1 that wait for a request and keep no buffer, by listener.";
    CONNECTIONS_ACCEPTED = "weir_connections_accepted_total", "Client connections accepted, by listener.";
    CONNECTIONS_REFUSED = "weir_connections_refused_total", "Client connections closed at once, by listener and cause.";
    CONNECTIONS_RETIRED = "weir_connections_retired_total", "Client connections asked to end at a limit of their listener, by listener and cause.";
    PREAMBLES_FAILED = "weir_proxy_protocol_failures_total", "Connections closed since no sound PROXY protocol preamble came, by listener.";
    HANDSHAKES = "weir_tls_handshakes_total", "TLS handshakes with clients, by listener and outcome.";
    CERTIFICATE_EXPIRY = "weir_tls_certificate_expiry_timestamp_seconds", "When a certificate in force expires, by listener and file.";
    UPSTREAM_CONNECTIONS = "weir_upstream_connections", "Connections to endpoints that are open now, by state.";
    UPSTREAM_CONNECTS = "weir_upstream_connects_total", "Attempts to connect to an endpoint, by outcome.";
    LINES_DROPPED = "weir_access_log_lines_dropped_total", "Lines of the access log that were dropped since they could not be written in time.";
    UPSTREAM_HOSTS = "weir_upstream_hosts", "Addresses of an endpoint, by state: known, healthy, and ejected (on each worker).";
    UPSTREAM_EJECTIONS = "weir_upstream_ejections_total", "How often an address of an endpoint was left alone since it failed, on each worker.";
    UPSTREAM_CHECKS = "weir_upstream_health_checks_total", "Health checks, by endpoint and outcome.";
    UPSTREAM_LOOKUPS = "weir_upstream_dns_lookups_total", "Look-ups of an endpoint's name, by outcome.";
    FIRST_ATTEMPTS = "weir_upstream_first_attempts_total", "Requests by how the first attempt at the chosen arm ended, before any retry.";
    RETRIES = "weir_upstream_retries_total", "Requests sent again, or not, by what became of it.";
    CLAIMS_DROPPED = "weir_untrusted_claims_dropped_total", "Cohort headers removed since their sender is not trusted.";
    MEMBERS = "weir_propagation_members_total", "Signed decisions that came with requests, by what became of them.";
    DECISIONS_LOST = "weir_propagation_decisions_lost_total", "Decisions that were unknown here, or had no room to travel on.";
    DIVERGENCES = "weir_propagation_divergences_total", "Decisions that came with a request and would have been others here, by toggle.";
    OVERRIDES = "weir_overrides_total", "Variants that peers asked for, by what became of the wish.";
    KEYS_MINTED = "weir_sticky_keys_minted_total", "Assignment keys made for anonymous users.";
    TOKENS = "weir_jwt_verifications_total", "Tokens of clients that were looked at, by outcome.";
    OFREP_REQUESTS = "weir_ofrep_requests_total", "Requests to the flag API, by endpoint and status code.";
    OFREP_SECONDS = "weir_ofrep_request_duration_seconds", "Time from a request to the flag API to its answer.";
    OFREP_STREAMS = "weir_ofrep_streams", "Event streams of the flag API that are open now.";
    UNKNOWN_TOGGLES = "weir_ofrep_unknown_toggles_total", "Questions for toggles that are not configured.";
    ROLLOUT_WEIGHT = "weir_rollout_weight_ratio", "Share of assignment keys that the rollout gives its variant, from 0 to 1.";
    GENERATION = "weir_config_generation", "Number of the configuration snapshot in force.";
    RELOADS = "weir_config_reloads_total", "Attempts to load the configuration, by outcome.";
    RELOAD_OK = "weir_config_last_reload_successful", "1 when the files on disk are in force, 0 when they were rejected.";
    RELOAD_TIME = "weir_config_last_reload_success_timestamp_seconds", "When a configuration was last put in force.";
    RESTART_NEEDED = "weir_config_restart_required", "1 when the files on disk hold settings that need a restart.";
    TOGGLE_STATE = "weir_toggle_state", "1 for the state that the toggle is in, 0 for others that it was in.";
    STATE_WRITES_FAILED = "weir_toggle_observations_unwritten_total", "Times that what is seen of toggles could not be written to state_dir.";
    ORDERS = "weir_overlay_orders_total", "Kills and restorations of toggles, by order and outcome.";
    CHANGE_TO_DECISION = "weir_change_to_decision_seconds", "Time from a change of the files or the overlay to the first request decided on it.";
    BUILD = "weir_build_info", "Always 1; the label tells the version.";
    START_TIME = "process_start_time_seconds", "When the process started.";
}

/// Upper bounds of the duration buckets; the last bucket has none.
pub const DURATION_BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Duration buckets, the unbounded one included.
pub const BUCKETS: usize = DURATION_BUCKETS_SECONDS.len() + 1;

/// Why weir answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The stable code: the label `cause`, and `code` in answers and logs.
    pub code: &'static str,
    /// The type of error that RFC 9209 §2.3 registers for it: the label `error`, and the parameter of
    /// `Proxy-Status`.
    pub error: &'static str,
}

macro_rules! causes {
    ($($code:literal => $error:literal,)*) => {
        /// All causes, in the order of their cells.
        pub const CAUSES: &[Cause] = &[$(Cause { code: $code, error: $error }),*];
    };
}

causes! {
    "bad_host" => "http_request_error",
    "method_not_supported" => "http_request_denied",
    "no_route" => "http_request_denied",
    "body_too_large" => "http_request_error",
    "body_timeout" => "http_request_error",
    "body_broken" => "http_request_error",
    "contract" => "http_request_denied",
    "overloaded" => "connection_limit_reached",
    "connect_failed" => "destination_unavailable",
    "connect_timeout" => "connection_timeout",
    "upstream_broken" => "http_response_incomplete",
    "upstream_malformed" => "http_protocol_error",
    "upstream_timeout" => "http_response_timeout",
    "content_coding" => "http_request_denied",
    "not_granted" => "http_request_denied",
    "malformed_request" => "http_request_error",
    "malformed_body" => "http_request_error",
    "ambiguous_length" => "http_request_error",
    "transfer_coding" => "http_request_error",
    "bad_target" => "http_request_error",
    "target_too_long" => "http_request_error",
    "version_not_supported" => "http_request_error",
    "head_too_large" => "http_request_error",
    "expectation" => "http_request_denied",
    "upgrade_failed" => "http_upgrade_failed",
    "upgrade_unsupported" => "http_upgrade_failed",
    "upgrade_not_allowed" => "http_request_denied",
    "max_forwards" => "http_request_denied",
    "loop" => "proxy_loop_detected",
    "bad_field" => "http_request_error",
    "too_many_fields" => "http_request_error",
    "tls_failed" => "tls_protocol_error",
    "no_healthy_endpoint" => "destination_unavailable",
    "arm_requests_max" => "connection_limit_reached",
    "arm_pending_max" => "connection_limit_reached",
    "arm_connections_max" => "connection_limit_reached",
    "tunnels_max" => "connection_limit_reached",
}

/// The place of a cause in [`CAUSES`].
#[must_use]
pub fn cause_place(code: &str) -> usize {
    let place = CAUSES.iter().position(|cause| cause.code == code);
    debug_assert!(place.is_some(), "{code} is not in CAUSES");
    place.unwrap_or_default()
}

/// Why a connection is closed at once: the `cause` label, in the order of [`REFUSAL_CAUSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// `limits.connections_max` is reached.
    ConnectionsMax,
    /// `limits.connections_per_source_max` is reached.
    PerSource,
    /// File descriptors ran out.
    Descriptors,
}

/// The `cause` label of refused connections.
pub const REFUSAL_CAUSES: [&str; 3] = ["connections_max", "connections_per_source_max", "descriptors"];

/// Why a connection is asked to end: the `cause` label, in the order of [`RETIREMENT_CAUSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetirementCause {
    /// The listener's `connection_age_max`.
    Age,
    /// The listener's `requests_per_connection_max`.
    Requests,
}

/// The `cause` label of retired connections.
pub const RETIREMENT_CAUSES: [&str; 2] = ["connection_age_max", "requests_per_connection_max"];

/// How a TLS handshake with a client ended: the `outcome` label, in the order of [`HANDSHAKE_OUTCOMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// Made, with certificates.
    Full,
    /// Made, by the ticket of an earlier one.
    Resumed,
    /// It took longer than `timeouts.tls_handshake`.
    Timeout,
    /// `limits.tls_handshakes_max` were under way.
    Refused,
    /// The client went away.
    Closed,
    /// What the client sent is not TLS.
    NotTls,
    /// The client broke the protocol.
    Misbehaved,
    /// No version, cipher or protocol is shared.
    Incompatible,
    /// The client showed no certificate where one is required.
    ClientCertificateMissing,
    /// The client's certificate is expired, of an unknown issuer, or cannot be checked.
    ClientCertificateInvalid,
    /// The client's certificate is revoked.
    ClientCertificateRevoked,
    /// The client refused: mostly weir's certificate.
    Alert,
    /// Anything else.
    Other,
}

/// The `outcome` label of TLS handshakes.
pub const HANDSHAKE_OUTCOMES: [&str; 13] = [
    "full",
    "resumed",
    "timeout",
    "refused",
    "closed",
    "not_tls",
    "misbehaved",
    "incompatible",
    "client_certificate_missing",
    "client_certificate_invalid",
    "client_certificate_revoked",
    "alert",
    "other",
];

impl HandshakeOutcome {
    /// The label's value.
    #[must_use]
    pub fn code(self) -> &'static str {
        HANDSHAKE_OUTCOMES[self as usize]
    }
}

/// How an attempt at an arm ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// With an answer below 500.
    Answered,
    /// With a 5xx.
    ServerError,
    /// Without a connection.
    ConnectFailed,
    /// With none in time.
    ConnectTimeout,
    /// In the TLS handshake.
    TlsFailed,
    /// At once: health checks find no endpoint well.
    Unhealthy,
    /// In the middle.
    Broken,
    /// Without an answer in time.
    TimedOut,
    /// At a limit of the arm.
    Limited,
}

/// The `outcome` label of first attempts, in the order of [`Attempt`].
pub const ATTEMPTS: [&str; 9] = [
    "answered",
    "server_error",
    "connect_failed",
    "connect_timeout",
    "tls_failed",
    "no_healthy_endpoint",
    "broken",
    "timeout",
    "limited",
];

/// What became of sending a request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// There was an answer below 500.
    Answered,
    /// It failed again.
    Failed,
    /// The request provably had not been processed, and was sent once more without being counted as a try.
    Replayed,
    /// The budget had nothing left.
    BudgetExhausted,
    /// Not enough of the request was kept.
    NotReplayable,
}

/// The `outcome` label of retries, in the order of [`Retried`].
pub const RETRIED: [&str; 5] = ["answered", "failed", "replayed", "budget_exhausted", "not_replayable"];

/// The `outcome` label of contract checks.
pub const CHECK_OUTCOMES: [&str; 10] = [
    "kept",
    "unchecked",
    "too_large",
    "undeclared_path",
    "undeclared_method",
    "unsupported_media_type",
    "missing_body",
    "malformed_body",
    "schema",
    "parameter",
];

/// The `surface` label of decisions: what asked for them, or [`PIN`].
pub const SURFACES: [&str; 2] = ["route", "ofrep"];

/// The `surface` label of decisions that were made before on the request's way, whoever asked for them here.
pub const PIN: &str = "pin";

/// The `endpoint` label of the flag API.
pub const OFREP_ENDPOINTS: [&str; 4] = ["flag", "flags", "events", "other"];

/// The `code` label: registered codes as they are, others by their class, so that an upstream cannot
/// make up labels.
pub const CODES: [&str; 64] = [
    "100", "101", "102", "103", "200", "201", "202", "203", "204", "205", "206", "207", "208", "226", "300", "301",
    "302", "303", "304", "305", "307", "308", "400", "401", "402", "403", "404", "405", "406", "407", "408", "409",
    "410", "411", "412", "413", "414", "415", "416", "417", "421", "422", "423", "424", "425", "426", "428", "429",
    "431", "451", "500", "501", "502", "503", "504", "505", "506", "507", "508", "510", "511", "2xx", "4xx", "5xx",
];

const CODE_PLACES: [u8; 500] = code_places();

const fn code_places() -> [u8; 500] {
    let mut places = [0; 500];
    let mut code = 0;
    while code < places.len() {
        // Unregistered 1xx and 3xx are as rare as they are odd: they count with 2xx, as a response.
        places[code] = match code / 100 {
            3 => 62,
            4 => 63,
            _ => 61,
        };
        code += 1;
    }
    let mut place: u8 = 0;
    while place < 61 {
        let text = CODES[place as usize].as_bytes();
        let code = (text[0] - b'0') as usize * 100 + (text[1] - b'0') as usize * 10 + (text[2] - b'0') as usize;
        places[code - 100] = place;
        place += 1;
    }
    places
}

/// The place of a status code in [`CODES`].
#[must_use]
pub fn code_place(status: StatusCode) -> usize {
    let place = usize::from(status.as_u16()).checked_sub(100).and_then(|index| CODE_PLACES.get(index));
    // The http crate allows codes up to 999; what is above 599 is the upstream's mistake.
    place.map_or(CODES.len() - 1, |place| usize::from(*place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_own_label_or_its_class() {
        for (code, label) in
            [(200, "200"), (100, "100"), (511, "511"), (299, "2xx"), (499, "4xx"), (599, "5xx"), (999, "5xx")]
        {
            assert_eq!(CODES[code_place(StatusCode::from_u16(code).unwrap())], label);
        }
    }
}
